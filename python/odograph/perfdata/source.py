"""The bytes of a recording, mapped rather than read.

A file that is cut or changed while it is mapped gives RecordingError from then on, and no signal.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from typing import IO

from odograph._native import RawMapping
from odograph.errors import RecordingError
from odograph.files.plainfile import open_recorded

__all__ = ["map_file"]


def map_file(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes], *, recorded: bool = False
) -> RawMapping | bytes:
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
            return _map(name, file) if file.seekable() else _spool(file)
    except FileNotFoundError:
        raise RecordingError(f"no such file: {name}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RecordingError(f"cannot read {name}: {reason}") from error


def _map(name: str, file: IO[bytes]) -> RawMapping | bytes:
    if file.seek(0, os.SEEK_END) == 0:
        return b""
    return RawMapping(name, file.fileno())


def _spool(stream: IO[bytes]) -> RawMapping | bytes:
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy, 1 << 20)
        copy.flush()
        return _map("the copy of standard input", copy)
