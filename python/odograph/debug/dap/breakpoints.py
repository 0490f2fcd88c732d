"""What editors set breakpoints on: lines, functions, instructions, with conditions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from odograph.debug.dap.expression import evaluate
from odograph.debug.dap.wire import Message
from odograph.errors import InvalidArgument

if TYPE_CHECKING:
    from odograph.debug.dap.thread import DebuggedThread
    from odograph.processor import Handle

__all__ = ["Breakpoint", "Breakpoints", "Where"]

_HITS = re.compile(r"\s*(>=|>|==|=|<=|<|%)?\s*(\d{1,18})\s*")
_BRACES = re.compile(r"\{([^{}]*)\}")

Where = list[int]
"""Addresses of instructions."""


@dataclass
class Breakpoint:
    """One breakpoint: ``where`` has its addresses in each thread it can be met in."""

    number: int
    where: dict[int, Where]
    condition: str | None = None
    hit_condition: str | None = None
    log_message: str | None = None
    kind: str = "breakpoint"
    handles: list[tuple[DebuggedThread, Handle]] = field(default_factory=list)


class Breakpoints:
    """All breakpoints of a session, in sets that are replaced as a whole; ``say`` tells the user."""

    def __init__(self, threads: dict[int, DebuggedThread], say: Callable[[str], None]) -> None:
        self._threads = threads
        self._say = say
        self._sets: dict[str, list[Breakpoint]] = {}
        self._count = 0

    def clear(self, name: str) -> None:
        """Removes the breakpoints of a set."""
        for breakpoint in self._sets.pop(name, []):
            for thread, handle in breakpoint.handles:
                thread.target.remove_breakpoint(handle)

    def add(
        self, name: str, kind: str, where: dict[int, Where], asked: Message, means: str | None = None
    ) -> Breakpoint:
        """Adds one to a set. InvalidArgument if a condition cannot be parsed.

        ``means`` is the name that was given: where it is met, the name has to mean that address, for another
        program may have other code there.
        """
        breakpoint = Breakpoint(
            self._count + 1,
            where,
            _text(asked, "condition"),
            _text(asked, "hitCondition"),
            _text(asked, "logMessage"),
            kind,
        )
        if breakpoint.condition:
            evaluate(breakpoint.condition, lambda name: 1)
        if breakpoint.hit_condition and not _HITS.fullmatch(breakpoint.hit_condition):
            raise InvalidArgument(
                f"{breakpoint.hit_condition!r} is not a number of hits; write it like 5, >= 5 or % 5"
            )
        self._count += 1
        self._sets.setdefault(name, []).append(breakpoint)
        for tid, addresses in where.items():
            thread = self._threads[tid]
            for address in addresses:
                handle = thread.target.add_breakpoint(
                    address, condition=self._condition(breakpoint, thread, addresses, means)
                )
                breakpoint.handles.append((thread, handle))
        return breakpoint

    def met(self, handles: tuple[Handle, ...]) -> list[Breakpoint]:
        """The breakpoints that some handles belong to."""
        return [
            breakpoint
            for group in self._sets.values()
            for breakpoint in group
            if any(handle in handles for _, handle in breakpoint.handles)
        ]

    def _condition(
        self, breakpoint: Breakpoint, thread: DebuggedThread, addresses: Where, means: str | None
    ) -> Callable[[], bool]:
        """Whether to stop here; hits are counted from the beginning of the recording, also going back."""
        starts: list[np.ndarray[Any, Any]] = []

        def count() -> int:
            if not starts:
                processor = thread.target.processor
                if means is not None:
                    starts.append(thread.target.history.find(means))
                else:
                    found = [processor.breakpoints.hits(address, address) for address in addresses]
                    starts.append(np.unique(np.concatenate(found)))
            return int(np.searchsorted(starts[0], thread.target.step, side="right"))

        def name(text: str) -> int | None:
            return count() if text == "hits" else thread.value(text)

        def stops() -> bool:
            try:
                if means is not None and not thread.target.means(means, thread.target.pc):
                    return False
                if breakpoint.condition and not evaluate(breakpoint.condition, name):
                    return False
                if breakpoint.hit_condition and not _enough(breakpoint.hit_condition, count()):
                    return False
                if breakpoint.log_message:
                    self._say(
                        _BRACES.sub(lambda braces: str(evaluate(braces[1], name)), breakpoint.log_message)
                    )
                    return False
            except InvalidArgument as error:
                self._say(str(error))
            return True

        return stops


def _enough(condition: str, hits: int) -> bool:
    found = _HITS.fullmatch(condition)
    assert found is not None
    number = int(found[2])
    match found[1]:
        case ">":
            return hits > number
        case "=" | "==":
            return hits == number
        case "<":
            return hits < number
        case "<=":
            return hits <= number
        case "%":
            return number > 0 and hits % number == 0
        case _:
            return hits >= number


def _text(asked: Message, key: str) -> str | None:
    value = asked.get(key)
    return value if isinstance(value, str) and value.strip() else None
