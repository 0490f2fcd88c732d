"""One sideband record with the samples at its end, every length checked."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from odograph.dropins.pevent.settings import Settings
from odograph.errors import PtError, RecordingError
from odograph.perfdata.attributes import StampLayout
from odograph.perfdata.format import RecordType, padded
from odograph.perfdata.records import (
    Aux,
    Comm,
    Lost,
    Mmap,
    Record,
    Task,
    Throttle,
    parse_aux,
    parse_comm,
    parse_lost,
    parse_lost_samples,
    parse_mmap,
    parse_mmap2,
    parse_pair,
    parse_task,
    parse_throttle,
)
from odograph.perfdata.time import TimeConversion

__all__ = ["Body", "SidebandRecord", "parse"]

Body: TypeAlias = Mmap | Lost | Comm | Task | Throttle | Aux | tuple[int, int] | int | None


class SidebandRecord(NamedTuple):
    """A record: its header and bytes, its body, and its samples by name in the order of the record.

    ``samples`` may have pid, tid, TIME, ID, STREAM_ID, CPU and IDENTIFIER. Records of a type that is not
    known have no body and no samples. ``tsc`` is the time of the record, 0 if it has none.
    """

    raw: Record
    body: Body
    samples: dict[str, int]
    tsc: int

    @property
    def known(self) -> bool:
        """True if the type is one whose layout is known."""
        return self.raw.type in _LAYOUTS


class _Layout(NamedTuple):
    fixed: int
    string: bool
    parse: Callable[[Record], Body]


_LAYOUTS: dict[int, _Layout] = {
    RecordType.MMAP: _Layout(32, True, parse_mmap),
    RecordType.LOST: _Layout(16, False, parse_lost),
    RecordType.COMM: _Layout(8, True, parse_comm),
    RecordType.EXIT: _Layout(24, False, parse_task),
    RecordType.THROTTLE: _Layout(24, False, parse_throttle),
    RecordType.UNTHROTTLE: _Layout(24, False, parse_throttle),
    RecordType.FORK: _Layout(24, False, parse_task),
    RecordType.MMAP2: _Layout(64, True, parse_mmap2),
    RecordType.AUX: _Layout(24, False, parse_aux),
    RecordType.ITRACE_START: _Layout(8, False, parse_pair),
    RecordType.LOST_SAMPLES: _Layout(8, False, parse_lost_samples),
    RecordType.SWITCH: _Layout(0, False, lambda _: None),
    RecordType.SWITCH_CPU_WIDE: _Layout(8, False, parse_pair),
}
_HEADER = 8
_LAST_TICK = (1 << 64) - 1


def parse(raw: Record, settings: Settings) -> SidebandRecord:
    """The record with its body and samples.

    :raises RecordingError: ``nosync``: the lengths do not add up; ``bad_config``: a multiplier of 0.
    """
    layout = _LAYOUTS.get(raw.type)
    if layout is None:
        return SidebandRecord(raw, None, {}, _tsc(0, settings))
    stamps = StampLayout(_sample_type(raw, settings))
    end = _HEADER + layout.fixed
    if layout.string:
        nul = raw.data.find(b"\0", end)
        end += padded(nul + 1 - end) if nul >= 0 else len(raw.data) + 1
    samples = stamps.values(raw.data)
    if samples is None or end + stamps.size != raw.size:
        raise RecordingError(
            f"a record of type {raw.type} with {raw.size} bytes does not have the length of its fields",
            code=PtError.nosync,
            offset=raw.offset,
        )
    try:
        body = layout.parse(raw)
    except struct.error as error:
        raise RecordingError(str(error), code=PtError.nosync, offset=raw.offset) from error
    return SidebandRecord(raw, body, samples, _tsc(samples.get("TIME", 0), settings, raw.offset))


def _sample_type(raw: Record, settings: Settings) -> int:
    if not settings.sample_configs:
        return settings.sample_type
    identifier = int.from_bytes(raw.data[-8:], "little")
    return settings.sample_configs.get(identifier, settings.sample_type)


def _tsc(time: int, settings: Settings, offset: int | None = None) -> int:
    if settings.time_mult == 0 and time:
        raise RecordingError("the time multiplier is 0", code=PtError.bad_config, offset=offset)
    conversion = TimeConversion(settings.time_shift, settings.time_mult, settings.time_zero)
    signed = (settings.tsc_offset + (1 << 63)) % (1 << 64) - (1 << 63)
    return max(0, min(conversion.to_tsc_modulo(time) - signed, _LAST_TICK))
