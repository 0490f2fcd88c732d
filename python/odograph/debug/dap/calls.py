"""The calls of a thread: what a step is inside of."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from odograph.history import History

__all__ = ["Calls", "Span", "Steps"]

Steps = np.ndarray[Any, np.dtype[np.int64]]


class Span(NamedTuple):
    """A call and the return that ended it, as steps; -1 if they are not in the history."""

    call: int
    end: int


class Calls:
    """Calls and returns, see :meth:`History.pairs <odograph.History.pairs>`; asked for once."""

    def __init__(self, history: History) -> None:
        self._history = history

    @cached_property
    def _columns(self) -> tuple[Steps, Steps]:
        pairs = self._history.pairs()
        end = np.asarray(pairs["end"], dtype=np.int64)
        length = len(self._history)
        return np.asarray(pairs["call"]), np.where(end < 0, length, end)

    @cached_property
    def _by_end(self) -> tuple[np.ndarray[Any, np.dtype[np.intp]], Steps]:
        end = self._columns[1]
        order = np.argsort(end, kind="stable")
        return order, end[order]

    def _span(self, row: int) -> Span:
        call, end = self._columns
        last = int(end[row])
        return Span(int(call[row]), -1 if last == len(self._history) else last)

    def made_at(self, step: int) -> Span | None:
        """The call that the instruction at a step is."""
        call = self._columns[0]
        row = int(np.searchsorted(call, step))
        return self._span(row) if row < len(call) and call[row] == step else None

    def ended_at(self, step: int) -> Span | None:
        """The call that the return at a step ends; of several the outermost."""
        order, ends = self._by_end
        at = int(np.searchsorted(ends, step))
        return self._span(int(order[at])) if at < len(ends) and ends[at] == step else None

    def around(self, step: int) -> Span:
        """The innermost call that is open at a step."""
        call, end = self._columns
        before = int(np.searchsorted(call, step))
        open_ones = np.flatnonzero(end[:before] >= step)
        return self._span(int(open_ones[-1])) if len(open_ones) else Span(-1, -1)

    def begun(self, start: int, stop: int) -> tuple[Steps, Steps]:
        """Calls made at the steps ``start`` to ``stop`` (exclusive): their first steps, and their last."""
        call, end = self._columns
        rows = slice(*np.searchsorted(call, (start, stop)).tolist())
        return call[rows] + 1, end[rows]

    def ended(self, start: int, stop: int) -> tuple[Steps, Steps]:
        """The same of calls that end at these steps."""
        call = self._columns[0]
        order, ends = self._by_end
        rows = slice(*np.searchsorted(ends, (start, stop)).tolist())
        return call[order[rows]] + 1, ends[rows]
