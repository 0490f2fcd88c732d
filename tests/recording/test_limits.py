"""Small files cannot claim much time or memory, wherever the claim stands; what is left out is said."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

import odograph
from fuzz_recordings import QUESTIONS, Asker, memory_allowed, mutant, seeds
from odograph.cli.group import call
from odograph.cluster import Cluster
from odograph.errors import RecordingError
from odograph.perfdata.expansion import default_limit
from odograph.perfdata.format import FILE_HEADER, RECORD_HEADER, RecordType
from odograph.perfdata.reader import PerfDataReader
from odograph.perfdata.writer import PerfDataWriter
from odograph.recording.opening import open_recording
from odograph.unwind import sampled_stacks
from support.hostile import CORPUS, HOSTILE, PSB, spinning

zstandard = pytest.importorskip("zstandard")


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    one = Asker()
    yield one
    one.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_read_in_little_time_and_memory(tmp_path: Path, asker: Asker, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name](tmp_path))
    assert asker.ask(path, QUESTIONS[:1]) == []


@pytest.mark.acceptance
@pytest.mark.parametrize("name", HOSTILE)
def test_all_questions_about_a_hostile_file_take_little_time_and_memory(
    tmp_path: Path, asker: Asker, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name](tmp_path))
    assert asker.ask(path, QUESTIONS[1:]) == []


@pytest.mark.parametrize(
    "numbers",
    [range(6), pytest.param(range(6, 24), marks=pytest.mark.acceptance)],
    ids=["sample", "others"],
)
def test_changed_recordings_are_read_in_little_time_and_memory(
    tmp_path: Path, asker: Asker, numbers: range
) -> None:
    """tests/fuzz_recordings.py makes as many as time allows."""
    found = seeds()
    for number in numbers:
        path = tmp_path / "mutant"
        path.write_bytes(mutant(found, 7, number))
        assert asker.ask(path) == [], f"python tests/fuzz_recordings.py --seed 7 --only {number}"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (
            "a_byte_in_each_of_many_pages",
            "executed bytes kept with this recording are not used",
        ),
        ("compressed_names", "the compressed records from here on are left out"),
    ],
)
def test_what_is_left_out_is_said(
    tmp_path: Path, name: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name](tmp_path))
    assert call(["info", "--no-decode", str(path)]) == 0
    said = capsys.readouterr().out
    assert what in said
    assert "--max-expanded" in said
    assert "not read: " in said
    assert "damage: " not in said


def test_an_option_allows_more_and_less(tmp_path: Path) -> None:
    path = tmp_path / "code"
    path.write_bytes(HOSTILE["a_byte_in_each_of_many_pages"](tmp_path))
    recording = odograph.open(path, max_expanded=1 << 30)
    assert len(recording.source.code) > 100_000
    assert recording.source.problems == []
    assert open_recording(CORPUS / "static.qemu.data", max_expanded=1000).code == []
    assert open_recording(CORPUS / "static.compressed.data", max_expanded=300).problems
    assert not open_recording(CORPUS / "static.compressed.data", max_expanded=20_000).problems


def test_ids_that_overlap_are_not_used(tmp_path: Path) -> None:
    path = tmp_path / "attributes"
    data = HOSTILE["attributes_that_share_their_ids"](tmp_path)
    path.write_bytes(data)
    recording = open_recording(path)
    assert any("the ids of events overlap" in problem.message for problem in recording.problems)
    assert sum(len(event["ids"]) for event in recording.facts["events"]) <= len(data) // 8


def test_sizes_have_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = CORPUS / "static.qemu.data"
    for size, enough in (("1000", False), ("1K", False), ("64MiB", True), ("1g", True)):
        assert call(["info", "--no-decode", "--max-expanded", size, str(path)]) == 0
        assert ("--max-expanded" not in capsys.readouterr().out) == enough
    assert call(["info", "--max-expanded", "much", str(path)]) == 2
    assert "is not a size, such as" in capsys.readouterr().err


def test_readers_of_samples_and_clusters_pass_the_limit_on(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []

    class Noting(PerfDataReader):
        def __init__(self, data: bytes, *more: object, max_expanded: int | None = None) -> None:
            limits.append(max_expanded)
            super().__init__(data, max_expanded=max_expanded)

    monkeypatch.setattr("odograph.unwind.samples.PerfDataReader", Noting)
    monkeypatch.setattr("odograph.recording.opening.PerfDataReader", Noting)
    monkeypatch.setattr("odograph.cluster.cluster.local_cluster", lambda _: None)
    monkeypatch.setattr("odograph.cluster.cluster.connect_client", lambda _: None)
    with pytest.raises(RecordingError, match="no stacks"):
        list(sampled_stacks(CORPUS / "static.qemu.data", max_expanded=1234))
    Cluster(max_expanded=4321)._open(str(CORPUS / "static.qemu.data"))
    assert call(["info", "--max-expanded", "5M", "--cpu", "none", str(CORPUS / "static.qemu.data")]) == 0
    assert limits == [1234, 4321, 5 << 20, 5 << 20]


def packed(stream: bytes, at: int = 40_000) -> bytes:
    """A recording whose records are these, under zstd."""
    data = (CORPUS / "static.qemu.data").read_bytes()
    fields = list(FILE_HEADER.unpack_from(data))
    packer = zstandard.ZstdCompressor().compressobj()
    out = b""
    for start in range(0, len(stream), at):
        piece = packer.compress(stream[start : start + at])
        piece += packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        out += RECORD_HEADER.pack(RecordType.COMPRESSED, 0, 8 + len(piece)) + piece
    records = data[fields[5] : fields[5] + fields[6]]
    fields[6] += len(out)
    fields[9:13] = [0] * 4
    return FILE_HEADER.pack(*fields) + data[FILE_HEADER.size : fields[5]] + records + out


def with_attributes(count: int, ids: int) -> bytes:
    """Compressed records that each tell of an event with many ids."""
    body = struct.pack("<II", 1, 64).ljust(64, b"\0")
    numbers = bytes(8 * ids)
    one = RECORD_HEADER.pack(RecordType.HEADER_ATTR, 0, 72 + 8 * ids) + body + numbers
    return packed(one * count)


@pytest.mark.parametrize(("count", "ids"), [(200_000, 0), (400, 8000), (30_000, 100)])
def test_events_in_compressed_records_count(tmp_path: Path, asker: Asker, count: int, ids: int) -> None:
    path = tmp_path / "events"
    path.write_bytes(with_attributes(count, ids))
    assert asker.ask(path, QUESTIONS[:1]) == []
    problems = open_recording(path).problems
    assert [problem for problem in problems if "--max-expanded" in problem.message]


@pytest.mark.parametrize("size", [1 << 10, 1 << 20, 10 << 20, 1 << 30])
def test_no_recording_may_become_more_than_the_promise(size: int) -> None:
    assert default_limit(size) + 60e6 < memory_allowed(size)


@pytest.mark.parametrize("chunk", [64, 4096])
def test_damage_in_compressed_records_is_said_once(tmp_path: Path, chunk: int) -> None:
    comm = RECORD_HEADER.pack(RecordType.COMM, 0, 24) + bytes(16)
    path = tmp_path / "damaged"
    # A record without size, and then many sound ones.
    path.write_bytes(packed(comm * 50 + bytes(8) + comm * 5000, chunk))
    recording = open_recording(path)
    said = [problem.message for problem in recording.problems if "compressed" in problem.message]
    assert said == ["the compressed records from here on are left out: a record in them claims 0 bytes"]
    assert recording.noted.cut is not None


def test_what_takes_long_to_hash_is_not_hashed_without_being_asked(
    tmp_path: Path, asker: Asker, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spinning(tmp_path / "spinning", 4000)
    assert asker.ask(path, [["verify"]]) == []
    recording = odograph.open(path)
    assert len(recording.history()) == 4000 << 19
    with pytest.raises(RecordingError, match="take long to hash"):
        recording.verify()
    assert call(["verify", str(path)]) == 2
    assert "--max-steps 2097152000" in capsys.readouterr().err
    few = spinning(tmp_path / "few", 3)
    (verdict,) = odograph.open(few).verify()
    assert verdict.decoded_instructions == verdict.recorded_instructions == 3 << 19
    with pytest.raises(RecordingError, match="take long to hash"):
        odograph.open(few).verify(max_steps=1000)
    assert call(["verify", "--max-steps", "2000000", str(few)]) == 1


@pytest.mark.parametrize("name", ["a_byte_in_each_of_many_pages", "compressed_names"])
def test_parts_beyond_the_memory_limit_are_left_out_and_not_damage(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name](tmp_path))
    recording = odograph.open(path, max_expanded=2_000_000)
    assert recording.source.noted.cut is None
    assert all(gap.cause != "cut" for history in recording.histories().values() for gap in history.gaps())
    call(["steps", "--tail", "1", "--max-expanded", "2M", str(path)])
    said = capsys.readouterr().err
    assert "was not read" in said
    assert "--max-expanded" in said
    assert "is missing" not in said


def test_many_processes_of_one_program_are_opened_by_default(tmp_path: Path) -> None:
    """Each learned its code one instruction at a time, as single steps do."""
    path = tmp_path / "processes"
    piece = bytes(range(256)) * 8
    with PerfDataWriter(path, timed=True, recorder="ptrace") as writer:
        writer.add_comm(1, 1, "sh", exec=True)
        writer.add_trace(1, 1, PSB)
        for pid in range(1, 60):
            for block in range(0, 20 * 4096, 4096):
                for at in range(0, 200, 4):
                    writer.add_code(pid, pid, 0x400000 + block + at, piece[at : at + 4])
    source = open_recording(path)
    assert source.problems == []
    assert len(source.code) < 59 * 21
