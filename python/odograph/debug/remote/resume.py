"""Movements, and the stop replies that end them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odograph.debug.halt import Halt, HaltReason
from odograph.debug.remote.registerpackets import stop_registers

if TYPE_CHECKING:
    from odograph.debug.remote.session import Session

__all__ = ["actions", "back", "back_one", "last_stop", "on", "on_one", "stop_reply", "which_actions"]


def _moved(session: Session, halt: Halt) -> str:
    session.halt = halt
    if halt.message:
        session.say(halt.message)
    return stop_reply(session)


def stop_reply(session: Session) -> str:
    """Why and where it stands."""
    halt = session.halt
    reason = ""
    match halt.reason:
        case HaltReason.BEGIN:
            reason = "replaylog:begin;"
        case HaltReason.END:
            reason = "replaylog:end;"
        case HaltReason.BREAKPOINT | HaltReason.GAP:
            reason = _breakpoint(session)
    signal = "02" if halt.reason is HaltReason.INTERRUPTED else "05"
    if session.for_lldb and session.listed is not session.target.program:
        # gdb asks for libraries by itself; told of new ones, it would go on.
        session.listed = session.target.program
        reason += "library:1;"
    return f"T{signal}thread:{session.thread_number:x};{stop_registers(session)}{reason}"


def _breakpoint(session: Session) -> str:
    """What kind of breakpoint is right here. One inside the instruction is none: gdb would go on."""
    pc = session.target.pc
    for kind, name in (("0", "swbreak"), ("1", "hwbreak")):
        if (kind, pc) in session.breakpoints:
            return f"{name}:;"
    return ""


def last_stop(session: Session, rest: str) -> str:
    """``?``"""
    return stop_reply(session)


def on(session: Session, rest: str) -> str:
    """``c``, ``C``, ``vCont;c``"""
    return _moved(session, _run(session, reverse=False))


def back(session: Session, rest: str) -> str:
    """``bc``"""
    return _moved(session, _run(session, reverse=True))


def _run(session: Session, *, reverse: bool) -> Halt:
    # A breakpoint at the very instruction is gdb's to step over. One in the middle of it, or one that gdb
    # does not know, has been reported and would be met for ever.
    return session.target.run(reverse=reverse, skip_here=not _breakpoint(session))


def on_one(session: Session, rest: str) -> str:
    """``s``, ``S``, ``vCont;s``"""
    return _moved(session, session.target.step_insn())


def back_one(session: Session, rest: str) -> str:
    """``bs``"""
    return _moved(session, session.target.step_insn(reverse=True))


def which_actions(session: Session, rest: str) -> str:
    """``vCont?``"""
    return "vCont;c;C;s;S;r"


def actions(session: Session, rest: str) -> str:
    """``vCont;action[:thread];…``: the first one counts, for there is one thread."""
    action = rest.partition(";")[0].partition(":")[0]
    match action[:1]:
        case "c" | "C":
            return on(session, "")
        case "s" | "S":
            return on_one(session, "")
        case "r":
            start, _, end = action[1:].partition(",")
            return _moved(session, session.target.step_range(int(start, 16), int(end, 16)))
    return "E22"
