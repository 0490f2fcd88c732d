"""Steps at which gdb's and an editor's commands end, from chosen steps of a recording."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import odograph
from odograph import History, InstructionClass
from odograph.debug import Target
from odograph.debug.dap.calls import Calls
from odograph.debug.dap.places import Places
from odograph.frame import Found
from support.dapclient import session
from support.debugruns import Recorded

__all__ = [
    "Case",
    "Ends",
    "Judge",
    "cases",
    "chosen",
    "ends_by_dap",
    "ends_by_gdb",
    "ends_of_program",
    "ends_of_recording",
]

Gdb = Callable[..., list[str]]


class Ends(NamedTuple):
    """Where commands end that begin at a step; None where the command is refused."""

    over: int | None
    out: int | None
    back: int | None


def chosen(history: History, name: str, count: int, seed: int) -> list[int]:
    """Steps in the functions of a program's own file, but not at the bottom of its stack, at random."""
    symbols = history.symbols
    assert symbols is not None
    (module,) = (one for one in symbols.modules if one.name == name)
    ips = history.ips()
    entered = int(history.find("main")[0])
    inside = np.flatnonzero((ips >= module.address) & (ips < module.end))
    inside = inside[inside >= entered]
    last = int(history.pairs()["end"][np.flatnonzero(history.pairs()["call"] == entered - 1)][0])
    inside = inside[inside < last]
    dice = random.Random(seed)
    return sorted(dice.sample(inside.tolist(), min(count, len(inside))))


def ends_by_gdb(gdb: Gdb, recorded: Recorded, steps: list[int]) -> list[Ends]:
    """``next``, ``finish`` and ``reverse-next`` of gdb on the recording."""
    words = ["set backtrace past-main on", "set confirm off"]
    for step in steps:
        for command in ("next", "finish", "reverse-next"):
            words += [f"goto {step}", command, "monitor where"]
    said = gdb(recorded, *words)[2:]
    found = []
    for text in said[2::3]:
        match = re.search(r"step ([\d,]+) of", text)
        found.append(None if match is None else int(match[1].replace(",", "")))
    return [Ends(*found[at : at + 3]) for at in range(0, len(found), 3)]


def ends_by_dap(recording: odograph.Recording, steps: list[int]) -> list[Ends]:
    """``next``, ``stepOut`` and ``stepBack`` of the Debug Adapter Protocol."""
    tid = recording.threads[0].tid
    found = []
    with session(recording, [tid]) as client:
        client.start()
        for step in steps:
            ends = []
            for command in ("next", "stepOut", "stepBack"):
                client.ask("evaluate", expression=f"goto {step}", context="repl")
                client.event("stopped")
                client.move(command, tid)
                ends.append(client.value("step"))
            found.append(Ends(*ends))
    return found


class _Place(NamedTuple):
    """Where a step stands."""

    ip: int
    piece: int
    line: int

    @property
    def is_start(self) -> bool:
        return self.ip == self.piece


class Judge:
    """Tells of what kind a difference to gdb is; of a closed list, else ``""``."""

    def __init__(self, recording: odograph.Recording) -> None:
        self._history = recording.history()
        self._places = Places(Target(recording))
        self._calls = Calls(self._history)

    def _place(self, step: int) -> _Place:
        ips = self._history.ips(step, step + 1)
        pieces = self._places.pieces(ips)
        return _Place(int(ips[0]), int(pieces.start[0]), int(pieces.line[0]))

    def _returns(self, step: int) -> bool:
        """Whether the instruction at a step ends a function as it should, or a handler of a signal."""
        one = self._history[step]
        return one.iclass is InstructionClass.ret or one.raw == b"\x0f\x05"

    def _is_proved(self, step: int) -> bool:
        """Whether the stack says when this function and the two below it were called."""
        frames = self._history.stack(step)[1:3]
        return all(
            not one.is_guess and (one.found is not Found.CALL or one.step is not None) for one in frames
        )

    def forward(self, step: int, end: int) -> str:
        """Of a step over a line or out of a function, which ends at ``end`` by the adapter."""
        if not self._place(step).line:
            # gdb goes on until the function is left; the adapter goes by instructions.
            return "no line"
        around = self._calls.around(step)
        _, ends = self._calls.begun(step, step, end)
        left = [one for one in (around.end, *ends.tolist()) if one < end and not self._returns(one)]
        if left:
            # gdb does not know where longjmp goes and waits for a return that never comes. The adapter ends
            # where it landed.
            return "longjmp"
        if not (self._is_proved(step) and self._is_proved(end)):
            # Several frames of one function called setjmp at one place: which one a longjmp landed in is not
            # known, so gdb is given the wrong frame. The adapter asks which call a return ended.
            return "one of several frames"
        return ""

    def back(self, step: int, found: int, judged: int) -> str:
        """Of a step back over a line: which ended at ``found`` by the adapter and at ``judged`` by gdb."""
        here, ours, its = (self._place(one) for one in (step, found, judged))
        if not here.line:
            return "no line"
        if not self._is_proved(step):
            return "one of several frames"
        if any(self._places.inlined(one.ip) for one in (here, ours, its)):
            # gdb takes inlined functions for frames going back, too; the adapter goes by lines only.
            return "inlined"
        around = self._calls.around(step)
        if found < judged and ours.line == its.line and its.is_start:
            # gdb takes each row of a line table for a line. The adapter goes to where the line began.
            return "row"
        if judged <= around.call <= found:
            # From the first line of a function gdb goes to the beginning of the line that called it; the
            # adapter to the beginning of the function, and from there to the call.
            return "caller"
        begins, ends = self._calls.ended(step, found, step)
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            if begin <= judged <= end and not self._returns(end):
                # gdb goes back into longjmp; the adapter to the line before in this function.
                return "longjmp"
        following = found + 1
        made = self._calls.made_at(found)
        if made is not None and found < made.end < step:
            following = made.end + 1
        if (
            judged < found
            and ours.is_start
            and (following == step or self._place(following).piece != ours.piece)
        ):
            # Going back, gdb passes a row of a single instruction: it is at its start before it knows of it.
            return "single instruction"
        return ""


class Case(NamedTuple):
    """A command given where a function is entered, the nth time."""

    function: str
    nth: int
    command: str


def cases(history: History, names: list[str], count: int, seed: int) -> list[Case]:
    """Some of them, at random."""
    dice = random.Random(seed)
    entries = {name: len(history.find(name)) for name in names}
    entered = [name for name, often in entries.items() if often]
    chosen = [dice.choice(entered) for _ in range(count)]
    return [Case(name, dice.randrange(entries[name]) + 1, dice.choice(("next", "finish"))) for name in chosen]


def ends_of_program(program: Path, asked: list[Case]) -> list[int]:
    """Where gdb's commands end in the program itself: addresses relative to ``main``."""
    words = ["set width 0", "set confirm off", "set startup-with-shell off"]
    words.append("handle SIGUSR1 nostop noprint pass")
    for case in asked:
        words += ["delete", f"break *{case.function}", f"ignore $bpnum {case.nth - 1}", "run", "delete"]
        words += [case.command, r'printf "\nends %ld\n", (long) $pc - (long) &main']
    command = ["gdb", "-batch", "-nx", *(word for one in words for word in ("-ex", one)), str(program)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300).stdout
    return [int(found) for found in re.findall(r"^ends (-?\d+)$", said, re.M)]


def ends_of_recording(recording: odograph.Recording, asked: list[Case]) -> list[int]:
    """The same of the Debug Adapter Protocol's commands on a recording."""
    history = recording.history()
    tid = recording.threads[0].tid
    main = history[int(history.find("main")[0])].ip
    ends = []
    with session(recording, [tid]) as client:
        client.start()
        for case in asked:
            step = int(history.find(case.function)[case.nth - 1])
            client.ask("evaluate", expression=f"goto {step}", context="repl")
            client.event("stopped")
            client.move({"next": "next", "finish": "stepOut"}[case.command], tid)
            ends.append(client.value("pc") - main)
    return ends
