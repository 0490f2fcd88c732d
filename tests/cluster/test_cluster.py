"""Recordings decoded on a cluster: results are those of decoding here, whatever the parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

import odograph
from odograph.cluster import Answers, Cluster
from odograph.cluster.cluster import What
from odograph.cluster.manifest import pack, unpack
from odograph.recorder import qemu
from odograph.recorder.record import record
from support.clustertraces import BASE, CODE, FUNCTION, LOOP, recording, run_trace, turns

T = TypeVar("T")

WHERES = (FUNCTION, [LOOP, FUNCTION], (FUNCTION + 1, FUNCTION + 2), BASE)


def same(one: odograph.History, other: odograph.History) -> bool:
    """All that two histories say."""
    assert len(one) == len(other)
    assert np.array_equal(one.ips(), other.ips())
    assert one.gaps() == other.gaps()
    assert list(one.events()) == list(other.events())
    assert one._raw.checkpoints() == other._raw.checkpoints()
    return one.hash() == other.hash()


def test_the_history_is_the_same(tmp_path: Path, cluster: Cluster) -> None:
    path = recording(tmp_path / "perf.data", 40, 1, 300)
    history = cluster.history(path)
    assert len(history) > 341 * 5
    assert history.gaps() == []
    assert same(history, odograph.open(path).history())


def test_find_gives_the_same_steps(tmp_path: Path, cluster: Cluster) -> None:
    path = recording(tmp_path / "perf.data", 40, 1, 300)
    here = odograph.open(path).history()
    for where in WHERES:
        [answer] = cluster.find(path, where).answers
        assert (answer.path, answer.tid, answer.comm, answer.steps) == (str(path), 7, "runs", len(here))
        assert len(answer.value) > 0
        assert np.array_equal(answer.value, here.find(where))


def check_passes(cluster: Cluster, path: Path, **options: Any) -> None:
    """All passes, one after the other, against those over the histories decoded here."""
    here = odograph.open(path, **options).histories()

    def asked(passing: Callable[[What], Answers[T]]) -> list[tuple[odograph.History, T]]:
        answers = passing(odograph.open(path, **options)).answers
        assert [answer.tid for answer in answers] == list(here)
        return [(here[answer.tid], answer.value) for answer in answers]

    for history, counts in asked(cluster.counts):
        assert list(counts) == list(history.counts())
    for history, coverage in asked(cluster.coverage):
        expected = history.coverage()
        assert len(expected.blocks) > 0
        assert list(coverage.blocks) == list(expected.blocks)
        assert list(coverage.edges) == list(expected.edges)
    for history, functions in asked(cluster.functions):
        assert list(functions) == list(history.functions())
    for history, calls in asked(cluster.calls):
        assert list(calls) == list(history.calls())


def test_passes_give_the_same(tmp_path: Path, cluster: Cluster) -> None:
    path = recording(tmp_path / "perf.data", 40, 1, 300)
    check_passes(cluster, path)
    [answer] = cluster.functions(path).answers
    assert dict(zip(answer.value["ip"].tolist(), answer.value["calls"].tolist(), strict=True)) == {
        0: 0,
        LOOP: 3,
        FUNCTION: 341,
    }


def test_passes_over_threads_that_take_turns(tmp_path: Path, cluster: Cluster) -> None:
    check_passes(cluster, turns(tmp_path / "perf.data", 30, 50, 1, 80, 20))


def test_commands_over_a_directory(tmp_path: Path, cluster: Cluster) -> None:
    recording(tmp_path / "a.perf.data", 30)
    turns(tmp_path / "b.perf.data", 20, 30)
    (tmp_path / "c.perf.data").write_bytes(b"PERFILE2" + bytes(20))
    address = cluster.client.scheduler.address
    for command in ("functions", "coverage"):
        alone = run(command, str(tmp_path / "a.perf.data"), "--json")
        assert alone[0] == 0
        there = run(command, str(tmp_path / "a.perf.data"), "--json", f"--cluster={address}")
        assert there == alone
        code, text, errors = run(command, str(tmp_path), "--json", f"--cluster={address}")
        assert code == 1
        assert "c.perf.data" in errors
        paths = [str(tmp_path / name) for name in ("a.perf.data", "b.perf.data")]
        assert json.loads(text)["path"] == paths
        code, text, errors = run(command, str(tmp_path / "a.perf.data"), str(tmp_path / "b.perf.data"))
        assert (code, text) == (2, "")
        assert "--cluster" in errors
    assert run("functions", str(tmp_path / "a.perf.data"), "--cluster", "nowhere")[0] == 2


def test_names_are_those_of_the_program_that_ran(tmp_path: Path, cluster: Cluster) -> None:
    if qemu.unavailable() is not None:
        pytest.skip("needs qemu-user")
    path = tmp_path / "replaced.data"
    assert record(["/bin/sh", "-c", "exec /bin/true"], path, backend="qemu").status == 0
    here = odograph.open(path).history()
    assert len(here.spans) > 1
    address = cluster.client.scheduler.address
    for command in ("functions", "coverage"):
        alone = run(command, str(path), "--json")
        assert alone[0] == 0
        assert run(command, str(path), "--json", f"--cluster={address}") == alone
    [answer] = cluster.find(path, "malloc").answers
    assert np.array_equal(answer.value, here.find("malloc"))


def run(*words: str) -> tuple[int, str, str]:
    """What a command exits with and prints."""
    command = [sys.executable, "-m", "odograph", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_threads_that_take_turns_keep_their_steps(tmp_path: Path, cluster: Cluster) -> None:
    path = turns(tmp_path / "perf.data", 30, 50, 1, 80, 20)
    here = odograph.open(path).histories()
    there = odograph.open(path)
    assert all(same(cluster.history(there, tid), here[tid]) for tid in (7, 9))
    for where in WHERES:
        answers = cluster.find(path, where).answers
        assert [answer.tid for answer in answers] == [7, 9]
        for answer in answers:
            assert answer.steps == len(here[answer.tid]) > 0
            assert np.array_equal(answer.value, here[answer.tid].find(where))


def test_a_recording_that_has_been_decoded_is_asked_here(tmp_path: Path, cluster: Cluster) -> None:
    opened = odograph.open(turns(tmp_path / "perf.data", 30, 50, 40))
    histories = opened.histories()
    for answer in cluster.find(opened, FUNCTION).answers:
        assert np.array_equal(answer.value, histories[answer.tid].find(FUNCTION))


def test_damage_is_told_the_same_way(tmp_path: Path, cluster: Cluster) -> None:
    trace = bytearray(run_trace(400, 1))
    for at in range(200, len(trace), 97):
        trace[at] ^= 0x5A
    raw, image = tmp_path / "trace.pt", odograph.Image()
    raw.write_bytes(trace)
    image.add_bytes(CODE, BASE)
    here = odograph.open(raw, image=image).history()
    assert here.gaps()
    assert same(cluster.history(odograph.open(raw, image=image)), here)
    [answer] = cluster.find(odograph.open(raw, image=image), LOOP).answers
    assert np.array_equal(answer.value, here.find(LOOP))
    check_passes(cluster, raw, image=image)


def test_a_directory_of_recordings(tmp_path: Path, cluster: Cluster) -> None:
    recording(tmp_path / "a.perf.data", 30)
    (tmp_path / "deeper").mkdir()
    turns(tmp_path / "deeper" / "recorded", 20, 30)
    (tmp_path / "broken.perf.data").write_bytes(b"PERFILE2" + bytes(20))
    (tmp_path / "notes.txt").write_text("not a recording")
    found = cluster.find(tmp_path, FUNCTION)
    paths = [(Path(answer.path).name, answer.tid, len(answer.value)) for answer in found.answers]
    assert paths == [("a.perf.data", 7, 30), ("recorded", 7, 20), ("recorded", 9, 30)]
    assert found.steps == sum(
        len(h) for h in odograph.open(tmp_path / "a.perf.data").histories().values()
    ) + sum(len(h) for h in odograph.open(tmp_path / "deeper" / "recorded").histories().values())
    [broken] = found.broken
    assert broken.path == os.fspath(tmp_path / "broken.perf.data")
    assert isinstance(broken.error, odograph.RecordingError)


def test_one_recording_that_cannot_be_read_is_an_error(tmp_path: Path, cluster: Cluster) -> None:
    with pytest.raises(odograph.RecordingError, match="no such file"):
        cluster.find(tmp_path / "nothing", FUNCTION)
    with pytest.raises(KeyError, match="nowhere"):
        cluster.find(recording(tmp_path / "perf.data", 5), "nowhere")
    found = cluster.find([tmp_path / "nothing", tmp_path / "perf.data"], FUNCTION)
    assert [len(answer.value) for answer in found.answers] == [5]
    assert [Path(broken.path).name for broken in found.broken] == ["nothing"]


def test_memory_behind_a_callback_is_not_sent(tmp_path: Path, cluster: Cluster) -> None:
    path, image = recording(tmp_path / "perf.data", 5), odograph.Image()
    image.set_callback(lambda address, size, asid: b"")
    with pytest.raises(odograph.UnsupportedOperation, match="callback"):
        cluster.history(odograph.open(path, image=image))


def test_progress_grows_to_the_whole(tmp_path: Path, cluster: Cluster) -> None:
    path = recording(tmp_path / "perf.data", 200)
    told: list[tuple[str, int, int]] = []
    cluster.progress = lambda *said: told.append(said)
    try:
        cluster.history(path)
    finally:
        cluster.progress = None
    size = odograph.open(path).info()["bytes"]
    assert len(told) > 5
    assert {(name, total) for name, _, total in told} == {(str(path), size)}
    done = [offset for _, offset, _ in told]
    assert done == sorted(done)
    assert 0 < done[0] <= done[-1] <= size


def test_images_arrive_as_they_were_sent() -> None:
    first, second = odograph.Image(), odograph.Image()
    first.add_bytes(b"\x90" * 100, 0x1000, odograph.Asid(cr3=0x5000), name="lower")
    first.add_bytes(b"\xcc" * 10, 0x1020, odograph.Asid(cr3=0x5000))
    first.add_bytes(b"\xc3" * 50, 0x1000, odograph.Asid(cr3=0x7000))
    second.copy_from(first)
    second.add_bytes(b"\xf4" * 16, (1 << 64) - 16)
    manifest, contents = pack([(0, first, 7), (100, second, 9), (200, first, 7)])
    moments = unpack(manifest, contents)
    assert [(tsc, owner) for tsc, _, owner in moments] == [(0, 7), (100, 9), (200, 7)]
    for sent, (_, arrived, _) in zip((first, second, first), moments, strict=True):
        facts = [(s.vaddr, s.size, s.asid, s.filename) for s in sent.sections]
        assert [(s.vaddr, s.size, s.asid, s.filename) for s in arrived.sections] == facts
        for section in sent.sections:
            where = (section.vaddr, section.size, section.asid)
            assert arrived.read(*where) == sent.read(*where)
    assert pack(moments)[0].digest == manifest.digest
    assert len(set(manifest.digests)) == len(manifest.digests) == len(contents)


def test_small_pieces_of_code_travel_together() -> None:
    image = odograph.Image()
    for number in range(2000):
        image.add_bytes(number.to_bytes(4, "little") * 8, 0x1000 * number)
    manifest, contents = pack([(0, image, 7)])
    assert len(contents) == 1
    ((_, again, _),) = unpack(manifest, contents)
    assert [again.read(0x1000 * number, 32) for number in (0, 1, 1999)] == [
        number.to_bytes(4, "little") * 8 for number in (0, 1, 1999)
    ]
