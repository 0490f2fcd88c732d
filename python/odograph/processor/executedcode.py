"""The instructions of a history, each once, and where they were executed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odograph._native import disassemble
from odograph.processor.filters import Question
from odograph.table import Table
from odograph.text.reprs import hex_repr

if TYPE_CHECKING:
    from odograph._native import RawCode
    from odograph.history.history import History

__all__ = ["CodeInstruction", "ExecutedCode", "Executions", "RowSearch"]

Rows = np.ndarray[Any, np.dtype[np.bool_]]
"""Which rows are meant."""

MOST_INDEXED = 1 << 22
"""Beyond this many executions they are looked for piece by piece rather than remembered."""
KEPT = 4
"""Searches remembered."""
NARROWEST, WIDEST = 1 << 14, 1 << 26
"""Steps that are searched at once."""
FEWEST_HITS, MOST_HITS = 1 << 4, 1 << 16
"""Executions that are told at once."""


@hex_repr("address")
class CodeInstruction(NamedTuple):
    """An executed instruction: other bytes at the same address are another one."""

    address: int
    size: int
    mode: int
    opcode: bytes


class Executions(NamedTuple):
    """Executions in order: steps, and the row of each."""

    steps: np.ndarray[Any, np.dtype[np.int64]]
    rows: np.ndarray[Any, np.dtype[np.uint32]]


class ExecutedCode:
    """Every executed instruction of a history, by row.

    Made by one pass over the history, which questions about breakpoints then do without: what an interval or
    a filter means is settled on the rows, and a search looks for rows.
    """

    def __init__(self, history: History) -> None:
        self._raw = history.raw_code()
        self._table = Table(self._raw.rows())
        self._length = len(history)
        self._searches: dict[bytes, RowSearch] = {}

    @cached_property
    def _first(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        return np.asarray(self._table["ip"], dtype=np.uint64)

    @cached_property
    def _last(self) -> np.ndarray[Any, np.dtype[np.uint64]]:
        # uint64 wraps around, as addresses do.
        return self._first + (self._table["size"].astype(np.uint64) - np.uint64(1))

    @cached_property
    def _wraps(self) -> Rows:
        return np.asarray(self._last < self._first)

    def __len__(self) -> int:
        return len(self._table)

    def nothing(self) -> Rows:
        """No rows."""
        return np.zeros(len(self), dtype=bool)

    def between(self, first: int, last: int) -> Rows:
        """The rows of which a byte lies in a closed interval."""
        low, high = np.uint64(first), np.uint64(last)
        begins, ends = self._first <= high, self._last >= low
        return np.where(self._wraps, begins | ends, begins & ends)

    def starting_at(self, address: int) -> np.ndarray[Any, np.dtype[np.intp]]:
        """Numbers of the rows at an address."""
        return np.flatnonzero(self._first == np.uint64(address))

    def row(self, number: int) -> CodeInstruction:
        """One row."""
        table = self._table
        opcode = table["raw"][number]
        return CodeInstruction(
            int(table["ip"][number]), len(opcode), int(table["mode"][number]), bytes(opcode)
        )

    def question(self, number: int) -> Question:
        """What a filter is asked about a row."""
        address, _, mode, opcode = self.row(number)
        return Question(opcode, disassemble(opcode, address, mode))

    def executions(self, wanted: Rows, start: int, stop: int) -> Table:
        """All executions of these rows among some steps (``stop`` not included), in order.

        Columns: step, row, and the estimated tsc and time (ns), missing where no clock is known.
        """
        return Table(self._raw.executions(wanted.tobytes(), start, stop))

    def search(self, wanted: Rows) -> RowSearch:
        """A search for executions of these rows; what an earlier search for the same rows has found is used
        again.
        """
        key = wanted.tobytes()
        search = self._searches.pop(key, None) or RowSearch(self._raw, key, self._length)
        self._searches[key] = search
        while len(self._searches) > KEPT:
            del self._searches[next(iter(self._searches))]
        return search


class RowSearch:
    """Where some rows were executed.

    The first questions are answered by looking around the present position, in pieces that grow while nothing
    is found. From the third on there is an index, unless there are too many executions for one.
    """

    def __init__(self, raw: RawCode, key: bytes, length: int) -> None:
        self._raw = raw
        self._key = key
        self._length = length
        self._questions = 0
        self._all: Executions | None = None
        if 1 not in key:
            self._all = self._between(0, 0)

    def all(self) -> Executions:
        """All executions, in order."""
        return self._all or self._between(0, self._length)

    def forward(self, start: int, stop: int) -> Iterator[tuple[Executions, int]]:
        """Executions among the steps ``start`` to ``stop`` (exclusive), in pieces, and up to where each
        piece has looked.
        """
        index = self._index()
        width, most = NARROWEST, FEWEST_HITS
        while start < stop:
            if index is not None:
                begin, end = np.searchsorted(index.steps, (start, stop)).tolist()
                end = min(end, begin + most)
                found = Executions(index.steps[begin:end], index.rows[begin:end])
                reached = stop
            else:
                reached = min(start + width, stop)
                found = self._between(start, reached, most)
                width = min(2 * width, WIDEST)
            if len(found.steps) == most:
                reached = int(found.steps[-1]) + 1
            most = min(4 * most, MOST_HITS)
            yield found, reached
            start = reached

    def backward(self, start: int, stop: int) -> Iterator[tuple[Executions, int]]:
        """The same from behind: the last execution first, down to ``start``."""
        index = self._index()
        width, most = NARROWEST, FEWEST_HITS
        while start < stop:
            if index is not None:
                begin, end = np.searchsorted(index.steps, (start, stop)).tolist()
                begin = max(begin, end - most)
                found = Executions(index.steps[begin:end], index.rows[begin:end])
                reached = int(found.steps[0]) if len(found.steps) == most else start
                most = min(4 * most, MOST_HITS)
            else:
                reached = max(stop - width, start)
                found = self._between(reached, stop)
                width = min(2 * width, WIDEST) if len(found.steps) < MOST_HITS else NARROWEST
            yield Executions(found.steps[::-1], found.rows[::-1]), reached
            stop = reached

    def _index(self) -> Executions | None:
        self._questions += 1
        if self._all is None and self._questions == 3:
            found = self._between(0, self._length, MOST_INDEXED + 1)
            if len(found.steps) <= MOST_INDEXED:
                self._all = found
        return self._all

    def _between(self, start: int, stop: int, limit: int = 1 << 62) -> Executions:
        steps, rows = self._raw.find(self._key, start, stop, limit)
        return Executions(np.frombuffer(steps, dtype=np.int64), np.frombuffer(rows, dtype=np.uint32))
