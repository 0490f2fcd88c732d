"""``g p P G``: registers. Known are the instruction pointer and, in 64 bit code, what follows from calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odograph.debug.remote import description
from odograph.debug.remote.description import Register
from odograph.debug.remote.session import Refused

if TYPE_CHECKING:
    from odograph.debug.remote.session import Session

__all__ = ["read_all", "read_one", "refuse", "stop_registers"]


def _value(session: Session, register: Register) -> str:
    """The bytes of a register in hex; ``x`` where they are not known."""
    target = session.target
    value = None
    match register.name:
        case "rip":
            value = target.pc
        case "rsp":
            value = None if target.stack is None else target.stack.rsp
        case description.OTHER_PROGRAM:
            main = target.program.main
            value = 0 if not session.has_other_names else 1 if main is None or main.path is not None else 2
        case "rbp":
            value = None if target.stack is None else target.stack.rbp
    size = register.bits // 8
    return "xx" * size if value is None else value.to_bytes(size, "little").hex()


def read_all(session: Session, rest: str) -> str:
    """``g``; lldb would show what is not known as numbers, so it is told to ask one by one."""
    if session.for_lldb:
        return ""
    return "".join(_value(session, register) for register in session.registers)


def read_one(session: Session, rest: str) -> str:
    """``p n``"""
    number = int(rest.partition(";")[0], 16)
    registers = session.registers
    if not 0 <= number < len(registers):
        raise Refused("E45")
    value = _value(session, registers[number])
    if session.for_lldb and "x" in value:
        raise Refused("E45")
    return value


def refuse(session: Session, rest: str) -> str:
    """Requests to write: what happened cannot be changed."""
    return "E01"


def stop_registers(session: Session) -> str:
    """The registers that every stop tells."""
    text = ""
    for number, register in enumerate(session.registers):
        if register.name in ("rip", "rsp", "rbp"):
            value = _value(session, register)
            if "x" not in value:
                text += f"{number:02x}:{value};"
    return text
