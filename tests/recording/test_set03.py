"""A real recording of a 4.14 kernel, against what `perf script -D` says of each of its records."""

from __future__ import annotations

import lzma
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from odograph.perfdata.format import Misc, RecordType
from odograph.perfdata.reader import PerfDataReader
from odograph.perfdata.records import (
    Record,
    parse_aux,
    parse_comm,
    parse_mmap,
    parse_mmap2,
    parse_pair,
)
from odograph.perfdata.samples import parse_sample
from odograph.perfdata.source import map_file
from odograph.recording.opening import open_recording

Shared = Callable[[str], Path]

_LINE = re.compile(r"^(?:(-?\d+) (\d+) )?(0x[0-9a-f]+) \[(0x[0-9a-f]+)\]: PERF_RECORD_(\w+)(.*)$")


@pytest.fixture
def reader(shared: Shared) -> PerfDataReader:
    return PerfDataReader(map_file(shared("traces/set03/file.perf.data")))


@pytest.fixture
def listing(shared: Shared) -> dict[int, re.Match[str]]:
    """The lines of perf's listing by file offset."""
    with lzma.open(shared("traces/set03/file.perf-script-D.txt.xz"), "rt", errors="replace") as file:
        matches = [_LINE.match(line) for line in file]
    return {int(match[3], 16): match for match in matches if match}


def test_every_record_is_the_one_perf_lists(
    reader: PerfDataReader, listing: dict[int, re.Match[str]]
) -> None:
    records = list(reader.records())
    assert len(records) == len(listing)
    for record in records:
        match = listing[record.offset]
        assert record.size == int(match[4], 16)
        assert RecordType(record.type).name == match[5]
    assert reader.problems.list == []


def test_every_stamp_is_the_one_perf_lists(reader: PerfDataReader, listing: dict[int, re.Match[str]]) -> None:
    stamps = 0
    for record in reader.records():
        match = listing[record.offset]
        if record.type < 64 and record.type != RecordType.SAMPLE:
            stamp = reader.stamper.stamp(record.data)
            assert (stamp.cpu, stamp.time) == (int(match[1]), int(match[2]))
            assert stamp.id in (0, *range(124, 140))  # 0: made up by perf at the start
            stamps += 1
    assert stamps == 234


def _contents(record: Record) -> str | None:
    """The record as perf words it, None for kinds not compared here."""
    if record.type == RecordType.MMAP:
        m = parse_mmap(record)
        pgoff = f"{m.pgoff:#x}" if m.pgoff else "0"
        return f" {m.pid}/{m.tid}: [{m.address:#x}({m.length:#x}) @ {pgoff}]: x {m.filename}"
    if record.type == RecordType.MMAP2:
        m = parse_mmap2(record)
        assert m.prot == 5
        return f" {m.pid}/{m.tid}: [{m.address:#x}({m.length:#x}) @ {m.pgoff:#x} … {m.filename}"
    if record.type == RecordType.COMM:
        c = parse_comm(record)
        return f"{' exec' if c.exec else ''}: {c.name}:{c.pid}/{c.tid}"
    if record.type == RecordType.SWITCH_CPU_WIDE:
        pid, tid = parse_pair(record)
        out = record.misc & Misc.SWITCH_OUT
        word = "preempt" if record.misc & Misc.SWITCH_OUT_PREEMPT else ""
        return f"{'OUT' if out else 'IN'} {word} {'next' if out else 'prev'} pid/tid: {pid}/{tid}"
    if record.type == RecordType.ITRACE_START:
        pid, tid = parse_pair(record)
        return f" pid: {pid} tid: {tid}"
    if record.type == RecordType.AUX:
        a = parse_aux(record)
        offset = f"{a.offset:#x}" if a.offset else "0"
        return f" offset: {offset} size: {a.size:#x} flags: {a.flags:#x} []".replace("0x0 []", "0 []")
    return None


def test_the_contents_are_what_perf_lists(reader: PerfDataReader, listing: dict[int, re.Match[str]]) -> None:
    compared = 0
    for record in reader.records():
        expected = listing[record.offset][6]
        contents = _contents(record)
        if contents is None:
            continue
        if record.type == RecordType.MMAP2:
            before, after = contents.split(" … ")
            assert expected.startswith((before, before.replace("@ 0x0", "@ 0")))
            assert expected.endswith(after)
        elif record.type == RecordType.SWITCH_CPU_WIDE:
            assert re.sub(r"\s+", " ", expected).strip() == re.sub(r"\s+", " ", contents)
        else:
            assert expected == contents
        compared += 1
    assert compared == 56 + 10 + 3 + 152 + 2 + 10


def test_samples_have_the_threads_perf_lists(
    reader: PerfDataReader, listing: dict[int, re.Match[str]]
) -> None:
    (cycles,) = (a for a in reader.attributes if a.name == "cycles")
    samples = [record for record in reader.records() if record.type == RecordType.SAMPLE]
    assert len(samples) == 15
    for record in samples:
        stamp = parse_sample(record.data, cycles).stamp
        match = listing[record.offset]
        assert stamp.time == int(match[2])
        assert f" {stamp.pid}/{stamp.tid}: " in match[6]


def test_streams_equal_the_cut_out_ones(shared: Shared) -> None:
    recording = open_recording(shared("traces/set03/file.perf.data"))
    assert {stream.cpu: stream.size for stream in recording.streams} == {0: 12240, 3: 137728}
    for stream in recording.streams:
        raw = shared(f"traces/set03/file-cpu{stream.cpu}/pt.bin").read_bytes()
        assert bytes(stream.read()) == raw


def test_build_ids(shared: Shared, reader: PerfDataReader) -> None:
    text = shared("traces/set03/file.buildids").read_text()
    expected = dict(reversed(line.split(maxsplit=1)) for line in text.splitlines())
    assert {name: value.hex() for name, value in reader.features.build_ids.items()} == expected


def test_settings_and_threads(shared: Shared) -> None:
    recording = open_recording(shared("traces/set03/file.perf.data"))
    pt = recording.pt
    assert (pt.cpu, pt.mtc_freq, pt.nom_freq) == ((6, 78, 3), 3, 12)
    assert (pt.cpuid_0x15_eax, pt.cpuid_0x15_ebx) == (2, 100)
    assert (pt.per_cpu, pt.timed, pt.no_retcomp) == (True, True, False)
    assert [(t.tid, t.comm) for t in recording.threads] == [(3174, "echo")]
    assert recording.problems == []
    names = [m.mapping.filename for m in recording.missing(3174)]
    assert "/usr/bin/coreutils" in names
    assert "[kernel.kallsyms]_text" in names


@pytest.mark.parametrize("name", ["gzip-s-def", "py-s-def"])
def test_bench_streams_equal_the_raw_ones(shared: Shared, tmp_path: Path, name: str) -> None:
    path = tmp_path / "perf.data"
    path.write_bytes(lzma.decompress(shared(f"bench/{name}.perf.data.xz").read_bytes()))
    raw = lzma.decompress(shared(f"bench/{name}.pt.xz").read_bytes())
    recording = open_recording(path)
    (stream,) = recording.streams
    data = bytes(stream.read())
    assert data[: len(raw)] == raw
    assert data[len(raw) :].strip(b"\0") == b""
    assert recording.problems == []
    assert [(t.tid, t.comm) for t in recording.threads] == [(4242, "bench")]
