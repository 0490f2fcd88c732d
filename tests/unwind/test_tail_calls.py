"""Calls that jumped, from debug information of calls."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from odograph.symbols import Lines, Module, Symbols
from odograph.unwind.tailcalls import TailCalls, _common

PROGRAM = """
volatile int sink;
#define FUNCTION __attribute__((noinline, noclone, noipa))
FUNCTION int last(int n) { sink = n; return n + 1; }
FUNCTION int left(int n) { sink = 2 * n; return last(n + 2); }
FUNCTION int right(int n) { sink = 3 * n; return last(n + 3); }
FUNCTION int either(int n) { sink = 4 * n; if (n & 1) return left(n); return right(n); }
FUNCTION int only(int n) { sink = 5 * n; return either(n + 5); }
FUNCTION int around(int n) { if (n > 9) sink = around(n - 3); return last(n); }
static int (*volatile pointer)(int) = only;
FUNCTION int unknown(int n) { sink = 6 * n; return pointer(n); }
int main(int count, char **words)
{
    (void)words;
    int sum = only(count);
    sum += unknown(count);
    sum += around(count);
    return sum & 1;
}
"""
BASE = 0x7F0000000000


@pytest.fixture(scope="module", params=["-gdwarf-5", "-gdwarf-4"])
def symbols(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Symbols:
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc here")
    folder = tmp_path_factory.mktemp("tails")
    source, program = folder / "tails.c", folder / "tails"
    source.write_text(PROGRAM)
    subprocess.run(["gcc", "-O2", request.param, "-pie", "-o", program, source], check=True)
    return Symbols([Module("tails", BASE, BASE + 0x10000, 0, str(program))])


def behind_call(symbols: Symbols, caller: str, callee: str) -> int:
    """The address behind the instruction with which a function calls or jumps to another one."""
    (module,) = symbols.modules
    assert module.path is not None
    lines = Lines.of_file(module.path)
    calls = lines.calls_at(symbols.resolve(caller) - module.bias)
    assert calls is not None
    wanted = symbols.resolve(callee) - module.bias
    (behind,) = (call.behind for call in calls.calls if call.target == wanted)
    return behind + module.bias


@pytest.mark.parametrize(
    ("caller", "called", "stands_in", "between"),
    [
        ("main", "only", "only", []),
        ("main", "only", "either", [("only", "either")]),
        ("main", "only", "left", [("either", "left"), ("only", "either")]),
        # Over left or right: nobody knows.
        ("main", "only", "last", [("only", "either")]),
        # Not by tail calls.
        ("main", "only", "around", []),
        # A pointer says where to.
        ("main", "unknown", "last", []),
    ],
)
def test_jumps_between_a_call_and_a_function(
    symbols: Symbols, caller: str, called: str, stands_in: str, between: list[tuple[str, str]]
) -> None:
    tails = TailCalls(symbols)
    returns_to = behind_call(symbols, caller, called)
    expected = tuple(behind_call(symbols, *jump) for jump in between)
    for _ in range(2):
        assert tails.between(symbols.resolve(stands_in) + 1, returns_to) == expected


def test_where_nothing_is_known_there_are_none(symbols: Symbols) -> None:
    tails = TailCalls(symbols)
    last, main = symbols.resolve("last"), symbols.resolve("main")
    for callee, returns_to in ((last, main), (last, 0), (0, main), (last, 1 << 63), (-1, -1)):
        assert tails.between(callee, returns_to) == ()


@pytest.mark.parametrize(
    ("ways", "common"),
    [
        ([], ()),
        ([(1, 2, 3)], (3, 2, 1)),
        ([(1, 2, 3), (1, 2, 3)], (3, 2, 1)),
        ([(1, 2, 9), (1, 3, 9)], (9, 1)),
        ([(1, 9), (1, 2, 9)], (9, 1)),
        ([(1,), (1, 1)], (1,)),
        ([(1, 2), (3, 4)], ()),
        ([(1, 2, 5, 9), (1, 2, 9), (1, 7, 9)], (9, 1)),
    ],
)
def test_what_all_ways_have_in_common(ways: list[tuple[int, ...]], common: tuple[int, ...]) -> None:
    assert _common(ways) == common
