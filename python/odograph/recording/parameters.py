"""How the processor was set up while it traced, as far as the recording says."""

from __future__ import annotations

import re
from dataclasses import dataclass

from odograph.perfdata.attributes import Attribute
from odograph.perfdata.auxtrace import AuxTraceInfo
from odograph.perfdata.format import AttributeFlag, SampleType
from odograph.text.reprs import hex_repr

__all__ = ["AddressFilter", "PtParameters", "parse_cpuid", "parse_filters"]


@hex_repr("first", "last")
@dataclass(frozen=True, slots=True)
class AddressFilter:
    """An address filter: ``kind`` ``"filter"`` or ``"stop"``, ``first`` and ``last`` address included.

    ``file`` is None for addresses; else ``first`` and ``last`` are offsets in that file.
    """

    kind: str
    first: int
    last: int
    file: str | None = None


@dataclass(frozen=True, slots=True)
class PtParameters:
    """Settings of Intel PT; 0, None or empty = the recording does not say.

    ``mtc_freq`` is the MTC period field, ``nom_freq`` the maximum non-turbo ratio, ``cpuid_0x15_eax`` and
    ``cpuid_0x15_ebx`` denominator and numerator of the TSC to crystal clock ratio, as libipt's
    ``pt_config`` has them. ``cpu`` is (family, model, stepping). ``timed``: the sideband's times and the
    trace's can be brought together.
    """

    mtc_freq: int = 0
    nom_freq: int = 0
    cpuid_0x15_eax: int = 0
    cpuid_0x15_ebx: int = 0
    cpu: tuple[int, int, int] | None = None
    no_retcomp: bool = False
    has_tsc: bool = False
    has_mtc: bool = False
    has_cyc: bool = False
    per_cpu: bool = False
    snapshot: bool = False
    timed: bool = False
    exclude_kernel: bool = False
    filters: tuple[AddressFilter, ...] = ()

    @classmethod
    def from_perf(cls, info: AuxTraceInfo, attributes: list[Attribute], cpuid: str) -> PtParameters:
        """The settings by AUXTRACE_INFO and the attribute of the PT event."""
        event = next((a for a in attributes if a.type == info.pmu_type), None)
        config = 0 if event is None else event.config
        mask = info.mtc_freq_bits or 0
        has_mtc = bool(config & (info.mtc_bit or 0))
        has_tsc = bool(config & info.tsc_bit)
        return cls(
            mtc_freq=(config & mask) >> ((mask & -mask).bit_length() - 1) if mask and has_mtc else 0,
            nom_freq=min(info.max_nonturbo_ratio or 0, 255),
            cpuid_0x15_eax=(info.tsc_ctc_denominator or 0) & 0xFFFFFFFF,
            cpuid_0x15_ebx=(info.tsc_ctc_numerator or 0) & 0xFFFFFFFF,
            cpu=parse_cpuid(cpuid),
            no_retcomp=bool(config & info.no_retcomp_bit),
            has_tsc=has_tsc,
            has_mtc=has_mtc,
            has_cyc=bool(config & (info.cyc_bit or 0)),
            per_cpu=bool(info.per_cpu_mmaps),
            snapshot=bool(info.snapshot_mode),
            timed=has_tsc
            and bool(info.cap_user_time_zero)
            and info.time_mult != 0
            and all(a.sample_type & SampleType.TIME for a in attributes),
            exclude_kernel=event is not None and bool(event.flags & AttributeFlag.EXCLUDE_KERNEL),
            filters=parse_filters(info.filter),
        )


def parse_cpuid(cpuid: str) -> tuple[int, int, int] | None:
    """(family, model, stepping) of perf's ``GenuineIntel,6,78,3``; None for other makers or nonsense."""
    match = re.fullmatch(r"GenuineIntel,(\d{1,5}),(\d{1,5}),(\d{1,5})(?:,.*)?", cpuid)
    return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


_FILTER = re.compile(
    r"(filter|start|stop|tracestop)\s+(0x[0-9a-fA-F]{1,16}|\d{1,20})\s*(?:/\s*(0x[0-9a-fA-F]{1,16}|\d{1,20}))?"
    r"\s*(?:@\s*([^\s,]+))?"
)


def parse_filters(text: str) -> tuple[AddressFilter, ...]:
    """perf's ``filter START/SIZE@FILE,tracestop …`` as it stands in AUXTRACE_INFO, with symbols resolved.

    ``start`` and ``stop`` alone are no ranges for the decoder, so they are left out.
    """
    filters = []
    for kind, start, size, file in _FILTER.findall(text):
        if kind in ("start", "stop") or not size or int(size, 0) == 0:
            continue
        first = int(start, 0)
        last = min(first + int(size, 0) - 1, (1 << 64) - 1)
        filters.append(AddressFilter("filter" if kind == "filter" else "stop", first, last, file or None))
    return tuple(filters)
