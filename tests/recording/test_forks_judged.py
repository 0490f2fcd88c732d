"""What a process has in memory after forks, execs and maps in any order; perf is the judge."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import odograph
from odograph.perfdata.writer import PerfDataWriter
from support.loop import BASE, loop_trace, timed

PIDS = (10, 20, 30)
FILES = 4


def program(number: int) -> bytes:
    """A page whose code shows which file it is of: so many NOPs before each branch."""
    return (b"\x90" * number + bytes.fromhex("7400 b83c000000 0f05")).ljust(0x1000, b"\xcc")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("programs")
    paths = [folder / f"program-{number}" for number in range(FILES)]
    for number, path in enumerate(paths):
        path.write_bytes(program(number))
    return paths


def ran(number: int) -> list[int]:
    """The steps of one run of a program."""
    return [*range(BASE, BASE + number + 1), BASE + number + 2, BASE + number + 7]


class Story:
    """A random story of processes on one CPU, written down as records and kept as what is true."""

    def __init__(self, seed: int, files: list[Path], path: Path) -> None:
        self._random = random.Random(seed)
        self._files = files
        self._memory: dict[int, int | None] = dict.fromkeys(PIDS)
        self.steps: dict[int, list[int]] = {pid: [] for pid in PIDS}
        self.unknown = dict.fromkeys(PIDS, 0)
        with PerfDataWriter(path, timed=True, per_cpu=True) as writer:
            self._writer = writer
            trace = b""
            # Records that stand in for what happened before have no time.
            for _ in range(self._random.randrange(6)):
                self._random.choice([self._map, self._ran_before, self._ran_before])(0)
            for tsc in range(1000, 1000 * (4 + self._random.randrange(12)), 1000):
                acts: list[Callable[[int], None]] = [self._map, self._fork, self._exec, self._ran_before]
                self._random.choice(acts)(tsc)
                pid = self._random.choice(PIDS)
                writer.add_switch(0, pid, pid, tsc=tsc + 400)
                trace += timed(loop_trace(1), tsc + 500)
                self._run(pid)
            writer.add_trace(-1, -1, trace, cpu=0, tsc=tsc + 900)

    def _map(self, tsc: int) -> None:
        pid, number = self._random.choice(PIDS), self._random.randrange(FILES)
        self._writer.add_mmap2(pid, pid, BASE, 0x1000, 0, str(self._files[number]), build_id=None, tsc=tsc)
        self._memory[pid] = number

    def _fork(self, tsc: int, *, ran_before: bool = False) -> None:
        parent, child = self._random.sample(PIDS, 2)
        self._writer.add_fork(child, parent, child, parent, tsc=tsc, ran_before=ran_before)
        self._writer.add_comm(child, child, "child", tsc=tsc)
        self._memory[child] = None if ran_before else self._memory[parent]

    def _ran_before(self, tsc: int) -> None:
        self._fork(tsc, ran_before=True)

    def _exec(self, tsc: int) -> None:
        """Perf keeps the old maps of a program until new ones lie there, so there is always one."""
        pid, number = self._random.choice(PIDS), self._random.randrange(FILES)
        self._writer.add_comm(pid, pid, "other", exec=True, tsc=tsc)
        self._writer.add_mmap2(
            pid, pid, BASE, 0x1000, 0, str(self._files[number]), build_id=None, tsc=tsc + 1
        )
        self._memory[pid] = number

    def _run(self, pid: int) -> None:
        number = self._memory[pid]
        if number is None:
            self.unknown[pid] += 1
        else:
            self.steps[pid] += ran(number)


def perf_steps(path: Path) -> dict[int, list[int]]:
    command = ["perf", "script", "-i", path, "--itrace=i0ns", "-F", "tid,ip"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    steps: dict[int, list[int]] = {pid: [] for pid in PIDS}
    for tid, ip in re.findall(r"^\s*(\d+)\s+([0-9a-f]+)", out, re.MULTILINE):
        steps[int(tid)].append(int(ip, 16))
    return steps


def check(seed: int, files: list[Path], path: Path) -> None:
    story = Story(seed, files, path)
    if shutil.which("perf"):
        assert perf_steps(path) == story.steps, seed
    for tid, history in odograph.open(path).histories().items():
        assert history.ips().tolist() == story.steps[tid], (seed, tid)
        gaps = history.gaps()
        assert {gap.cause for gap in gaps} <= {"memory"}, (seed, tid)
        assert len(gaps) == story.unknown[tid], (seed, tid)


def test_processes_have_their_own_memory_and_what_a_fork_gave_them(files: list[Path], tmp_path: Path) -> None:
    for seed in range(40):
        check(seed, files, tmp_path / "perf.data")


@pytest.mark.acceptance
def test_hundreds_of_stories(files: list[Path], tmp_path: Path) -> None:
    for seed in range(1000, 1600):
        check(seed, files, tmp_path / "perf.data")


def test_a_process_that_ran_before_has_nothing_of_its_parent(files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    for ran_before, steps in ((False, ran(2)), (True, [])):
        with PerfDataWriter(path, timed=True, per_cpu=True) as writer:
            writer.add_mmap2(10, 10, BASE, 0x1000, 0, str(files[2]), build_id=None)
            writer.add_fork(20, 10, 20, 10, ran_before=ran_before)
            writer.add_switch(0, 20, 20, tsc=1000)
            writer.add_trace(-1, -1, timed(loop_trace(1), 1500), cpu=0, tsc=2000)
        history = odograph.open(path).history(20)
        assert history.ips().tolist() == steps
        assert [(gap.cause, gap.ip) for gap in history.gaps()] == [("memory", BASE)] * ran_before


def test_without_times_the_maps_told_last_are_there_from_the_start(files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    with PerfDataWriter(path) as writer:
        writer.add_mmap2(10, 10, BASE, 0x1000, 0, str(files[2]), build_id=None)
        writer.add_mmap2(20, 20, BASE, 0x1000, 0, str(files[1]), build_id=None)
        writer.add_fork(20, 10, 20, 10, ran_before=True)
        writer.add_mmap2(20, 20, BASE, 0x1000, 0, str(files[3]), build_id=None)
        writer.add_trace(20, 20, loop_trace(1))
    assert odograph.open(path).history(20).ips().tolist() == ran(3)
