"""Times: the packets' as libipt's dump tool has them, the events' from them, and always forward."""

from __future__ import annotations

import json
import lzma
from bisect import bisect_right
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import odograph
from odograph import EventDecoder, TraceConfig, decode
from odograph._native import RawPacketListing
from support.sharedtraces import mapped_image, shared_paths

TIMED = ("set02/raw-x64-8", "set03/file-cpu0", "set03/file-cpu3")
PSB = bytes.fromhex("0282") * 8
PSBEND = b"\x02\x23"
START = 0x1000


class Reference(NamedTuple):
    """What libipt's dump tool printed of a trace, and how it was called."""

    config: TraceConfig
    options: list[str]
    lines: list[str]


def reference(folder: Path) -> Reference:
    with lzma.open(folder / "ref/ptdump.txt.xz", "rt") as file:
        call, *lines = file.read().splitlines()
    words = call.split()[2:-1]
    settings: dict[str, Any] = {"cpu": None}
    names = {
        "--mtc-freq": "mtc_freq",
        "--nom-freq": "nom_freq",
        "--cpuid-0x15.eax": "cpuid_0x15_eax",
        "--cpuid-0x15.ebx": "cpuid_0x15_ebx",
    }
    options = []
    while words:
        word = words.pop(0)
        if word == "--cpu":
            settings["cpu"] = tuple(int(part) for part in words.pop(0).split("/"))
        elif word in names:
            settings[names[word]] = int(words.pop(0))
        else:
            options.append(word[2:])
    return Reference(TraceConfig(**settings), options, lines)


def estimates(lines: list[str]) -> tuple[list[int], list[int]]:
    """Offsets and times of the packets that move the time."""
    moves = [
        (int(words[0], 16), int(words[-1], 16))
        for words in (line.split() for line in lines)
        if words[-2:-1] == ["tsc"] and words[-1] != "<unavailable>" and len(words) > 3
    ]
    return [offset for offset, _ in moves], [time for _, time in moves]


@pytest.mark.parametrize("name", TIMED)
def test_packets_have_the_times_that_libipt_prints(shared: Path, name: str) -> None:
    folder = shared / "traces" / name
    expected = reference(folder)
    assert "time" in expected.options
    listing = RawPacketListing(
        (folder / "pt.bin").read_bytes(), expected.config.for_native(), expected.options
    )
    text = b""
    while not listing.ended:
        text += listing.next_piece()[0]
    ours = [line.split() for line in text.decode().splitlines()]
    assert ours == [line.split() for line in expected.lines]


@pytest.mark.parametrize("name", TIMED)
def test_events_have_the_time_of_the_last_timing_packet(shared: Path, name: str) -> None:
    folder = shared / "traces" / name
    expected = reference(folder)
    offsets, times = estimates(expected.lines)
    psbends = [int(words[0], 16) for words in map(str.split, expected.lines) if words[1:] == ["psbend"]]
    seen = 0
    last = 0
    for event in EventDecoder((folder / "pt.bin").read_bytes(), expected.config):
        if event.tsc is None:
            continue
        # What PSB+ says is delivered at its end.
        at = event.offset if not event.status_update else psbends[bisect_right(psbends, event.offset)]
        assert event.tsc == times[bisect_right(offsets, at) - 1], event
        assert event.tsc >= last, event
        last = event.tsc
        seen += 1
    assert seen > 5


def test_instructions_have_the_time_of_a_timing_packet(shared: Path) -> None:
    folder = shared / "traces/set02/raw-x64-8"
    expected = reference(folder)
    history = decode(folder / "pt.bin", mapped_image(folder), expected.config)
    ticks = history.instructions()["tsc"]
    assert len(ticks) == 8
    assert not np.ma.is_masked(ticks)
    offsets, times = estimates(expected.lines)
    assert set(ticks.tolist()) <= set(times)
    # Tracing was switched on for each of its three pieces by a TIP.PGE.
    starts = [int(line.split()[0], 16) for line in expected.lines if "tip.pge" in line]
    events = history.events()
    for start, step in zip(starts, events["step"][events["kind"] == "enabled"].tolist(), strict=True):
        assert ticks[step] >= times[bisect_right(offsets, start) - 1]
    assert np.all(np.diff(ticks.astype(np.int64)) >= 0)
    check_bounds(history)


def check_bounds(history: odograph.History) -> None:
    for step in range(0, len(history), max(1, len(history) // 50)):
        bounds = history.time_bounds(step)
        assert bounds is not None
        assert bounds[0] == history.time(step)
        assert bounds[1] is None or bounds[1] > bounds[0]


@pytest.mark.parametrize("name", ["static-59225", "static-59234"])
def test_times_of_whole_programs_go_forward(shared: Path, name: str) -> None:
    folder = shared / "traces/set02" / name
    # Not recorded with the trace: those of the processor family of 6/85.
    config = TraceConfig(mtc_freq=3, nom_freq=37, cpuid_0x15_eax=2, cpuid_0x15_ebx=308)
    history = decode(folder / "pt.bin", mapped_image(folder), config)
    times = history.instructions()["time"]
    assert len(times) > 59_000
    assert not np.ma.is_masked(times)
    assert np.all(np.diff(times) >= 0)
    assert len(set(times.tolist())) > 1000
    check_bounds(history)


def test_a_thread_that_moves_between_cpus_goes_forward(shared: Path) -> None:
    recording = odograph.open(shared / "traces/set03/file.perf.data")
    (thread,) = recording.threads
    history = recording.history()
    times = history.events()["time"]
    assert not np.ma.is_masked(times)
    assert len(times) > 200
    assert np.all(np.diff(times) >= 0)
    first, last = history.time_range()
    assert first is not None
    assert last is not None
    assert thread.end is not None
    assert first <= times[0] <= times[-1] <= last <= thread.end


def recordings_with_times() -> list[str]:
    """Names of the shared recordings whose reference counts TSC packets."""
    return [
        "/".join(path.parts[-3:-1])
        for path in shared_paths("traces/set*/*/meta.json")
        if json.loads(path.read_text())["reference"].get("packet_kinds", {}).get("tsc")
    ]


@pytest.mark.acceptance
@pytest.mark.parametrize("name", recordings_with_times())
def test_every_recording_goes_forward(shared: Path, name: str) -> None:
    folder = shared / "traces" / name
    timing = json.loads((folder / "meta.json").read_text()).get("timing_args") or {}
    config = TraceConfig(
        cpu=None,
        mtc_freq=timing.get("mtc_freq", 0),
        nom_freq=timing.get("nom_freq", 0),
        cpuid_0x15_eax=timing.get("cpuid15_eax", 0),
        cpuid_0x15_ebx=timing.get("cpuid15_ebx", 0),
    )
    ticks = decode(folder / "pt.bin", config=config).events()["tsc"]
    known = np.ma.compressed(ticks).astype(np.int64)
    assert len(known) > 5
    assert np.all(np.diff(known) >= 0)


def test_every_cpu_goes_forward(shared: Path) -> None:
    recording = odograph.open(shared / "traces/set03/file.perf.data")
    conversion = recording.source.time_conversion
    assert conversion is not None
    for stream in recording.source.streams:
        ticks = [e.tsc for e in EventDecoder(stream.read(), recording.config) if e.tsc is not None]
        assert len(ticks) > 5000
        assert ticks == sorted(ticks)
        # The second is the last moment at which the trace was read out.
        assert recording.source.threads[0].end is not None
        assert conversion.to_ns(ticks[-1]) < recording.source.threads[0].end + 10**9


def test_what_the_clock_could_not_count_is_told() -> None:
    tsc = b"\x19" + (0x1000).to_bytes(7, "little")
    tma = bytes.fromhex("0273 1000 00 0400")
    cycle, crystal = bytes([0x13]), b"\x59\x02"
    mnt = b"\x02\xc3\x88" + bytes(8)
    trace = PSB + tsc + tma + PSBEND + mnt + cycle + mnt + cycle + cycle + mnt + crystal + mnt + tsc + mnt
    config = TraceConfig(mtc_freq=4, cpuid_0x15_eax=1, cpuid_0x15_ebx=4, cpu=None)
    events = decode(trace, config=config).events()
    chosen = events["kind"] == "mnt"
    assert events["lost_cyc"][chosen].tolist() == [0, 1, 3, 0, 0]
    assert events["lost_mtc"][chosen].tolist() == [0] * 5
    assert events["tsc"][chosen].tolist()[:3] == [0x1000] * 3
    # With the ratio of core to bus clock, cycles count from the start.
    ratio = b"\x02\x03\x0c\x00"
    known = trace.replace(tsc + tma, tsc + tma + ratio)
    events = decode(
        known, config=TraceConfig(nom_freq=24, mtc_freq=4, cpuid_0x15_eax=1, cpuid_0x15_ebx=4)
    ).events()
    chosen = events["kind"] == "mnt"
    assert events["lost_cyc"][chosen].tolist() == [0] * 5
    ticks = events["tsc"][chosen].tolist()
    assert ticks[0] < ticks[1] < ticks[2]


def test_bounds_are_the_timing_packets_around() -> None:
    image = odograph.Image()
    image.add_bytes(bytes.fromhex("ffc9 75fc c3"), START)

    def tsc(ticks: int) -> bytes:
        return b"\x19" + ticks.to_bytes(7, "little")

    trace = PSB + tsc(2400) + b"\x99\x01" + b"\x7d" + START.to_bytes(8, "little")[:6] + PSBEND
    trace += b"\x06" + tsc(4800) + b"\x06" + tsc(7200) + b"\x06"
    history = decode(trace, image, TraceConfig(nom_freq=24, cpu=None))
    assert history.time_bounds(0) == (1000, 2000)
    assert history.time_bounds(2) == (2000, 3000)
    last = history.time_bounds(len(history) - 1)
    assert last == (3000, None)
    assert decode(trace, image, TraceConfig(cpu=None)).time_bounds(0) is None
    with pytest.raises(IndexError):
        history.time_bounds(len(history))
