"""Where another line begins, as debuggers step: by rows of line tables and by inlined functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from odograph.debug.dap.calls import Calls, Steps
    from odograph.debug.dap.places import Places
    from odograph.history.history import History

__all__ = ["NextLine", "covered"]

_FEWEST, _MOST = 1 << 8, 1 << 20
"""Steps that are looked at at once."""
_STUB = 4
"""Instructions after which a function is entered, if stubs come before it."""
_LINE = (1 << 32) - 1
"""The bits of a number for a line that are the line itself."""

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


class _Place(NamedTuple):
    """Where stepping has come to."""

    start: int
    """Where the piece of code begins."""
    line: int
    """The number of the line. 0: not known. -1: any line that begins is another one."""
    inlined: tuple[int, ...]
    """The inlined functions, the outermost first."""


class _Piece(NamedTuple):
    """Steps of a function that are looked at at once, and the first ones of functions that it enters."""

    steps: Steps
    ips: np.ndarray[Any, np.dtype[np.uint64]]
    entered: Steps


class NextLine:
    """Finds it for one thread.

    A line begins where a statement of another line does. Who jumps into the middle of a line is in that line
    from then on, and so is who returns there. What was inlined is stepped over like a call.
    """

    def __init__(self, history: History, places: Places, calls: Calls) -> None:
        self._history = history
        self._places = places
        self._calls = calls

    def after(self, step: int, enters: bool) -> int:
        """The first step of this function, or of one that it calls, at which another line begins.

        Of its caller if it returns before that, of the caller of that, and so on.
        """
        return self._go_on(step, self._here(step), enters)

    def _go_on(self, step: int, here: _Place, enters: bool) -> int:
        while True:
            stop = self.behind(self._calls.around(step).end)
            found, here = self._before(stop, step, here, enters)
            if found is not None or stop >= len(self._history):
                return stop if found is None else found
            step, came_to = stop, self._came_to(stop, here)
            if came_to is None:
                return stop
            here = came_to

    def behind_inlined(self, step: int) -> int | None:
        """Where a line begins behind the innermost inlined function, be it the same one.

        None if no inlined function is left before this one is.
        """
        if step >= len(self._history):
            return None
        here = self._here(step)._replace(line=-1)
        size = len(here.inlined)
        if not size:
            return None
        for piece in self._pieces(self.behind(self._calls.around(step).end), step, False):
            addresses, which = np.unique(piece.ips, return_inverse=True)
            shown = [self._shown(address)[:size] != here.inlined for address in addresses.tolist()]
            left = np.array(shown, dtype=bool)[which]
            if left.any():
                stop = int(piece.steps[np.argmax(left)])
                came_to = self._came_to(stop, here)
                return stop if came_to is None else self._go_on(stop, came_to, False)
        return None

    def _here(self, step: int) -> _Place:
        """Where stepping begins."""
        address = int(self._history.ips(step, step + 1)[0])
        start, line, _ = self._at(step)
        return _Place(start, line, tuple(one.id for one in self._places.inlined(address)))

    def _came_to(self, step: int, before: _Place) -> _Place | None:
        """The place of a step in another function; None if a line begins there, or none is known."""
        address = int(self._history.ips(step, step + 1)[0])
        start, line, begins = self._at(step)
        is_other = start == address and line != before.line
        if not line or (is_other and begins):
            return None
        # It went on behind what the line began with: what comes next begins a line, also this one.
        return _Place(start, -1 if is_other else line, self._shown(address))

    def behind(self, end: int) -> int:
        """The step behind the last one of a call."""
        return end + 1 if end >= 0 else len(self._history)

    def _at(self, step: int) -> tuple[int, int, bool]:
        start, line, begins = self._places.pieces(self._history.ips(step, step + 1))
        return int(start[0]), int(line[0]), bool(begins[0])

    def _shown(self, address: int) -> tuple[int, ...]:
        """The inlined functions at an address, without those that are about to be entered there."""
        inlined = list(self._places.inlined(address))
        while inlined and inlined[-1].begins:
            inlined.pop()
        return tuple(one.id for one in inlined)

    def _pieces(self, stop: int, step: int, enters: bool) -> Iterator[_Piece]:
        """What the function executes behind a step and before another."""
        start = step + 1
        size = _FEWEST
        while start < stop:
            end = min(start + size, stop)
            ips = self._history.ips(start, end)
            # The instruction that it stands at may be a call, too.
            begins, ends = self._calls.begun(step, start - 1, end)
            entered = begins[:0]
            if enters and len(begins):
                # A call may go by way of a stub.
                ways = begins[:, None] + np.arange(_STUB)
                entries = self._lines(ips[np.minimum(ways - start, len(ips) - 1)]) * (ways <= ends[:, None])
                over = ~entries.any(axis=1)
                entered = begins[~over] + np.argmax(entries[~over] != 0, axis=1)
                begins, ends = begins[over], ends[over]
            own = np.flatnonzero(~covered(start, end, begins, ends))
            yield _Piece(own + start, ips[own], entered)
            start = max(end, int(ends.max()) + 1 if len(ends) else end)
            size = min(4 * size, _MOST)

    def _lines(self, addresses: np.ndarray[Any, Any]) -> Numbers:
        return self._places.pieces(addresses.ravel()).line.reshape(addresses.shape)

    def _before(self, stop: int, step: int, here: _Place, enters: bool) -> tuple[int | None, _Place]:
        """The same as :meth:`after`, if it lies before the step ``stop``; and where stepping has come to."""
        for piece in self._pieces(stop, step, enters):
            code = _Code(self._places, piece, enters)
            at = 0
            while at < len(piece.steps):
                found, here, at = code.walk(here, at, self._shown)
                if found is not None:
                    return found, here
        return None, here


class _Code:
    """Steps of a function, with what is known of their code."""

    def __init__(self, places: Places, piece: _Piece, enters: bool) -> None:
        self._steps = piece.steps
        self._start, self._line, self._begins = places.pieces(piece.ips)
        self._is_start = self._start == piece.ips
        self._entered = np.isin(piece.steps, piece.entered)
        self._addresses, self._which = np.unique(piece.ips, return_inverse=True)
        self._inlined = [() if enters else places.inlined(address) for address in self._addresses.tolist()]

    def walk(
        self, here: _Place, first: int, shown: Callable[[int], tuple[int, ...]]
    ) -> tuple[int | None, _Place, int]:
        """Goes on until another line begins, or an inlined function is left, or to the end.

        Gives the step at which the line begins, where stepping has come to, and what comes next.
        """
        size = len(here.inlined)
        now = [
            shown(address) if every else ()
            for address, every in zip(self._addresses.tolist(), self._inlined, strict=True)
        ]
        is_inside = np.array([one[:size] == here.inlined for one in now], dtype=bool)[self._which[first:]]
        is_same = np.array([one == here.inlined for one in now], dtype=bool)[self._which[first:]]
        left = ~is_inside & (self._line[first:] != 0)
        end = first + int(np.argmax(left)) if left.any() else len(self._steps)
        rows = first + np.flatnonzero(is_same[: end - first])
        # Lines of calls of what was inlined and is about to be entered; 0 where there is none.
        called = [every[size].call_line if len(every) > size else 0 for every in self._inlined]
        call = np.array(called, dtype=np.int64)[self._which[rows]]
        start, line, is_start = self._start[rows], self._line[rows], self._is_start[rows]
        plain = call == 0
        came_from = _latest(start.astype(np.int64), plain, here.start)
        is_other = start != came_from[:-1].astype(np.uint64)
        lines = _latest(line, plain & (line != 0) & ~is_start & is_other, here.line)
        reached = plain & is_start & self._begins[rows] & (line != lines[:-1])
        reached |= ~plain & is_other & (call != (lines[:-1] & _LINE))
        reached |= self._entered[rows]
        here = _Place(int(came_from[-1]), int(lines[-1]), here.inlined)
        if reached.any():
            return int(self._steps[rows[np.argmax(reached)]]), here, end
        if end == len(self._steps):
            return None, here, end
        row = int(self._line[end])
        if self._is_start[end] and row != here.line:
            if self._begins[end]:
                return int(self._steps[end]), here, end
            row = -1
        return None, _Place(int(self._start[end]), row, now[int(self._which[end])]), end + 1


def _latest(values: Numbers, counts: Flags, first: int) -> Numbers:
    """Before each value, and behind the last one: the latest that counts, or the first."""
    found = np.concatenate((np.array([first], dtype=np.int64), values))
    rows = np.where(np.concatenate(([True], counts)), np.arange(len(found)), 0)
    return found[np.maximum.accumulate(rows)]


def covered(start: int, stop: int, begins: Steps, ends: Steps) -> Flags:
    """Which of the steps ``start`` to ``stop`` (exclusive) lie in one of these calls."""
    size = stop - start
    depth = np.zeros(size + 1, dtype=np.int64)
    np.add.at(depth, np.clip(begins - start, 0, size), 1)
    np.add.at(depth, np.clip(ends + 1 - start, 0, size), -1)
    return np.cumsum(depth[:-1]) > 0
