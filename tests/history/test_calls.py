"""Calls in pairs, functions, paths and stacks: one answer, whoever is asked."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import odograph
from odograph import History
from odograph.cluster import Cluster
from odograph.cluster.questions import Passes
from odograph.frame import Found
from odograph.recorder import qemu
from odograph.recorder.record import record
from odograph.table import Table
from support.callprograms import WAYS, compiled, source

FRAMES = ("call", "interrupt", "tail")
"""Kinds of rows in ``pairs`` that are frames on a stack."""
WINDOWS = 200
"""Random windows in all for each way to get at the calls; the programs of a full list share them."""


def recorded(seed: int, folder: Path, threads: int = 1) -> tuple[Path, Path]:
    """A program made from a seed, and its recording. Every other one has calls that are jumps."""
    if qemu.unavailable() is not None:
        pytest.skip("needs qemu-user")
    options = ["-O2", "-foptimize-sibling-calls"] if seed % 2 else []
    program = compiled(source(seed, WAYS, threads), folder, "-pthread", *options)
    if program is None:
        pytest.skip("needs gcc")
    path = folder / "calls.data"
    assert record([str(program)], path, backend="qemu").status == 0
    return program, path


def open_rows(pairs: Table, switches: Table, step: int, kinds: tuple[str, ...] = FRAMES) -> list[int]:
    """The rows of ``pairs`` that lie on the stack before a step, the innermost first."""
    ran = int(np.searchsorted(switches["step"], step, side="right")) - 1
    call, end = np.asarray(pairs["call"]), np.asarray(pairs["end"])
    is_open = (call < step) & ((end < 0) | (end >= step)) & np.isin(np.asarray(pairs["kind"]), kinds)
    mine = np.asarray(pairs["stack"]) == switches["stack"][ran]
    return np.flatnonzero(is_open & mine)[::-1].tolist()


def own_of_paths(history: History, start: int, stop: int) -> dict[tuple[int, ...], int]:
    """Instructions by path: the callees from the outermost one."""
    if start == stop:
        return {}
    table = history.calls(start, stop)
    paths: list[tuple[int, ...]] = [()]
    for parent, ip in zip(table["parent"].tolist()[1:], table["ip"].tolist()[1:], strict=True):
        paths.append((*paths[parent], ip))
    return dict(zip(paths, table["own"].tolist(), strict=True))


def inclusive_of_functions(history: History, start: int, stop: int) -> dict[int, int]:
    if start == stop:
        return {}
    table = history.functions(start, stop)
    return dict(zip(table["ip"].tolist(), table["inclusive"].tolist(), strict=True))


def check_costs_agree(history: History, start: int, step: int) -> None:
    """Who is charged with a step are the open calls that were made since another one."""
    pairs, switches = history.pairs(start, step + 1), history.switches(start, step + 1)
    rows = open_rows(pairs, switches, step, (*FRAMES, "stack"))[::-1]
    callees = tuple(np.asarray(pairs["callee"])[rows].tolist())
    before, after = own_of_paths(history, start, step), own_of_paths(history, start, step + 1)
    charged = [path for path, own in after.items() if own != before.get(path, 0)]
    # Where a stub has led to a function now, the function is charged with what the stub cost, too.
    assert [path for path in charged if path in after and after[path] > before.get(path, 0)] == [callees]
    less, more = (
        inclusive_of_functions(history, start, step),
        inclusive_of_functions(history, start, step + 1),
    )
    assert {ip for ip, cost in more.items() if cost > less.get(ip, 0)} == {0, *callees}, (start, step)


def check_agrees(history: History, windows: int, questions: int, seed: int) -> int:
    """Open calls of random windows are those on the stack at random steps; how many were compared."""
    dice = random.Random(seed)
    compared = 0
    for nth in range(windows):
        start = dice.randrange(len(history)) if nth % 3 else 0
        stop = dice.randrange(start, len(history)) + 1 if nth % 2 else len(history)
        pairs, switches = history.pairs(start, stop), history.switches(start, stop)
        for step in (dice.randrange(start, stop) for _ in range(questions)):
            stack = history.stack(step)[1:]
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
            # Of a frame that only later returns tell of, the step is not known.
            same = [
                (call if frame.step is None else frame.step, frame.address)
                for (call, _), frame in zip(found, stack, strict=False)
            ]
            assert found == same, (start, stop, step)
            # The others were there before.
            assert all((frame.step or 0) < max(start, 1) for frame in stack[len(found) :]), (
                start,
                stop,
                step,
            )
            compared += 1
            if compared % 5 == 1:
                check_costs_agree(history, start, step)
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


@pytest.mark.parametrize("seed", range(2))
def test_all_answers_agree_about_open_calls(seed: int, tmp_path: Path) -> None:
    _, path = recorded(seed, tmp_path)
    history = odograph.open(path).history()
    assert check_agrees(history, 6, 15, seed) > 60
    check_costs(history)


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(2, 52))
def test_all_answers_agree_about_open_calls_of_fifty_programs(seed: int, tmp_path: Path) -> None:
    _, path = recorded(seed, tmp_path)
    history = odograph.open(path).history()
    windows = WINDOWS // 50
    assert check_agrees(history, windows, 15, seed) > 3 * windows
    check_costs(history)


def check_threads(seed: int, windows: int, folder: Path) -> None:
    _, path = recorded(seed, folder, 3)
    recording = odograph.open(path)
    assert len(recording.threads) == 3
    for thread in recording.threads:
        assert check_agrees(recording.history(thread.tid), windows, 5, seed) > windows


@pytest.mark.parametrize("seed", range(1, 2))
def test_all_answers_agree_on_each_of_several_threads(seed: int, tmp_path: Path) -> None:
    check_threads(seed, 3, tmp_path)


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(2, 12))
def test_all_answers_agree_on_each_thread_of_ten_programs(seed: int, tmp_path: Path) -> None:
    check_threads(seed, WINDOWS // 10, tmp_path)


def check_ways(seed: int, windows: int, folder: Path, cluster: Cluster, patch: pytest.MonkeyPatch) -> None:
    """Of a history that was decoded and is walked in each way there is."""
    _, path = recorded(seed, folder)
    patch.setattr("odograph.recording.decoding.thread_count", lambda _: 1)
    alone = odograph.open(path).history()
    expected = answers(alone)
    patch.setattr("odograph.recording.decoding.thread_count", lambda _: 5)
    recording = odograph.open(path)
    by_threads = recording.history()
    recording.save_index()
    again = odograph.open(path)
    indexed = again.history()
    assert again.index_use is not None
    assert again.index_use.used
    by_dask = cluster.history(odograph.open(path, index=False))
    for history in (alone, by_threads, indexed, by_dask):
        assert answers(history) == expected
        assert check_agrees(history, windows, 5, seed) > windows


@pytest.mark.parametrize("seed", range(3, 4))
def test_all_answers_agree_however_they_were_decoded(
    seed: int, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_ways(seed, 2, tmp_path, cluster, monkeypatch)


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(4, 14))
def test_all_answers_agree_however_ten_programs_were_decoded(
    seed: int, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_ways(seed, WINDOWS // 10, tmp_path, cluster, monkeypatch)


def check_seeded(seed: int, windows: int, folder: Path) -> int:
    """Of histories that begin in the middle and know the stack of their end."""
    _, path = recorded(seed, folder)
    history = odograph.open(path).history()
    dice = random.Random(seed)
    compared = 0
    for _ in range(windows):
        start = dice.randrange(len(history) - 1)
        stop = dice.randrange(start, len(history)) + 1
        late = History(history.part(start, stop)._raw, history._find_symbols)
        late.seed(history.stack(stop))
        for step in (dice.randrange(stop - start) for _ in range(5)):
            known, true = late.stack(step), history.stack(start + step)
            if any(frame.is_guess for frame in (*known, *true)):
                continue
            # What the whole history knows is what the pairs of the part say, and the seed around it.
            pairs, switches = late.pairs(), late.switches()
            rows = open_rows(pairs, switches, step)
            calls = [max(int(pairs["call"][row]), 0) + start for row in rows]
            steps = [frame.step for frame in true[1:] if frame.step is not None]
            calls, steps = ([one for one in those if one > start] for those in (calls, steps))
            # What began the program jumped to it: only a history that begins later takes that for a call.
            own = [frame for frame in known if frame.found is not Found.TAIL_CALL]
            expected = [frame for frame in true if frame.found is not Found.TAIL_CALL]
            if len(calls) == len(steps) + 1 and pairs["kind"][rows[len(steps)]] == "tail":
                calls.pop()
            assert calls == steps, (start, stop, step)
            assert [frame.address for frame in own] == [frame.address for frame in expected[: len(own)]]
            compared += 1
    return compared


@pytest.mark.parametrize("seed", range(5, 6))
def test_stacks_from_a_seed_agree_with_open_calls(seed: int, tmp_path: Path) -> None:
    assert check_seeded(seed, 10, tmp_path) > 5


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(6, 16))
def test_stacks_from_a_seed_agree_with_open_calls_of_ten_programs(seed: int, tmp_path: Path) -> None:
    assert check_seeded(seed, WINDOWS // 10, tmp_path) > WINDOWS // 20


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


def check_live(seed: int, pieces: int, folder: Path) -> None:
    """After each part of a live stream, all answers are those of the whole up to there."""
    _, path = recorded(seed, folder)
    recording = odograph.open(path)
    (stream,) = recording.decoding.streams(recording.threads[0])
    whole = recording.history()
    functions = recording.functions().to_bytes()
    questions = [Passes(name, functions) for name in ("pairs", "functions", "paths")]
    sums = [question.sum() for question in questions]
    pairs = whole.pairs()
    interrupted = set((np.asarray(pairs["call"])[np.asarray(pairs["kind"]) == "interrupt"] + 1).tolist())
    compared = 0
    with odograph.LiveTrace(recording.image(), recording.config) as live:
        data = bytes(stream.read())
        size = len(data) // pieces + 1
        for at in range(0, len(data) + size, size):
            fed = live.feed(data[at : at + size]) if at < len(data) else live.close()
            for part in (fed, *((live.flush(),) if at < len(data) else ())):
                if not len(part):
                    continue
                for question, total in zip(questions, sums, strict=True):
                    total.add(question.ask(part._raw, 0, len(part)), part.first_step)
                stop = part.first_step + len(part)
                # Whether a handler that begins behind the last step was called already, is open.
                if stop in interrupted:
                    continue
                for total, asked in zip(sums, (whole.pairs, whole.functions, whole.calls), strict=True):
                    (table, *_), _ = total.tables(
                        recording.decoding.clock, whole.begins_program, whole.unwind_tables, ()
                    )
                    found, expected = Table(table).to_dict(), asked(0, stop).to_dict()
                    for one in (found, expected):
                        # Whether the end of a handler behind the last step belongs to it, is open.
                        if "end" in one:
                            one["end"] = [-1 if end == stop - 1 else end for end in one["end"]]
                    assert found == expected, stop
                compared += 1
    assert compared >= 1


@pytest.mark.parametrize("seed", range(2, 3))
def test_a_live_stream_answers_as_the_whole_up_to_there(seed: int, tmp_path: Path) -> None:
    check_live(seed, 5, tmp_path)


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(3, 13))
def test_live_streams_of_ten_programs_answer_as_the_whole_up_to_there(seed: int, tmp_path: Path) -> None:
    check_live(seed, 60, tmp_path)


@pytest.mark.parametrize("seed", range(1))
def test_parts_of_a_history_have_steps_of_their_own(seed: int, tmp_path: Path) -> None:
    _, path = recorded(seed, tmp_path)
    history = odograph.open(path).history()
    dice = random.Random(seed)
    for _ in range(4):
        start = dice.randrange(len(history))
        stop = dice.randrange(start, len(history)) + 1
        part, pairs = history.part(start, stop), history.pairs(start, stop)
        own = part.pairs()
        for name in set(pairs.columns) - {"call", "end"}:
            assert list(own[name]) == list(pairs[name])
        assert (np.asarray(own["call"]) + start).tolist() == pairs["call"].tolist()
        assert part.functions().to_dict() == history.functions(start, stop).to_dict()
