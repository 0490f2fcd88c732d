"""The stack as executed code tells it: where the stack pointer was, and the words that calls left there."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from odograph._native import RawHeights
from odograph.views.opencalls import OpenCalls

if TYPE_CHECKING:
    from odograph.history import History
    from odograph.symbols import Symbols

__all__ = ["DerivedFrame", "DerivedStack", "StackMoment"]

#: A made-up address: where the stack pointer was when the outermost frame began, a multiple of 4096.
BASE = 0x7FFF_F000_0000
_TOP = 1 << 64
_RSP, _RBP = 4, 5


@dataclass(frozen=True)
class DerivedFrame:
    """A frame: the function called at ``entry`` stands before the instruction at ``pc``.

    ``cfa`` is the stack pointer before the call, ``rsp`` what it is now. ``registers`` has what is known, by
    their numbers in instructions; ``words`` the words of the frame by address, the return address among them.
    ``is_exact`` says that the stack pointer follows from what was executed and is no guess.
    """

    entry: int
    pc: int
    cfa: int
    rsp: int
    is_exact: bool
    registers: dict[int, int] = field(default_factory=dict)
    words: dict[int, int] = field(default_factory=dict)


class StackMoment:
    """The stack at a step; ``frames`` has the outermost first."""

    def __init__(self, frames: list[DerivedFrame]) -> None:
        self.frames = frames
        # A frame's words lie below its CFA, so with the sign changed these ascend.
        self._cfas = [-frame.cfa for frame in frames]

    @property
    def rsp(self) -> int:
        """The stack pointer."""
        return self.frames[-1].rsp

    @property
    def rbp(self) -> int | None:
        """The frame pointer, if it is known."""
        return self.frames[-1].registers.get(_RBP)

    def word(self, address: int) -> int | None:
        """The word at an address, if it is known."""
        at = bisect_left(self._cfas, -address) - 1
        return self.frames[at].words.get(address) if at >= 0 else None

    def read(self, address: int, size: int) -> bytes:
        """Bytes of the stack; short where they are no longer known, empty if the first one is not."""
        data = b""
        within = address % 8
        at = address - within
        while len(data) < size + within:
            word = self.word(at)
            if word is None:
                break
            data += word.to_bytes(8, "little")
            at += 8
        return data[within : within + size]


class DerivedStack:
    """Stacks of a history's steps, from its calls, returns and executed code.

    Addresses of the stack are made up: the outermost frame begins at :data:`BASE`. A frame's CFA is the same
    whatever is called above it. No word is known but return addresses and registers that were saved; of
    registers, the stack pointer and what follows from it.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._code = history.raw_code()
        self._calls = OpenCalls(history)
        self._last: list[tuple[int, int, DerivedFrame]] = []
        self._returns: dict[int, int] = {}

    @cached_property
    def _heights(self) -> RawHeights:
        edges = self._history.edges()
        source = np.ascontiguousarray(edges["from"], dtype=np.uint64)
        target = np.ascontiguousarray(edges["to"], dtype=np.uint64)
        return RawHeights(self._code, source.tobytes(), target.tobytes())

    @cached_property
    def _first(self) -> int:
        return int(self._history.ips(0, 1)[0])

    def at(self, step: int, pc: int, symbols: Symbols | None = None) -> StackMoment:
        """The stack before the instruction at ``pc``, which is that of ``step``.

        ``symbols`` help where the outermost function was entered before the history begins.
        """
        calls = self._calls.at(step)[::-1]
        # Each frame with the step of the call it stands before, the innermost with none.
        wanted = [(call.step, call.caller) for call in calls] + [(-1 - step, pc)]
        same = 0
        while same < min(len(wanted), len(self._last)) and wanted[same] == self._last[same][:2]:
            same += 1
        frames = self._last[:same]
        for number in range(same, len(wanted)):
            key, ip = wanted[number]
            if number == 0:
                frame = self._outermost(ip, symbols)
            else:
                frame = self._inner(frames[-1][2], calls[number - 1].callee, ip)
            frames.append((key, ip, frame))
        self._last = frames
        return StackMoment([frame for _, _, frame in frames])

    def _outermost(self, pc: int, symbols: Symbols | None) -> DerivedFrame:
        cfa = BASE + 8
        frame = self._frame(self._first, pc, cfa, {}, {})
        if frame is None and symbols is not None:
            place = symbols.name_of(pc)
            if place is not None and place.name is not None:
                frame = self._frame(pc - place.offset, pc, cfa, {}, {})
        return frame or DerivedFrame(pc, pc, cfa, cfa - 8, False)

    def _inner(self, outer: DerivedFrame, entry: int, pc: int) -> DerivedFrame:
        cfa = outer.rsp
        words = {cfa - 8: self._return_address(outer.pc)}
        # What is kept for the caller; anything else was for the callee to use.
        registers = {number: value for number, value in outer.registers.items() if number != _RSP}
        frame = self._frame(entry, pc, cfa, registers, words)
        return frame or DerivedFrame(entry, pc, cfa, cfa - 8, False, {_RSP: cfa - 8}, words)

    def _frame(
        self, entry: int, pc: int, cfa: int, registers: dict[int, int], words: dict[int, int]
    ) -> DerivedFrame | None:
        found = self._heights.at(entry, pc, cfa)
        if found is None:
            return None
        height, trust, known, saved = found

        def value_of(what: tuple[str, int]) -> int | None:
            kind, number = what
            return registers.get(number) if kind == "entry" else number

        values = {number: value for number, what in known if (value := value_of(what)) is not None}
        for place, what in saved:
            value = value_of(what)
            if value is not None:
                words[(cfa + place) % _TOP] = value
        return DerivedFrame(entry, pc, cfa, (cfa + height) % _TOP, trust == "exact", values, words)

    def _return_address(self, caller: int) -> int:
        known = self._returns.get(caller)
        if known is None:
            steps = self._history.find(caller, limit=1)
            size = self._history[int(steps[0])].size if len(steps) else 0
            known = self._returns[caller] = (caller + size) % _TOP
        return known
