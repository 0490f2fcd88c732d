"""A thread as an editor sees it: where it stands, its frames, and what is known there."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from odograph.debug.dap.movement import Movement
from odograph.debug.dap.places import Places
from odograph.debug.target import Target
from odograph.frame import Frame

if TYPE_CHECKING:
    from odograph.recording.recording import Recording

__all__ = ["DebuggedThread", "ShownFrame"]

_MOST_FRAMES = 4096


class ShownFrame:
    """A line of the stack: a frame, or a function that is inlined where a frame stands."""

    def __init__(self, frame: Frame, name: str, file: str | None, line: int | None) -> None:
        self.frame = frame
        self.name = name
        self.file = file
        self.line = line


class DebuggedThread:
    """One thread of a recording, which moves alone."""

    def __init__(self, recording: Recording, tid: int) -> None:
        self.target = Target(recording, tid)
        self.tid = tid
        self.name = f"{self.target.thread.comm} ({tid})" if self.target.thread.comm else str(tid)
        self.places = Places(self.target)
        self._stack: tuple[int, list[ShownFrame]] | None = None

    @cached_property
    def movement(self) -> Movement:
        """How it steps."""
        return Movement(self.target, self.places)

    def value(self, name: str) -> int | None:
        """The value of a name in an expression: of ``step``, ``time``, ``tsc``, ``tid``, ``pc``, ``last``, or
        the address of a symbol. KeyError if there is none.
        """
        target = self.target
        match name:
            case "step":
                return target.step
            case "time":
                return target.time
            case "tsc":
                return target.tsc
            case "tid":
                return self.tid
            case "pc" | "rip":
                return target.pc
            case "last":
                return target.last
        return target.symbols.resolve(name)

    @property
    def stack(self) -> list[ShownFrame]:
        """The frames, the innermost first; inlined functions are lines of their own."""
        if self._stack is None or self._stack[0] != self.target.step:
            shown = [line for frame in self._frames() for line in self._lines(frame)]
            self._stack = (self.target.step, shown)
        return self._stack[1]

    def _frames(self) -> list[Frame]:
        target = self.target
        return [*target.history.stack(target.step, limit=_MOST_FRAMES)]

    def _lines(self, frame: Frame) -> list[ShownFrame]:
        name = frame.function or str(
            self.target.symbols.name_of(frame.lookup_address) or f"{frame.address:#x}"
        )
        shown = [ShownFrame(frame, f"{one.function} (inlined)", one.file, one.line) for one in frame.inlined]
        return [*shown, ShownFrame(frame, name, frame.file, frame.line)]
