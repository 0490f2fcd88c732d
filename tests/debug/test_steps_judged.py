"""Editors' commands end at the steps where gdb's do, from any step of a program's own functions."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import odograph
from support.callprograms import compiled, source
from support.debugruns import Recorded, record
from support.judgedsteps import (
    Ends,
    Judge,
    cases,
    chosen,
    ends_by_dap,
    ends_by_gdb,
    ends_of_program,
    ends_of_recording,
)

Gdb = Callable[..., list[str]]
WAYS = ("call", "pointer", "recursion", "longjmp", "qsort", "signal", "tail")
LEVELS = (("-O0",), ("-O2", "-foptimize-sibling-calls"))


def check(gdb: Gdb, recorded: Recorded, count: int, seed: int = 0) -> Counter[str]:
    """Steps end where gdb's do, or differ in a way that is listed; how often each kind is."""
    recording = odograph.open(recorded.path)
    judge = Judge(recording)
    steps = chosen(recording.history(), recorded.program.name, count, seed)
    seen: Counter[str] = Counter()
    for step, judged, found in zip(
        steps, ends_by_gdb(gdb, recorded, steps), ends_by_dap(recording, steps), strict=True
    ):
        for name, mine, its in zip(Ends._fields, found, judged, strict=True):
            kind = "same"
            if mine != its:
                assert mine is not None, (step, name)
                assert its is not None, (step, name)
                kind = judge.back(step, mine, its) if name == "back" else judge.forward(step, mine)
                assert kind, (step, name, mine, its)
            seen[f"{'back' if name == 'back' else 'forward'}: {kind}"] += 1
    return seen


def generated(seed: int, folder: Path, options: tuple[str, ...]) -> Recorded:
    program = compiled(source(seed, WAYS), folder, *options)
    if program is None:
        pytest.skip("needs gcc")
    return record(program, folder / "stepped.data", "qemu")


def written(text: str, folder: Path, *options: str) -> Recorded:
    program = folder / "written"
    (folder / "written.c").write_text(text)
    subprocess.run(["gcc", "-g", "-O0", *options, "-o", program, folder / "written.c"], check=True)
    return record(program, folder / "written.data", "qemu")


@pytest.mark.parametrize("options", LEVELS)
def test_steps_end_where_gdbs_do(gdb: Gdb, tmp_path: Path, options: tuple[str, ...]) -> None:
    seen = check(gdb, generated(0, tmp_path, options), 12)
    assert seen["forward: same"] >= 20


@pytest.mark.acceptance
@pytest.mark.parametrize("options", LEVELS)
@pytest.mark.parametrize("seed", range(1, 21))
def test_steps_of_twenty_programs_end_where_gdbs_do(
    gdb: Gdb, tmp_path: Path, seed: int, options: tuple[str, ...]
) -> None:
    seen = check(gdb, generated(seed, tmp_path, options), 40, seed)
    assert seen["forward: same"] >= 60


def check_program(seed: int, count: int, folder: Path, options: tuple[str, ...]) -> None:
    """Steps end where gdb's do that runs the program itself. It loses a program at longjmp."""
    program = compiled(source(seed, tuple(way for way in WAYS if way != "longjmp")), folder, *options)
    if program is None or shutil.which("gdb") is None:
        pytest.skip("needs gcc and gdb")
    recorded = record(program, folder / "stepped.data", "qemu")
    recording = odograph.open(recorded.path)
    functions = [f"f{number}" for number in range(4)]
    asked = cases(recording.history(), functions, count, seed)
    judged = ends_of_program(program, asked)
    if len(judged) != len(asked):
        pytest.skip("gdb cannot run programs here")
    for case, found, its in zip(asked, ends_of_recording(recording, asked), judged, strict=True):
        assert (case, found) == (case, its)


def test_steps_end_where_gdbs_do_in_the_program_itself(tmp_path: Path) -> None:
    check_program(30, 4, tmp_path, LEVELS[1])


@pytest.mark.acceptance
@pytest.mark.parametrize("options", LEVELS)
@pytest.mark.parametrize("seed", range(31, 36))
def test_steps_end_where_gdbs_do_in_five_programs_themselves(
    tmp_path: Path, seed: int, options: tuple[str, ...]
) -> None:
    check_program(seed, 40, tmp_path, options)


LONGJMP = """\
#include <setjmp.h>
static jmp_buf back;
volatile int sink;
__attribute__((noinline)) static int leave(int n)
{
    sink += n;
    longjmp(back, n);
}
int main(void)
{
    if (setjmp(back) == 0)
        sink += leave(1);
    sink++;
    return 0;
}
"""


def test_only_listed_steps_differ_where_longjmp_leaves_functions(gdb: Gdb, tmp_path: Path) -> None:
    recorded = written(LONGJMP, tmp_path)
    seen = check(gdb, recorded, 400)
    kinds = {"same", "no line", "longjmp"}
    assert {one for one in seen if one.startswith("forward")} == {f"forward: {kind}" for kind in kinds}
    assert {"back: row", "back: caller", "back: longjmp"} <= set(seen)
    # The program itself is lost to gdb, too: from the line 12 it ends.
    command = ["gdb", "-batch", "-nx", "-ex", "break 12", "-ex", "run", "-ex", "next", recorded.program]
    assert "exited normally" in subprocess.run(command, capture_output=True, text=True, check=False).stdout


SEVERAL_FRAMES = """\
#include <setjmp.h>
static jmp_buf *outer;
volatile int sink;
__attribute__((noinline)) static int deeper(int n)
{
    jmp_buf here;
    if (n == 2)
        outer = &here;
    if (setjmp(here) == 0) {
        if (n == 0)
            longjmp(*outer, 1);
        deeper(n - 1);
    }
    sink += n;
    return n;
}
int main(void)
{
    deeper(3);
    return 0;
}
"""


def test_returns_tell_in_which_of_several_frames_a_longjmp_landed(gdb: Gdb, tmp_path: Path) -> None:
    seen = check(gdb, written(SEVERAL_FRAMES, tmp_path), 60)
    assert not [kind for kind in seen if "several frames" in kind]


SINGLE_INSTRUCTIONS = """\
volatile int a, b;
int main(void)
{
    for (int i = 0; i < 2; i++)
        a++;
    for (int i = 0; i < 2; i++)
        b++;
    return 0;
}
"""


def test_going_back_gdb_passes_rows_of_one_instruction(gdb: Gdb, tmp_path: Path) -> None:
    seen = check(gdb, written(SINGLE_INSTRUCTIONS, tmp_path), 20)
    assert {one for one in seen if one.startswith("forward")} == {"forward: same"}
    assert "back: single instruction" in seen


INLINED = """\
volatile int sink;
static inline __attribute__((always_inline)) int twice(int x)
{
    sink += x;
    return 2 * x;
}
static inline __attribute__((always_inline)) int four(int x)
{
    sink++;
    return twice(twice(x));
}
__attribute__((noinline)) int work(int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++) {
        sum += four(i);
        sink--;
    }
    return sum + twice(n);
}
int main(void)
{
    sink = work(2);
    return twice(sink) & 0;
}
"""


@pytest.mark.parametrize("level", [pytest.param("-O0", marks=pytest.mark.acceptance), "-O2"])
def test_inlined_functions_are_stepped_over_and_out_of_as_gdb_does(
    gdb: Gdb, tmp_path: Path, level: str
) -> None:
    seen = check(gdb, written(INLINED, tmp_path, level), 25)
    assert {one for one in seen if one.startswith("forward")} == {"forward: same"}
    assert "back: inlined" in seen


JUMPS_INTO_LINES = """
    .file 1 "written.c"
    .text
    .globl main
    .type main, @function
main:
    .loc 1 10
    nop
    jmp 1f
    .loc 1 20
    nop
1:  nop
    jmp 2f
    .loc 1 30
    nop
2:  .loc 1 20
    nop
    .loc 1 40
    nop
    .loc 1 0
    nop
    .loc 1 50 is_stmt 0
    nop
    jmp 3f
    .loc 1 51 is_stmt 0
    nop
3:  nop
    .loc 1 51 is_stmt 1
    nop
    .loc 1 60
    .loc 1 61
    .loc 1 62 is_stmt 0
    xor %eax, %eax
    ret
    .size main, . - main
    .section .note.GNU-stack, "", @progbits
"""


def test_who_jumps_into_the_middle_of_a_line_is_in_that_line(gdb: Gdb, tmp_path: Path) -> None:
    (tmp_path / "written.s").write_text(JUMPS_INTO_LINES)
    program = tmp_path / "written"
    subprocess.run(["gcc", "-o", program, tmp_path / "written.s"], check=True)
    recorded = record(program, tmp_path / "written.data", "qemu")
    recording = odograph.open(recorded.path)
    first, last = (int(recording.history().find(name)[0]) for name in ("main", "exit"))
    ips = recording.history().ips(first, last)
    (module,) = (one for one in recording.history().symbols.modules if one.name == "written")
    steps = [first + int(at) for at in np.flatnonzero((ips >= module.address) & (ips < module.end))]
    judged, found = ends_by_gdb(gdb, recorded, steps), ends_by_dap(recording, steps)
    assert [one.over for one in found] == [one.over for one in judged]
    # From the line 10 into the line 20, which begins once more: that is the same line still.
    assert found[0].over == steps[5]
