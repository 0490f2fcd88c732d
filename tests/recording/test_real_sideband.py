"""Real traces with the real records beside them, as perf.data files: memory and times are theirs."""

from __future__ import annotations

import lzma
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import odograph
from odograph.dropins.pevent import Settings, Stream
from odograph.perfdata.format import RecordType
from odograph.perfdata.time import TimeConversion
from odograph.perfdata.writer import PerfDataWriter

#: As the recordings' own TIME_CONV records say.
CLOCK = TimeConversion(31, 0x22A1CD05, 0xFFF80926DC646C50)
SAMPLE_TYPE = 0x10086
#: The number under which the writer lists the event that all sideband belongs to.
SIDEBAND_ID = 1002

RECORDINGS = {
    "static-59234": (0, ("sideband.pevent",)),
    "raw-x64-8": (9, ("primary.sideband.pevent", "secondary.sideband.pevent")),
}


def as_perfdata(folder: Path, path: Path) -> Path:
    """The trace and the records of a recording, put together."""
    cpu, files = RECORDINGS[folder.name]
    with PerfDataWriter(
        path,
        timed=True,
        per_cpu=True,
        time=CLOCK,
        mtc_period=3,
        cyc=True,
        tsc_ctc=(308, 2),
        max_nonturbo_ratio=37,
        cpuid="GenuineIntel,6,85,7",
    ) as writer:
        for file in files:
            sideband = folder / "sideband" / file
            stream = Stream.open(str(sideband), 0, None, True, Settings(sample_type=SAMPLE_TYPE))
            while (record := stream.next()) is not None:
                if record.known:
                    body = record.raw.data[8:-8] + struct.pack("<Q", SIDEBAND_ID)
                    writer._write_record(RecordType(record.raw.type), record.raw.misc, body)
        writer.add_trace(-1, -1, (folder / "pt.bin").read_bytes(), cpu=cpu, tsc=1)
    return path


@pytest.mark.parametrize("name", list(RECORDINGS))
def test_a_program_is_decoded_by_its_records(
    shared: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    folder = shared(f"traces/set02/{name}")
    recording = odograph.open(as_perfdata(folder, tmp_path / "perf.data"), sysroot=folder)
    (thread,) = recording.threads
    assert thread.comm == "hello"
    history = recording.history()
    assert history.gaps() == []
    with lzma.open(folder / "ref/ips.txt.xz", "rt") as lines:
        assert history.ips().tolist() == [int(line, 16) for line in lines]
    times = history.instructions()["time"].tolist()
    assert times == sorted(times)
    # The clock is perf's: the program ran between the records of its start and its end.
    assert thread.start is None or thread.start <= times[0]
    assert thread.end is None or times[-1] <= thread.end
    ticks = dict.fromkeys(times)
    for ns in list(ticks)[:: max(1, len(ticks) // 20)]:
        assert history.at_time(ns) == times.index(ns)
        bounds = history.time_bounds(times.index(ns))
        assert bounds is not None
        assert bounds[0] == ns
        assert bounds[1] is None or bounds[1] > ns


@pytest.mark.skipif(shutil.which("perf") is None, reason="needs the perf tool")
def test_perf_finds_the_same_times(shared: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shared("traces/set02/static-59234")
    path = as_perfdata(folder, tmp_path / "perf.data")
    command = ["perf", "script", "-i", str(path), "--symfs", str(folder), "--itrace=i1ie", "--ns"]
    output = subprocess.run([*command, "-F", "time,ip"], capture_output=True, text=True, check=True).stdout
    lines = [line.replace(".", "").replace(":", "").split() for line in output.splitlines()]
    history = odograph.open(path, sysroot=folder).history()
    assert history.ips().tolist() == [int(ip, 16) for _, ip in lines]
    theirs = np.array([int(time) for time, _ in lines])
    apart = np.abs(theirs - history.instructions()["time"])
    # perf learns the processor's speed in its own way; before the first MTC it knows none.
    assert np.median(apart) <= 4
    assert np.percentile(apart, 95) < 50
    assert apart.max() < 1000
