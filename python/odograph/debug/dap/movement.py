"""Stepping as editors mean it: over calls, into them, out of them, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odograph.debug.dap.calls import Calls, Steps
from odograph.debug.halt import Halt, HaltReason

if TYPE_CHECKING:
    from odograph.debug.dap.places import Places
    from odograph.debug.target import Target

__all__ = ["Movement"]

_FEWEST, _MOST = 1 << 8, 1 << 20
"""Steps that are looked at at once."""
_STUB = 4
"""Instructions after which a function is entered, if stubs come before it."""
_RESTORER_STEPS = 2
"""Instructions that the handler of a signal returns to: mov $15, %rax; syscall."""
_RESTORER_CODE = bytes.fromhex("48 c7 c0 0f 00 00 00 0f 05")


class _Piece(NamedTuple):
    """A piece of code that is stepped through, and the number of its line."""

    start: int
    line: int
    """0: not known. -1: any line that begins is another one."""
    begins_statement: bool


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

    # Forward ----------------------------------------------------------------------------------------------

    def over(self, by_instruction: bool) -> Halt:
        """The next line or instruction of this function, or of its caller if it returns.

        A line begins where a statement of another line does. What a function returns to lies in the middle of
        one, so its caller goes on to the next. Where no line is known, it stops at once.
        """
        if by_instruction or not self._line():
            made = self.calls.made_at(self._target.step)
            return self._run_to(self._behind(made.end) if made is not None else self._target.step + 1)
        return self._run_to(self._next_line(enters=False))

    def into(self, by_instruction: bool) -> Halt:
        """The next instruction, or the next line, also that of a function whose source is known."""
        if by_instruction or not self._line():
            return self._run_to(self._target.step + 1)
        return self._run_to(self._next_line(enters=True))

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

    def _next_line(self, enters: bool) -> int:
        """The first step of this function, or of one that it calls, at which another line begins.

        Of its caller if it returns before that, of the caller of that, and so on.
        """
        step = self._target.step
        here = self._here(step)
        while True:
            stop = self._behind(self.calls.around(step).end)
            found = self._next_line_before(stop, step, here, enters)
            if found is not None or stop >= len(self._history):
                return stop if found is None else found
            step, before, here = stop, here, self._here(stop)
            is_start = here.start == int(self._history.ips(stop, stop + 1)[0])
            if not here.line:
                return stop
            if is_start and here.line != before.line:
                if here.begins_statement:
                    return stop
                # It went on behind what the line began with: what comes next begins a line, also this one.
                here = here._replace(line=-1)

    def _here(self, step: int) -> _Piece:
        """The piece of code at a step; behind the last one there is none."""
        if step >= len(self._history):
            return _Piece(0, 0, False)
        start, line, begins = self._places.pieces(self._history.ips(step, step + 1))
        return _Piece(int(start[0]), int(line[0]), bool(begins[0]))

    def _next_line_before(self, stop: int, step: int, here: _Piece, enters: bool) -> int | None:
        """The same, if it lies before the step ``stop``.

        Who jumps into the middle of a line is in that line from then on.
        """
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
            pieces = self._places.pieces(ips[steps])
            is_start = pieces.start == ips[steps]
            came_from = np.concatenate(([np.uint64(here.start)], pieces.start))[:-1]
            jumped_in = (pieces.line != 0) & ~is_start & (pieces.start != came_from)
            lines = _latest(pieces.line, jumped_in, here.line)
            reached = is_start & pieces.begins_statement & (pieces.line != lines[:-1])
            reached |= np.isin(steps + start, entered)
            if reached.any():
                return start + int(steps[np.argmax(reached)])
            if len(steps):
                here = _Piece(int(pieces.start[-1]), int(lines[-1]), bool(pieces.begins_statement[-1]))
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
        return self._here(self._target.step).line

    def _lines(self, addresses: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The lines of instructions, as numbers."""
        return self._places.pieces(addresses.ravel()).line.reshape(addresses.shape)

    def _run_to(self, step: int) -> Halt:
        target = self._target
        if target.step >= target.last:
            return Halt(HaltReason.END)
        halt = target.run(skip_here=True, limit=min(step, target.last) - target.step)
        return Halt(HaltReason.END) if halt.reason is HaltReason.STEP and step > target.last else halt

    def _run_back(self, step: int) -> Halt:
        return self._target.run(reverse=True, limit=self._target.step - step)


def _latest(
    values: np.ndarray[Any, np.dtype[np.int64]], counts: np.ndarray[Any, np.dtype[np.bool_]], first: int
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Before each value, and behind the last one: the latest that counts, or the first."""
    found = np.concatenate(([first], values))
    rows = np.where(np.concatenate(([True], counts)), np.arange(len(found)), 0)
    return found[np.maximum.accumulate(rows)]


def _covered(start: int, stop: int, begins: Steps, ends: Steps) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of the steps ``start`` to ``stop`` (exclusive) lie in one of these calls."""
    size = stop - start
    depth = np.zeros(size + 1, dtype=np.int64)
    np.add.at(depth, np.clip(begins - start, 0, size), 1)
    np.add.at(depth, np.clip(ends + 1 - start, 0, size), -1)
    return np.cumsum(depth[:-1]) > 0
