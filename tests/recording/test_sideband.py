"""Records applied in the order of time: who ran where, and what memory held when."""

from __future__ import annotations

import struct
from pathlib import Path

from odograph.perfdata.attributes import Stamp
from odograph.perfdata.format import RecordType
from odograph.perfdata.problem import Problems
from odograph.perfdata.records import Record
from odograph.perfdata.samples import sched_switch_next
from odograph.perfdata.time import TimeConversion
from odograph.perfdata.writer import PerfDataWriter
from odograph.recording.opening import open_recording
from odograph.recording.parameters import AddressFilter, parse_cpuid, parse_filters
from odograph.recording.recordingfile import RecordingFile
from odograph.recording.sideband import Region, Sideband
from support.recordings import TRACE


def timeline(recording: RecordingFile, pid: int) -> list[tuple[int | None, list[str]]]:
    """Changes as words: "+name" for a map, "*bytes" for executed code, "clear"."""
    return [
        (
            tsc,
            [
                c.kind
                if c.mapping is None
                else f"*{c.mapping.code.hex()}"
                if c.mapping.code is not None
                else f"+{c.mapping.filename}"
                for c in changes
            ],
        )
        for tsc, changes in recording.image_timeline(pid)
    ]


def test_switches_name_the_threads_of_a_cpu(tmp_path: Path) -> None:
    path = tmp_path / "switches"
    with PerfDataWriter(path, timed=True, per_cpu=True) as writer:
        writer.add_comm(10, 10, "ten")
        writer.add_comm(10, 11, "eleven")
        # File order is not time order.
        writer.add_switch(1, 10, 11, tsc=3000, previous=(10, 10))
        writer.add_switch(1, 10, 10, tsc=2000, previous=(0, 0))
        writer.add_switch(2, 0, 0, tsc=2500, previous=(10, 11))
        for cpu in (1, 2):
            writer.add_trace(-1, -1, TRACE, cpu=cpu, tsc=4000)
    recording = open_recording(path)
    assert {stream.cpu: stream.regions for stream in recording.streams} == {
        1: [Region(0, 0, 0), Region(2000, 10, 10), Region(3000, 11, 10)],
        2: [Region(0, 11, 10), Region(2500, 0, 0)],
    }
    assert [(t.tid, t.pid, t.comm) for t in recording.threads] == [(11, 10, "eleven"), (10, 10, "ten")]


def test_threads_have_their_own_streams(tmp_path: Path) -> None:
    path = tmp_path / "threads"
    with PerfDataWriter(path) as writer:
        writer.add_comm(10, 10, "main")
        writer.add_fork(10, 10, 11, 10)
        writer.add_trace(10, 10, TRACE)
        writer.add_trace(11, 10, TRACE * 2)
    recording = open_recording(path)
    assert [(s.tid, s.pid, s.size) for s in recording.streams] == [(10, 10, 24), (11, 10, 48)]
    assert [(t.tid, t.pid, t.comm) for t in recording.threads] == [(10, 10, "main"), (11, 10, "main")]


def test_a_process_forks_and_execs(tmp_path: Path) -> None:
    path = tmp_path / "forks"
    with PerfDataWriter(path, timed=True) as writer:
        writer.add_mmap2(10, 10, 0x1000, 0x1000, 0, "/bin/sh", build_id=None)
        writer.add_code(10, 50, 0x1000, b"\x90")
        writer.add_fork(20, 10, 20, 10, tsc=100)
        writer.add_mmap2(10, 10, 0x5000, 0x1000, 0, "/lib/late", build_id=None, tsc=150)
        writer.add_comm(20, 20, "ls", exec=True, tsc=200)
        writer.add_mmap2(20, 20, 0x8000, 0x1000, 0, "/bin/ls", build_id=None, tsc=210)
        writer.add_code(20, 210, 0x8000, b"\xc3")
        writer.add_trace(10, 10, TRACE, tsc=300)
        writer.add_trace(20, 20, TRACE, tsc=300)
    recording = open_recording(path)
    assert timeline(recording, 10) == [(None, ["+/bin/sh"]), (50, ["*90"]), (150, ["+/lib/late"])]
    assert timeline(recording, 20) == [
        (100, ["*90", "+/bin/sh"]),
        (200, ["clear"]),
        (210, ["+/bin/ls", "*c3"]),
    ]
    assert [m.filename for m in recording.mappings(20) if m.code is None] == ["/bin/ls"]


def test_without_times_every_map_counts_from_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "timeless"
    with PerfDataWriter(path) as writer:
        writer.add_mmap2(10, 10, 0x1000, 0x1000, 0, "/bin/a", build_id=None)
        writer.add_trace(10, 10, TRACE)
        writer.add_comm(10, 10, "b", exec=True)
        writer.add_mmap2(10, 10, 0x4000, 0x1000, 0, "/bin/b", build_id=None, tsc=99)
        writer.add_code(10, 7, 0x1000, b"\x90")
    recording = open_recording(path)
    assert not recording.pt.timed
    assert timeline(recording, 10) == [(None, ["+/bin/a", "+/bin/b"]), (7, ["*90"])]


def test_a_cpu_without_sideband_has_unknown_threads(tmp_path: Path) -> None:
    path = tmp_path / "untold"
    with PerfDataWriter(path, per_cpu=True) as writer:
        writer.add_comm(10, 10, "a")
        writer.add_comm(10, 11, "b")
        writer.add_trace(-1, -1, TRACE, cpu=0)
    recording = open_recording(path)
    assert [(t.tid, t.pid) for t in recording.threads] == [(-1, 10)]
    assert recording.streams[0].regions == [Region(0, -1, 10)]


def test_data_maps_are_not_code(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with PerfDataWriter(path) as writer:
        writer.add_mmap2(10, 10, 0x1000, 0x1000, 0, "/etc/data", prot=3)
        writer.add_trace(10, 10, TRACE)
    assert open_recording(path).image_timeline(10) == []


def test_settings_of_the_trace(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    with PerfDataWriter(
        path,
        timed=True,
        no_retcomp=True,
        mtc_period=9,
        cyc=True,
        tsc_ctc=(216, 2),
        max_nonturbo_ratio=26,
        cpuid="GenuineIntel,6,151,2",
    ) as writer:
        writer.add_trace(10, 10, TRACE)
    pt = open_recording(path).pt
    assert (pt.mtc_freq, pt.nom_freq, pt.cpuid_0x15_ebx, pt.cpuid_0x15_eax) == (9, 26, 216, 2)
    assert (pt.no_retcomp, pt.has_tsc, pt.has_mtc, pt.has_cyc, pt.timed) == (True,) * 5
    assert pt.cpu == (6, 151, 2)
    assert not pt.per_cpu


def test_cpuid_of_other_makers_is_not_a_cpu() -> None:
    assert parse_cpuid("GenuineIntel,6,78,3") == (6, 78, 3)
    assert parse_cpuid("AuthenticAMD,25,1,1") is None
    assert parse_cpuid("") is None


def test_address_filters() -> None:
    text = "filter 0x1000/0x10@/bin/x,tracestop 8192 / 16 , start 0x5, filter 0xffffffff81000000/0x100"
    assert parse_filters(text) == (
        AddressFilter("filter", 0x1000, 0x100F, "/bin/x"),
        AddressFilter("stop", 0x2000, 0x200F),
        AddressFilter("filter", 0xFFFFFFFF81000000, 0xFFFFFFFF810000FF),
    )


def record(kind: RecordType, body: bytes, misc: int = 0) -> Record:
    return Record(kind, misc, 8 + len(body), struct.pack("<IHH", kind, misc, 8 + len(body)) + body, 0)


def sideband(*records: tuple[Record, Stamp]) -> Sideband:
    """What these records say, with times in ticks."""
    result = Sideband(Problems(), {})
    for one, stamp in records:
        result.add(one, stamp)
    result.finish(TimeConversion(0, 1, 0))
    assert result.problems.list == []
    return result


def test_switch_in_names_the_thread_and_switch_out_does_not() -> None:
    out = 0x2000
    seen = sideband(
        (record(RecordType.SWITCH, b""), Stamp(7, 8, 100, 3)),
        (record(RecordType.SWITCH, b"", out), Stamp(7, 8, 200, 3)),
        (record(RecordType.SWITCH, b""), Stamp(9, 9, 300, 3)),
    )
    assert seen.switches == {3: [Region(0, -1, -1), Region(100, 8, 7), Region(300, 9, 9)]}


def test_kernel_symbols_come_and_go() -> None:
    address = 0xFFFFFFFFC0000000
    symbol = struct.pack("<QIHH8s", address, 64, 1, 0, b"bpf_x")
    gone = struct.pack("<QIHH8s", address, 64, 1, 1, b"bpf_x")
    seen = sideband(
        (record(RecordType.KSYMBOL, symbol), Stamp(time=10)),
        (record(RecordType.KSYMBOL, gone), Stamp(time=20)),
    )
    assert [(tsc, [c.kind for c in changes]) for tsc, changes in seen.memories[-1].timeline()] == [
        (10, ["add"]),
        (20, ["remove"]),
    ]
    assert seen.memories[-1].state() == []
    assert [m.filename for m in seen.memories[-1].state(1)] == ["bpf_x"]


def test_the_kernel_patches_itself() -> None:
    text = struct.pack("<ii3Q32s", -1, 0, 0xFFFFFFFF81000000, 0x1000, 0, b"[kernel.kallsyms]_text")
    poke = struct.pack("<QHH12s", 0xFFFFFFFF81000010, 2, 2, b"\x66\x90\xeb\x05")
    seen = sideband(
        (record(RecordType.TEXT_POKE, poke), Stamp(time=10)),
        (record(RecordType.MMAP, text, 1), Stamp(time=0)),
    )
    assert [(m.length, m.code) for m in seen.memories[-1].state()] == [
        (0x10, None),
        (2, b"\xeb\x05"),
        (0xFEE, None),
    ]


def test_memory_of_guests_is_not_taken_for_the_hosts() -> None:
    text = struct.pack("<ii3Q32s", -1, 0, 0xFFFFFFFF81000000, 0x1000, 0, b"[guest.kernel.kallsyms]_text")
    assert sideband((record(RecordType.MMAP, text, 4), Stamp(time=0))).memories == {}


def test_sched_switch_tracepoint() -> None:
    raw = struct.pack("<8s16siiQ16sii", b"", b"old", 5, 120, 0, b"new", 6, 120)
    assert sched_switch_next(raw) == 6
    assert sched_switch_next(raw[:40]) is None


def test_damaged_records_are_problems() -> None:
    result = Sideband(Problems(), {})
    for kind in range(1, 22):
        if result.handles(kind):
            result.add(record(RecordType(kind), b"\1\2\3"), Stamp(1, 1, 1, 1))
    result.finish(None)
    # SWITCH has no body that could be cut.
    assert len(result.problems.list) == 11
    assert all("damaged" in problem.message for problem in result.problems.list)
