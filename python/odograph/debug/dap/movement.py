"""Stepping as editors mean it: over calls, into them, out of them, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odograph.debug.dap.calls import Calls, Steps
from odograph.debug.halt import Halt, HaltReason

if TYPE_CHECKING:
    from odograph.debug.dap.places import Line, Places
    from odograph.debug.target import Target

__all__ = ["Movement"]

_FEWEST, _MOST = 1 << 8, 1 << 20
"""Steps that are looked at at once."""
_STUB = 4
"""Instructions after which a function is entered, if stubs come before it."""


class Movement:
    """Moves a thread by instructions or by lines.

    Where it is to go is found by calls and addresses; then it runs there, so that breakpoints on the way
    stop it. Where no source line is known, a line is an instruction.
    """

    def __init__(self, target: Target, places: Places) -> None:
        self._target = target
        self._history = target.history
        self._places = places
        self._numbers: dict[Line, int] = {}
        self.calls = Calls(target.history)

    # Forward ----------------------------------------------------------------------------------------------

    def over(self, by_instruction: bool) -> Halt:
        """The next line or instruction of this function, or of its caller if it returns."""
        here = self._line()
        if by_instruction or not here:
            made = self.calls.made_at(self._target.step)
            return self._run_to(self._behind(made.end) if made is not None else self._target.step + 1)
        return self._run_to(self._next_line(here, enters=False))

    def into(self, by_instruction: bool) -> Halt:
        """The next instruction, or the next line, also that of a function whose source is known."""
        here = self._line()
        if by_instruction or not here:
            return self._run_to(self._target.step + 1)
        return self._run_to(self._next_line(here, enters=True))

    def out(self) -> Halt:
        """Behind the call of this function."""
        return self._run_to(self._behind(self.calls.around(self._target.step).end))

    def _behind(self, end: int) -> int:
        return end + 1 if end >= 0 else len(self._history)

    def _next_line(self, here: int, enters: bool) -> int:
        """The first step of this function, or of one that it calls, that belongs to another line."""
        start = self._target.step + 1
        stop = self._behind(self.calls.around(self._target.step).end)
        size = _FEWEST
        while start < stop:
            end = min(start + size, stop)
            ips = self._history.ips(start, end)
            # The instruction that it stands at may be a call, too.
            begins, ends = self.calls.begun(self._target.step, start - 1, end)
            if enters and len(begins):
                # A call may go by way of a stub.
                ways = begins[:, None] + np.arange(_STUB)
                entries = self._lines(ips[np.minimum(ways - start, len(ips) - 1)]) * (ways <= ends[:, None])
                over = ~entries.any(axis=1)
                begins, ends = begins[over], ends[over]
            steps = np.flatnonzero(~_covered(start, end, begins, ends))
            lines = self._lines(ips[steps])
            others = np.flatnonzero((lines != 0) & (lines != here))
            if len(others):
                return start + int(steps[others[0]])
            start = max(end, int(ends.max()) + 1 if len(ends) else end)
            size = min(4 * size, _MOST)
        return stop

    # Backward ---------------------------------------------------------------------------------------------

    def back(self, by_instruction: bool) -> Halt:
        """The line or instruction of this function that came before, or the call of it."""
        step = self._target.step
        if step == 0:
            return Halt(HaltReason.BEGIN)
        if by_instruction or not self._line():
            ended = self.calls.ended_at(step - 1)
            return self._run_back(ended.call if ended is not None else step - 1)
        return self._run_back(self._line_before())

    def _line_before(self) -> int:
        """The first step of the line that came last before this step."""
        stop = self._target.step
        call = self.calls.around(stop).call
        first = call + 1
        wanted, reached = 0, -1
        size = _FEWEST
        while stop > first:
            start = max(stop - size, first)
            begins, ends = self.calls.ended(self._target.step, start, stop)
            # The last one first.
            steps = np.flatnonzero(~_covered(start, stop, begins, ends))[::-1]
            lines = self._lines(self._history.ips(start, stop)[steps])
            known = np.flatnonzero(lines)
            if len(known):
                wanted = wanted or int(lines[known[0]])
                others = known[lines[known] != wanted]
                same = known[lines[known] == wanted]
                if len(others):
                    same = same[same < others[0]]
                if len(same):
                    reached = start + int(steps[same[-1]])
                if len(others):
                    return reached
            stop = max(min(start, int(begins.min()) if len(begins) else start), first)
            size = min(4 * size, _MOST)
        return reached if reached >= 0 else max(call, 0)

    # Both -------------------------------------------------------------------------------------------------

    def _line(self) -> int:
        """The line that it stands at, as a number; 0 if it is not known."""
        return self._number(self._places.line(self._target.pc))

    def _number(self, line: Line | None) -> int:
        return 0 if line is None else self._numbers.setdefault(line, len(self._numbers) + 1)

    def _lines(self, addresses: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The lines of instructions, as numbers."""
        unique, inverse = np.unique(addresses, return_inverse=True)
        numbers = [self._number(self._places.line(address)) for address in unique.tolist()]
        return np.array(numbers, dtype=np.int64)[inverse].reshape(addresses.shape)

    def _run_to(self, step: int) -> Halt:
        target = self._target
        if target.step >= target.last:
            return Halt(HaltReason.END)
        halt = target.run(skip_here=True, limit=min(step, target.last) - target.step)
        return Halt(HaltReason.END) if halt.reason is HaltReason.STEP and step > target.last else halt

    def _run_back(self, step: int) -> Halt:
        return self._target.run(reverse=True, limit=self._target.step - step)


def _covered(start: int, stop: int, begins: Steps, ends: Steps) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of the steps ``start`` to ``stop`` (exclusive) lie in one of these calls."""
    size = stop - start
    depth = np.zeros(size + 1, dtype=np.int64)
    np.add.at(depth, np.clip(begins - start, 0, size), 1)
    np.add.at(depth, np.clip(ends + 1 - start, 0, size), -1)
    return np.cumsum(depth[:-1]) > 0
