"""Sideband in odograph-ptxed's listings: when records are printed, and whose memory is listed."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from support.toolrun import MakeTrace, Printed, Run
from support.tracedcode import HLT, NOP, ORG, SYSCALL, Packet, fup, lines, pgd, pge, start, tsc

#: What is printed for records, trace and further options; both decoders must agree.
Listed = Callable[..., str]

TID_TIME = 2 | 4
KERNEL = 1 << 63


def record(kind: int, body: bytes, time: int, *, pid: int = 1, misc: int = 0) -> bytes:
    samples = struct.pack("<iiQ", pid, pid, time)
    return struct.pack("<IHH", kind, misc, 8 + len(body) + len(samples)) + body + samples


def mmap(file: str, offset: int, size: int, address: int, time: int, pid: int = 1) -> bytes:
    name = file.encode() + b"\0"
    name += bytes(-len(name) % 8)
    body = struct.pack("<ii3Q", pid, pid, address, size, offset) + name
    return record(1, body, time, pid=pid)


def itrace_start(time: int, pid: int = 1) -> bytes:
    return record(12, struct.pack("<ii", pid, pid), time, pid=pid)


def switch_in(time: int, pid: int) -> bytes:
    return record(14, b"", time, pid=pid)


def lost(time: int) -> bytes:
    return record(2, struct.pack("<QQ", 1, 2), time)


@pytest.fixture
def listed(run: Run, trace: MakeTrace, tmp_path: Path) -> Listed:
    """``listed(records, packets, *options, secondary=b"")``."""

    def call(records: bytes, packets: list[Packet], *options: str, secondary: bytes = b"") -> str:
        (tmp_path / "first.sb").write_bytes(records)
        (tmp_path / "second.sb").write_bytes(secondary)
        words = ["--pt", trace(*packets), "--no-inst", "--pevent:sample-type", str(TID_TIME)]
        words += ["--pevent:kernel-start", str(KERNEL)]
        words += ["--pevent:primary", str(tmp_path / "first.sb"), *options]
        if secondary:
            words += ["--pevent:secondary", str(tmp_path / "second.sb")]
        both = [run("ptxed", decoder, *words) for decoder in ("--insn-decoder", "--block-decoder")]
        assert both[0] == both[1] == Printed(both[0].out, "", 0)
        return both[0].out

    return call


@pytest.fixture
def code(tmp_path: Path) -> str:
    """A file with two programs: NOP, SYSCALL at 0 and NOP, NOP, HLT at 16."""
    file = tmp_path / "code.bin"
    file.write_bytes((NOP + SYSCALL).ljust(16, HLT) + NOP + NOP + HLT)
    return str(file)


PACKETS: list[Packet] = [
    *start(ORG, tsc(10)),
    pgd(),
    tsc(20),
    pge(ORG),
    fup(ORG + 1),
    pgd(),
]


def test_records_stand_behind_the_event_that_reaches_them(listed: Listed, code: str) -> None:
    records = mmap(code, 0, 3, ORG, 1) + itrace_start(2) + lost(15) + lost(20) + lost(21)
    out = listed(records, PACKETS, "--sb:compact")
    assert out == (
        f"PERF_RECORD_MMAP 1/1, 1000, 3, 0, {code}  {{ 1/1 1 }}\n"
        "PERF_RECORD_ITRACE_START 1/1  { 1/1 2 }\n"
        + lines(ORG, ORG + 1)
        + "[disabled]\n"
        + "[enabled]\n"
        + "PERF_RECORD_LOST 1, 2  { 1/1 f }\n"
        + "PERF_RECORD_LOST 1, 2  { 1/1 14 }\n"
        + lines(ORG)
        + "[disabled]\n"
    )
    # What lies behind the last event is never printed.
    assert "{ 1/1 15 }" not in out


def test_quiet_is_only_about_the_trace(listed: Listed, code: str) -> None:
    records = mmap(code, 16, 3, ORG, 1) + itrace_start(2)
    packets = [*start(ORG, tsc(10)), fup(ORG + 2), pgd()]
    out = listed(records, packets, "--quiet", "--sb", "--sb:switch")
    assert out.splitlines()[1:] == ["PERF_RECORD_ITRACE_START 1/1  { 1/1 2 }", "[context: pid-1]"]
    assert listed(records, packets) == lines(ORG, ORG + 1) + "[disabled]\n"


def test_prefixes_alone(listed: Listed, code: str) -> None:
    records = itrace_start(2)
    packets = start(ORG, tsc(10))
    assert listed(records, packets, "--quiet", "--sb:offset").rstrip() == 16 * "0"
    assert listed(records, packets, "--quiet", "--sb:time").rstrip() == f"{2:016x}"


def test_warnings(listed: Listed, code: str) -> None:
    records = itrace_start(2) + lost(3)
    packets = start(None, tsc(10))
    assert listed(records, packets) == ""
    (line,) = listed(records, packets, "--sb:warn").splitlines()
    assert line.startswith("[")
    assert line.endswith(f"first.sb:{len(itrace_start(2)):016x} sideband warning: sideband lost]")


def test_errors_are_always_told(listed: Listed, code: str) -> None:
    broken = struct.pack("<IHH", 12, 0, 16) + bytes(8)
    (line,) = listed(broken, start(None, tsc(10)), "--quiet").splitlines()
    assert line.endswith(f"first.sb:{0:016x} sideband error: decoder out of sync]")


def test_a_switch_waits_for_an_event_that_leaves_the_process(listed: Listed, code: str) -> None:
    records = mmap(code, 0, 3, ORG, 1, pid=1) + mmap(code, 16, 3, ORG, 1, pid=2) + itrace_start(2, pid=1)
    # Told while the old program still runs; the trace shows it when it is switched off.
    records += switch_in(12, pid=2)
    packets: list[Packet] = [
        *start(ORG, tsc(10)),
        tsc(12),
        ("exstop", {"ip": True}),
        fup(ORG + 1),
        pgd(),
        tsc(20),
        pge(ORG),
        fup(ORG + 2),
        pgd(),
    ]
    out = listed(records, packets, "--sb:switch", "--quiet")
    assert out == "[context: pid-1]\n[context: pid-2]\n"
    out = listed(records, packets, "--sb:switch")
    assert out == (
        "[context: pid-1]\n"
        + lines(ORG)
        + "[exstop]\n"
        + lines(ORG + 1)
        + "[disabled]\n"
        + "[context: pid-2]\n"
        + "[enabled]\n"
        + lines(ORG, ORG + 1)
        + "[disabled]\n"
    )


def test_a_secondary_stream_only_maps(listed: Listed, code: str) -> None:
    packets = [*start(ORG, tsc(10)), fup(ORG + 2), pgd()]
    mapped = mmap(code, 16, 3, ORG, 1)
    assert listed(itrace_start(2), packets, secondary=mapped) == lines(ORG, ORG + 1) + "[disabled]\n"
    only = listed(lost(1), packets, secondary=mapped + itrace_start(2))
    assert only.endswith(f"{ORG:x}: error: no memory mapped at this address]\n")


def test_the_code_of_the_command_line_holds_until_a_context_does(
    listed: Listed, code: str, tmp_path: Path
) -> None:
    raw = tmp_path / "raw.bin"
    raw.write_bytes(NOP + SYSCALL)
    records = mmap(code, 16, 3, ORG, 15) + itrace_start(15)
    packets = [*PACKETS[:-2], fup(ORG + 2), pgd()]
    out = listed(records, packets, "--raw", f"{raw}:{ORG:#x}")
    assert out == (
        lines(ORG, ORG + 1) + "[disabled]\n" + "[enabled]\n" + lines(ORG, ORG + 1) + "[disabled]\n"
    )


def test_kernel_memory_is_in_every_context(listed: Listed, code: str, tmp_path: Path) -> None:
    from support.elfcore import core

    kernel = tmp_path / "kernel"
    kernel.write_bytes(core([(0xFFFF_8000_0000_0000, NOP + SYSCALL, 3)]))
    packets: list[Packet] = [*start(0xFFFF_8000_0000_0000, tsc(10)), pgd()]
    out = listed(itrace_start(2), packets, "--pevent:kcore", f"{kernel}")
    assert out == lines(0xFFFF_8000_0000_0000, 0xFFFF_8000_0000_0001) + "[disabled]\n"
    packets = [*start(ORG, tsc(10)), pgd()]
    out = listed(itrace_start(2), packets, "-v", "--pevent:kcore", f"{kernel}:{ORG:#x}")
    segment, _, rest = out.partition("\n")
    assert segment.startswith(f"{kernel}: offset=0x")
    assert segment.endswith(" size=0x3 vaddr=0xffff800000000000.")
    assert rest == lines(ORG, ORG + 1) + "[disabled]\n"


def test_the_system_root_stands_before_names(listed: Listed, code: str, tmp_path: Path) -> None:
    packets = [*start(ORG, tsc(10)), fup(ORG + 2), pgd()]
    records = mmap("/code.bin", 16, 3, ORG, 1) + itrace_start(2)
    out = listed(records, packets)
    assert "sideband error: bad file]" in out
    # Settings hold for the streams behind them.
    again = listed(b"", packets, "--pevent:sysroot", str(tmp_path), secondary=records)
    assert "error: bad file" not in again
