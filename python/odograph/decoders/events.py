"""Events: what packets mean together, one by one or in answer to queries about branches."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from odograph._native import RawEventDecoder, RawQueryDecoder
from odograph.code.image import Asid
from odograph.config import TraceConfig
from odograph.decoders.base import Time, TraceDecoder
from odograph.history.decode import trace_bytes
from odograph.history.instruction import ExecMode

if TYPE_CHECKING:
    from odograph._native import _RawEventFields
    from odograph.history.decode import Trace

__all__ = ["Event", "EventDecoder", "QueryDecoder", "Status", "Time"]


class Status(enum.IntFlag):
    """What a decoder can say about what comes next: libipt's ``pts_*``."""

    event_pending = 1
    """There is an event to be taken."""
    ip_suppressed = 2
    """The address is not known."""
    eos = 4
    """The trace has ended."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Event:
    """One event, with the fields of libipt's ``pt_event``; those that its kind does not have are None.

    ``kind`` is libipt's name without ``ptev_``; ``from_`` is its ``from``. An address that the trace does
    not give is None, and ``ip_suppressed`` is set. ``status_update``: part of a PSB+, and says how things
    are rather than that they changed. ``tsc`` is relative to the start of the trace unless ``has_tsc``.
    ``offset`` is that of the packet that completed it; of the PSB for status updates.
    """

    kind: str
    ip_suppressed: bool
    status_update: bool
    has_tsc: bool
    tsc: int
    lost_mtc: int
    lost_cyc: int
    offset: int
    ip: int | None = None
    resumed: bool | None = None
    at: int | None = None
    from_: int | None = None
    to: int | None = None
    cr3: int | None = None
    non_root: bool | None = None
    mode: ExecMode | None = None
    speculative: bool | None = None
    aborted: bool | None = None
    base: int | None = None
    hints: int | None = None
    ext: int | None = None
    state: int | None = None
    sub_state: int | None = None
    hw: bool | None = None
    last: int | None = None
    deepest: int | None = None
    interrupt: bool | None = None
    store: bool | None = None
    autonomous: bool | None = None
    size: int | None = None
    payload: int | None = None
    ratio: int | None = None
    bits: int | None = None
    iflag: bool | None = None
    vector: int | None = None
    cr2: int | None = None
    vmxr: int | None = None
    vmxq: int | None = None
    trbv: int | None = None
    icnt: int | None = None
    mult: bool | None = None

    @property
    def clock(self) -> Time:
        """When it happened, in ticks."""
        return Time(self.tsc, self.has_tsc, self.lost_mtc, self.lost_cyc)

    def __repr__(self) -> str:
        given = ((field.name, getattr(self, field.name)) for field in fields(self)[1:])
        shown = (f"{name}={value!r}" for name, value in given if value is not None and value is not False)
        return f"Event({', '.join([repr(self.kind), *shown])})"


def event_of(raw: _RawEventFields) -> Event:
    """The event that the native module found."""
    kind, variant, ip_suppressed, status_update, has_tsc, tsc, lost_mtc, lost_cyc, offset = raw
    if "mode" in variant:
        variant["mode"] = ExecMode(variant["mode"])
    return Event(
        kind=kind,
        ip_suppressed=ip_suppressed,
        status_update=status_update,
        has_tsc=has_tsc,
        tsc=tsc,
        lost_mtc=lost_mtc,
        lost_cyc=lost_cyc,
        offset=offset,
        **variant,
    )


class _EventIterator(TraceDecoder[int]):
    """Iterates over what comes next, and knows the address space behind it."""

    _raw: RawEventDecoder | RawQueryDecoder

    def __init__(self, config: TraceConfig | None) -> None:
        self.config = TraceConfig() if config is None else config
        self._asid = Asid()

    @property
    def asid(self) -> Asid:
        """The address space by the events taken since synchronisation."""
        return self._asid

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        if not self._raw.synced:
            self._asid = Asid()
            self._raw.sync_forward()
        found = self._raw.next()
        if found is None:
            raise StopIteration
        return self._taken(found)

    def _taken(self, raw: _RawEventFields) -> Event:
        event = event_of(raw)
        if event.cr3 is not None:
            self._asid = Asid(event.cr3, self._asid.vmcs)
        elif event.base is not None:
            self._asid = Asid(self._asid.cr3, event.base)
        return event


class EventDecoder(_EventIterator):
    """Iterates over the events of a trace; TNT and TIP are events here (``tnt``, ``tip``).

    ``trace`` is a path or anything with the buffer protocol; it is not copied and must not change. Errors
    are raised as :class:`~odograph.errors.TraceError` and repeat until the decoder is synchronised again.
    Iteration synchronises at the first PSB unless that was done before.

    Example::

        >>> [event.kind for event in odograph.EventDecoder(trace)]
        ['disabled', 'enabled', 'exec_mode', 'tnt', 'tnt', 'tnt', 'disabled']
    """

    _raw: RawEventDecoder

    def __init__(self, trace: Trace, config: TraceConfig | None = None) -> None:
        super().__init__(config)
        data = trace_bytes(trace)
        self._raw = RawEventDecoder(data, self.config.for_native(trace=data))

    def sync_forward(self) -> None:
        """Goes to the next PSB. TraceError with code ``eos`` if there is none."""
        self._asid = Asid()
        self._raw.sync_forward()

    def sync_backward(self) -> None:
        """Goes to the PSB before. TraceError with code ``eos`` if there is none."""
        self._asid = Asid()
        self._raw.sync_backward()

    def sync_set(self, offset: int) -> None:
        """Goes to the PSB at an offset. TraceError with code ``nosync`` if none is there."""
        self._asid = Asid()
        self._raw.sync_set(offset)

    def resync(self) -> None:
        """The same as :meth:`sync_forward`."""
        self.sync_forward()


class QueryDecoder(_EventIterator):
    """Answers for a caller that walks through the code of the traced program.

    Ask :meth:`cond_branch` at each conditional branch and compressed return, :meth:`indirect_branch` at
    each other branch whose target the code does not say, and take :meth:`event` while the last status has
    ``event_pending``. Every call returns an answer and a :class:`Status`, or raises
    :class:`~odograph.errors.TraceError`: ``nosync`` before synchronisation, ``bad_query`` if the trace does
    not go with the question, ``eos`` at the end, or what is wrong with the packet that comes next.
    Iteration gives what comes unasked, as :class:`EventDecoder` does; branches that are left of a TNT come
    as one. ``trace`` is a path or anything with the buffer protocol; it is not copied and must not change.
    """

    _raw: RawQueryDecoder

    def __init__(self, trace: Trace, config: TraceConfig | None = None) -> None:
        super().__init__(config)
        data = trace_bytes(trace)
        self._raw = RawQueryDecoder(data, self.config.for_native(trace=data))

    @property
    def core_bus_ratio(self) -> int | None:
        """The ratio of the last ``cbr`` event that was taken; None if there has been none."""
        return self._raw.core_bus_ratio

    def sync_forward(self) -> tuple[int | None, Status]:
        """Goes to the next PSB; returns where to start, None if tracing is off there."""
        self._asid = Asid()
        ip, status = self._raw.sync_forward()
        return ip, Status(status)

    def sync_backward(self) -> tuple[int | None, Status]:
        """Goes to the PSB before; as with libipt the status is always empty."""
        self._asid = Asid()
        ip, status = self._raw.sync_backward()
        return ip, Status(status)

    def sync_set(self, offset: int) -> tuple[int | None, Status]:
        """Goes to the PSB at an offset. TraceError with code ``nosync`` if none is there."""
        self._asid = Asid()
        ip, status = self._raw.sync_set(offset)
        return ip, Status(status)

    def resync(self) -> tuple[int | None, Status]:
        """The same as :meth:`sync_forward`."""
        return self.sync_forward()

    def cond_branch(self) -> tuple[bool, Status]:
        """Whether the next conditional branch was taken; of a compressed return, True."""
        taken, status = self._raw.cond_branch()
        return taken, Status(status)

    def indirect_branch(self) -> tuple[int | None, Status]:
        """Where the next indirect branch went; None if the trace does not say."""
        ip, status = self._raw.indirect_branch()
        return ip, Status(status)

    def event(self) -> tuple[Event, Status]:
        """Takes the next event."""
        raw, status = self._raw.event()
        return self._taken(raw), Status(status)
