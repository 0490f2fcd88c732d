"""Steps at which gdb's and an editor's commands end, from chosen steps of a recording."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from dapclient import session
from debugruns import Recorded

import odograph
from odograph import History

__all__ = ["Ends", "chosen", "ends_by_dap", "ends_by_gdb"]

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
