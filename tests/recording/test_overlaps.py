"""Snapshots and samples that overlap at any place, filled up to eight bytes: every step is decoded once."""

from __future__ import annotations

import random
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

import odograph
from odograph.perfdata.format import FILE_HEADER, RECORD_HEADER, RecordType
from odograph.perfdata.writer import PerfDataWriter
from odograph.recording.opening import open_recording
from support.loop import BASE, LOOP, loop_trace, timed
from support.recordings import PSB, patched_info, small_recording

_SNAPSHOT_MODE = 8


class Ring(NamedTuple):
    """All that a ring has held, and where snapshots of it begin and end."""

    trace: bytes
    cuts: list[tuple[int, int]]

    @property
    def share_psbs(self) -> bool:
        """Each snapshot has a whole PSB in common with what was there before."""
        starts = [found.start() for found in re.finditer(re.escape(PSB), self.trace)]
        pairs = zip(self.cuts, self.cuts[1:], strict=False)
        return all(
            any(begin <= psb and psb + len(PSB) <= end for psb in starts) for (_, end), (begin, _) in pairs
        )


def ring_of(dice: random.Random, *, with_times: bool, tsc: int = 1000) -> Ring:
    """A random trace, of which each snapshot ends later than the one before and begins no earlier."""
    trace = b""
    for nth in range(dice.randint(2, 12)):
        piece = loop_trace(dice.randint(1, 30)) + bytes(dice.randint(0, 3))
        trace += timed(piece, tsc + 100 * nth) if with_times else piece
    cuts, begin, end = [], 0, 0
    while end < len(trace):
        last, end = end, min(len(trace), end + dice.randint(1, len(trace)))
        if cuts:
            begin = dice.randint(begin, last)
        cuts.append((begin, end))
    return Ring(trace, cuts)


def record(path: Path, rings: list[Ring], *, with_times: bool, per_cpu: bool) -> None:
    page = path.with_name("page")
    page.write_bytes(LOOP.ljust(0x1000, b"\xcc"))
    with PerfDataWriter(path, timed=with_times, per_cpu=per_cpu) as writer:
        for cpu, _ in enumerate(rings):
            tid = 70 + cpu
            writer.add_comm(tid, tid, "loop")
            writer.add_mmap2(tid, tid, BASE, 0x1000, 0, str(page), build_id=None)
            if per_cpu:
                writer.add_switch(cpu, tid, tid, tsc=500)
        turns = [(nth, cpu, cut) for cpu, ring in enumerate(rings) for nth, cut in enumerate(ring.cuts)]
        for nth, cpu, (begin, end) in sorted(turns):
            buffer = path.with_name(f"buffer-{cpu}-{nth}")
            buffer.write_bytes(rings[cpu].trace[begin:end])
            writer.add_trace(70 + cpu, 70 + cpu, buffer, cpu=cpu if per_cpu else None, tsc=90_000)
    path.write_bytes(patched_info(path.read_bytes(), _SNAPSHOT_MODE, 1))


def whole(ring: Ring) -> list[int]:
    image = odograph.Image()
    image.add_bytes(LOOP, BASE)
    return odograph.decode(ring.trace, image).ips().tolist()


def check(seed: int, path: Path) -> bool:
    """Whether all was shared, so that nothing may be missing."""
    dice = random.Random(seed)
    with_times = seed % 2 == 0
    per_cpu = with_times and seed % 3 == 0
    rings = [ring_of(dice, with_times=with_times) for _ in range(2 if per_cpu else 1)]
    record(path, rings, with_times=with_times, per_cpu=per_cpu)
    recording = odograph.open(path)
    for stream, ring in zip(recording.source.streams, rings, strict=True):
        history = recording.history(70 + (stream.cpu or 0))
        # What is cut off at the end of one and at the start of the next is missing, and that is said.
        if ring.share_psbs:
            assert bytes(stream.read()).rstrip(b"\0") == ring.trace.rstrip(b"\0"), seed
            assert (stream.breaks, history.gaps()) == ([], []), seed
            assert history.ips().tolist() == whole(ring), seed
        else:
            ips, all_ips = history.ips().tolist(), whole(ring)
            assert len(ips) <= len(all_ips), seed
            # Without times, bytes that are equal by chance look like the same bytes.
            causes = [gap.cause for gap in history.gaps()]
            assert ips == all_ips or "lost" in causes or not with_times, seed
    return all(ring.share_psbs for ring in rings)


def test_snapshots_of_a_ring_give_every_step_once(tmp_path: Path) -> None:
    shared = [check(seed, tmp_path / "perf.data") for seed in range(60)]
    assert 10 < sum(shared) < 50


@pytest.mark.acceptance
def test_thousands_of_rings(tmp_path: Path) -> None:
    for seed in range(1000, 6000):
        check(seed, tmp_path / "perf.data")


@pytest.mark.skipif(shutil.which("perf") is None, reason="needs the perf tool")
def test_perf_has_the_same_steps_where_no_packet_is_cut_by_filling(tmp_path: Path) -> None:
    """Perf leaves the filling in, so snapshots must end between packets."""
    path = tmp_path / "perf.data"
    for seed in range(6):
        dice = random.Random(seed)
        pieces = [timed(loop_trace(dice.randint(1, 30)), 1000 + 100 * nth) for nth in range(6)]
        edges = [sum(map(len, pieces[:nth])) for nth in range(len(pieces) + 1)]
        ring = Ring(b"".join(pieces), [(0, edges[3]), (edges[1], edges[4]), (edges[3], edges[6])])
        record(path, [ring], with_times=True, per_cpu=False)
        command = ["perf", "script", "-i", path, "--itrace=i0nse", "-F", "ip"]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        ours = odograph.open(path).history()
        if ring.share_psbs:
            assert ours.ips().tolist() == [int(ip, 16) for ip in out.split()] == whole(ring), seed


def test_a_snapshot_overlaps_all_before_and_not_only_what_the_last_one_added(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    trace = b"".join(timed(loop_trace(9), 1000 + nth) for nth in range(8))
    size = len(trace) // 8
    # The second adds less than a PSB+ to the first; the third begins in what both have.
    ring = Ring(trace, [(0, 5 * size), (2 * size, 5 * size + 3), (4 * size, 8 * size)])
    record(path, [ring], with_times=True, per_cpu=False)
    (stream,) = open_recording(path).streams
    assert (bytes(stream.read()).rstrip(b"\0"), stream.breaks) == (trace, [])


def test_pieces_of_trace_in_samples_overlap_too(tmp_path: Path) -> None:
    from fuzz_perfdata import _sampled

    path = small_recording(tmp_path / "perf.data", timed=True)
    trace = b"".join(timed(loop_trace(9), 1000 + nth) for nth in range(8))
    size = len(trace) // 8
    cuts = [(0, 3 * size), (2 * size, 5 * size), (3 * size - 5, 6 * size + 3), (6 * size, 8 * size)]
    path.write_bytes(_sampled(path.read_bytes(), [trace[begin:end] for begin, end in cuts]))
    sampled = open_recording(path).streams[1]
    # The last has no whole PSB in common with the one before.
    edge = 6 * size + 3
    assert [b.reason for b in sampled.breaks] == ["sample"]
    assert bytes(sampled.read())[:edge] == trace[:edge]


def test_padding_between_consecutive_buffers_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    trace = timed(loop_trace(9), 1000) + timed(loop_trace(5), 2000)
    cut = 45
    with PerfDataWriter(path, timed=True) as writer:
        for nth, part in enumerate((trace[:cut], trace[cut:])):
            buffer = tmp_path / f"{nth}"
            buffer.write_bytes(part)
            writer.add_trace(70, 70, buffer, tsc=5000)
    data = bytearray(path.read_bytes())
    # Our writer counts the filling, perf does not.
    at, size = FILE_HEADER.unpack_from(data)[5:7]
    end = at + size
    offsets = []
    while at < end:
        kind, _, length = RECORD_HEADER.unpack_from(data, at)
        if kind == RecordType.AUXTRACE:
            offsets.append(at + 16)
            length += struct.unpack_from("<Q", data, at + 8)[0]
        at += length
    struct.pack_into("<Q", data, offsets[1], cut)
    path.write_bytes(data)
    (stream,) = open_recording(path).streams
    assert bytes(stream.read()).rstrip(b"\0") == trace.rstrip(b"\0")
