"""Several questions by one walk, and what a selection leaves out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_calls import recorded

import odograph
from odograph import History, InvalidArgument, Selection
from odograph.history.selection import QUESTIONS, Question
from odograph.recorder import qemu
from support.paths import CORPUS


def rows(table: Any) -> list[dict[str, Any]]:
    return list(table)


def separately(history: History, question: Question, start: int, stop: int) -> list[Any]:
    answer = getattr(history, question)(start, stop)
    tables = [answer.blocks, answer.edges] if question == "coverage" else [answer]
    return [rows(table) for table in tables]


def together(answers: odograph.Answers, question: Question) -> list[Any]:
    answer = getattr(answers, question)
    tables = [answer.blocks, answer.edges] if question == "coverage" else [answer]
    return [rows(table) for table in tables]


@pytest.mark.parametrize("name", ["signal.qemu.data", "threads.ptrace.data", "dynamic.qemu.data"])
def test_questions_that_are_asked_together_are_answered_as_one_by_one(name: str) -> None:
    for history in odograph.open(CORPUS / name, index=False).histories().values():
        for start, stop in ((0, len(history)), (len(history) // 3, len(history) // 2), (7, 7)):
            selection = Selection(steps=(start, stop))
            for questions in (QUESTIONS, QUESTIONS[::-1], ("functions", "calls"), ("pairs", "counts")):
                answers = history.ask(*questions, selection=selection)
                for question in questions:
                    assert together(answers, question) == separately(history, question, start, stop)


def test_what_was_not_asked_is_not_answered() -> None:
    history = odograph.open(CORPUS / "static.qemu.data", index=False).history()
    answers = history.ask("counts")
    assert len(answers.counts)
    with pytest.raises(InvalidArgument, match="'pairs' was not asked; what was: counts"):
        answers.pairs  # noqa: B018
    with pytest.raises(InvalidArgument, match="unknown question 'blocks'"):
        history.ask("blocks")  # type: ignore[arg-type]


def test_a_selection_chooses_threads() -> None:
    recording = odograph.open(CORPUS / "threads.qemu.data", index=False)
    tids = [thread.tid for thread in recording.threads]
    assert len(tids) > 1
    assert list(recording.ask("counts")) == tids
    chosen = recording.ask("counts", selection=Selection(threads={tids[1]}))
    assert list(chosen) == [tids[1]]
    assert rows(chosen[tids[1]].counts) == rows(recording.history(tids[1]).counts())
    with pytest.raises(InvalidArgument, match="thread 5 has no trace"):
        recording.ask("counts", selection=Selection(threads={5}))


def test_a_history_refuses_a_selection_of_threads() -> None:
    recording = odograph.open(CORPUS / "threads.qemu.data", index=False)
    with pytest.raises(InvalidArgument, match=r"of one thread: leave out threads, or use Recording\.ask"):
        recording.history().ask("counts", selection=Selection(threads={recording.threads[0].tid}))


@pytest.mark.parametrize("name", ["functions", "modules", "threads"])
def test_a_single_name_in_the_place_of_a_collection_is_refused(name: str) -> None:
    one: Any = 7 if name == "threads" else "before"
    with pytest.raises(InvalidArgument, match=rf"{name} is a collection: write {name}=\[{one!r}\]"):
        Selection(**{name: one})


def test_errors_say_what_to_write_instead() -> None:
    history = odograph.open(CORPUS / "static.qemu.data", index=False).history()
    first, last = int(history[0].ip), int(history[0].ip) + 8
    with pytest.raises(InvalidArgument, match="not of length 1; write a list for several places"):
        history.find((first,))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r"upside down: .*; write a list for several places"):
        history.find((last, first))
    with pytest.raises(TypeError, match=r"by its name \(step, stack\), or for rows by a number or a slice"):
        history.switches()[None]  # type: ignore[call-overload]
    with pytest.raises(KeyError, match="there is no column 'steps'; there are: step, stack"):
        history.switches()["steps"]


def test_times_are_refused_where_there_is_no_clock() -> None:
    history = odograph.open(CORPUS / "static.qemu.data", index=False).history()
    with pytest.raises(InvalidArgument, match="no processor clock"):
        history.ask("counts", selection=Selection(time=(0, 1)))


@pytest.mark.parametrize("wrong", [{"depth": -1}, {"min_cost": -1}])
def test_numbers_of_a_selection_are_not_negative(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument, match="not negative"):
        Selection(**wrong)


@pytest.mark.parametrize("name", ["signal.qemu.data", "dynamic.qemu.data"])
def test_a_selection_of_rows_leaves_out_rows_and_changes_none(name: str) -> None:
    history = odograph.open(CORPUS / name, index=False).history()
    everything = history.ask(*QUESTIONS)
    middle = sorted(everything.counts["ip"].tolist())[len(everything.counts) // 2]
    within = (middle, middle + 200)
    selection = Selection(functions=[within], min_cost=10, depth=2)
    chosen = history.ask(*QUESTIONS, selection=selection)

    def inside(ip: int) -> bool:
        return within[0] <= ip <= within[1]

    assert rows(chosen.counts) == [row for row in everything.counts if inside(row["ip"])]
    assert rows(chosen.coverage.blocks) == [row for row in everything.coverage.blocks if inside(row["ip"])]
    assert rows(chosen.coverage.edges) == [
        row for row in everything.coverage.edges if inside(row["from"]) or inside(row["to"])
    ]
    assert rows(chosen.functions) == [
        row for row in everything.functions if inside(row["ip"]) and row["inclusive"] >= 10
    ]
    assert rows(chosen.pairs) == [
        row
        for row in everything.pairs
        if inside(row["callee"]) and row["inclusive"] >= 10 and row["depth"] < 2
    ]


def paths(calls: Any) -> dict[tuple[int, ...], tuple[int, int]]:
    """Calls and own cost by path."""
    found: list[tuple[int, ...]] = []
    costs = {}
    for at, row in enumerate(calls):
        found.append((*found[row["parent"]], row["ip"]) if at else ())
        costs[found[-1]] = row["calls"], row["own"]
    return costs


def test_paths_to_what_is_selected_stay() -> None:
    history = odograph.open(CORPUS / "signal.qemu.data", index=False).history()
    everything = paths(history.calls())
    inclusive = {
        path: sum(own for other, (_, own) in everything.items() if other[: len(path)] == path)
        for path in everything
    }
    for cost in (0, 20, 100, 10**9):
        wanted = [path for path in everything if inclusive[path] >= cost]
        kept = paths(history.ask("calls", selection=Selection(min_cost=cost)).calls)
        assert kept == {path: everything[path] for path in {(), *wanted}}
    deepest = max(everything, key=len)
    assert len(deepest) > 2
    kept = paths(history.ask("calls", selection=Selection(depth=1)).calls)
    assert kept == {path: costs for path, costs in everything.items() if len(path) <= 1}
    only = history.ask("calls", selection=Selection(functions=[(deepest[-1], deepest[-1])])).calls
    leading = [path for path in everything if path[-1:] == deepest[-1:]]
    assert set(paths(only)) == {path[:length] for path in leading for length in range(len(path) + 1)}


def test_what_a_call_costs_is_what_ran_while_it_was_on_the_stack() -> None:
    history = odograph.open(CORPUS / "signal.qemu.data", index=False).history()
    for row in history.pairs():
        end = len(history) if row["end"] < 0 else row["end"] + 1
        # There is one stack only.
        assert row["inclusive"] == end - max(row["call"] + 1, 0)


@pytest.mark.skipif(
    shutil.which("cc") is None or qemu.unavailable() is not None, reason="needs a C compiler and QEMU"
)
def test_functions_and_modules_are_chosen_by_name(tmp_path: Path) -> None:
    _, path = recorded(1, tmp_path)
    history = odograph.open(path).history()
    symbols = history.symbols
    assert symbols is not None
    leaf = symbols.resolve("leaf")
    (row,) = history.ask("functions", selection=Selection(functions=["leaf"])).functions
    assert row["ip"] == leaf
    inside = history.ask("counts", selection=Selection(functions=["leaf"])).counts["ip"]
    assert {symbols.name_of(ip).name for ip in inside.tolist()} == {"leaf"}  # type: ignore[union-attr]
    assert int(inside.min()) == leaf
    # An address in a function stands for it.
    same = history.ask("counts", selection=Selection(functions=[leaf + 1])).counts["ip"]
    assert np.array_equal(same, inside)
    own = next(module.name for module in symbols.modules if module.address <= leaf < module.end)
    chosen = history.ask("functions", selection=Selection(modules=[own])).functions["ip"].tolist()
    assert leaf in chosen
    assert all(symbols.module_of(ip).name == own for ip in chosen)  # type: ignore[union-attr]
    with pytest.raises(KeyError, match="no module 'nothing'"):
        history.ask("counts", selection=Selection(modules=["nothing"]))
    with pytest.raises(KeyError):
        history.ask("counts", selection=Selection(functions=["no_such_function"]))
