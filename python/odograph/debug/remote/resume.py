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
    if session.has_other_names and not (session.for_lldb or _can_tell(session)):
        session.say(other_program(session))
    return stop_reply(session)


def other_program(session: Session) -> str:
    """A line for one whose debugger has the names of another program."""
    main = session.target.program.main
    name = "" if main is None else f", {main.shown_name}"
    what = "the names shown are those of the one before; connect again to see its own"
    if session.for_lldb:
        what = "lldb reads it at the next movement"
    elif _can_tell(session):
        what = "goto makes gdb read it, and so does the next stepi, which stays here"
    return f"another program runs here{name}: {what}\n"


def _can_tell(session: Session) -> bool:
    """Whether gdb is to be told of the program that runs here, and can be."""
    is_known = session.target.program.main is not None
    return is_known and session.has_other_names and session.hears_of_exec and not session.for_lldb


def _stays(session: Session, *, stepping: bool) -> str | None:
    """The answer to a movement that does not move: gdb has the names of another program, or has just been
    told of one at a step.
    """
    if session.stays:
        # It goes on by itself after it was told.
        session.stays = False
        session.halt = Halt(HaltReason.STEP)
        return _at(session, "00", "")
    if _can_tell(session):
        session.stays = stepping
        return stop_reply(session)
    return None


def stop_reply(session: Session) -> str:
    """Why and where it stands."""
    halt = session.halt
    reason = ""
    if session.listed is None and not session.for_lldb:
        session.listed = session.target.program
    main = session.target.program.main
    if _can_tell(session) and main is not None:
        session.listed = session.target.program
        # gdb takes them for gone, and inserts anew what it still wants.
        session.forget_breakpoints()
        if main.path is None:
            session.say(
                f"the file of {main.shown_name} is not at hand, so gdb keeps the names of the one before; "
                "symbol-file without a name makes it forget them\n"
            )
        return _at(session, "05", f"exec:{main.shown_name.encode().hex()};")
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
    return _at(session, signal, reason)


def _at(session: Session, signal: str, reason: str) -> str:
    return f"T{signal}thread:{session.thread_number:x};{stop_registers(session)}{reason}"


def _breakpoint(session: Session) -> str:
    """What kind of breakpoint is right here. One inside the instruction does not count: gdb would go on."""
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
    return _stays(session, stepping=False) or _moved(session, _run(session, reverse=False))


def back(session: Session, rest: str) -> str:
    """``bc``"""
    return _stays(session, stepping=False) or _moved(session, _run(session, reverse=True))


def _run(session: Session, *, reverse: bool) -> Halt:
    # A breakpoint at the very instruction is gdb's to step over. One in the middle of it, or one that gdb
    # does not know, has been reported and would be met for ever.
    limit = session.target.to_other_program(reverse=reverse) if session.hears_of_exec else None
    return session.target.run(reverse=reverse, skip_here=not _breakpoint(session), limit=limit)


def on_one(session: Session, rest: str) -> str:
    """``s``, ``S``, ``vCont;s``"""
    return _stays(session, stepping=True) or _stepped(session, session.target.step_insn())


def back_one(session: Session, rest: str) -> str:
    """``bs``"""
    return _stays(session, stepping=True) or _stepped(session, session.target.step_insn(reverse=True))


def _stepped(session: Session, halt: Halt) -> str:
    session.stays = _can_tell(session)
    return _moved(session, halt)


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
            return _stays(session, stepping=True) or _stepped(
                session, session.target.step_range(int(start, 16), int(end, 16))
            )
    return "E22"
