"""Code that no file describes: what was called anywhere in a history is a function, and may be jumped to."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from test_calls import answers, check_agrees, check_costs

import odograph
from odograph.cluster import Cluster
from odograph.cluster.questions import Passes
from odograph.debug.derivedstack import DerivedStack
from odograph.frame import Found
from odograph.recorder import qemu
from odograph.recorder.record import record
from odograph.table import Table
from odograph.views import function_costs
from support import tailprograms
from support.judgedcosts import callgrind_by_name
from support.paths import PROGRAMS

JUMPS = PROGRAMS / "jumps.c"


def recorded(program: Path) -> odograph.Recording:
    if qemu.unavailable() is not None:
        pytest.skip("needs qemu-user")
    path = program.parent / "it.data"
    assert record([str(program)], path, backend="qemu").status is not None
    return odograph.open(path)


def built(text: str, folder: Path, *options: str) -> tuple[Path, Path]:
    programs = tailprograms.compiled(text, folder, *options)
    if programs is None:
        pytest.skip("needs gcc and strip")
    return programs


def check_is_callgrinds(text: str, folder: Path) -> None:
    """Each function of a stripped program costs what callgrind says of the same one with symbols."""
    if shutil.which("valgrind") is None:
        pytest.skip("needs valgrind")
    program, bare = built(text, folder)
    judged = callgrind_by_name(program, folder)
    recording = recorded(bare)
    starts = {int(line.split()[0], 16): line.split()[2] for line in nm(program)}
    rows = function_costs(recording.history().functions(), recording.symbols())
    found = {starts.get(row.offset, row.label): row for row in rows if row.module == bare.name}
    compared = 0
    for name, cost in judged.items():
        if name in found and name not in ("_init", "_fini", "_start", "frame_dummy"):
            assert (name, found[name].own) == (name, cost.own)
            if ("", name) not in cost.reached and name != "main":
                assert (name, found[name].calls) == (name, cost.calls)
            compared += 1
    assert compared >= 5


def nm(program: Path) -> list[str]:
    listed = subprocess.run(["nm", "--defined-only", program], check=True, capture_output=True, text=True)
    return [line for line in listed.stdout.splitlines() if line.split()[1] in "tT"]


def calls_of(recording: odograph.Recording, functions: set[int]) -> list[tuple[int, ...]]:
    """The calls of some functions: caller, callee, kind and inclusive cost."""
    pairs = recording.history().pairs()
    rows = zip(pairs["caller"], pairs["callee"], pairs["kind"], pairs["inclusive"], strict=True)
    return [row for row in rows if int(row[1]) in functions]


def test_functions_without_names_cost_what_callgrind_says(tmp_path: Path) -> None:
    check_is_callgrinds(JUMPS.read_text(), tmp_path)


def check_is_as_with_symbols(seed: int, folder: Path) -> int:
    program, bare = built(tailprograms.source(seed), folder)
    named, nameless = recorded(program), recorded(bare)
    own = {named.symbols().resolve(line.split()[2]) for line in nm(program) if line.split()[2][0] == "f"}
    own.discard(named.symbols().resolve("frame_dummy"))
    expected = calls_of(named, own)
    assert calls_of(nameless, own) == expected
    history, other = named.history(), nameless.history()
    first = int(history.find("main")[0])
    shift = int(other.find(history[first].ip)[0]) - first
    for step in range(first, min(first + 4000, len(history)), 37):
        with_names = [(frame.address, frame.found) for frame in history.stack(step)]
        assert [(frame.address, frame.found) for frame in other.stack(step + shift)] == with_names, step
    return sum(row[2] == "tail" for row in expected)


def test_programs_without_names_have_the_calls_of_those_with_symbols(tmp_path: Path) -> None:
    tails = 0
    for seed in range(4):
        (tmp_path / str(seed)).mkdir()
        tails += check_is_as_with_symbols(seed, tmp_path / str(seed))
    assert tails > 100


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(4, 50))
def test_fifty_programs_without_names_have_the_calls_of_those_with_symbols(seed: int, tmp_path: Path) -> None:
    check_is_as_with_symbols(seed, tmp_path)


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(20))
def test_functions_of_twenty_programs_without_names_cost_what_callgrind_says(
    seed: int, tmp_path: Path
) -> None:
    check_is_callgrinds(tailprograms.source(seed), tmp_path)


def test_frames_that_left_by_a_jump_are_named_by_what_was_called(tmp_path: Path) -> None:
    program, bare = built(JUMPS.read_text(), tmp_path)
    recording = recorded(bare)
    starts = {line.split()[2]: int(line.split()[0], 16) for line in nm(program)}
    history = recording.history()
    module = next(one for one in recording.symbols().modules if one.name == "program")
    entered = history.find(module.loaded(starts["last"]))
    stack = history.stack(int(entered[0]))
    names = [f"program+{starts[name]:#x}" for name in ("last", "middle", "first", "main")]
    assert [frame.function for frame in stack[:4]] == names
    assert [frame.known_by for frame in stack[:4]] == ["call"] * 4
    assert [frame.found for frame in stack[:4]] == [
        Found.START,
        Found.TAIL_CALL,
        Found.TAIL_CALL,
        Found.CALL,
    ]
    # gdb's server shows the same frames.
    derived = DerivedStack(history)
    for step in map(int, entered[::3]):
        listed = derived.at(step, history[step].ip).listed[::-1]
        stack = history.stack(step)
        assert len(listed) == len(stack)
        for shown, frame in zip(listed[:3], stack, strict=False):
            assert frame.step is not None
            assert shown.pc == history[frame.step].ip


def test_stubs_are_not_seen_where_no_file_knows_the_code(tmp_path: Path) -> None:
    for number, options in enumerate(
        (["-Wl,-z,lazy"], ["-Wl,-z,now"], ["-Wl,-z,lazy", "-fcf-protection=full"])
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        text = "#include <stdlib.h>\nvolatile int n = -3; int main(void) { return abs(n) + abs(n) + rand(); }"
        _, bare = built(text, folder, "-fno-builtin", "-D_FORTIFY_SOURCE=0", *options)
        recording = recorded(bare)
        pairs, symbols = recording.history().pairs(), recording.symbols()
        called = Counter(str(symbols.name_of(int(ip))) for ip in pairs["callee"])
        assert (called["libc.so.6!abs"], called["libc.so.6!rand"]) == (2, 1)
        assert not [name for name in called if "@plt" in name]


def test_generated_code_that_jumps_on_has_calls(tmp_path: Path) -> None:
    program, _ = built(tailprograms.JIT, tmp_path)
    recording = recorded(program)
    history = recording.history()
    pairs = history.pairs()
    code = 0x10000000
    counts = Counter(
        (int(ip) - code, kind)
        for ip, kind in zip(pairs["callee"], pairs["kind"], strict=True)
        if code <= ip < code + 64
    )
    assert counts == {(32, "call"): 5, (0, "tail"): 5, (0, "call"): 1, (16, "tail"): 6, (16, "call"): 1}
    step = int(history.find(code + 16)[0])
    assert [frame.address - code for frame in history.stack(step)[:3]] == [16, 2, 34]


def test_what_was_called_is_known_to_all_who_are_asked(tmp_path: Path, cluster: Cluster) -> None:
    _, bare = built(tailprograms.source(1), tmp_path)
    recording = recorded(bare)
    history = recording.history()
    expected = answers(history)
    assert "tail" in set(history.pairs()["kind"])
    assert check_agrees(history, 4, 8, 1) > 20
    check_costs(history)
    path = Path(recording.path)
    for passing, table in ((cluster.pairs, 0), (cluster.functions, 2), (cluster.calls, 3)):
        (answer,) = passing(str(path)).answers
        assert answer.value.to_dict() == expected[table]
    # A stack that is asked for first, and a part, know the same.
    other = odograph.open(path).history()
    middle = len(history) // 2
    assert (
        other.part(middle, middle + 500).pairs().to_dict()
        == history.part(middle, middle + 500).pairs().to_dict()
    )
    assert [str(other.stack(step)) for step in range(0, len(other), 997)] == [
        str(history.stack(step)) for step in range(0, len(history), 997)
    ]
    assert answers(other) == expected
    recording.save_index()
    again = odograph.open(path)
    assert answers(again.history()) == expected
    assert again.index_use is not None
    assert again.index_use.used


def test_a_live_stream_tells_what_was_called(tmp_path: Path) -> None:
    _, bare = built(tailprograms.source(2), tmp_path)
    recording = recorded(bare)
    whole = recording.history()
    (stream,) = recording.decoding.streams(recording.threads[0])
    data = bytes(stream.read())
    size = len(data) // 5 + 1
    with odograph.LiveTrace(recording.image(), recording.config) as live:
        parts = [live.feed(data[at : at + size]) for at in range(0, len(data), size)]
        parts = list(filter(len, [*parts, live.close()]))

    def asked(functions: Any) -> tuple[list[dict[str, Any]], Any]:
        tables, left = [], None
        for name in ("pairs", "functions", "paths"):
            question = Passes(name, functions.to_bytes())
            total = question.sum()
            for part in parts:
                total.add(question.ask(part._raw, 0, len(part)), part.first_step)
            found, left = total.tables(
                recording.decoding.clock, whole.begins_program, whole.unwind_tables, ()
            )
            tables.append(Table(found[0]).to_dict())
        return tables, left

    functions = recording.functions()
    _, (_, called, matters) = asked(functions)
    assert matters
    tables, (_, called, matters) = asked(functions.with_called(called))
    assert (called, matters) == ([], False)
    assert tables == [table.to_dict() for table in (whole.pairs(), whole.functions(), whole.calls())]


def test_a_nameless_part_that_goes_on_with_a_frame_belongs_to_its_function(tmp_path: Path) -> None:
    program, bare = built(tailprograms.COLD, tmp_path, "-fasynchronous-unwind-tables", "-fno-ipa-ra")
    starts = {line.split()[2]: int(line.split()[0], 16) for line in nm(program)}
    if "often.cold" not in starts:
        pytest.skip("needs a compiler that moves cold code")
    named, nameless = recorded(program), recorded(bare)
    base = named.symbols().resolve("main") - starts["main"]
    own = {base + starts[name] for name in ("rare", "plain", "often", "often.cold")}
    history = nameless.history()
    assert len(history.find(base + starts["often.cold"])) == 4
    assert calls_of(nameless, own) == calls_of(named, own)
    assert not [row for row in calls_of(nameless, own) if row[1] == base + starts["often.cold"]]
