"""Stacks of samples by perf, judged by perf script; and of an emulated processor."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from odograph import RecordingError
from odograph.errors import UnsupportedOperation
from odograph.symbols import Module, Symbols
from odograph.unwind import CfiUnwinder, Found, emulated_stack, sampled_stacks

PROGRAM = """
#include <stdlib.h>
static int compared(const void *one, const void *other) { return *(const int *)one - *(const int *)other; }
__attribute__((noinline)) int filled(int *rows, int count)
{
    for (int i = 0; i < count; i++)
        rows[i] = rand();
    qsort(rows, count, sizeof *rows, compared);
    return rows[0];
}
__attribute__((noinline)) int deep(int depth)
{
    int rows[200];
    rows[depth] = 1;
    if (depth == 0)
        return filled(rows, 200);
    return deep(depth - 1) + rows[depth];
}
int main(void)
{
    int sum = 0;
    for (int i = 0; i < 12000; i++)
        sum += deep(i % 12);
    return sum & 1;
}
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("gcc") or not shutil.which("perf"):
        pytest.skip("needs gcc and perf")
    directory = tmp_path_factory.mktemp("samples")
    (directory / "prog.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-g", "-O1", "-o", "prog", "prog.c"], cwd=directory, check=True)
    command = ["perf", "record", "-q", "-F", "999", "-e", "cpu-clock:u", "--call-graph", "dwarf,32768"]
    done = subprocess.run(
        [*command, "-o", "perf.data", "./prog"], cwd=directory, capture_output=True, check=False
    )
    if not (directory / "perf.data").exists() or done.returncode not in (0, 1):
        pytest.skip("perf cannot sample here")
    return directory / "perf.data"


def test_stacks_of_samples_are_perf_scripts(recording: Path) -> None:
    command = ["perf", "script", "-i", recording, "--no-inline", "-F", "ip,sym", "--max-stack", "200"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = [
        [(int(line.split()[0], 16) % 4096) for line in block.splitlines() if line.strip()]
        for block in text.split("\n\n")
        if block.strip()
    ]
    stacks = list(sampled_stacks(recording))
    # perf tells addresses inside of files, of callers the one before the return address; no tail calls.
    ours = [
        [frame.lookup_address % 4096 for frame in one.stack if frame.found is not Found.TAIL_CALL]
        for one in stacks
    ]
    assert len(theirs) == len(ours) > 20
    assert [one.time for one in stacks] == sorted(one.time or 0 for one in stacks)
    assert sum(one == other for one, other in zip(theirs, ours, strict=True)) >= 0.97 * len(ours)
    assert all(one.stack.is_complete for one in stacks)
    assert all("main" in [frame.function for frame in one.stack] for one in stacks)
    assert all(one.pid == one.tid and one.time for one in stacks)


def test_a_stack_that_was_cut_ends_with_a_reason(recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    command = ["perf", "record", "-q", "-F", "999", "-e", "cpu-clock:u", "--call-graph", "dwarf,256"]
    subprocess.run([*command, "-o", path, recording.parent / "prog"], capture_output=True, check=False)
    ends = {one.stack.end for one in sampled_stacks(path)}
    assert any(end.startswith("no memory at ") for end in ends)


def test_recordings_without_stacks_are_refused(recording: Path, tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    command = ["perf", "record", "-q", "-e", "cpu-clock:u", "-o", path, recording.parent / "prog"]
    subprocess.run(command, capture_output=True, check=False)
    with pytest.raises(RecordingError, match="--call-graph dwarf"):
        list(sampled_stacks(path))


def test_damaged_recordings_never_fail(recording: Path, tmp_path: Path) -> None:
    whole = recording.read_bytes()[: 1 << 20]
    chance = random.Random(3)
    path = tmp_path / "damaged"
    for _ in range(20):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 20, 2000))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            for one in sampled_stacks(path, limit=100):
                assert len(one.stack) <= 100
        except RecordingError:
            pass


def test_an_emulated_processor_has_a_stack(tmp_path: Path) -> None:
    pytest.importorskip("unicorn")
    from odograph.processor import EmulatedProcessor

    if not shutil.which("gcc") or os.uname().machine != "x86_64":
        pytest.skip("needs gcc for x86-64")
    source = """
    __attribute__((noinline)) int leaf(int x) { return x * 3 + 1; }
    __attribute__((noinline)) int outer(int x) { int y = leaf(x); return y ^ leaf(y); }
    int _start(int x) { return outer(x) + 1; }
    """
    (tmp_path / "prog.c").write_text(source)
    options = ["-O1", "-fomit-frame-pointer", "-nostdlib", "-static", "-no-pie", "-Wl,-z,noseparate-code"]
    subprocess.run(["gcc", *options, "-o", "prog", "prog.c"], cwd=tmp_path, check=True)
    path = tmp_path / "prog"
    symbols = Symbols([Module("prog", 0x400000, 0x402000, 0, str(path))])
    cpu = EmulatedProcessor()
    cpu.map(0x400000, 0x2000, path.read_bytes()[:0x2000])
    cpu.map(0x7000_0000, 0x1000)
    cpu.write_register("rsp", 0x7000_0FF8)
    cpu.write_memory(0x7000_0FF8, struct.pack("<Q", 0))
    cpu.pc = symbols.resolve("_start")
    unwinder = CfiUnwinder(symbols)
    seen = set()
    for _ in range(40):
        stack = emulated_stack(cpu, unwinder)
        seen.add(tuple(frame.function for frame in stack))
        assert stack.end == "bottom"
        assert all(frame.found in (Found.START, Found.UNWIND_INFO) for frame in stack)
        cpu.step_insn()
        if cpu.pc == 0:
            break
    assert seen == {("_start",), ("outer", "_start"), ("leaf", "outer", "_start")}
    with pytest.raises(UnsupportedOperation):
        emulated_stack(EmulatedProcessor(32))
