"""The calls of a thread: what a step is inside of."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from odograph.history.history import History

__all__ = ["Calls", "Span", "Steps"]

Steps = np.ndarray[Any, np.dtype[np.int64]]


class Span(NamedTuple):
    """A call and the return that ended it, as steps; -1 if they are not in the history."""

    call: int
    end: int


class _Rows(NamedTuple):
    """The calls of one stack, in order, and how they are ordered by their ends.

    ``made`` are the numbers of those that are no jumps: what a function jumps to runs in its place.
    """

    call: Steps
    end: Steps
    order: np.ndarray[Any, np.dtype[np.intp]]
    by_end: Steps
    made: np.ndarray[Any, np.dtype[np.intp]]


class Calls:
    """Calls and their ends, see :meth:`History.pairs <odograph.History.pairs>`; asked for once.

    What interrupts a function, such as the handler of a signal, is like a call. Only calls on the stack that
    runs at a step are looked at: what other stacks do meanwhile happens inside one of those.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._stacks: dict[int, _Rows] = {}

    @cached_property
    def _columns(self) -> tuple[Steps, Steps, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        pairs = self._history.pairs()
        end = np.asarray(pairs["end"], dtype=np.int64)
        stack = np.asarray(pairs["stack"], dtype=np.int64)
        begins_stack = np.asarray(pairs["kind"]) == "stack"
        return (
            np.asarray(pairs["call"], dtype=np.int64),
            np.where(end < 0, len(self._history), end),
            np.where(begins_stack, -1, stack),
            np.asarray(pairs["kind"]) != "tail",
        )

    @cached_property
    def _switches(self) -> tuple[Steps, Steps]:
        switches = self._history.switches()
        return np.asarray(switches["step"]), np.asarray(switches["stack"], dtype=np.int64)

    def _rows(self, step: int) -> _Rows:
        """Those of the stack that runs at a step."""
        steps, stacks = self._switches
        at = int(np.searchsorted(steps, step, side="right")) - 1
        stack = int(stacks[at]) if at >= 0 else 0
        if stack not in self._stacks:
            call, end, of, made = self._columns
            mine = of == stack
            call, end = call[mine], end[mine]
            order = np.argsort(end, kind="stable")
            self._stacks[stack] = _Rows(call, end, order, end[order], np.flatnonzero(made[mine]))
        return self._stacks[stack]

    def _span(self, call: int, end: int) -> Span:
        return Span(call, -1 if end == len(self._history) else end)

    def made_at(self, step: int) -> Span | None:
        """The call that the instruction at a step is; or what interrupted the function behind it. No jump."""
        rows = self._rows(step)
        call, end = rows.call[rows.made], rows.end[rows.made]
        row = int(np.searchsorted(call, step))
        found = row < len(call) and call[row] == step
        return self._span(int(call[row]), int(end[row])) if found else None

    def ended_at(self, step: int) -> Span | None:
        """The call that is over behind a step, as by a return; of several the outermost."""
        rows = self._rows(step + 1)
        at = int(np.searchsorted(rows.by_end, step))
        found = at < len(rows.by_end) and rows.by_end[at] == step
        return self._span(int(rows.call[rows.order[at]]), step) if found else None

    def around(self, step: int) -> Span:
        """The innermost call that is open at a step."""
        rows = self._rows(step)
        before = int(np.searchsorted(rows.call, step))
        open_ones = np.flatnonzero(rows.end[:before] >= step)
        if not len(open_ones):
            return Span(-1, -1)
        row = open_ones[-1]
        return self._span(int(rows.call[row]), int(rows.end[row]))

    def begun(self, here: int, start: int, stop: int) -> tuple[Steps, Steps]:
        """Calls, but no jumps, made at the steps ``start`` to ``stop`` (exclusive): first and last steps.

        Those on the stack that runs at the step ``here``.
        """
        rows = self._rows(here)
        call, end = rows.call[rows.made], rows.end[rows.made]
        some = slice(*np.searchsorted(call, (start, stop)).tolist())
        return call[some] + 1, end[some]

    def ended(self, here: int, start: int, stop: int) -> tuple[Steps, Steps]:
        """The same of calls that end at these steps."""
        rows = self._rows(here)
        some = slice(*np.searchsorted(rows.by_end, (start, stop)).tolist())
        return rows.call[rows.order[some]] + 1, rows.by_end[some]
