"""Calls in pairs, functions, paths and stacks: one answer, whoever is asked, and that of callgrind."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import odograph
from callprograms import WAYS, callgrind, compiled, source
from odograph import History
from odograph.cluster import Cluster
from odograph.cluster.questions import Passes
from odograph.recording import qemu
from odograph.recording.record import record
from odograph.table import Table
from odograph.views import function_costs


def recorded(seed: int, folder: Path, ways: tuple[str, ...] = WAYS) -> tuple[Path, Path]:
    """A program made from a seed, and its recording."""
    if qemu.unavailable() is not None:
        pytest.skip("needs qemu-user")
    program = compiled(source(seed, ways), folder)
    if program is None:
        pytest.skip("needs gcc")
    path = folder / "calls.data"
    assert record([str(program)], path, backend="qemu").status == 0
    return program, path


def open_rows(pairs: Table, switches: Table, step: int) -> list[int]:
    """The rows of ``pairs`` that lie on the stack before a step, the innermost first."""
    ran = int(np.searchsorted(switches["step"], step, side="right")) - 1
    call, end = np.asarray(pairs["call"]), np.asarray(pairs["end"])
    is_frame = np.isin(np.asarray(pairs["kind"]), ("call", "interrupt", "tail"))
    is_open = (call < step) & ((end < 0) | (end >= step)) & is_frame
    mine = np.asarray(pairs["stack"]) == switches["stack"][ran]
    return np.flatnonzero(is_open & mine)[::-1].tolist()


def check_agrees(history: History, windows: int, questions: int, seed: int) -> int:
    """Open calls of random windows are those on the stack at random steps; how many were compared."""
    dice = random.Random(seed)
    compared = 0
    for nth in range(windows):
        start = dice.randrange(len(history)) if nth % 3 else 0
        stop = dice.randrange(start, len(history)) + 1 if nth % 2 else len(history)
        pairs, switches = history.pairs(start, stop), history.switches(start, stop)
        for step in (dice.randrange(start, stop) for _ in range(questions)):
            stack = [frame for frame in history.stack(step)[1:] if frame.step is not None]
            if any(frame.is_guess for frame in stack):
                continue
            found = []
            for row in open_rows(pairs, switches, step):
                call = int(pairs["call"][row])
                if pairs["kind"][row] == "interrupt":
                    found.append((max(call, 0), int(pairs["caller"][row])))
                elif pairs["kind"][row] == "tail":
                    found.append((call, int(pairs["caller"][row])))
                else:
                    assert history[call].ip == pairs["caller"][row]
                    found.append((call, history[call].ip + history[call].size))
            if found and len(found) > len(stack):
                # What began the program jumped to it, and nothing called that.
                assert pairs["kind"][open_rows(pairs, switches, step)[-1]] == "tail"
                found.pop()
            assert found == [(frame.step, frame.address) for frame in stack[: len(found)]], (
                start,
                stop,
                step,
            )
            # The others were there before.
            assert all((frame.step or 0) < max(start, 1) for frame in stack[len(found) :]), (
                start,
                stop,
                step,
            )
            compared += 1
    return compared


def check_costs(history: History) -> None:
    """Functions follow from pairs, and so do paths."""
    pairs, functions, paths = history.pairs(), history.functions(), history.calls()
    assert functions["own"].sum() == paths["own"].sum() == len(history)
    callees, calls = np.unique(pairs["callee"], return_counts=True)
    assert functions["ip"][1:].tolist() == callees.tolist()
    assert functions["calls"][1:].tolist() == calls.tolist()
    for column in ("calls", "own"):
        sums: dict[int, int] = {}
        for ip, value in zip(paths["ip"].tolist(), paths[column].tolist(), strict=True):
            sums[ip] = sums.get(ip, 0) + value
        assert sums == dict(zip(functions["ip"].tolist(), functions[column].tolist(), strict=True))
    # What is executed below all paths to a function, the outermost ones.
    parents, ips = paths["parent"].tolist(), paths["ip"].tolist()
    inclusive = paths["own"].tolist()
    for row in range(len(parents) - 1, 0, -1):
        inclusive[parents[row]] += inclusive[row]
    above: list[set[int]] = [set()]
    expected: dict[int, int] = {0: inclusive[0]}
    for row in range(1, len(parents)):
        if ips[row] not in above[parents[row]]:
            expected[ips[row]] = expected.get(ips[row], 0) + inclusive[row]
        above.append(above[parents[row]] | {ips[row]})
    assert dict(zip(functions["ip"].tolist(), functions["inclusive"].tolist(), strict=True)) == expected


def answers(history: History) -> list[Any]:
    return [
        table.to_dict()
        for table in (history.pairs(), history.switches(), history.functions(), history.calls())
    ]


@pytest.mark.parametrize("seed", range(4))
def test_all_answers_agree_about_open_calls(seed: int, tmp_path: Path) -> None:
    _, path = recorded(seed, tmp_path)
    history = odograph.open(path).history()
    assert check_agrees(history, 6, 15, seed) > 60
    check_costs(history)


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(50))
def test_all_answers_agree_about_open_calls_of_fifty_programs(seed: int, tmp_path: Path) -> None:
    _, path = recorded(seed, tmp_path)
    history = odograph.open(path).history()
    assert check_agrees(history, 200, 5, seed) > 500
    check_costs(history)


def test_parts_put_together_answer_as_the_whole(tmp_path: Path, cluster: Cluster) -> None:
    _, path = recorded(1, tmp_path)
    recording = odograph.open(path)
    history = recording.history()
    expected = answers(history)
    for passing, table in ((cluster.pairs, 0), (cluster.functions, 2), (cluster.calls, 3)):
        (answer,) = passing(str(path)).answers
        assert answer.value.to_dict() == expected[table]
    recording.save_index()
    again = odograph.open(path)
    assert answers(again.history()) == expected
    assert again.index_use is not None
    assert again.index_use.used


def test_a_live_stream_answers_as_the_whole(tmp_path: Path) -> None:
    _, path = recorded(2, tmp_path)
    recording = odograph.open(path)
    (stream,) = recording.streams(recording.threads[0])
    whole = recording.history()
    functions = recording.functions().to_bytes()
    questions = [Passes(name, functions) for name in ("pairs", "functions", "paths")]
    sums = [question.sum() for question in questions]
    with odograph.Stream(recording.image(), recording.config) as live:
        data = bytes(stream.read())
        size = len(data) // 7 + 1
        parts = [live.feed(data[at : at + size]) for at in range(0, len(data), size)]
        for part in filter(len, [*parts, live.close()]):
            for question, total in zip(questions, sums, strict=True):
                total.add(question.ask(part._raw, 0, len(part)), part.first_step)
    for total, expected in zip(sums, (whole.pairs(), whole.functions(), whole.calls()), strict=True):
        table, *_ = total.tables(recording.clock, whole.begins_program, whole.landings, ())
        assert Table(table).to_dict() == expected.to_dict()


@pytest.mark.parametrize("seed", range(2))
def test_parts_of_a_history_have_steps_of_their_own(seed: int, tmp_path: Path) -> None:
    _, path = recorded(seed, tmp_path)
    history = odograph.open(path).history()
    dice = random.Random(seed)
    for _ in range(4):
        start = dice.randrange(len(history))
        stop = dice.randrange(start, len(history)) + 1
        part, pairs = history.part(start, stop), history.pairs(start, stop)
        own = part.pairs()
        for name in set(pairs.names) - {"call", "end"}:
            assert list(own[name]) == list(pairs[name])
        assert (np.asarray(own["call"]) + start).tolist() == pairs["call"].tolist()
        assert part.functions().to_dict() == history.functions(start, stop).to_dict()


# Of others callgrind thinks otherwise: its handlers of signals are not below what they interrupted, and
# stacks that a program switches between are one.
JUDGED = ("call", "pointer", "recursion", "longjmp", "qsort")


def check_is_callgrinds(seed: int, folder: Path) -> None:
    if shutil.which("valgrind") is None:
        pytest.skip("needs valgrind")
    program, path = recorded(seed, folder, JUDGED)
    recording = odograph.open(path)
    rows = function_costs(recording.history().functions(), recording.symbols())
    found = {row.name: row for row in rows if row.module == program.name}
    judged = callgrind(program, folder)
    compared = 0
    for name, cost in judged.items():
        if name in found and re.fullmatch(r"f\d+|leaf|compare|main", name):
            assert (name, found[name].calls, found[name].own) == (name, cost.calls or 1, cost.own)
            # What the C library executes depends on the processor.
            if not cost.recursive and cost.reached <= judged.keys():
                assert (name, found[name].inclusive) == (name, cost.inclusive)
                compared += 1
    assert compared > 0


@pytest.mark.parametrize("seed", range(2))
def test_calls_and_costs_are_those_of_callgrind(seed: int, tmp_path: Path) -> None:
    check_is_callgrinds(seed, tmp_path)


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(50))
def test_calls_and_costs_of_fifty_programs_are_those_of_callgrind(seed: int, tmp_path: Path) -> None:
    check_is_callgrinds(seed, tmp_path)
