"""Stepping as editors mean it: over calls, into them, out of them, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odograph.debug.dap.calls import Calls
from odograph.debug.dap.nextline import NextLine, covered
from odograph.debug.halt import Halt, HaltReason

if TYPE_CHECKING:
    from odograph.debug.dap.places import Places
    from odograph.debug.target import Target

__all__ = ["Movement"]

_FEWEST, _MOST = 1 << 8, 1 << 20
"""Steps that are looked at at once."""
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
        self.calls = Calls(target.history)
        self._next_line = NextLine(target.history, places, self.calls)

    # Forward ----------------------------------------------------------------------------------------------

    def over(self, by_instruction: bool) -> Halt:
        """The next line or instruction of this function, or of its caller if it returns.

        Where no line is known, it stops at once.
        """
        if by_instruction or not self._line():
            made = self.calls.made_at(self._target.step)
            return self._run_to(
                self._next_line.behind(made.end) if made is not None else self._target.step + 1
            )
        return self._run_to(self._next_line.after(self._target.step, enters=False))

    def into(self, by_instruction: bool) -> Halt:
        """The next instruction, or the next line, also that of a function whose source is known."""
        if by_instruction or not self._line():
            return self._run_to(self._target.step + 1)
        return self._run_to(self._next_line.after(self._target.step, enters=True))

    def out(self) -> Halt:
        """Behind the call of this function, or behind what was inlined.

        A handler of a signal returns to what goes back to the kernel.
        """
        behind = self._next_line.behind_inlined(self._target.step)
        return self._run_to(self._behind_function(self._target.step) if behind is None else behind)

    def _behind_function(self, step: int) -> int:
        """The first step behind the function that runs at a step."""
        end = self.calls.around(step).end
        first = end - _RESTORER_STEPS + 1
        if step < first:
            at = int(self._history.ips(first, first + 1)[0])
            if self._target.read_code(at, len(_RESTORER_CODE)) == _RESTORER_CODE:
                return first
        return self._next_line.behind(end)

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
            steps = np.flatnonzero(~covered(start, stop, begins, ends))[::-1]
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
        """The line that it stands at, as a number; 0 if it is not known, as behind the last step."""
        return sum(self._lines(self._history.ips(self._target.step, self._target.step + 1)).tolist())

    def _lines(self, addresses: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The lines of instructions, as numbers."""
        return self._places.pieces(addresses).line

    def _run_to(self, step: int) -> Halt:
        target = self._target
        if target.step >= target.last:
            return Halt(HaltReason.END)
        halt = target.run(skip_here=True, limit=min(step, target.last) - target.step)
        return Halt(HaltReason.END) if halt.reason is HaltReason.STEP and step > target.last else halt

    def _run_back(self, step: int) -> Halt:
        return self._target.run(reverse=True, limit=self._target.step - step)
