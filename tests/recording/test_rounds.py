"""Loops that write no packets, recorded until they end in any way: each round is known."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

import odograph
from odograph import History, LiveTrace, Recording
from odograph.cluster import Cluster
from odograph.recorder import ptrace, qemu
from odograph.recorder.record import record
from support.paths import PROGRAMS

PROGRAM = PROGRAMS / "rounds.c"
#: Threads: the program itself, eight loops, and the second threads of two of them.
THREADS = 11

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
unavailable = {"qemu": qemu.unavailable(), "ptrace": ptrace.unavailable()}
MARK = b"\x02\xc3\x88"


@pytest.fixture(scope="module", params=["qemu", "ptrace"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A recording by each recorder."""
    if unavailable[request.param] is not None:
        pytest.skip(f"no {request.param}: {unavailable[request.param]}")
    directory = tmp_path_factory.mktemp("rounds")
    program = directory / "rounds"
    options = ["-O1", "-w", "-static", "-nostdlib", "-fno-stack-protector"]
    subprocess.run(["cc", *options, "-o", program, PROGRAM], check=True)
    result = record([str(program)], directory / f"{request.param}.data", backend=request.param)
    assert result.status == 0
    return str(result.path)


def unmarked(data: bytes) -> bytes:
    """A trace without its recorder's marks."""
    parts = data.split(MARK)
    return parts[0] + b"".join(part[8:] for part in parts[1:])


def trace_of(recording: Recording, tid: int) -> bytes:
    [stream] = recording.decoding.streams(recording.source.thread(tid))
    return b"".join(
        bytes(part.trace) for part in recording.decoding.undecoded(stream, recording.source.thread(tid))
    )


def test_every_round_was_counted(path: str) -> None:
    recording = odograph.open(path)
    verdicts = recording.verify()
    assert len(verdicts) == THREADS
    assert [verdict for verdict in verdicts if not verdict.ok] == []
    assert [gap for history in recording.histories().values() for gap in history.gaps()] == []


def test_each_call_of_a_recursion_is_a_frame(path: str) -> None:
    recording = odograph.open(path)
    depths = {}
    for history in recording.histories().values():
        names = [frame.function for frame in history.stack()]
        for name in ("one", "two", "other", "shortest"):
            # None of them returns, so each execution of its first instruction is a call that is open.
            entered = len(history.find(name))
            if entered:
                outermost = 1 if name in ("one", "two", "shortest") else 0
                assert abs(names.count(name) - entered) <= outermost, name
                depths[name] = names.count(name)
    assert depths["one"] > 1500
    assert depths["two"] > 700
    assert abs(depths["two"] - depths["other"]) <= 1
    assert depths["shortest"] > 7000


def test_an_index_says_the_same(path: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copyfile(path, copy)
    alone = odograph.open(copy).histories()
    odograph.open(copy).save_index()
    again = odograph.open(copy)
    for tid, history in again.histories().items():
        assert history.hash() == alone[tid].hash()
        assert history.gaps() == alone[tid].gaps()
        assert history.counts().to_dict() == alone[tid].counts().to_dict()
    assert again.index_use is not None
    assert again.index_use.used


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_say_the_same(path: str, threads: int) -> None:
    recording = odograph.open(path)
    for tid, history in recording.histories().items():
        if len(recording.images(tid)) <= 2:
            trace, image = trace_of(recording, tid), recording.image(tid)
            again = odograph.decode(trace, image, config=recording.config, threads=threads)
            assert (again.hash(), again.gaps()) == (history.hash(), [])


def test_parts_by_step_are_the_whole(path: str) -> None:
    for history in odograph.open(path).histories().values():
        some = len(history) // 3
        front, back = history.part(0, some), history.part(some, len(history))
        assert len(front) + len(back) == len(history)
        assert np.array_equal(np.concatenate([front.ips(), back.ips()]), history.ips())


def test_a_live_stream_says_the_same(path: str) -> None:
    recording = odograph.open(path)
    for tid, history in recording.histories().items():
        moments = recording.images(tid)
        if len(moments) > 2:
            continue
        trace = trace_of(recording, tid)
        stream = LiveTrace(recording.image(tid), config=recording.config)
        parts = [stream.feed(trace[at : at + 50]) for at in range(0, len(trace), 50)] + [stream.close()]
        assert sum(map(len, parts)) == len(history)
        assert [gap for part in parts for gap in part.gaps()] == []
        assert np.array_equal(np.concatenate([part.ips() for part in parts]), history.ips())


def test_parts_decoded_elsewhere_say_the_same(path: str, cluster: Cluster) -> None:
    answers = cluster.counts(path).answers
    here = odograph.open(path).histories()
    assert {answer.tid for answer in answers} == set(here)
    for answer in answers:
        assert answer.value.to_dict() == here[answer.tid].counts().to_dict()


def test_without_marks_every_loop_is_noted_and_no_bytes_are_lost(path: str) -> None:
    recording = odograph.open(path)
    noted = 0
    for tid, history in recording.histories().items():
        if len(recording.images(tid)) > 2:
            continue
        trace = unmarked(trace_of(recording, tid))
        short: History = odograph.decode(trace, recording.image(tid), config=recording.config)
        notes = short.gaps()
        assert all(note.is_note and note.cause == "ambiguous" and note.bytes_lost == 0 for note in notes)
        assert (len(short) < len(history)) <= bool(notes)
        noted += len(notes)
    assert noted >= 8


def test_long_loops_can_be_entered_in_the_middle(path: str) -> None:
    recording = odograph.open(path)
    history = max(recording.histories().values(), key=len)
    if len(history) < 1_000_000:
        pytest.skip("the machine, or the recorder, is too slow for long loops")
    steps = [step for step, *_ in history._raw.checkpoints()]
    assert max(np.diff([*steps, len(history)])) < 3_000_000


def test_marks_are_read_as_they_are_written(path: str) -> None:
    recording = odograph.open(path)
    for tid in recording.histories():
        for mark in trace_of(recording, tid).split(MARK)[1:]:
            [payload] = struct.unpack("<Q", mark[:8])
            assert payload >> 40 == 0x4F444F
            assert payload & (1 << 40) - 1 <= 1 << 19
