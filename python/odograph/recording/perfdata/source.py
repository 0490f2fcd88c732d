"""The bytes of a recording, mapped rather than read."""

from __future__ import annotations

import mmap
import os
import shutil
import sys
import tempfile
from typing import IO

from odograph.errors import RecordingError
from odograph.plainfile import open_recorded

__all__ = ["map_file"]


def map_file(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes], *, recorded: bool = False
) -> mmap.mmap | bytes:
    """All bytes of a file as something that can be sliced; ``-`` is standard input.

    What cannot be mapped (a pipe) is first copied to a temporary file, so memory stays bounded. ``recorded``:
    the user did not choose the name, so that only a plain file is opened. Raises RecordingError if there is
    no such file or it may not be read.
    """
    name = os.fsdecode(path)
    try:
        if name == "-":
            return _spool(sys.stdin.buffer)
        with open_recorded(path) if recorded else open(path, "rb") as file:
            return _map(file) if file.seekable() else _spool(file)
    except FileNotFoundError:
        raise RecordingError(f"no such file: {name}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RecordingError(f"cannot read {name}: {reason}") from error


def _map(file: IO[bytes]) -> mmap.mmap | bytes:
    if file.seek(0, os.SEEK_END) == 0:
        return b""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _spool(stream: IO[bytes]) -> mmap.mmap | bytes:
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy, 1 << 20)
        copy.flush()
        return _map(copy)
