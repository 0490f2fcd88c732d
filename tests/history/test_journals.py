"""Programs with coroutines keep a journal of their calls: what recordings say of them is the same."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import odograph
from odograph import History
from odograph.recorder import qemu
from odograph.recorder.record import record
from support.callprograms import compiled
from support.journalprograms import Journal, read, source


def recorded(seed: int, shared: bool, folder: Path) -> tuple[History, dict[int, str], Journal]:
    """The history of a program made from a seed, its functions by address, and its journal."""
    if qemu.unavailable() is not None:
        pytest.skip("needs qemu-user")
    text, names = source(seed, shared)
    program = compiled(text, folder)
    if program is None:
        pytest.skip("needs gcc")
    notes, path = folder / "journal", folder / "journal.data"
    assert record([str(program), str(notes)], path, backend="qemu").status == 0
    recording = odograph.open(path)
    symbols = recording.symbols()
    addresses = {symbols.resolve(f"program!{name}"): name for name in names}
    return recording.history(), addresses, read(notes.read_bytes(), names)


def begins_and_ends(history: History, names: dict[int, str]) -> list[tuple[str, bool]]:
    """The beginnings and ends of calls, in order, as ``pairs`` has them."""
    pairs = history.pairs()
    wanted = np.isin(np.asarray(pairs["callee"]), list(names))
    calls = np.asarray(pairs["call"])[wanted].tolist()
    ends = np.asarray(pairs["end"])[wanted].tolist()
    callees = np.asarray(pairs["callee"])[wanted].tolist()
    # At one step the innermost call ends first, and ends come before beginnings.
    found = [(call, 1, 0, callee) for call, callee in zip(calls, callees, strict=True)]
    found += [
        (end, 0, -call, callee) for call, end, callee in zip(calls, ends, callees, strict=True) if end >= 0
    ]
    return [(names[callee], bool(begins)) for _, begins, _, callee in sorted(found)]


def check_is_the_journals(seed: int, folder: Path) -> None:
    history, names, journal = recorded(seed, False, folder)
    assert begins_and_ends(history, names) == journal.begins_and_ends

    functions = history.functions()
    ips = functions["ip"].tolist()
    found = {names[ip]: row for row, ip in enumerate(ips) if ip in names}
    assert {name: int(functions["calls"][row]) for name, row in found.items()} == journal.calls

    # Of all paths, the functions that keep the journal.
    paths = history.calls()
    above: list[tuple[str, ...]] = [()]
    callers: Counter[tuple[str, ...]] = Counter()
    for row, (parent, ip) in enumerate(zip(paths["parent"].tolist(), paths["ip"].tolist(), strict=True)):
        if row == 0:
            continue
        above.append((*above[parent], *((names[ip],) if ip in names else ())))
        if ip in names:
            callers[above[row]] += int(paths["calls"][row])
    assert callers == journal.callers

    # Work is a multiple of what one tick costs, and little else.
    inclusive = {name: int(functions["inclusive"][row]) for name, row in found.items()}
    for one in found:
        for other in found:
            if journal.inclusive[one] > 2 * journal.inclusive[other] + 20:
                assert inclusive[one] > inclusive[other], (one, other)


def check_known_frames_are_the_journals(seed: int, folder: Path) -> tuple[int, int]:
    """Frames that are no guesses are right where each call begins; how many were compared, and of how many.

    One program in fifty has fewer than 300 frames in all.
    """
    history, names, journal = recorded(seed, True, folder)
    begins = sorted(step for ip in names for step in history.find(ip).tolist())
    assert len(begins) == len(journal.stacks)
    compared = there = 0
    for nth in random.Random(seed).sample(range(len(begins)), min(len(begins), 300)):
        frames = history.stack(begins[nth])
        known = list(itertools.takewhile(lambda frame: not frame.is_guess, frames))
        places = [frame.function for frame in known]
        found = [place for place in places if place in names.values()]
        expected = journal.stacks[nth][::-1]
        assert found == list(expected[: len(found)]), (begins[nth], found, expected)
        # A stack that is not complete says so.
        if frames.is_complete and len(known) == len(frames):
            assert len(found) == len(expected), (begins[nth], found, expected)
        compared += len(found)
        there += len(expected)
    return compared, there


@pytest.mark.parametrize("seed", range(3))
def test_calls_on_coroutines_are_those_of_the_programs_journal(seed: int, tmp_path: Path) -> None:
    check_is_the_journals(seed, tmp_path)


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(3, 53))
def test_calls_on_coroutines_of_fifty_programs_are_those_of_their_journals(seed: int, tmp_path: Path) -> None:
    check_is_the_journals(seed, tmp_path)


def check_that_few_frames_are_guesses(seed: int, folder: Path) -> None:
    compared, there = check_known_frames_are_the_journals(seed, folder)
    assert compared > min(300, there * 9 // 10)


@pytest.mark.parametrize("seed", range(2))
def test_frames_of_coroutines_that_wait_at_one_place_are_right_or_guesses(seed: int, tmp_path: Path) -> None:
    check_that_few_frames_are_guesses(seed, tmp_path)


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(2, 52))
def test_frames_of_fifty_programs_whose_coroutines_wait_at_one_place_are_right_or_guesses(
    seed: int, tmp_path: Path
) -> None:
    check_that_few_frames_are_guesses(seed, tmp_path)
