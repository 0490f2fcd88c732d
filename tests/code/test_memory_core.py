"""Memory of ELF cores, sound and damaged ones."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odograph import CoreMemory, ImageError, OdographError, PtError
from support.elfcore import core

TOP = 1 << 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "core"


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("wide", [True, False])
def test_every_kind_of_core_can_be_read(path: Path, wide: bool, order: str, many: bool) -> None:
    segments = [(0x400000, b"text", 0), (0x600000, b"data", 0x2000), (0x7000_0000, b"", 0x1000)]
    path.write_bytes(core(segments, wide=wide, order=order, many=many))
    memory = CoreMemory(path)
    assert memory.read(0x400000, 99) == b"text"
    assert memory.read(0x400002, 1) == b"x"
    assert memory.read(0x600003, 99) == b"a"
    assert memory.read(0x3FFFFF, 1) == b""
    assert memory.next_start(0x400001) == 0x600000


def test_a_core_of_very_many_mappings(path: Path) -> None:
    """More of them than the ELF header can count, and than a section cache has room for."""
    path.write_bytes(core([(page << 12, page.to_bytes(4), 0x1000) for page in range(70_000)], many=True))
    memory = CoreMemory(path)
    for page in (0, 1, 65_535, 69_999):
        assert memory.read(page << 12, 99) == page.to_bytes(4)


def test_what_was_not_dumped_is_not_zero(path: Path) -> None:
    path.write_bytes(core([(0x1000, b"", 0x1000), (0x2000, b"ab", 0x1000)]))
    memory = CoreMemory(path)
    assert memory.read(0x1000, 1) == b""
    assert memory.read(0x2000, 0x1000) == b"ab"
    assert memory.read(0x2002, 1) == b""


def test_of_a_core_that_was_cut_off_the_rest_can_be_read(path: Path) -> None:
    data = core([(0x1000, b"first", 0), (0x2000, b"second", 0), (0x3000, b"third", 0)])
    path.write_bytes(data[:-8])
    memory = CoreMemory(path)
    assert memory.read(0x1000, 9) == b"first"
    assert memory.read(0x2000, 9) == b"sec"
    assert memory.read(0x3000, 9) == b""


def test_a_segment_at_the_top_of_the_address_space(path: Path) -> None:
    path.write_bytes(core([(TOP - 2, b"abcd", 0)]))
    assert CoreMemory(path).read(TOP - 1, 9) == b"b"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not an ELF file"),
        (b"\x7fEL", "not an ELF file"),
        (b"MZ" + bytes(100), "not an ELF file"),
        (b"\x7fELF", "not an ELF file"),
        (b"\x7fELF\x03\x01" + bytes(100), "unknown ELF class"),
        (b"\x7fELF\x02\x03" + bytes(100), "unknown ELF class or byte order"),
        (core([])[:40], "header is cut off"),
        (core([], kind=2), "but not a core"),
        (core([], many=True)[:64], "number of program headers is cut off"),
    ],
)
def test_the_error_for_a_file_that_is_not_a_core_says_what_it_is(
    path: Path, content: bytes, sentence: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(ImageError, match=sentence) as caught:
        CoreMemory(path)
    assert caught.value.code is PtError.bad_image
    assert str(path) in str(caught.value)


def test_a_core_that_is_not_there_is_a_bad_file(tmp_path: Path) -> None:
    for name in (tmp_path / "nothing", tmp_path):
        with pytest.raises(ImageError) as caught:
            CoreMemory(name)
        assert caught.value.code is PtError.bad_file


def use(path: Path) -> None:
    """Read a core that may be anything; only our own errors may come out."""
    try:
        memory = CoreMemory(path)
    except OdographError:
        return
    for address in (0, 0x1000, 0x2000, TOP - 1):
        assert len(memory.read(address, 64)) <= 64
    start = memory.next_start(0)
    if start is not None:
        assert memory.read(start, 1)


@pytest.mark.parametrize("wide", [True, False])
def test_damaged_cores_never_crash(path: Path, wide: bool) -> None:
    source = random.Random(4)
    sound = core([(0x1000, b"text", 0x1000), (0x2000, b"data" * 9, 0)], wide=wide)
    for _ in range(400):
        data = bytearray(sound)
        for _ in range(source.choice([1, 1, 2, 8])):
            place = source.randrange(len(data))
            data[place] = source.choice([0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)])
        path.write_bytes(data[: source.choice([len(data), source.randrange(len(data))])])
        use(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_random_headers_never_crash(path: Path, data: bytes, wide: bool) -> None:
    path.write_bytes(core([], wide=wide)[:18] + data)
    use(path)


def test_a_core_the_system_wrote(tmp_path: Path) -> None:
    """A real core, where this system writes cores into the current directory."""
    pattern = Path("/proc/sys/kernel/core_pattern")
    if not pattern.exists() or not pattern.read_text().startswith("core"):
        pytest.skip("cores do not go to the current directory here")
    code = (
        "import ctypes, os, resource; "
        "resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2); "
        "text = ctypes.create_string_buffer(b'find me in the core'); "
        "print(ctypes.addressof(text), flush=True); os.abort()"
    )
    child = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, check=False)
    cores = list(tmp_path.glob("core*"))
    if not cores:
        pytest.skip("the system wrote no core")
    assert CoreMemory(cores[0]).read(int(child.stdout), 19) == b"find me in the core"
