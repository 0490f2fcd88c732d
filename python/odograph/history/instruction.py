"""Executed instructions, and gaps where execution was lost."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from odograph._native import disassemble
from odograph.code.image import Asid
from odograph.errors import PtError
from odograph.text.counted import counted
from odograph.text.reprs import hex_repr

__all__ = ["AMBIGUOUS", "ExecMode", "Gap", "Instruction", "InstructionClass", "gap_of"]


class InstructionClass(enum.IntEnum):
    """libipt's ``pt_insn_class``."""

    unknown = 0
    other = 1
    call = 2
    ret = 3
    jump = 4
    cond_jump = 5
    far_call = 6
    far_return = 7
    far_jump = 8
    ptwrite = 9
    indirect = 10


class ExecMode(enum.IntEnum):
    """libipt's ``pt_exec_mode``."""

    unknown = 0
    bits_16 = 1
    bits_32 = 2
    bits_64 = 3


@hex_repr("ip")
@dataclass(frozen=True, slots=True)
class Instruction:
    """One executed instruction.

    ``raw`` are its bytes, ``isid`` the image section identifier (0 if the section is not from a
    cache), ``time`` the estimated time in ns (None if no clock is known), ``speculative`` that it ran
    in a transaction that may have been aborted, ``truncated`` that its bytes continue in another section.
    """

    step: int
    ip: int
    size: int
    raw: bytes
    iclass: InstructionClass
    mode: ExecMode
    asid: Asid
    isid: int
    time: int | None
    speculative: bool
    truncated: bool

    @property
    def text(self) -> str:
        """The instruction in Intel syntax, such as ``mov eax,[rdi+8]``; ``(bad)`` if it cannot be read."""
        return disassemble(self.raw, self.ip, self.mode)

    def __str__(self) -> str:
        return f"{self.step:>10} {self.ip:016x}  {self.text}"


#: The cause of notes among gaps.
AMBIGUOUS = "ambiguous"


@hex_repr("offset", "ip")
@dataclass(frozen=True, slots=True)
class Gap:
    """Lost execution: ``step`` instructions had been executed before it.

    ``cause`` is one of ``overflow``, ``lost``, ``cut``, ``memory``, ``undecodable``, ``contradiction``,
    ``endless`` and ``ambiguous``; ``code`` libipt's error, if it names one. ``offset`` is the trace offset
    where it was noticed and ``bytes_lost`` how many trace bytes were not used from there on.

    ``ambiguous`` is a note (``is_note``): nothing is known to be lost. Between the packet before and the
    event at ``ip`` the code goes round in direct jumps and calls, which write no packets, so it may have come
    by there more often than was decoded.
    """

    step: int
    cause: str
    code: PtError | None
    offset: int
    bytes_lost: int
    ip: int | None
    asid: Asid
    time: int | None

    @property
    def is_note(self) -> bool:
        """Nothing is known to be lost: the trace leaves something open."""
        return self.cause == AMBIGUOUS

    def __str__(self) -> str:
        what = self.code.name if self.code is not None else self.cause
        where = f" at {self.ip:#x}" if self.ip is not None else ""
        if self.is_note:
            place = f"step {self.step}, offset {self.offset:#x}"
            return f"{self.cause}{where}, {place}, a loop without packets"
        lost = f"{counted(self.bytes_lost, 'byte')} lost"
        return f"{self.cause} ({what}){where}, step {self.step}, offset {self.offset:#x}, {lost}"


def gap_of(raw: tuple[Any, ...]) -> Gap:
    """A gap as the native half gives it."""
    step, cause, code, offset, bytes_lost, ip, cr3, vmcs, time = raw
    known = None if code is None else PtError(code)
    return Gap(step, cause, known, offset, bytes_lost, ip, Asid(cr3, vmcs), time)
