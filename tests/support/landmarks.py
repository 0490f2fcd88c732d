"""Steps of a recorded program that mean the same on every machine.

The length of a recording depends on the machine: on its C library, its loader, the environment. A step that
a random number chooses is another one everywhere. These are chosen by what the program does there.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from odograph import History

__all__ = ["evenly", "landmarks", "moments"]


def landmarks(history: History, most: int, modules: Iterable[str] | None = None) -> list[int]:
    """The first, the middle and the last execution of instructions of ``modules``, at most ``most`` steps.

    Instructions that were executed are chosen evenly. Without ``modules`` the program itself is meant: the
    module with the function ``main``, or the first one where that was stripped.
    """
    symbols = history.symbols
    assert symbols is not None
    wanted = set(modules or ()) or {_program(history)}
    counts = history.counts()
    places, numbers = np.asarray(counts["ip"]), np.asarray(counts["count"])
    here = [(module.address, module.end) for module in symbols.modules if module.name in wanted]
    inside = np.zeros(len(places), dtype=bool)
    for start, end in here:
        inside |= (places >= start) & (places < end)
    chosen = np.flatnonzero(inside)
    assert len(chosen), f"nothing of {wanted} was executed"
    steps: set[int] = set()
    for index in evenly(chosen.tolist(), max(1, most // 3)):
        found = history.find(int(places[index]))
        assert len(found) == numbers[index]
        steps |= {int(found[0]), int(found[len(found) // 2]), int(found[-1])}
    return sorted(steps)


def moments(history: History, functions: Iterable[str]) -> list[int]:
    """In order the steps in the middle of all calls of each function."""
    found = [history.find(name) for name in functions]
    return sorted(int(steps[len(steps) // 2]) for steps in found)


def evenly(values: list[int], most: int) -> list[int]:
    """At most ``most`` of the values, as far apart as they can be; the first and the last among them."""
    if len(values) <= most:
        return values
    return [values[round(at)] for at in np.linspace(0, len(values) - 1, most).tolist()]


def _program(history: History) -> str:
    symbols = history.symbols
    assert symbols is not None
    return next(
        (module.name for module in symbols.modules if module.table.named("main")),
        symbols.modules[0].name,
    )
