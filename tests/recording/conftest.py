"""Where the recordings of other people lie, and small recordings made here."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from odograph.perfdata.writer import PerfDataWriter
from sharedtraces import SHARED, no_shared

PROGRAMS = Path(__file__).resolve().parents[1] / "programs"

#: A PSB, its end, and padding: the smallest sound trace.
PSB = bytes.fromhex("0282") * 8
TRACE = PSB + bytes.fromhex("0223") + bytes(6)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Compiles a program of tests/programs."""
    directory = tmp_path_factory.mktemp("programs")

    def compiled(name: str, *options: str) -> str:
        path = directory / (name + "".join(options))
        if not path.exists():
            source = PROGRAMS / f"{name}.c"
            subprocess.run(["cc", "-O1", "-w", "-pthread", *options, "-o", path, source], check=True)
        return str(path)

    return compiled


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """Finds a file among the shared recordings, and skips the test where there is none."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(no_shared(name))
        return path

    return find


def small_recording(path: Path, **options: object) -> Path:
    """One thread, 42, in one process that runs /bin/true for three buffers of trace."""
    with PerfDataWriter(path, command_line=["true", "-x"], recorder="test", **options) as writer:  # type: ignore[arg-type]
        writer.add_comm(42, 42, "true", exec=True)
        writer.add_mmap2(42, 42, 0x401000, 0x1000, 0x1000, "/nowhere/true", build_id=b"\x12" * 20)
        writer.add_mmap2(42, 42, 0x7F0000000000, 0x2000, 0, "//anon", build_id=None)
        writer.add_itrace_start(42, 42)
        for _ in range(3):
            writer.add_trace(42, 42, TRACE)
        writer.add_code(42, 0, 0x401010, b"\x90\xc3")
        writer.set_truth(42, 7, 0xFFFF_0000_1234_5678)
        writer.set_exit_status(3)
        writer.add_gap("exec", "a set-user-id program could not be followed", tid=42)
        writer.add_exit(42, 42, 42, 42)
    return path
