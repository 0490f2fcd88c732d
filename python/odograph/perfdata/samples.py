"""SAMPLE records: who and when, the pieces of trace in sample mode, and sched_switch tracepoints."""

from __future__ import annotations

import struct
from typing import NamedTuple

from odograph.perfdata.attributes import Attribute, Stamp
from odograph.perfdata.format import SampleType

__all__ = ["Sample", "parse_sample", "sched_switch_next"]


class Sample(NamedTuple):
    """The stamp of a sample, its raw (tracepoint) bytes, and where its trace bytes lie in the record.

    ``user_registers`` are those of user space that were asked for, in the order of their bits, empty if the
    sample has none; ``user_stack`` the bytes from its stack pointer on.
    """

    stamp: Stamp
    raw: bytes
    aux_start: int
    aux_size: int
    user_registers: tuple[int, ...] = ()
    user_stack: bytes = b""


_READ_TOTAL_ENABLED, _READ_TOTAL_RUNNING, _READ_ID, _READ_GROUP, _READ_LOST = 1, 2, 4, 8, 16
_BRANCH_HW_INDEX = 1 << 17


def parse_sample(data: bytes, attribute: Attribute) -> Sample:
    """Walk through a SAMPLE record (all its bytes) in the kernel's order; struct.error if it is cut short."""
    bits = attribute.sample_type
    at = 8

    def take(code: str) -> int:
        nonlocal at
        if at > len(data):
            raise struct.error("the sample is longer than its record")
        value: int = struct.unpack_from(code, data, at)[0]
        at += struct.calcsize(code)
        return value

    identifier = take("<Q") if bits & SampleType.IDENTIFIER else None
    at += 8 if bits & SampleType.IP else 0
    pid = tid = time = cpu = None
    if bits & SampleType.TID:
        pid, tid = take("<i"), take("<i")
    if bits & SampleType.TIME:
        time = take("<Q")
    at += 8 if bits & SampleType.ADDR else 0
    if bits & SampleType.ID:
        identifier = take("<Q")
    at += 8 if bits & SampleType.STREAM_ID else 0
    if bits & SampleType.CPU:
        cpu = take("<I")
        at += 4
    at += 8 if bits & SampleType.PERIOD else 0
    if bits & SampleType.READ:
        at += _read_size(data, at, attribute.read_format)
    if bits & SampleType.CALLCHAIN:
        count = take("<Q")
        at += 8 * count
    raw = b""
    if bits & SampleType.RAW:
        size = take("<I")
        raw = data[at : at + size]
        at += size
    if bits & SampleType.BRANCH_STACK:
        count = take("<Q")
        at += 24 * count + (8 if attribute.branch_sample_type & _BRANCH_HW_INDEX else 0)
    user_registers: tuple[int, ...] = ()
    if bits & SampleType.REGS_USER and take("<Q"):
        count = attribute.sample_regs_user.bit_count()
        user_registers = struct.unpack_from(f"<{count}Q", data, at)
        at += 8 * count
    user_stack = b""
    if bits & SampleType.STACK_USER:
        size = take("<Q")
        start = at
        at += size
        # Behind the room that was asked for: how much of it was filled.
        user_stack = data[start : start + min(size, take("<Q"))] if size else b""
    at += 8 if bits & (SampleType.WEIGHT | SampleType.WEIGHT_STRUCT) else 0
    at += 8 * (bits & (SampleType.DATA_SRC | SampleType.TRANSACTION)).bit_count()
    if bits & SampleType.REGS_INTR and take("<Q"):
        at += 8 * attribute.sample_regs_intr.bit_count()
    for bit in (
        SampleType.PHYS_ADDR,
        SampleType.CGROUP,
        SampleType.DATA_PAGE_SIZE,
        SampleType.CODE_PAGE_SIZE,
    ):
        at += 8 if bits & bit else 0
    aux_size = 0
    if bits & SampleType.AUX:
        aux_size = take("<Q")
        if at + aux_size > len(data):
            raise struct.error("the sample names more trace bytes than it holds")
    if at > len(data):
        raise struct.error("the sample is longer than its record")
    stamp = Stamp(pid, tid, time, cpu, identifier)
    return Sample(stamp, raw, at, aux_size, user_registers, user_stack)


def _read_size(data: bytes, at: int, read_format: int) -> int:
    times = 8 * (read_format & (_READ_TOTAL_ENABLED | _READ_TOTAL_RUNNING)).bit_count()
    value = 8 + 8 * (read_format & (_READ_ID | _READ_LOST)).bit_count()
    if not read_format & _READ_GROUP:
        return times + value
    (count,) = struct.unpack_from("<Q", data, at)
    return 8 + times + value * int(count)


def sched_switch_next(raw: bytes) -> int | None:
    """``next_pid`` (a thread id) of a sched:sched_switch tracepoint in its usual layout; None = too short."""
    if len(raw) < 60:
        return None
    (tid,) = struct.unpack_from("<i", raw, 56)
    return int(tid)
