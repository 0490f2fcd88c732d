"""The perf tool as judge: it decodes what we write, and lists our records as we meant them."""

from __future__ import annotations

import lzma
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import odograph
from odograph.perfdata.format import RecordType
from odograph.perfdata.reader import PerfDataReader
from odograph.perfdata.writer import PerfDataWriter
from odograph.recording.opening import open_recording
from support.loop import BASE, LOOP, loop_trace, timed
from support.recordings import TRACE

pytestmark = pytest.mark.skipif(shutil.which("perf") is None, reason="needs the perf tool")


def perf(*arguments: str | Path) -> str:
    result = subprocess.run(
        ["perf", *map(str, arguments)], capture_output=True, text=True, errors="replace", check=False
    )
    assert "incompatible" not in result.stderr
    return result.stdout


@pytest.mark.parametrize("form", ["per thread", "per thread, timed", "per CPU, timed"])
def test_perf_decodes_every_instruction(tmp_path: Path, form: str) -> None:
    page = tmp_path / "page"
    page.write_bytes(LOOP.ljust(0x1000, b"\xcc"))
    path = tmp_path / "perf.data"
    is_timed = "timed" in form
    cpu = 2 if "CPU" in form else None
    trace = loop_trace(100)
    if is_timed:
        trace = timed(trace, 5000)
    with PerfDataWriter(path, timed=is_timed, per_cpu=cpu is not None) as writer:
        writer.add_comm(77, 77, "loop", exec=True)
        writer.add_mmap2(77, 77, BASE, 0x1000, 0, str(page))
        if cpu is not None:
            writer.add_switch(cpu, 77, 77, tsc=4000)
        writer.add_itrace_start(77, 77, cpu=cpu)
        writer.add_trace(77, 77, trace, cpu=cpu, tsc=6000)
        writer.add_exit(77, 77, 77, 77, tsc=7000)
    assert open_recording(path).problems == []
    out = perf("script", "-i", path, "--itrace=i1ie", "-F", "tid,ip")
    expected = [BASE, BASE + 2] * 100 + [BASE + 4, BASE + 9]
    lines = [line.split() for line in out.splitlines() if line.strip()]
    assert [(int(tid), int(ip, 16)) for tid, ip in lines] == [(77, ip) for ip in expected]


def test_perf_and_we_follow_a_fork_and_an_exec(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.write_bytes(LOOP.ljust(0x1000, b"\xcc"))
    nops = LOOP.replace(bytes.fromhex("ffc9"), bytes.fromhex("9090"))
    after.write_bytes(nops.ljust(0x1000, b"\xcc"))
    path = tmp_path / "perf.data"
    with PerfDataWriter(path, timed=True) as writer:
        writer.add_comm(7, 7, "sh", exec=True)
        writer.add_mmap2(7, 7, BASE, 0x1000, 0, str(before))
        writer.add_fork(20, 7, 20, 7, tsc=1000)
        writer.add_comm(20, 20, "ls", exec=True, tsc=2000)
        writer.add_mmap2(20, 20, BASE, 0x1000, 0, str(after), tsc=2001)
        writer.add_trace(7, 7, timed(loop_trace(3), 500), tsc=600)
        writer.add_trace(20, 20, timed(loop_trace(2), 1200) + timed(loop_trace(4), 2200), tsc=2300)
    out = perf("script", "-i", path, "--itrace=i1ie", "-F", "tid,ip")
    theirs: dict[int, list[int]] = {}
    for line in out.splitlines():
        tid, ip = line.split()
        theirs.setdefault(int(tid), []).append(int(ip, 16))
    loop = [BASE, BASE + 2]
    end = [BASE + 4, BASE + 9]
    assert theirs == {7: loop * 3 + end, 20: loop * 2 + end + [BASE, BASE + 1, BASE + 2] * 4 + end}
    ours = odograph.open(path).histories()
    assert {tid: history.ips().tolist() for tid, history in ours.items()} == theirs


def test_perf_lists_our_records(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    with PerfDataWriter(path, timed=True, per_cpu=True, command_line=["a", "b c"]) as writer:
        writer.add_comm(7, 8, "name", exec=True, tsc=5)
        writer.add_fork(9, 7, 9, 8, tsc=6)
        writer.add_mmap2(7, 8, 0x1000, 0x2000, 0x3000, "/bin/x", build_id=bytes(range(20)), tsc=7)
        writer.add_mmap2(7, 8, 0x9000, 0x2000, 0x3000, "/bin/y", build_id=None, device=(8, 1), inode=5)
        writer.add_itrace_start(7, 8, cpu=3, tsc=8)
        writer.add_switch(3, 7, 8, tsc=9, previous=(1, 2))
        writer.add_trace(-1, -1, TRACE, cpu=3, tsc=10, truncated=True)
        writer.add_exit(9, 7, 9, 8, tsc=11)
    out = perf("script", "-D", "-i", path)
    listed = re.findall(r"^(?:\d+ )?(\d+) 0x[0-9a-f]+ \[0x[0-9a-f]+\]: PERF_RECORD_(.*)$", out, re.MULTILINE)
    lines = [f"{time} {' '.join(text.split())}" for time, text in listed]
    for expected in (
        "5 COMM exec: name:7/8",
        "6 FORK(9:9):(7:8)",
        f"7 MMAP2 7/8: [0x1000(0x2000) @ 0x3000 <{bytes(range(20)).hex()}>]: r-xp /bin/x",
        "0 MMAP2 7/8: [0x9000(0x2000) @ 0x3000 08:01 5 0]: r-xp /bin/y",
        "8 ITRACE_START pid: 7 tid: 8",
        "9 SWITCH_CPU_WIDE OUT next pid/tid: 7/8",
        "9 SWITCH_CPU_WIDE IN prev pid/tid: 1/2",
        "10 AUX offset: 0 size: 0x18 flags: 0x1 [T]",
        "11 EXIT(9:9):(7:8)",
    ):
        assert expected in lines
    header = perf("script", "--header-only", "-i", path)
    assert "# cmdline : a b c" in header
    assert "name = intel_pt//" in header
    assert bytes(range(20)).hex() in perf("buildid-list", "-i", path)


def test_perf_decodes_a_rewritten_recording_alike(shared: Callable[[str], Path], tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.write_bytes(lzma.decompress(shared("bench/gzip-s-def.perf.data.xz").read_bytes()))
    recording = open_recording(original)
    if recording.missing(4242):
        pytest.skip("needs the binaries of the recording")
    path = tmp_path / "ours"
    with PerfDataWriter(path, mtc_period=3, tsc_ctc=(216, 2), max_nonturbo_ratio=26) as writer:
        for mapping in recording.mappings(4242):
            writer.add_mmap2(4242, 4242, mapping.address, mapping.length, mapping.pgoff, mapping.filename)
        writer.add_trace(4242, 4242, recording.streams[0].read())
        writer.add_code(4242, 0, recording.mappings(4242)[0].address, bytes(100000))
    arguments = ("--itrace=i10000ie", "-F", "ip")
    theirs = perf("script", "-i", original, *arguments)
    assert theirs.count("\n") > 2900
    assert perf("script", "-i", path, *arguments) == theirs


@pytest.mark.parametrize("form", ["file", "pipe", "compressed", "directory"])
def test_we_read_what_perf_records(tmp_path: Path, form: str) -> None:
    path = tmp_path / "perf.data"
    options = {"compressed": ["-z"], "directory": ["--threads"]}.get(form, [])
    if form == "compressed":
        pytest.importorskip("zstandard")
    output = "-" if form == "pipe" else str(path)
    command = ["perf", "record", "-q", "-e", "dummy:u", *options, "-o", output, "--", "true"]
    result = subprocess.run(command, capture_output=True, check=False)
    if form == "pipe":
        path.write_bytes(result.stdout)
    if result.returncode or not path.exists():
        pytest.skip("perf may not record here")
    reader = PerfDataReader.open(path)
    records = list(reader.records())
    assert reader.problems.list == []
    seen = Counter(RecordType(record.type).name.removeprefix("HEADER_") for record in records)
    listed = Counter(re.findall(r"PERF_RECORD_(\w+)", perf("script", "-D", "-i", path)))
    assert seen == listed
    assert seen["MMAP2"] > 2
    assert reader.features.command_line[:2] == [shutil.which("perf"), "record"]


def test_perf_copies_our_recording(tmp_path: Path) -> None:
    path = tmp_path / "ours"
    with PerfDataWriter(path, timed=True) as writer:
        writer.add_comm(7, 7, "name", exec=True)
        writer.add_trace(7, 7, timed(loop_trace(9), 50), tsc=99)
    perf("inject", "-b", "-i", path, "-o", tmp_path / "copy")
    copy = open_recording(tmp_path / "copy")
    ours = open_recording(path)
    assert bytes(copy.streams[0].read()) == bytes(ours.streams[0].read())
    assert copy.threads == ours.threads
