"""What all decoders tell of themselves: where they are in the trace, and when that was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from odograph.config import TraceConfig

__all__ = ["Time", "TraceDecoder"]

Offset = TypeVar("Offset", covariant=True)


class Time(NamedTuple):
    """When something happened, and how far that may be off."""

    tsc: int
    """TSC estimate in ticks; relative to the start of the trace if not ``has_tsc``."""
    has_tsc: bool
    """A TSC packet had been seen."""
    lost_mtc: int
    """MTC packets lost so far."""
    lost_cyc: int
    """CYC packets lost so far."""


class _Raw(Protocol[Offset]):
    """What the decoders of the native module have in common."""

    @property
    def offset(self) -> Offset: ...
    @property
    def sync_offset(self) -> Offset: ...
    @property
    def time(self) -> tuple[int, bool, int, int]: ...


class TraceDecoder(Generic[Offset]):
    """The place and the clock of a decoder. ``Offset`` is int, or also None before synchronisation."""

    config: TraceConfig
    _raw: _Raw[Offset]

    @property
    def offset(self) -> Offset:
        """Offset of the first packet that has not been used."""
        return self._raw.offset

    @property
    def sync_offset(self) -> Offset:
        """Offset of the last PSB."""
        return self._raw.sync_offset

    @property
    def clock(self) -> Time:
        """When that happened which was decoded last, in ticks, and how far that may be off."""
        return Time(*self._raw.time)

    @property
    def tsc(self) -> int | None:
        """The TSC estimate of :attr:`clock`; None before the first TSC packet."""
        tsc, has_tsc, _, _ = self._raw.time
        return tsc if has_tsc else None

    @property
    def time(self) -> int | None:
        """The same in ns by the nominal frequency; None if that or the TSC is unknown."""
        tsc = self.tsc
        return None if tsc is None or not self.config.nom_freq else tsc * 10 // self.config.nom_freq

    def __repr__(self) -> str:
        offset = self._raw.offset
        where = "before synchronisation" if offset is None else f"at offset {offset:#x}"
        return f"<{type(self).__name__} {where}>"
