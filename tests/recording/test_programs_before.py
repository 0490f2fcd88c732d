"""A program that began where nothing was recorded does not make a stack complete."""

from __future__ import annotations

from pathlib import Path

import odograph
from odograph.perfdata.writer import PerfDataWriter
from support.loop import BASE, LOOP, loop_trace, timed
from support.recordings import patched_info

_SNAPSHOT_MODE = 8


def record(path: Path, exec_at: int, *, kernel_only: bool = False, truncated: bool = False) -> Path:
    """A process that has executed another program at a time (TSC); its trace begins at 1000."""
    with PerfDataWriter(path, timed=True) as writer:
        if kernel_only:
            writer.add_mmap2(-1, 0, 0xFFFFFFFF80000000, 0x1000, 0, "[kernel.kallsyms]_text", build_id=None)
        else:
            writer.add_mmap2(7, 7, 0x10000, 0x1000, 0, "/nowhere/before", build_id=None, tsc=100)
        writer.add_comm(7, 7, "loop", exec=True, tsc=exec_at)
        writer.add_mmap2(7, 7, BASE, 0x1000, 0, "/nowhere/loop", build_id=None, tsc=exec_at + 1)
        writer.add_code(7, exec_at + 1, BASE, LOOP)
        if truncated:
            writer.add_trace(7, 7, timed(loop_trace(1), 200), tsc=300, truncated=True)
        writer.add_trace(7, 7, timed(loop_trace(3), 1000), tsc=2000)
    return path


def stack_is_complete(path: Path) -> bool:
    history = odograph.open(path).history()
    return history.stack(len(history) - 1).is_complete


def test_a_program_that_began_with_its_trace_has_complete_stacks(tmp_path: Path) -> None:
    assert stack_is_complete(record(tmp_path / "whole", 900))


def test_a_program_that_began_before_a_snapshot_has_none(tmp_path: Path) -> None:
    path = record(tmp_path / "snapshot", 900)
    path.write_bytes(patched_info(path.read_bytes(), _SNAPSHOT_MODE, 1))
    assert not stack_is_complete(path)


def test_a_program_that_began_where_trace_was_lost_has_none(tmp_path: Path) -> None:
    assert not stack_is_complete(record(tmp_path / "lost", 900, truncated=True))


def test_maps_of_the_kernel_are_no_program_that_went_before(tmp_path: Path) -> None:
    assert not stack_is_complete(record(tmp_path / "kernel", 900, kernel_only=True))


def test_a_program_that_began_in_an_overflow_has_none(tmp_path: Path) -> None:
    overflow = b"\x02\xf3"
    trace = timed(loop_trace(3), 1000) + overflow + timed(loop_trace(3), 1600) + timed(loop_trace(3), 2600)
    # In the overflow, and after the old program has gone on behind it.
    for exec_at, is_complete in ((1500, False), (2500, True)):
        path = tmp_path / str(exec_at)
        with PerfDataWriter(path, timed=True) as writer:
            for tsc in (500, exec_at):
                writer.add_comm(7, 7, "loop", exec=True, tsc=tsc)
                writer.add_mmap2(7, 7, BASE, 0x1000, 0, "/nowhere/loop", build_id=None, tsc=tsc + 1)
                writer.add_code(7, tsc + 1, BASE, LOOP)
            writer.add_trace(7, 7, trace, tsc=3000)
        assert stack_is_complete(path) == is_complete, exec_at
