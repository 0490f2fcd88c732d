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
_RESTORER_STEPS = 2
"""Instructions that the handler of a signal returns to: mov $15, %rax; syscall."""
_RESTORER_CODE = bytes.fromhex("48 c7 c0 0f 00 00 00 0f 05")


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
        """The next line or instruction of this function, or of its caller if it returns.

        A line begins where a statement of another line does. What a function returns to lies in the middle of
        one, so its caller goes on to the next. Where no line is known, it stops at once.
        """
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
        """Behind the call of this function; a handler of a signal returns to what goes back to the kernel."""
        return self._run_to(self._behind_function(self._target.step))

    def _behind_function(self, step: int) -> int:
        """The first step behind the function that runs at a step."""
        end = self.calls.around(step).end
        first = end - _RESTORER_STEPS + 1
        if step < first:
            at = int(self._history.ips(first, first + 1)[0])
            if self._target.read_code(at, len(_RESTORER_CODE)) == _RESTORER_CODE:
                return first
        return self._behind(end)

    def _behind(self, end: int) -> int:
        return end + 1 if end >= 0 else len(self._history)

    def _next_line(self, here: int, enters: bool) -> int:
        """The first step of this function, or of one that it calls, at which another line begins.

        Of its caller if it returns before that, of the caller of that, and so on.
        """
        step = self._target.step
        while True:
            stop = self._behind(self.calls.around(step).end)
            found = self._next_line_before(stop, step, here, enters)
            if found is not None or stop >= len(self._history):
                return stop if found is None else found
            # It went on in the middle of a line.
            step, line = stop, int(self._lines(self._history.ips(stop, stop + 1))[0])
            begins = bool(self._places.statements(self._history.ips(stop, stop + 1))[0])
            if not line or (begins and line != here):
                return stop
            here = line

    def _next_line_before(self, stop: int, step: int, here: int, enters: bool) -> int | None:
        """The same, if it lies before the step ``stop``."""
        start = step + 1
        size = _FEWEST
        while start < stop:
            end = min(start + size, stop)
            ips = self._history.ips(start, end)
            # The instruction that it stands at may be a call, too.
            begins, ends = self.calls.begun(step, start - 1, end)
            if enters and len(begins):
                # A call may go by way of a stub.
                ways = begins[:, None] + np.arange(_STUB)
                entries = self._lines(ips[np.minimum(ways - start, len(ips) - 1)]) * (ways <= ends[:, None])
                over = ~entries.any(axis=1)
                entered = begins[~over] + np.argmax(entries[~over] != 0, axis=1)
                begins, ends = begins[over], ends[over]
            else:
                entered = begins[:0]
            steps = np.flatnonzero(~_covered(start, end, begins, ends))
            lines = self._lines(ips[steps])
            # What lies in the middle of another line does not begin it, wherever it was jumped to from.
            reached = (lines != 0) & (lines != here) & self._places.statements(ips[steps])
            reached |= np.isin(steps + start, entered)
            if reached.any():
                return start + int(steps[np.argmax(reached)])
            start = max(end, int(ends.max()) + 1 if len(ends) else end)
            size = min(4 * size, _MOST)
        return None

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
