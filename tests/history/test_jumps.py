"""Calls that are jumps: what a function jumps to at its end is a call, and stubs and thunks are not seen."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import odograph
from odograph.frame import Found
from odograph.recorder import qemu
from odograph.recorder.record import record
from odograph.views import function_costs
from support.judgedcosts import callgrind_by_name
from support.paths import PROGRAMS

SOURCE = PROGRAMS / "jumps.c"
NAMES = ("last", "middle", "first", "by_pointer", "main")


def recorded(folder: Path, *options: str) -> tuple[Path, odograph.Recording]:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs gcc")
    if qemu.unavailable() is not None:
        pytest.skip("needs qemu-user")
    program = folder / "jumps"
    subprocess.run([compiler, *options, "-g", "-fcf-protection=none", "-o", program, SOURCE], check=True)
    assert record([str(program)], folder / "jumps.data", backend="qemu").status in (0, 1)
    return program, odograph.open(folder / "jumps.data")


def costs(recording: odograph.Recording) -> dict[str, tuple[int, int]]:
    rows = function_costs(recording.history().functions(), recording.symbols())
    return {row.name: (row.calls, row.own) for row in rows if row.module == "jumps" and row.name is not None}


def test_functions_that_are_jumped_to_cost_what_callgrind_says(tmp_path: Path) -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("needs valgrind")
    program, recording = recorded(tmp_path, "-O2")
    judged = callgrind_by_name(program, tmp_path)
    found = costs(recording)
    for name in NAMES:
        assert (name, *found[name]) == (name, judged[name].calls, judged[name].own)
    pairs = recording.history().pairs()
    jumped = recording.symbols().resolve("middle")
    kinds = [kind for kind, ip in zip(pairs["kind"], pairs["callee"], strict=True) if ip == jumped]
    assert (kinds.count("tail"), kinds.count("call")) == (7, 5)


@pytest.mark.parametrize(
    "how", ["-mindirect-branch=thunk", "-mindirect-branch=thunk-inline", "-mfunction-return=thunk"]
)
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_thunks_are_not_seen(tmp_path: Path, how: str, level: str) -> None:
    (tmp_path / "plain").mkdir()
    _, plain = recorded(tmp_path / "plain", level)
    _, recording = recorded(tmp_path, level, how)
    expected, found = costs(plain), costs(recording)
    assert {name: found[name][0] for name in NAMES} == {name: expected[name][0] for name in NAMES}
    assert found.keys() == expected.keys()


def test_stubs_are_not_seen(tmp_path: Path) -> None:
    _, recording = recorded(tmp_path, "-O1", "-Wl,-z,lazy")
    rows = function_costs(recording.history().functions(), recording.symbols())
    assert not [row.name for row in rows if row.name is not None and row.name.endswith("@plt")]


def main_stacks(recording: odograph.Recording, name: str) -> list[list[str | None]]:
    """Functions on the stack up to ``main``, at the first step of each call of a function."""
    history = recording.history()
    stacks = [[frame.function for frame in history.stack(int(step))] for step in history.find(name)]
    return [stack[: stack.index("main") + 1] for stack in stacks]


def test_functions_that_left_by_a_jump_are_on_the_stack(tmp_path: Path) -> None:
    _, recording = recorded(tmp_path, "-O2")
    history, stacks = recording.history(), main_stacks(recording, "last")
    assert stacks[:7] == [["last", "middle", "first", "main"]] * 7
    assert stacks[7:9] == [["last", "by_pointer", "main"], ["last", "middle", "by_pointer", "main"]]
    step = int(history.find("last")[0])
    last, middle, first, main = history.stack(step)[:4]
    assert [frame.found for frame in (middle, first)] == [Found.TAIL_CALL] * 2
    assert (middle.address, middle.step) == (history[step - 1].ip, step - 1)
    assert (first.entered, main.entered) == (history.find("middle")[0], history.find("first")[0])
    assert (last.step, main.found) == (step, Found.CALL)


@pytest.mark.parametrize("how", ["-mindirect-branch=thunk", "-mfunction-return=thunk"])
def test_thunks_are_on_no_stack(tmp_path: Path, how: str) -> None:
    _, recording = recorded(tmp_path, "-O0", how)
    history, symbols = recording.history(), recording.symbols()
    (tmp_path / "plain").mkdir()
    _, plain = recorded(tmp_path / "plain", "-O0")
    assert main_stacks(recording, "last") == main_stacks(plain, "last")
    thunk = next(name for name in ("__x86_indirect_thunk_rdx", "__x86_return_thunk") if has(symbols, name))
    start = symbols.resolve(thunk)
    steps = [step for step in range(int(history.find(thunk)[0]), len(history)) if step][:60]
    inside = [step for step in steps if start <= history[step].ip < start + 32]
    assert len(inside) > 2
    for step in inside:
        # Only the innermost frame may stand in it.
        assert thunk not in [frame.function for frame in history.stack(step)[1:]]


def has(symbols: odograph.Symbols, name: str) -> bool:
    try:
        return symbols.resolve(name) > 0
    except KeyError:
        return False


EDGES = """
#define ALONE __attribute__((noinline, noclone))
volatile int sink;
ALONE void leaf(void) { sink++; }
ALONE void other(void) { leaf(); sink++; }
__asm__(".p2align 12\\n.skip " PLACE "\\n.type thunk,@function\\nthunk: call 1f\\n"
        "2: pause\\nlfence\\njmp 2b\\n1: mov %rax,(%rsp)\\nret\\n.size thunk,.-thunk\\n");
int main(void)
{
    __asm__ volatile("mov %0,%%rax\\nsub $128,%%rsp\\ncall thunk\\nadd $128,%%rsp"
                     :: "r"(other) : "rax", "memory", "cc");
    leaf();
    return 0;
}
"""


@pytest.mark.parametrize("place", [4091, 4085, 4095])
def test_thunks_that_lie_across_pages_are_not_seen(tmp_path: Path, place: int) -> None:
    """The call of the thunk, or what it calls, is the first or last code of a page."""
    if shutil.which("gcc") is None or qemu.unavailable() is not None:
        pytest.skip("needs gcc and qemu-user")
    program, path = tmp_path / "edges", tmp_path / "edges.data"
    (tmp_path / "edges.c").write_text(EDGES)
    options = ["-O1", f'-DPLACE="{place}"']
    subprocess.run(["gcc", *options, "-o", program, tmp_path / "edges.c"], check=True)
    assert record([str(program)], path, backend="qemu").status == 0
    assert main_stacks(odograph.open(path), "leaf") == [["leaf", "other", "main"], ["leaf", "main"]]
