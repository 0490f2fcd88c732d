"""AUXTRACE_INFO: how the trace was configured."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from odograph.errors import RecordingError
from odograph.perfdata.format import AUXTRACE_TYPE_INTEL_PT

__all__ = ["AuxTraceInfo", "parse_auxtrace_info"]

_TRACERS = {
    2: "Intel BTS",
    3: "Arm CoreSight",
    4: "Arm SPE",
    5: "IBM S/390 CPU measurement sampling",
    6: "HiSilicon PTT",
}


@dataclass(frozen=True, slots=True)
class AuxTraceInfo:
    """The priv[] array of Intel PT by its meanings; None = a file too old to say."""

    pmu_type: int
    time_shift: int
    time_mult: int
    time_zero: int
    cap_user_time_zero: int
    tsc_bit: int
    no_retcomp_bit: int
    have_sched_switch: int
    snapshot_mode: int
    per_cpu_mmaps: int
    mtc_bit: int | None = None
    mtc_freq_bits: int | None = None
    tsc_ctc_numerator: int | None = None
    tsc_ctc_denominator: int | None = None
    cyc_bit: int | None = None
    max_nonturbo_ratio: int | None = None
    filter: str = ""


def parse_auxtrace_info(data: bytes, offset: int | None = None) -> AuxTraceInfo:
    """Read an AUXTRACE_INFO record (``data``: all of it). Raises RecordingError for other tracers."""
    if len(data) < 16:
        raise RecordingError("the AUXTRACE_INFO record is too short", offset=offset)
    (kind,) = struct.unpack_from("<I", data, 8)
    if kind != AUXTRACE_TYPE_INTEL_PT:
        name = _TRACERS.get(kind, f"an unknown tracer (type {kind})")
        raise RecordingError(
            f"this recording holds a trace by {name}, not Intel Processor Trace; record with -e intel_pt//",
            offset=offset,
        )
    words = struct.unpack_from(f"<{(len(data) - 16) // 8}Q", data, 16)
    if len(words) < 10:
        raise RecordingError(f"AUXTRACE_INFO has {len(words)} entries, at least 10 are needed", offset=offset)
    later: list[int | None] = [*words[10:16], *[None] * 6]
    text = ""
    if len(words) > 16 and words[16]:
        start = 16 + 17 * 8
        end = min(start + words[16], len(data))
        text = data[start:end].split(b"\0")[0].decode("utf-8", "replace")
    return AuxTraceInfo(
        pmu_type=words[0],
        time_shift=words[1],
        time_mult=words[2],
        time_zero=words[3],
        cap_user_time_zero=words[4],
        tsc_bit=words[5],
        no_retcomp_bit=words[6],
        have_sched_switch=words[7],
        snapshot_mode=words[8],
        per_cpu_mmaps=words[9],
        mtc_bit=later[0],
        mtc_freq_bits=later[1],
        tsc_ctc_numerator=later[2],
        tsc_ctc_denominator=later[3],
        cyc_bit=later[4],
        max_nonturbo_ratio=later[5],
        filter=text,
    )
