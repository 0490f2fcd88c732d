"""``Z0 z0 Z1 z1``: breakpoints. Those on data are not known, for a trace has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from odograph.debug.remote.session import Session

__all__ = ["insert", "remove"]


def insert(session: Session, rest: str) -> str:
    """``Z type,address,kind``: an instruction with a byte there stops, as the processor's would."""
    key = _key(rest)
    if key is None:
        return ""
    if key not in session.breakpoints:
        session.breakpoints[key] = session.target.add_breakpoint(key[1])
    return "OK"


def remove(session: Session, rest: str) -> str:
    """``z type,address,kind``"""
    key = _key(rest)
    if key is None:
        return ""
    handle = session.breakpoints.pop(key, None)
    if handle is not None:
        session.target.remove_breakpoint(handle)
    return "OK"


def _key(rest: str) -> tuple[str, int] | None:
    kind, address, _ = rest.split(";")[0].split(",")
    return (kind, int(address, 16)) if kind in ("0", "1") else None
