"""A recording that is cut at its end says so, whatever it is asked: what is missing is a gap, ``cut``."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import odograph
from odograph.cli.group import call
from odograph.errors import RecordingError
from odograph.perfdata.format import FILE_HEADER, FILE_HEADER_SIZE, RecordType
from odograph.perfdata.writer import PerfDataWriter
from odograph.recording.opening import open_recording
from support.container import Container
from support.paths import CORPUS
from support.pipe import to_pipe
from support.recordings import TRACE, small_recording

FILES = CORPUS / "files"


def cuts(data: bytes) -> list[int]:
    """Where to cut: everywhere near the borders of records and sections, and in steps in between."""
    fields = FILE_HEADER.unpack_from(data)
    borders = [0, FILE_HEADER_SIZE, fields[5], fields[5] + fields[6], len(data) - 48, len(data)]
    at = fields[5]
    for record in Container.parse(data).records:
        borders += [at, at + 8 + len(record.body)]
        at += 8 + len(record.body) + len(record.payload)
    near = {border + by for border in borders for by in (-1, 0, 1)}
    return sorted(size for size in near | set(range(0, len(data), 97)) if 0 < size < len(data))


def causes(path: Path) -> dict[int, list[str]]:
    """The causes of the gaps of each thread."""
    recording = odograph.open(path, sysroot=FILES)
    return {
        thread.tid: [gap.cause for gap in recording.history(thread.tid).gaps()]
        for thread in recording.threads
    }


@pytest.mark.parametrize("name", ["static.qemu.data", "threads.ptrace.data", "selfwritten.qemu.data"])
def test_no_cut_is_silent(name: str, tmp_path: Path) -> None:
    data = (CORPUS / name).read_bytes()
    path = tmp_path / "cut"
    errors = 0
    for size in cuts(data):
        path.write_bytes(data[:size])
        try:
            found = causes(path)
        except RecordingError:
            errors += 1
            continue
        assert all("cut" in gaps for gaps in found.values()), size
    assert errors < len(cuts(data))
    path.write_bytes(data)
    assert not any(causes(path).values())


@pytest.mark.parametrize("name", ["static.qemu.data", "selfwritten.ptrace.data"])
def test_cuts_of_the_pipe_form_show_but_for_the_last_record(name: str, tmp_path: Path) -> None:
    data = to_pipe((CORPUS / name).read_bytes())
    path = tmp_path / "cut"
    path.write_bytes(data)
    whole = causes(path)
    # The last record only ends a round: without it nothing is missing.
    for size in sorted({*range(16, len(data) - 8, 61), *range(len(data) - 16, len(data) - 8)}):
        path.write_bytes(data[:size])
        try:
            found = causes(path)
        except RecordingError:
            continue
        assert all("cut" in gaps for gaps in found.values()), size
    path.write_bytes(data[:-8])
    assert causes(path) == whole


@pytest.mark.parametrize("name", ["set03/file.", "set04/control_flow-20180515T180451/"])
def test_no_cut_of_a_recording_by_perf_is_silent(
    name: str, shared: Callable[[str], Path], tmp_path: Path
) -> None:
    data = shared(f"traces/{name}perf.data").read_bytes()
    dice = random.Random(3)
    path = tmp_path / "cut"
    opened = 0
    for size in sorted(dice.randrange(len(data)) for _ in range(12)):
        path.write_bytes(data[:size])
        try:
            found = causes(path)
        except RecordingError:
            continue
        opened += 1
        assert all("cut" in gaps for gaps in found.values()), size
    assert opened


def middle_of_trace(data: bytes) -> int:
    """A file offset in the middle of the last trace bytes."""
    fields = FILE_HEADER.unpack_from(data)
    at, found = fields[5], 0
    for record in Container.parse(data).records:
        at += 8 + len(record.body) + len(record.payload)
        if record.kind == RecordType.AUXTRACE:
            found = at - len(record.payload) // 2
    return found


@pytest.fixture(params=["trace", "trailer"])
def cut(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A recording of the corpus that is cut inside its trace, or inside the executed bytes behind it."""
    data = (CORPUS / "static.qemu.data").read_bytes()
    size = middle_of_trace(data) if request.param == "trace" else len(data) - 60
    path = tmp_path / "cut"
    path.write_bytes(data[:size])
    return path


def test_every_command_says_that_a_recording_is_cut(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("steps", "functions", "coverage", "packets", "stack", "index")
    for words in (*([name, str(cut)] for name in asked), ["break", str(cut), "0x401000"]):
        call([*words, *(["--sysroot", str(FILES)] if words[0] != "packets" else [])])
        assert f"a part of {cut} is missing: " in capsys.readouterr().err, words
    for words in (["steps", "--tail", "3"], ["info"]):
        assert call([*words, "--sysroot", str(FILES), "--max-gaps", "0", str(cut)]) == 1
    capsys.readouterr()
    call(["info", "--sysroot", str(FILES), "--json", str(cut)])
    (thread,) = json.loads(capsys.readouterr().out)["threads"]
    assert "cut" in [group["cause"] for group in thread["gaps"]]


def test_verify_says_that_the_recording_is_cut(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RecordingError, match="is cut or damaged"):
        odograph.open(cut).verify()
    assert call(["verify", str(cut)]) == 2
    assert "is cut or damaged" in capsys.readouterr().err


def test_the_gap_stands_behind_the_last_step_and_counts_the_bytes_that_are_known(tmp_path: Path) -> None:
    data = (CORPUS / "static.qemu.data").read_bytes()
    path = tmp_path / "cut"
    size = middle_of_trace(data)
    path.write_bytes(data[:size])
    recording = odograph.open(path, sysroot=FILES)
    history = recording.history()
    gap = history.gaps()[-1]
    (stream,) = recording.source.streams
    assert (gap.cause, gap.step, gap.offset) == ("cut", len(history), stream.size)
    assert gap.bytes_lost == len(Container.parse(data).records[-2].payload) - stream.size
    assert history.part(0, len(history)).gap_count == history.gap_count
    assert history.part(0, len(history) - 1).gap_count == history.gap_count - 1
    assert history.gap_kinds()[-1][0].cause == "cut"


def test_an_unfinished_recording_counts_as_cut(tmp_path: Path) -> None:
    path = small_recording(tmp_path / "file")
    data = bytearray(path.read_bytes())
    fields = list(FILE_HEADER.unpack_from(data))
    end, fields[6] = fields[5] + fields[6], 0
    data[:FILE_HEADER_SIZE] = FILE_HEADER.pack(*fields)
    path.write_bytes(data[:end])
    assert "cut" in causes(path)[42]


def test_records_behind_a_damaged_one_are_missing(tmp_path: Path) -> None:
    path = small_recording(tmp_path / "file")
    container = Container.parse(path.read_bytes())
    container.records[-2].size = 3
    path.write_bytes(container.pack())
    assert causes(path) == {-1: ["cut"]}


def test_a_cut_part_of_a_directory_shows(tmp_path: Path) -> None:
    shutil.copytree(CORPUS / "static.directory.data", tmp_path / "directory")
    part = tmp_path / "directory" / "data.0"
    data = part.read_bytes()
    for size in range(8, len(data) - 8, 16):
        part.write_bytes(data[:size])
        assert open_recording(tmp_path / "directory").noted.cut is not None, size


def test_trace_that_was_lost_behind_the_last_bytes_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "lost"
    with PerfDataWriter(path) as writer:
        writer.add_trace(5, 5, TRACE)
        writer.add_trace(5, 5, TRACE, truncated=True)
    assert causes(path) == {5: ["lost"]}


def test_lost_trace_of_no_known_thread_is_a_gap_in_all(tmp_path: Path) -> None:
    path = tmp_path / "lost"
    with PerfDataWriter(path) as writer:
        for tid in (5, 6):
            writer.add_trace(tid, tid, TRACE)
    container = Container.parse(path.read_bytes())
    at = next(at for at, record in enumerate(container.records) if record.kind == RecordType.AUX)
    body = bytearray(container.records[at].body)
    struct.pack_into("<QQ", body, 8, 0, 1)
    struct.pack_into("<ii", body, 24, 9, 9)
    container.records.append(type(container.records[at])(RecordType.AUX, 0, bytes(body)))
    path.write_bytes(container.pack())
    assert causes(path) == {5: ["lost"], 6: ["lost"]}


@pytest.mark.parametrize("name", ["static.qemu.data", "threads.ptrace.data"])
def test_times_of_a_recorder_without_a_clock_stay_unknown_wherever_its_file_is_cut(
    name: str, tmp_path: Path
) -> None:
    data = (CORPUS / name).read_bytes()
    path = tmp_path / "cut"
    opened = 0
    for size in range(len(data), 1000, -len(data) // 25):
        path.write_bytes(data[:size])
        try:
            recording = open_recording(path)
        except RecordingError:
            continue
        opened += 1
        assert not recording.has_clock, size
    assert opened > 3
