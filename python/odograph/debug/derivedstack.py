"""The stack as executed code tells it: where the stack pointer was, and the words that calls left there."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odograph._native import RawStackOffsets
from odograph.frame import Found
from odograph.history.instruction import InstructionClass
from odograph.table import Table
from odograph.text.reprs import hex_repr

if TYPE_CHECKING:
    from odograph.history.history import History
    from odograph.symbols import Symbols

__all__ = ["DerivedFrame", "DerivedStack", "StackMoment"]

#: A made-up address: where the stack pointer was when the outermost frame began, a multiple of 4096.
BASE = 0x7FFF_F000_0000
_TOP = 1 << 64
_RSP, _RBP = 4, 5
#: Most instructions that are looked at before the whole stack is.
_NEAR = 256
_JUMPING = (InstructionClass.jump, InstructionClass.cond_jump)
_STAYING = (InstructionClass.other, *_JUMPING)
#: ``mov rax, __NR_rt_sigreturn``, as the C library's restorer begins.
_RT_SIGRETURN = bytes.fromhex("48c7c00f000000")
#: With the system call behind that.
_RESTORER_SIZE = len(_RT_SIGRETURN) + 2
#: What Linux puts on the stack for a handler: the red zone, and a made-up size for the rest.
_SIGNAL_FRAME = 128 + 4096
#: Registers in ``struct ucontext`` (Linux, x86-64: uc_mcontext.gregs begins at 40).
_SAVED_RBP, _SAVED_RSP, _SAVED_RIP = 120, 160, 168


class _Place(NamedTuple):
    """A frame by what was executed: all that its stack depends on besides the outer frames."""

    found: Found
    step: int | None
    address: int
    is_guess: bool
    #: The first step of the function that it called or jumped to.
    entered: int | None = None


@hex_repr("pc", "cfa", "rsp", "registers", "words")
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
    """The stack at a step; ``frames`` has the outermost first, ``listed`` also those that left by a jump."""

    def __init__(self, frames: list[DerivedFrame], listed: list[DerivedFrame]) -> None:
        self.frames = frames
        self.listed = listed
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
    with any calls above it. No word is known but return addresses, registers that were saved, and what
    the kernel saved of them for a handler of signals; of registers, the stack pointer and what follows from
    it.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._code = history.raw_code()
        self._last: list[tuple[_Place, DerivedFrame]] = []
        self._last_step = 0
        self._ips: dict[int, int] = {}

    @cached_property
    def _heights(self) -> RawStackOffsets:
        edges = self._history.edges()
        source = np.ascontiguousarray(edges["from"], dtype=np.uint64)
        target = np.ascontiguousarray(edges["to"], dtype=np.uint64)
        return RawStackOffsets(self._code, source.tobytes(), target.tobytes())

    @cached_property
    def _first(self) -> int:
        return int(self._history.ips(0, 1)[0])

    @cached_property
    def _restorer(self) -> int | None:
        """Where handlers of signals return to, if one did: ``mov rax, 15``."""
        table = Table(self._code.rows())
        return dict(zip(table["raw"].tolist(), table["ip"].tolist(), strict=True)).get(_RT_SIGRETURN)

    def at(self, step: int, pc: int, symbols: Symbols | None = None) -> StackMoment:
        """The stack before the instruction at ``pc``, which is that of ``step``.

        ``symbols`` help where a function was entered before the history begins.
        """
        if self._is_as_before(step):
            places = [place for place, _ in self._last]
        else:
            places = [
                _Place(frame.found, frame.step, frame.address, frame.is_guess, frame.entered)
                for frame in reversed(self._history.stack(step))
            ]
        self._last_step = step
        places[-1] = _Place(Found.START, step, pc, places[-1].is_guess)
        same = 0
        while same < min(len(places), len(self._last)) and places[same] == self._last[same][0]:
            same += 1
        frames = self._last[:same]
        for number in range(same, len(places)):
            place, outer = places[number], places[number - 1] if number else None
            frame = frames[-1][1] if number else None
            frames.append((place, self._make(outer, frame, place, symbols)))
        self._last = frames
        there = [frame for place, frame in frames if place.found is not Found.TAIL_CALL]
        return StackMoment(there, [frame for _, frame in frames])

    @cached_property
    def _breaks(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Steps at which something happened besides instructions."""
        gaps = np.asarray(self._history.gap_steps())
        return np.sort(np.concatenate([np.asarray(self._history.events()["step"]), gaps]).astype(np.int64))

    def _is_as_before(self, step: int) -> bool:
        """Whether no call, return or jump to a function was executed since: quicker to see than the stack."""
        low, high = sorted((step, self._last_step))
        if not self._last or high - low > _NEAR or high > len(self._history):
            return False
        happened = np.searchsorted(self._breaks, (low, high + 1))
        if happened[0] != happened[1]:
            return False
        executed = self._history.instructions(low, high)["iclass"]
        if not np.isin(executed, _STAYING).all():
            return False
        jumps = np.flatnonzero(np.isin(executed, _JUMPING))
        came_to = self._history.ips(low + 1, high + 1)
        return not self._history.may_enter(came_to[jumps[jumps < len(came_to)]].tolist())

    def _ip(self, step: int) -> int:
        """The instruction of a step; 0 behind the last one."""
        known = self._ips.get(step)
        if known is None:
            known = self._ips[step] = int(sum(self._history.ips(step, step + 1).tolist()))
        return known

    def _make(
        self, below: _Place | None, outer: DerivedFrame | None, place: _Place, symbols: Symbols | None
    ) -> DerivedFrame:
        # A frame that called stands at its call; the return address may never have been executed.
        is_call = place.found is Found.CALL and place.step is not None
        pc = self._ip(place.step) if is_call and place.step is not None else place.address
        registers: dict[int, int] = {}
        words: dict[int, int] = {}
        entry = self._first
        cfa = BASE + 8
        if outer is not None and below is not None:
            cfa = outer.rsp
            registers = {number: value for number, value in outer.registers.items() if number != _RSP}
            entry = pc if below.entered is None else self._ip(below.entered)
            if below.found is Found.TAIL_CALL:
                # Only the return address is left of that frame.
                cfa = outer.cfa
                words = {at: word for at, word in outer.words.items() if at == cfa - 8}
                if outer.rsp != cfa - 8:
                    # It jumped with more on the stack, which is there still.
                    entry, registers = outer.entry, {}
            elif below.found is Found.SIGNAL:
                cfa, registers = self._signal(outer), {}
                words = {} if self._restorer is None else {cfa - 8: self._restorer}
                if self._restorer is not None and self._restorer <= pc < self._restorer + _RESTORER_SIZE:
                    # The handler has returned, to what the kernel left.
                    return DerivedFrame(entry, pc, cfa, cfa, True, {_RSP: cfa})
            else:
                words = {cfa - 8: below.address}
        frame = self._frame(entry, pc, cfa, registers, words, place.is_guess)
        if frame is None and symbols is not None and (below is None or below.step is None):
            name = symbols.name_of(pc)
            if name is not None and name.name is not None:
                frame = self._frame(pc - name.offset, pc, cfa, registers, words, place.is_guess)
        return frame or DerivedFrame(entry, pc, cfa, cfa - 8, False, {_RSP: cfa - 8}, words)

    def _signal(self, interrupted: DerivedFrame) -> int:
        """The CFA of a handler; what the kernel saved lies behind it, in ``struct ucontext``."""
        context = (interrupted.rsp - _SIGNAL_FRAME) & ~0xF
        interrupted.words[context + _SAVED_RIP] = interrupted.pc
        interrupted.words[context + _SAVED_RSP] = interrupted.rsp
        if _RBP in interrupted.registers:
            interrupted.words[context + _SAVED_RBP] = interrupted.registers[_RBP]
        return context

    def _frame(
        self,
        entry: int,
        pc: int,
        cfa: int,
        registers: dict[int, int],
        words: dict[int, int],
        is_guess: bool,
    ) -> DerivedFrame | None:
        found = self._heights.at(entry, pc, cfa)
        if found is None:
            return None
        offset, trust, known, saved = found

        def value_of(what: tuple[str, int]) -> int | None:
            kind, number = what
            return registers.get(number) if kind == "entry" else number

        values = {number: value for number, what in known if (value := value_of(what)) is not None}
        for place, what in saved:
            value = value_of(what)
            if value is not None:
                words[(cfa + place) % _TOP] = value
        is_exact = trust == "exact" and not is_guess
        return DerivedFrame(entry, pc, cfa, (cfa + offset) % _TOP, is_exact, values, words)
