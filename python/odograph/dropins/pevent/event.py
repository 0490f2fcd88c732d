"""What a session must know of a decoder's event, and whether a context switch may lie there."""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["Event", "TracePoint", "may_switch"]


class Event(Protocol):
    """An event as a decoder delivers it."""

    @property
    def kind(self) -> str:
        """libipt's name without ``ptev_``: enabled, disabled, async_branch, paging, ..."""

    @property
    def ip(self) -> int | None:
        """Where it is, of an asynchronous branch where that comes from; None = suppressed, or none."""

    @property
    def to(self) -> int | None:
        """Where an asynchronous branch leads; None = suppressed, or another kind of event."""

    @property
    def tsc(self) -> int | None:
        """The time in TSC ticks; None or 0 = not known."""

    @property
    def status_update(self) -> bool:
        """It tells the state at a synchronisation point, and nothing happened."""


class TracePoint(NamedTuple):
    """The plainest event."""

    kind: str
    ip: int | None = None
    to: int | None = None
    tsc: int | None = None
    status_update: bool = False


#: Kinds with nothing known before or after them, and those that only a kernel causes.
_OPEN_SIDED = frozenset(
    {"enabled", "disabled", "async_disabled", "overflow", "stop", "paging", "async_paging"}
)


def may_switch(event: Event, kernel_start: int) -> bool:
    """True if the place before or after ``event`` is in the kernel or unknown: only there processes change.

    Records and trace have clocks of their own that agree roughly, so a switch may be told a little
    before the trace shows it, while the old process still runs.
    """
    if event.kind in _OPEN_SIDED:
        return True
    places = (event.ip, event.to) if event.kind == "async_branch" else (event.ip,)
    return any(place is None or place >= kernel_start for place in places)
