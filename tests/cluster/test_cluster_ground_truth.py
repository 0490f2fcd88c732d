"""Generated traces with known instructions, and recordings of real processors, decoded on a cluster."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import odograph
from odograph.cluster import Cluster
from support.sharedtraces import Unpacker, bench_image, mapped_image, shared_paths

pytest.importorskip("distributed")

NAMES = [path.name.removesuffix(".gt") for path in shared_paths("bench/*.gt")]
SAMPLE = ("gzip-s-def", "py-s-mix")
SMALL = ("multi-core-45", "avscript_32", "dyn_test")
HARDWARE = [path.parent for path in shared_paths("traces/*/*/image.map")]


@pytest.fixture(scope="module")
def usual(cluster: Cluster) -> Iterator[Cluster]:
    """Parts of a size that is worth sending."""
    cluster.part_size = 64 << 10
    yield cluster
    cluster.part_size = 1


def open_bench(folder: Path, name: str, unpacked: Unpacker) -> odograph.Recording:
    image = bench_image(folder, name.rsplit("-", 2)[0], unpacked)
    return odograph.open(unpacked(folder / f"{name}.pt.xz"), image=image)


def truth(folder: Path, name: str) -> tuple[int, int]:
    lines = (folder / f"{name}.gt").read_text().splitlines()
    said = dict(line.split(" ", 1) for line in lines if " " in line)
    return int(said["insns"]), int(said["hash"], 16)


def vars_of(coverage: odograph.history.history.Coverage) -> tuple[odograph.Table, odograph.Table]:
    return coverage.blocks, coverage.edges


def check(cluster: Cluster, folder: Path, name: str, unpacked: Unpacker) -> None:
    recording = open_bench(folder, name, unpacked)
    history = cluster.history(recording)
    assert (len(history), history.hash()) == truth(folder, name)
    assert history.gaps() == []
    middle = len(history) // 2
    first = int(history.ips(middle, middle + 1)[0])
    [answer] = cluster.find(open_bench(folder, name, unpacked), (first, first + 20)).answers
    assert np.array_equal(answer.value, history.find((first, first + 20)))
    for asked, expected in (
        (cluster.functions, history.functions()),
        (cluster.counts, history.counts()),
    ):
        [answer] = asked(open_bench(folder, name, unpacked)).answers
        assert all(np.array_equal(answer.value[column], expected[column]) for column in expected.columns)
    [answer] = cluster.coverage(open_bench(folder, name, unpacked)).answers
    for here, there in zip(vars_of(history.coverage()), vars_of(answer.value), strict=True):
        assert all(np.array_equal(there[column], here[column]) for column in here.columns)


@pytest.mark.parametrize("name", [name for name in NAMES if name in SAMPLE])
def test_a_sample_of_the_traces_has_its_count_and_hash(
    shared: Path, name: str, unpacked: Unpacker, usual: Cluster
) -> None:
    check(usual, shared / "bench", name, unpacked)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", NAMES)
def test_every_trace_has_its_count_and_hash(
    shared: Path, name: str, unpacked: Unpacker, usual: Cluster
) -> None:
    check(usual, shared / "bench", name, unpacked)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", [name for name in NAMES if "-m-" in name])
def test_a_worker_killed_half_way_changes_nothing(shared: Path, name: str, unpacked: Unpacker) -> None:
    recording = open_bench(shared / "bench", name, unpacked)
    size = recording.info()["bytes"]
    killed = []

    def kill(path: str, done: int, total: int) -> None:
        assert total == size
        if done > total // 2 and not killed:
            killed.append(pids[0])
            os.kill(pids[0], signal.SIGKILL)

    with Cluster(workers=2, part_size=1 << 20, progress=kill) as cluster:
        pids = list(cluster.client.run(os.getpid).values())
        history = cluster.history(recording)
    assert killed
    assert (len(history), history.hash()) == truth(shared / "bench", name)


@pytest.mark.parametrize(
    "folder",
    [
        folder if folder.name in SMALL else pytest.param(folder, marks=pytest.mark.acceptance)
        for folder in HARDWARE
    ],
    ids=lambda folder: folder.name,
)
def test_recordings_of_processors_say_the_same(folder: Path, cluster: Cluster) -> None:
    trace = folder / "pt.bin"
    here = odograph.open(trace, image=mapped_image(folder)).history()
    there = cluster.history(odograph.open(trace, image=mapped_image(folder)))
    assert len(here) == len(there)
    assert here.hash() == there.hash()
    assert here.gaps() == there.gaps()
    assert list(here.events()) == list(there.events())


def test_a_recording_of_a_system_says_the_same(shared: Path, cluster: Cluster) -> None:
    path = shared / "traces/set03/file.perf.data"
    there = odograph.open(path)
    for tid, here in odograph.open(path).histories().items():
        history = cluster.history(there, tid)
        assert len(history) == len(here)
        assert history.hash() == here.hash()
        assert history.gaps() == here.gaps()
