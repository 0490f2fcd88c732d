"""``q``, ``Q`` and ``H``: what the two sides can do, and threads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from odograph.debug.remote.packet import LARGEST
from odograph.text.printable import printable

if TYPE_CHECKING:
    from odograph.debug.remote.session import Session

__all__ = [
    "attached",
    "current_thread",
    "detach",
    "extra_info",
    "first_threads",
    "host_info",
    "is_alive",
    "kill",
    "no_acknowledgements",
    "nothing",
    "ok",
    "process_info",
    "rest_of_threads",
    "supported",
]


def supported(session: Session, rest: str) -> str:
    """``qSupported``"""
    # lldb names the registers' document first; what it is told of them must be another one.
    session.for_lldb = rest.startswith(":xmlRegisters=")
    session.hears_of_exec = "exec-events+" in rest.lstrip(":").split(";")
    features = [
        f"PacketSize={LARGEST - 16:x}",
        "ReverseStep+;ReverseContinue+;swbreak+;hwbreak+;vContSupported+;QStartNoAckMode+",
        "qXfer:features:read+;qXfer:auxv:read+;qXfer:libraries-svr4:read+;qXfer:exec-file:read+",
        "qXfer:threads:read+;exec-events+",
    ]
    return ";".join(features)


def no_acknowledgements(session: Session, rest: str) -> str:
    """``QStartNoAckMode``"""
    session.acknowledges = False
    return "OK"


def ok(session: Session, rest: str) -> str:
    """What needs nothing to be done."""
    return "OK"


def nothing(session: Session, rest: str) -> str:
    """What is not known, and must be said to be."""
    return ""


def current_thread(session: Session, rest: str) -> str:
    """``qC``"""
    return f"QC{session.thread_number:x}"


def first_threads(session: Session, rest: str) -> str:
    """``qfThreadInfo``"""
    return f"m{session.thread_number:x}"


def rest_of_threads(session: Session, rest: str) -> str:
    """``qsThreadInfo``"""
    return "l"


def extra_info(session: Session, rest: str) -> str:
    """``qThreadExtraInfo,thread``"""
    return printable(session.target.thread.comm or "recorded").encode().hex()


def is_alive(session: Session, rest: str) -> str:
    """``T thread``"""
    return "OK" if int(rest, 16) == session.thread_number else "E03"


def attached(session: Session, rest: str) -> str:
    """``qAttached``: yes, so that leaving does not ask to kill."""
    return "1"


def detach(session: Session, rest: str) -> str:
    """``D``"""
    session.is_over = True
    return "OK"


def kill(session: Session, rest: str) -> None:
    """``k``: the recording stays."""
    session.is_over = True


def host_info(session: Session, rest: str) -> str:
    """``qHostInfo`` of lldb"""
    triple = b"x86_64-unknown-linux-gnu".hex()
    return f"triple:{triple};ptrsize:8;endian:little;"


def process_info(session: Session, rest: str) -> str:
    """``qProcessInfo`` of lldb"""
    triple = b"x86_64-unknown-linux-gnu".hex()
    pid = max(session.target.thread.pid, 1)
    text = f"pid:{pid:x};triple:{triple};ptrsize:8;endian:little;ostype:linux;"
    main = session.target.program.main
    return text + (f"name:{os.path.basename(main.shown_name).encode().hex()};" if main is not None else "")
