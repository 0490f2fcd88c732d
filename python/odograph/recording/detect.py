"""What kind of file is this? Foreign ones get a sentence that says what they are and what to try."""

from __future__ import annotations

import os

from odograph._native import RawMapping
from odograph.errors import RecordingError
from odograph.perfdata.format import (
    MAGIC,
    MAGIC_SWAPPED,
    MAGIC_VERSION_1,
    MAGIC_VERSION_1_SWAPPED,
)

__all__ = ["PSB", "detect", "not_a_recording"]

#: The packet stream boundary, which every raw trace must contain (Intel SDM vol. 3, 34.4.2.17).
PSB = bytes.fromhex("0282") * 8

_COMPRESSED = (
    (b"\x1f\x8b", "gzip", "gzip -dk"),
    (b"\xfd7zXZ\0", "xz", "xz -dk"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -d"),
    (b"BZh", "bzip2", "bzip2 -dk"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4 -d"),
)

_FOREIGN = (
    (b"\x7fELF", "an ELF file (a program, library or core dump); name a recording of it instead"),
    (b"MZ", "a Windows program; name a recording of it instead"),
    (b"\xc1\x1f\xfc\xc1", "a CTF trace (babeltrace reads it), which holds no Intel PT data"),
    (b"\xc1\xfc\x1f\xc1", "a CTF trace (babeltrace reads it), which holds no Intel PT data"),
    (b"\x75\xd1\x1d\x57", "CTF metadata (babeltrace reads it), not a trace"),
    (b"/* CTF", "CTF metadata (babeltrace reads it), not a trace"),
    (b"SQLite format 3\0", "an SQLite database; export writes those, only a recording can be opened"),
    (b"PK\x03\x04", "a ZIP archive; unpack it and name the recording inside"),
    (b"JiTD", "a jitdump file (code made by a JIT compiler); name the recording beside it"),
    (b"DTiJ", "a jitdump file (code made by a JIT compiler); name the recording beside it"),
    (b"\x80\x00\x00\x00perf", "a perf archive; unpack it under ~/.debug and name the perf.data file"),
)


def detect(data: bytes | RawMapping, name: str) -> str:
    """``"perf.data"`` or ``"raw"`` for the bytes of the file ``name``; RecordingError for anything else.

    A raw file is anything that contains a PSB and is not known to be something else.
    """
    head = bytes(data[:64])
    if not head:
        raise RecordingError(f"{name} is empty; the recorder may have failed or still be running")
    if head[:8] == MAGIC:
        return "perf.data"
    if head[:8] in (MAGIC_SWAPPED, MAGIC_VERSION_1_SWAPPED):
        raise RecordingError(
            f"{name} is a perf.data file of a big-endian machine; Intel PT is recorded on little-endian ones"
        )
    if head[:8] == MAGIC_VERSION_1:
        raise RecordingError(
            f"{name} is a perf.data file of version 1 (perf before Linux 3.6), which cannot hold an Intel PT "
            "trace; record again with a current perf"
        )
    if MAGIC.startswith(head):
        raise RecordingError(
            f"{name} ends after {len(head)} bytes, inside the header of a perf.data file; "
            "the file was cut, so copy or record it again"
        )
    for magic, kind, command in _COMPRESSED:
        if head.startswith(magic):
            raise RecordingError(f"{name} is compressed with {kind}; unpack it first: {command} {name}")
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            raise RecordingError(f"{name} is {what}")
    if data.find(PSB) >= 0:
        return "raw"
    if data.find(PSB[:4]) < 0 and _is_text(head):
        raise RecordingError(
            f"{name} is a text file, not a recording; make one with odograph record -- COMMAND"
        )
    raise RecordingError(
        f"{name} is not a trace: neither a perf.data file nor raw Intel PT (it contains no PSB packet)"
    )


def not_a_recording(directory: str) -> str:
    """What a directory is that has no perf data in it."""
    if os.path.exists(os.path.join(directory, "metadata")):
        return f"{directory} is a CTF trace (babeltrace reads it), which holds no Intel PT data"
    return f"{directory} is a directory, but not one of perf record: it holds no file named data"


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The last character may be cut.
        if error.start < len(head) - 3:
            return False
    return all(byte in b"\t\n\r\f\x1b" or byte >= 32 for byte in head)
