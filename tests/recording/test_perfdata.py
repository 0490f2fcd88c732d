"""Files we write are read back as written, in every form that perf has for them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from odograph.errors import RecordingError
from odograph.perfdata.executed import Truth
from odograph.perfdata.format import FILE_HEADER, RecordType
from odograph.perfdata.reader import PerfDataReader
from odograph.perfdata.writer import PerfDataWriter
from odograph.recording.opening import open_recording
from odograph.recording.recordingfile import RecordingFile
from support.pipe import compress, to_pipe
from support.recordings import TRACE, patched_info, small_recording


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return small_recording(tmp_path / "a.perf.data")


def check_contents(recording: RecordingFile) -> None:
    (thread,) = recording.threads
    assert (thread.tid, thread.pid, thread.comm) == (42, 42, "true")
    (stream,) = recording.streams
    assert bytes(stream.read()) == TRACE * 3
    assert [m.address for m in recording.mappings(42) if m.code is None][-1] == 0x7F0000000000


def test_what_is_written_is_read(file: Path) -> None:
    recording = open_recording(file)
    assert recording.kind == "perf.data"
    assert recording.problems == []
    check_contents(recording)
    assert recording.threads[0].truth == Truth(7, 0xFFFF_0000_1234_5678)
    assert recording.info()["command_line"] == ["true", "-x"]
    assert recording.info()["recorder"] == "test"
    assert recording.info()["exit_status"] == 3
    assert recording.info()["recorder_gaps"][0]["cause"] == "exec"


def test_executed_bytes_lie_over_the_mapped_file(file: Path) -> None:
    mappings = open_recording(file).mappings(42)
    assert [(m.address, m.length, m.code) for m in mappings[:3]] == [
        (0x401000, 0x10, None),
        (0x401010, 2, b"\x90\xc3"),
        (0x401012, 0xFEE, None),
    ]
    assert mappings[2].pgoff == 0x1012


def test_the_image_holds_the_executed_bytes(file: Path) -> None:
    assert open_recording(file).image(42).read(0x401010, 2) == b"\x90\xc3"


def test_missing_files_are_named_with_their_build_id(file: Path) -> None:
    missing = open_recording(file).missing(42)
    assert [m.mapping.filename for m in missing] == ["/nowhere/true", "//anon"]
    assert "12" * 20 in missing[0].reason
    assert "--sysroot" in missing[0].hint


def test_pipe_form(file: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    pipe.write_bytes(to_pipe(file.read_bytes()))
    recording = open_recording(pipe)
    assert recording.info()["form"] == "pipe"
    assert recording.problems == []
    check_contents(recording)
    assert recording.info()["command_line"] == ["true", "-x"]
    assert recording.info()["events"][0]["name"] == "intel_pt//"


@pytest.mark.parametrize("one_frame", [True, False])
@pytest.mark.parametrize("chunk", [7, 64, 4096])
def test_compressed_records(file: Path, tmp_path: Path, chunk: int, one_frame: bool) -> None:
    pytest.importorskip("zstandard")
    packed = tmp_path / "packed"
    packed.write_bytes(compress(file.read_bytes(), chunk, one_frame))
    recording = open_recording(packed)
    assert recording.problems == []
    check_contents(recording)


def test_compressed_records_without_zstandard(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zstandard")
    packed = tmp_path / "packed"
    packed.write_bytes(compress(file.read_bytes(), 64, True))
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(RecordingError, match="pip install zstandard"):
        open_recording(packed)


def test_directory_form(file: Path, tmp_path: Path) -> None:
    directory = tmp_path / "dir"
    directory.mkdir()
    file.rename(directory / "data")
    check_contents(open_recording(directory))


def test_file_whose_recorder_died(file: Path, tmp_path: Path) -> None:
    data = bytearray(file.read_bytes())
    fields = list(FILE_HEADER.unpack_from(data))
    end = fields[5] + fields[6]
    fields[6] = 0
    data[: FILE_HEADER.size] = FILE_HEADER.pack(*fields)
    died = tmp_path / "died"
    died.write_bytes(data[:end])
    recording = open_recording(died)
    check_contents(recording)
    assert "died" in recording.problems[0].message


def test_writer_that_was_never_closed(tmp_path: Path) -> None:
    path = tmp_path / "open.perf.data"
    writer = PerfDataWriter(path)
    writer.add_comm(1, 1, "x")
    trace = tmp_path / "trace"
    trace.write_bytes(TRACE)
    writer.add_trace(1, 1, trace)
    writer._file.flush()
    recording = open_recording(path)
    assert bytes(recording.streams[0].read()) == TRACE
    assert "died" in recording.problems[0].message
    writer.close()


def test_every_cut_is_a_problem_or_an_error(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    cut = tmp_path / "cut"
    for size in range(0, len(data), 13):
        cut.write_bytes(data[:size])
        try:
            recording = open_recording(cut)
        except RecordingError:
            continue
        assert recording.problems, size


def test_cut_inside_trace_keeps_what_is_there(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    at = data.index(TRACE)
    cut = tmp_path / "cut"
    cut.write_bytes(data[: at + 30])
    recording = open_recording(cut)
    assert bytes(recording.streams[0].read()) == (TRACE * 2)[:30]
    assert any("inside trace data: 42 of 72 bytes" in p.message for p in recording.problems)


def test_truncated_aux_becomes_a_break(tmp_path: Path) -> None:
    path = tmp_path / "lost"
    with PerfDataWriter(path) as writer:
        writer.add_trace(5, 5, TRACE, truncated=True)
        writer.add_trace(5, 5, TRACE)
        writer.add_lost(9)
    recording = open_recording(path)
    (stream,) = recording.streams
    assert [(b.offset, b.reason) for b in stream.breaks] == [(len(TRACE), "truncated")]
    assert recording.lost_records == 9
    assert bytes(stream.read()) == TRACE * 2
    assert ["larger" in p.message for p in recording.problems] == [False, True]


def test_buffers_end_before_a_psb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odograph.perfdata.writer._BUFFER", 64)
    path = tmp_path / "pieces"
    stream = (TRACE[:16] + b"\x02\x23" + b"\x06" * 99) * 10
    with PerfDataWriter(path) as writer:
        for at in range(0, len(stream), 50):
            writer.add_trace(5, 5, stream[at : at + 50])
    (read,) = open_recording(path).streams
    assert len(read.extents) > 5
    data = bytes(read.read())
    assert data.replace(b"\0", b"") == stream
    start = 0
    for extent in read.extents:
        assert data[start : start + 16] == TRACE[:16]
        start += extent.size


def test_no_trace_at_all(tmp_path: Path) -> None:
    path = tmp_path / "none"
    with PerfDataWriter(path) as writer:
        writer.add_comm(1, 1, "x")
    data = path.read_bytes()
    assert any("no trace data" in p.message for p in open_recording(path).problems)
    # The same with AUXTRACE_INFO turned into something unknown: nothing says that PT was recorded.
    path.write_bytes(data.replace(struct.pack("<IHH", 70, 0, 152), struct.pack("<IHH", 99, 0, 152)))
    with pytest.raises(RecordingError, match="intel_pt"):
        open_recording(path)


def test_unknown_records_are_skipped(file: Path, tmp_path: Path) -> None:
    data = bytearray(file.read_bytes())
    fields = list(FILE_HEADER.unpack_from(data))
    extra = struct.pack("<IHHQ", 55, 0, 16, 1) + struct.pack("<IHHQ", 90, 0, 16, 1)
    end = fields[5] + fields[6]
    fields[6] += len(extra)
    fields[9:13] = [0] * 4
    path = tmp_path / "unknown"
    path.write_bytes(FILE_HEADER.pack(*fields) + data[FILE_HEADER.size : end] + extra)
    recording = open_recording(path)
    assert recording.problems == []
    check_contents(recording)


@pytest.mark.parametrize("damage", [-1, -20, -30, -45, -60])
def test_damaged_trailer_is_a_problem(file: Path, damage: int) -> None:
    data = bytearray(file.read_bytes())
    data[damage] ^= 0x55
    file.write_bytes(data)
    recording = open_recording(file)
    check_contents(recording)
    assert any("executed bytes" in p.message for p in recording.problems)
    assert recording.executed is None


def test_the_index_of_buffers_decides_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odograph.perfdata.writer._BUFFER", 16)
    path = tmp_path / "index"
    with PerfDataWriter(path) as writer:
        for byte in b"abc":
            writer.add_trace(5, 5, TRACE + bytes([byte]) * 8)
    data = path.read_bytes()
    assert read_order(path) == "abc"
    reader = PerfDataReader(data)
    offsets = [record.offset for record in reader.records() if record.type == RecordType.AUXTRACE]
    path.write_bytes(with_index(data, [offsets[2], offsets[0], offsets[1]]))
    assert read_order(path) == "cab"
    path.write_bytes(with_index(data, [offsets[2], 12345]))
    assert read_order(path) == "abc"
    assert "index" in open_recording(path).problems[0].message


def read_order(path: Path) -> str:
    (stream,) = open_recording(path).streams
    return "".join(chr(byte) for byte in bytes(stream.read())[len(TRACE) :: len(TRACE) + 8])


def with_index(data: bytes, offsets: list[int]) -> bytes:
    """The file with an AUX index as its only feature."""
    fields = list(FILE_HEADER.unpack_from(data))
    end = fields[5] + fields[6]
    fields[9:13] = [1 << 18, 0, 0, 0]
    body = struct.pack("<Q", len(offsets)) + b"".join(struct.pack("<QQ", o, 48) for o in offsets)
    table = struct.pack("<QQ", end + 16, len(body))
    return FILE_HEADER.pack(*fields) + data[FILE_HEADER.size : end] + table + body


def test_snapshots_that_overlap_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "snapshots"
    pieces = [TRACE + bytes([6, 0x84, 6, number] * 20) for number in range(6, 18, 2)]
    ring = b"".join(pieces)
    with PerfDataWriter(path) as writer:
        for first, last in ((0, 3), (1, 5), (5, 6)):
            trace = tmp_path / f"{first}"
            trace.write_bytes(b"".join(pieces[first:last]))
            writer.add_trace(5, 5, trace)
    path.write_bytes(patched_info(path.read_bytes(), 8, 1))
    recording = open_recording(path)
    (stream,) = recording.streams
    assert recording.pt.snapshot
    assert bytes(stream.read()) == ring
    # The third begins where the second ended, but nothing in the files says so.
    assert [(b.offset, b.reason) for b in stream.breaks] == [(5 * len(pieces[0]), "snapshot")]


def test_a_snapshot_inside_the_one_before_adds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "snapshots"
    with PerfDataWriter(path) as writer:
        for count in (2, 1):
            trace = tmp_path / f"{count}"
            trace.write_bytes((TRACE + bytes([6] * 80)) * count)
            writer.add_trace(5, 5, trace)
    path.write_bytes(patched_info(path.read_bytes(), 8, 1))
    (stream,) = open_recording(path).streams
    assert stream.size == 2 * (len(TRACE) + 80)
    assert stream.breaks == []


def test_trace_in_samples(tmp_path: Path) -> None:
    from fuzz_perfdata import _sampled

    path = small_recording(tmp_path / "a", timed=True)
    path.write_bytes(_sampled(path.read_bytes()))
    recording = open_recording(path)
    assert [p.message for p in recording.problems] == []
    whole, sampled = recording.streams
    assert bytes(whole.read()) == TRACE * 3
    assert bytes(sampled.read()) == TRACE
    assert (sampled.tid, sampled.pid) == (42, 42)


@pytest.mark.parametrize(
    ("kind", "name"), [(2, "Intel BTS"), (3, "CoreSight"), (4, "Arm SPE"), (77, "unknown tracer")]
)
def test_traces_of_others_are_named(file: Path, kind: int, name: str) -> None:
    data = file.read_bytes()
    at = FILE_HEADER.unpack_from(data)[5] + 8
    file.write_bytes(data[:at] + struct.pack("<I", kind) + data[at + 4 :])
    with pytest.raises(RecordingError, match=name):
        open_recording(file)


def test_old_files_say_less(file: Path) -> None:
    data = file.read_bytes()
    fields = list(FILE_HEADER.unpack_from(data))
    start, end = fields[5], fields[5] + fields[6]
    info = struct.pack("<IHH", 70, 0, 16 + 80) + data[start + 8 : start + 96]
    fields[6] -= 152 - 96
    fields[9:13] = [0] * 4
    head = FILE_HEADER.pack(*fields) + data[FILE_HEADER.size : start]
    file.write_bytes(head + info + data[start + 152 : end])
    recording = open_recording(file)
    check_contents(recording)
    assert (recording.pt.mtc_freq, recording.pt.nom_freq) == (0, 0)


def test_user_image_lies_over_the_recorded_one(file: Path) -> None:
    from odograph.code.image import Image

    image = Image()
    image.add_bytes(b"\xcc", 0x401011)
    image.set_callback(lambda address, size, asid: b"\xf4" * size if address >= 0x500000 else b"")
    mine = open_recording(file, image=image).image(42)
    assert mine.read(0x401010, 1) + mine.read(0x401011, 1) == b"\x90\xcc"
    assert mine.read(0x600000, 4) == b"\xf4" * 4
