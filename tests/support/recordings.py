"""Small recordings that tests write."""

from __future__ import annotations

import struct
from pathlib import Path

from odograph.perfdata.format import FILE_HEADER
from odograph.perfdata.writer import PerfDataWriter

__all__ = ["PSB", "TRACE", "patched_info", "small_recording"]

#: A PSB, its end, and padding: the smallest sound trace.
PSB = bytes.fromhex("0282") * 8
TRACE = PSB + bytes.fromhex("0223") + bytes(6)


def patched_info(data: bytes, index: int, value: int) -> bytes:
    """The file with one entry of AUXTRACE_INFO changed."""
    at = FILE_HEADER.unpack_from(data)[5] + 16 + 8 * index
    return data[:at] + struct.pack("<Q", value) + data[at + 8 :]


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
