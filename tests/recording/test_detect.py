"""Files that are no recordings get a sentence that says what they are."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import sys
from pathlib import Path

import pytest

from odograph.errors import RecordingError
from odograph.recording.opening import open_recording
from support.recordings import TRACE


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"PERFIL", "inside the header"),
        (b"PERFFILE" + bytes(96), "version 1"),
        (b"2ELIFREP" + bytes(96), "big-endian"),
        (b"PERFILE2" + (99).to_bytes(8, "little") + bytes(96), "claims 99 bytes"),
        (b"PERFILE2" + (104).to_bytes(8, "little"), "ends inside its header"),
        (gzip.compress(TRACE, mtime=0), "gzip -dk"),
        (lzma.compress(TRACE), "xz -dk"),
        (bz2.compress(TRACE), "bzip2 -dk"),
        (b"\x28\xb5\x2f\xfd" + bytes(9), "zstd -d"),
        (b"\x7fELF" + bytes(60), "ELF file"),
        (b"\xc1\x1f\xfc\xc1" + bytes(60), "CTF"),
        (b"hello\nworld\n", "text file"),
        (bytes(range(200, 256)) * 9, "no PSB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_foreign_file(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=sentence):
        open_recording(path)


def test_directories(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no file named data"):
        open_recording(tmp_path)
    (tmp_path / "metadata").touch()
    with pytest.raises(RecordingError, match="CTF"):
        open_recording(tmp_path)


def test_standard_input(tmp_path: Path) -> None:
    code = "from odograph.recording.opening import open_recording; print(open_recording('-').info()['bytes'])"
    result = subprocess.run([sys.executable, "-c", code], input=TRACE, capture_output=True, check=True)
    assert int(result.stdout) == len(TRACE)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"no such file: .*/missing"):
        open_recording(tmp_path / "missing")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(TRACE)
    path.chmod(0)
    with pytest.raises(RecordingError, match="Permission denied"):
        open_recording(path)


def test_raw_trace(tmp_path: Path) -> None:
    path = tmp_path / "raw.pt"
    path.write_bytes(b"\x06\x06" + TRACE)
    recording = open_recording(path)
    assert recording.kind == "raw"
    assert bytes(recording.streams[0].read()) == b"\x06\x06" + TRACE
    assert [thread.tid for thread in recording.threads] == [0]
    assert recording.info()["bytes"] == 2 + len(TRACE)


def test_raw_trace_through_a_pipe(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, TRACE)
    os.close(write)
    try:
        recording = open_recording(f"/dev/fd/{read}")
    finally:
        os.close(read)
    assert bytes(recording.streams[0].read()) == TRACE
