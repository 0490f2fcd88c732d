"""Call stacks of a history, from the calls and returns that were executed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from odograph._native import RawStacks
from odograph.frame import Found, Frame, Stack

if TYPE_CHECKING:
    from odograph._native import RawHistory
    from odograph.symbols import Symbols

__all__ = ["CallStacks", "Outer"]

_CALL, _INTERRUPTED, _REVEALED = range(3)
#: Where programs begin: nothing called these.
_BOTTOM = frozenset(("_start", "_dl_start_user"))


class Outer(NamedTuple):
    """A frame that is known from elsewhere: where it goes on, and by whom it is known."""

    address: int
    found: Found = Found.CORE


class CallStacks:
    """The call stacks of one history: followed once, when first asked for.

    ``programs`` gives the times (TSC) at which the thread goes on with another program.
    """

    def __init__(
        self,
        raw: RawHistory,
        find_symbols: Callable[[], Symbols] | None,
        find_programs: Callable[[], Sequence[int]] | None = None,
    ) -> None:
        self._raw = raw
        self._find_symbols = find_symbols
        self._find_programs = find_programs
        self._native: RawStacks | None = None
        self._named: dict[tuple[int, bool], Frame] = {}
        self._outer: tuple[Outer, ...] = ()

    @property
    def native(self) -> RawStacks:
        """The native half; made when first asked for."""
        if self._native is None:
            programs = () if self._find_programs is None else tuple(self._find_programs())
            stacks = RawStacks(self._raw, (), (), (), programs)
            if stacks.unexplained and self._find_symbols is not None:
                starts, ends, pads = self._find_symbols().landings(stacks.unexplained)
                if starts:
                    stacks = RawStacks(self._raw, starts, ends, pads, programs)
            self._native = stacks
        return self._native

    @property
    def size(self) -> int:
        """Bytes that following the stacks keeps, roughly."""
        return self.native.size

    def seed(self, outer: Iterable[Outer]) -> None:
        """Frames below the last one known at the end of the history, the innermost first."""
        self._outer = tuple(outer)

    def at(self, step: int, pc: int | None, most: int) -> Stack:
        """The stack before a step; ``pc`` is where execution goes on. At most so many frames."""
        found, complete, cut = self.native.at(step, max(most - 1, 0))
        frames = [] if pc is None else [self._frame(pc, False, Found.START, step=step)]
        for address, at, kind, is_guess in found:
            how = Found.SIGNAL if kind == _INTERRUPTED else Found.CALL
            known = at if kind != _REVEALED else None
            frames.append(self._frame(address, kind != _INTERRUPTED, how, step=known, is_guess=is_guess))
        if cut:
            return Stack(frames, "more frames are known")
        if not complete and self._outer:
            guess = frames[-1].is_guess if frames else False
            frames += [self._frame(outer.address, True, outer.found, is_guess=guess) for outer in self._outer]
            return Stack(frames)
        if complete or (frames and frames[-1].function in _BOTTOM):
            return Stack(frames)
        return Stack(frames, "the recording begins here")

    def _frame(
        self, address: int, is_return: bool, found: Found, *, step: int | None = None, is_guess: bool = False
    ) -> Frame:
        key = (address, is_return)
        frame = self._named.get(key)
        if frame is None:
            frame = self._named[key] = self._name(Frame(address, is_return=is_return))
        return replace(frame, found=found, step=step, is_guess=is_guess)

    def _name(self, frame: Frame) -> Frame:
        if self._find_symbols is None:
            return frame
        symbols = self._find_symbols()
        place = symbols.name_of(frame.lookup_address)
        if place is None:
            return frame
        if place.name is None:
            return replace(frame, module=place.module)
        offset = place.offset + frame.address - frame.lookup_address
        named = replace(frame, function=place.name, offset=offset, module=place.module)
        source = symbols.source_of(frame.lookup_address)
        if source is None:
            return named
        return replace(named, file=source.file, line=source.line, inlined=source.inlined)
