"""Memory that processes have of their parents: theirs from the fork on, and put together once for all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import odograph
from odograph.code.image import Image
from odograph.perfdata.writer import PerfDataWriter
from odograph.recording.recordingfile import RecordingFile

TRACE = bytes.fromhex("0282") * 8 + bytes.fromhex("0223") + bytes(6)


def known(image: Image, address: int, size: int = 1) -> bytes | None:
    try:
        return image.read(address, size)
    except odograph.ImageError:
        return None


def test_children_have_their_parents_code_as_it_was_when_they_were_forked(tmp_path: Path) -> None:
    path = tmp_path / "family.data"
    with PerfDataWriter(path, timed=True) as writer:
        writer.add_comm(1, 1, "parent", exec=True, tsc=10)
        writer.add_code(1, 11, 0x1000, b"\x01" * 8)
        writer.add_fork(2, 1, 2, 1, tsc=20)
        writer.add_fork(3, 1, 3, 1, tsc=20)
        # Each goes its own way: other code, more code, and a grandchild.
        writer.add_code(1, 30, 0x1000, b"\x02" * 8)
        writer.add_code(2, 31, 0x1004, b"\x03" * 8)
        writer.add_code(3, 32, 0x2000, b"\x04")
        writer.add_fork(4, 2, 4, 2, tsc=40)
        writer.add_code(2, 50, 0x1000, b"\x05" * 12)
        for pid in (1, 2, 3, 4):
            writer.add_trace(pid, pid, TRACE, tsc=60)
    recording = odograph.open(path)

    def over_time(pid: int, *addresses: int) -> list[tuple[int, list[bytes | None]]]:
        return [(tsc, [known(image, at) for at in addresses]) for tsc, image in recording.images(pid)]

    assert over_time(1, 0x1000)[-1] == (30, [b"\x02"])
    # Bytes that never were others count as there from the beginning of the program.
    assert over_time(2, 0x1000, 0x1004, 0x2000)[1] == (20, [b"\x01", b"\x01", None])
    assert (31, [b"\x01", b"\x03", b"\x03"]) in over_time(2, 0x1000, 0x1004, 0x100B)
    assert over_time(2, 0x1000, 0x100B)[-1] == (50, [b"\x05", b"\x05"])
    assert over_time(3, 0x1000, 0x1007, 0x2000)[-1] == (20, [b"\x01", b"\x01", b"\x04"])
    assert over_time(4, 0x1000, 0x1003, 0x1004, 0x100B)[-1] == (40, [b"\x01", b"\x01", b"\x03", b"\x03"])


def test_a_program_that_a_child_executes_has_nothing_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "exec.data"
    with PerfDataWriter(path, timed=True) as writer:
        writer.add_code(1, 5, 0x1000, b"\x01")
        writer.add_fork(2, 1, 2, 1, tsc=20)
        writer.add_comm(2, 2, "other", exec=True, tsc=30)
        writer.add_code(2, 31, 0x2000, b"\x02")
        writer.add_trace(2, 2, TRACE, tsc=60)
    images = odograph.open(path).images(2)
    seen = [(tsc, known(image, 0x1000), known(image, 0x2000)) for tsc, image in images]
    assert (20, b"\x01", None) in seen
    assert seen[-1] == (30, None, b"\x02")


def test_what_many_children_inherit_is_put_together_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "children.data"
    program = shutil.copy("/bin/true", tmp_path / "program")
    with PerfDataWriter(path, timed=True) as writer:
        writer.add_comm(1, 1, "parent", exec=True, tsc=10)
        for number in range(100):
            place = 0x10_0000 + 0x1_0000 * number
            writer.add_mmap2(1, 1, place, 0x1000, 0, str(program), build_id=None, tsc=11)
            writer.add_code(1, 11, place + 0x10, b"\x90")
        for pid in range(100, 200):
            writer.add_fork(pid, 1, pid, 1, tsc=pid)
            writer.add_code(pid, pid + 1, 0x10_0011, bytes([pid]))
            writer.add_trace(pid, pid, TRACE, tsc=999)
    filled = 0
    fill = RecordingFile.fill

    def counting(recording: RecordingFile, image: object, mappings: list[object], **rest: object) -> object:
        nonlocal filled
        filled += len(mappings)
        return fill(recording, image, mappings, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(RecordingFile, "fill", counting)
    recording = odograph.open(path)
    for pid in range(100, 200):
        image = recording.images(pid)[-1][1]
        assert image.read(0x10_0010, 2) == bytes([0x90, pid])
        assert image.read(0x10_0000 + 0x1_0000 * 99 + 0x10, 1) == b"\x90"
    # Each executed byte cuts a mapping in two.
    assert filled <= 2 * 100
