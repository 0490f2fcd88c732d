"""Call stacks of a history, from the calls and returns that were executed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from odograph._native import RawStacks
from odograph.errors import InvalidArgument
from odograph.frame import Found, Frame, Stack

if TYPE_CHECKING:
    from odograph._native import RawHistory
    from odograph.symbols import Symbols

__all__ = ["CallStacks"]

_CALL, _INTERRUPTED, _REVEALED = range(3)
#: Where programs begin: nothing called these.
_BOTTOM = frozenset(("_start", "_dl_start_user"))


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
        self._outer: Stack | None = None

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

    def seed(self, steps: int, seed: Stack) -> None:
        """Takes the frames around those that are known at the end, behind the last of ``steps``."""
        self._outer = None
        # Calls that jumped are no open calls here either.
        seed = Stack((frame for frame in seed if frame.found is not Found.TAIL_CALL), seed.end)
        known = [frame.address for frame in self.at(steps, 1 << 16)]
        addresses = [frame.address for frame in seed]
        # Where the outermost known frame stands; the innermost may have gone on since.
        places = [at for at, address in enumerate(addresses) if known[-1:] == [address]]
        fitting = [
            at for at in places if at + 1 >= len(known) and addresses[at + 1 - len(known) : at + 1] == known
        ]
        if not known:
            fitting = [0] if addresses else []
        if not fitting:
            raise InvalidArgument(
                "this stack is not the one at the end of the history: no frame of it has the outermost known "
                "return address with the same calls on top"
            )
        outer = seed[fitting[-1] + 1 :]
        self._outer = Stack(
            (replace(frame, found=Found.CORE, registers={}, step=None) for frame in outer), seed.end
        )

    def at(self, step: int, most: int, last: int | None = None) -> Stack:
        """The stack before a step; at the end, ``last`` is where execution stands. At most so many frames."""
        found, complete, left_out, doubt, pc = self.native.at(step, most - 1)
        pc = last if pc is None else pc
        frames = [] if pc is None else [self._frame(pc, False, Found.START, step=step)]
        for address, at, kind, is_guess in found:
            how = Found.SIGNAL if kind == _INTERRUPTED else Found.CALL
            known = at if kind != _REVEALED else None
            frames.append(self._frame(address, kind != _INTERRUPTED, how, step=known, is_guess=is_guess))
        if left_out:
            more = "1 more frame is known" if left_out == 1 else f"{left_out:,} more frames are known"
            return Stack(frames, more)
        if not complete and self._outer is not None:
            frames += [replace(frame, is_guess=doubt or frame.is_guess) for frame in self._outer]
            return Stack(frames, self._outer.end)
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
