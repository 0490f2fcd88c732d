"""Code that comes from the kernel: its own, and what it maps into processes."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import odograph
from odograph.errors import RecordingError
from odograph.perfdata.writer import PerfDataWriter
from support.loop import BASE, LOOP, loop_trace

KERNEL = 0xFFFFFFFF81000000
STEPS = [0, 2] * 3 + [4, 9]


def elf_file(path: Path, address: int, code: bytes, *, bits: int = 64, machine: int = 62) -> Path:
    """One loaded segment at ``address``, page-aligned in the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ident = b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9)
    if bits == 64:
        header = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
        load = struct.pack("<IIQQQQQQ", 1, 5, 4096, address, address, len(code), len(code), 4096)
    else:
        header = ident + struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, 0, 52, 0, 0, 52, 32, 1, 0, 0, 0)
        load = struct.pack("<IIIIIIII", 1, 4096, address, address, len(code), len(code), 5, 4096)
    path.write_bytes((header + load).ljust(4096, b"\0") + code)
    return path


def kernel_recording(path: Path) -> Path:
    """A loop somewhere in the kernel that no record speaks of, and one in the process."""
    elf_file(path.parent / "program", BASE, LOOP)
    with PerfDataWriter(path, exclude_kernel=False) as writer:
        writer.add_mmap2(7, 7, BASE, 0x1000, 4096, str(path.parent / "program"), build_id=None)
        in_kernel = loop_trace(3).replace(BASE.to_bytes(8, "little"), KERNEL.to_bytes(8, "little"))
        writer.add_trace(7, 7, loop_trace(3) + in_kernel)
    return path


def test_a_copy_of_the_kernels_memory_is_given(tmp_path: Path) -> None:
    path = kernel_recording(tmp_path / "perf.data")
    user = [BASE + step for step in STEPS]
    assert odograph.open(path).history().ips().tolist() == user
    kcore = elf_file(tmp_path / "copy/kcore", KERNEL, LOOP)
    for given in (kcore, kcore.parent):
        recording = odograph.open(path, kcore=given)
        assert recording.history().ips().tolist() == user + [KERNEL + step for step in STEPS]
        assert recording.image().read(KERNEL, 4) == LOOP[:4]
        assert recording.history().gaps() == []


def test_a_copy_of_the_kernels_memory_lies_with_the_recording(tmp_path: Path) -> None:
    directory = tmp_path / "perf.data"
    directory.mkdir()
    kernel_recording(directory / "data")
    elf_file(directory / "kcore_dir/kcore", KERNEL, LOOP)
    history = odograph.open(directory).history()
    assert history.ips().tolist()[-8:] == [KERNEL + step for step in STEPS]


def test_a_file_that_is_no_copy_of_memory(tmp_path: Path) -> None:
    path = kernel_recording(tmp_path / "perf.data")
    for wrong in (path, tmp_path / "missing"):
        with pytest.raises(RecordingError, match="kernel's memory"):
            odograph.open(path, kcore=wrong)
    # One that lies with the recording and is cut is a problem of it, and the rest is decoded.
    directory = tmp_path / "directory"
    directory.mkdir()
    kernel_recording(directory / "data")
    kcore = elf_file(directory / "kcore_dir/kcore", KERNEL, LOOP)
    kcore.write_bytes(kcore.read_bytes()[:200])
    recording = odograph.open(directory)
    assert recording.history().ips().tolist() == [BASE + step for step in STEPS]
    assert any("copy of the kernel's memory" in str(problem) for problem in recording.source.problems)


@pytest.mark.parametrize(
    ("bits", "machine", "name"), [(64, 62, "vdso64.so"), (32, 62, "vdsox32.so"), (32, 3, "vdso32.so")]
)
def test_the_vdso_is_that_of_the_process_class(tmp_path: Path, bits: int, machine: int, name: str) -> None:
    path = tmp_path / "perf.data"
    program = elf_file(tmp_path / "program", 0x8000, b"\x90", bits=bits, machine=machine)
    parent = elf_file(tmp_path / "parent", 0x8000, b"\x90", bits=96 - bits, machine=3)
    with PerfDataWriter(path, timed=True) as writer:
        writer.add_mmap2(5, 5, 0x8000, 0x1000, 4096, str(parent), build_id=None)
        writer.add_fork(7, 5, 7, 5, tsc=10)
        writer.add_comm(7, 7, "program", exec=True, tsc=20)
        writer.add_mmap2(7, 7, 0x8000, 0x1000, 4096, str(program), build_id=None, tsc=30)
        writer.add_mmap2(7, 7, 0x20000, 0x1000, 0, "//anon", build_id=None, tsc=35)
        writer.add_mmap2(7, 7, BASE & ~0xFFF, 0x2000, 0, "[vdso]", build_id=None, tsc=40)
        writer.add_trace(7, 7, loop_trace(3), tsc=100)
    release = odograph.open(path).info()["os_release"]
    installed = tmp_path / "root/lib/modules" / release / "vdso"
    installed.mkdir(parents=True)
    for other in ("vdso64.so", "vdsox32.so", "vdso32.so"):
        (installed / other).write_bytes(LOOP if other == name else b"\xcc" * 64)
    recording = odograph.open(path, sysroot=tmp_path / "root")
    assert recording.image().read(BASE, len(LOOP)) == LOOP
    assert recording.missing() == [m for m in recording.missing() if m.mapping.filename == "//anon"]
