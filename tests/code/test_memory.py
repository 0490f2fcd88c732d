"""The ready-made memories."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from odograph import (
    Asid,
    BytesMemory,
    FileMemory,
    Image,
    ImageError,
    InvalidArgument,
    LayeredMemory,
    Memory,
    ProcessMemory,
    PtError,
)

TOP = 1 << 64


class Pages:
    """The smallest memory: pages of one letter from 0x1000 to 0x3000."""

    def __init__(self, letter: bytes) -> None:
        self.letter = letter
        self.calls: list[tuple[int, int]] = []

    def read(self, address: int, size: int) -> bytes:
        self.calls.append((address, size))
        return self.letter * (min(size, 0x3000 - address) if address >= 0x1000 else 0)


def test_they_are_all_memories(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    space = Image().address_space(Asid())
    for memory in (BytesMemory(b""), FileMemory(tmp_path / "file"), LayeredMemory(), Pages(b"x"), space):
        assert isinstance(memory, Memory)


# Bytes


def test_bytes_are_short_at_the_end_and_empty_outside() -> None:
    memory = BytesMemory(bytearray(b"abcd"), 0x1000)
    assert memory.read(0x1001, 9) == b"bcd"
    assert memory.read(0x0FFF, 9) == b""
    assert memory.read(0x1004, 9) == b""
    assert memory.read(0x1000, TOP) == b"abcd"
    assert [memory.next_start(address) for address in (0, 0x1000, 0x1001)] == [0x1000, 0x1000, None]
    assert repr(memory) == "<BytesMemory 0x4 bytes at 0x1000>"


def test_bytes_may_end_at_the_top() -> None:
    assert BytesMemory(b"ab", TOP - 2).read(TOP - 1, 8) == b"b"
    with pytest.raises(InvalidArgument):
        BytesMemory(b"abc", TOP - 2)


@pytest.mark.parametrize(("address", "size"), [(-1, 1), (TOP, 1), (0, -1)])
def test_invalid_ranges_are_refused(address: int, size: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for memory in (BytesMemory(b"x"), FileMemory(tmp_path / "file"), LayeredMemory(BytesMemory(b"x"))):
        with pytest.raises(InvalidArgument):
            memory.read(address, size)
        with pytest.raises(TypeError):
            memory.read("0", 1)  # type: ignore[arg-type]


# Files


def test_a_file_or_part_of_it_lies_at_an_address(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    memory = FileMemory(path, 0x400000, offset=2, size=5)
    assert memory.read(0x400001, 99) == b"3456"
    assert memory.read(0x400005, 1) == b""
    assert FileMemory(path).read(8, 99) == b"89"
    assert (memory.next_start(0), memory.next_start(0x400001)) == (0x400000, None)
    assert repr(memory) == f"<FileMemory {str(path)!r}>"


def test_a_file_that_changes_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    memory = FileMemory(path)
    path.write_bytes(b"short")
    with pytest.raises(ImageError) as caught:
        memory.read(0, 4)
    assert caught.value.code is PtError.bad_image


def test_a_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        FileMemory(tmp_path / "nothing")
    assert caught.value.code is PtError.bad_file
    (tmp_path / "empty").touch()
    with pytest.raises(InvalidArgument):
        FileMemory(tmp_path / "empty")


# Processes


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no /proc")
def test_a_live_process_can_be_read() -> None:
    buffer = ctypes.create_string_buffer(b"in our own memory")
    address = ctypes.addressof(buffer)
    with ProcessMemory(os.getpid()) as memory:
        assert memory.read(address, 17) == b"in our own memory"
        assert memory.read(0x10, 16) == b""
        assert memory.read(TOP - 16, 16) == b""
    with pytest.raises(ValueError, match="closed"):
        memory.read(address, 1)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no /proc")
def test_a_process_reads_short_at_the_end_of_a_mapping_and_empty_when_gone() -> None:
    program = "print(flush=True); input()"
    command = [sys.executable, "-c", program]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        # Only a program that runs has all its memory: right after exec the first mapping may be missing.
        assert child.stdout is not None
        child.stdout.readline()
        memory = ProcessMemory(child.pid)
        first = Path(f"/proc/{child.pid}/maps").read_text().split(maxsplit=1)[0]
        start, end = (int(number, 16) for number in first.split("-"))
        assert memory.read(start, 4) == b"\x7fELF"
        assert 1 <= len(memory.read(end - 1, 1 << 32)) < 1 << 32
    finally:
        child.kill()
        child.wait()
        assert child.stdin is not None
        child.stdin.close()
        child.stdout.close()
    assert memory.read(start, 4) == b""
    memory.close()


def test_a_process_that_is_not_there_is_a_bad_file() -> None:
    with pytest.raises(ImageError, match="process 4194304999") as caught:
        ProcessMemory(4194304999)
    assert caught.value.code is PtError.bad_file


# Layers


def test_the_first_layer_that_has_the_byte_gives_it() -> None:
    memory = LayeredMemory(BytesMemory(b"patch", 0x1010), Pages(b"p"))
    assert memory.read(0x1010, 8) == b"patch"
    assert memory.read(0x1015, 3) == b"ppp"
    assert memory.read(0x0FFF, 3) == b""


def test_an_answer_ends_where_a_layer_above_begins() -> None:
    lower = Pages(b"p")
    memory = LayeredMemory(BytesMemory(b"patch", 0x1010), lower)
    assert memory.read(0x1000, 0x100) == b"p" * 0x10
    assert lower.calls == [(0x1000, 0x10)]


def test_the_mappings_of_foreign_layers_begin_at_page_borders() -> None:
    memory = LayeredMemory(Pages(b"p"), BytesMemory(b"b" * 0x2000))
    assert memory.read(0x0FF0, 0x100) == b"b" * 0x10
    assert memory.read(0x1000, 2) == b"pp"


def test_layers_of_images_and_layers_of_layers() -> None:
    image = Image()
    image.add_bytes(b"jit", 0x1100, Asid(cr3=1))
    inner = LayeredMemory(image.address_space(Asid(cr3=1)), Pages(b"p"))
    memory = LayeredMemory(inner, BytesMemory(b"." * 0x2000))
    assert memory.read(0x10F0, 0x100) == b"p" * 0x10
    assert memory.read(0x1100, 0x100) == b"jit"
    assert memory.read(0x0F00, 0x200) == b"." * 0x100
    assert LayeredMemory().read(0, 9) == b""
    assert LayeredMemory().next_start(0) is None
    assert inner.next_start(0x10F0) == 0x1100


def test_a_callback_may_begin_at_any_page() -> None:
    image = Image()
    image.set_callback(lambda address, size, asid: b"c" * size if address == 0x1000 else b"")
    memory = LayeredMemory(image.address_space(Asid()), BytesMemory(b"." * 0x2000))
    assert memory.read(0x0FF0, 0x100) == b"." * 0x10
    assert memory.read(0x1000, 2) == b"cc"
    assert image.address_space(Asid()).next_start(TOP - 1) is None


def test_a_layer_that_fails_or_gives_too_much() -> None:
    class Wrong:
        def __init__(self, answer: bytes | BaseException) -> None:
            self.answer = answer

        def read(self, address: int, size: int) -> bytes:
            if isinstance(self.answer, bytes):
                return self.answer
            raise self.answer

    with pytest.raises(InvalidArgument):
        LayeredMemory(Wrong(b"12345")).read(0, 4)
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        LayeredMemory(BytesMemory(b""), Wrong(error)).read(0, 4)
    assert caught.value is error
