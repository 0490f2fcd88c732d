"""Files whose names a recording holds: what may be opened of them, and how.

Whoever made a recording chose the names in it, so a name may lead to a pipe that never answers, to a device,
or to a file of the kernel that does something when it is read. :func:`open_recorded` opens only regular files
that are stored somewhere. Names that the user gives (``--sysroot``, ``--elf``, …) are opened as they are;
what lies below a directory that the user named, by a name of the recording, is the recording's choice.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from odograph._native import open_recorded as _open_recorded

Name = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = ["is_plain", "open_recorded"]


def open_recorded(name: Name) -> BinaryIO:
    """Opens a regular file by a name that a recording, a core or another file holds.

    Never waits. What was checked is the opened file itself, whatever the name leads to later.

    :raises OSError: there is no such file, it may not be read, it is no regular file, or it is one of the
        kernel's (procfs, sysfs, devtmpfs and their like).
    :raises ValueError: the name has a zero byte.
    """
    raw = os.fsencode(name)
    if b"\0" in raw:
        raise ValueError("a file name has no zero byte")
    if os.name != "posix":
        if not os.path.isfile(raw):
            raise OSError(f"{os.fsdecode(raw)} is not a regular file")
        return open(raw, "rb")
    return os.fdopen(_open_recorded(raw), "rb")


def is_plain(name: Name) -> bool:
    """Whether :func:`open_recorded` opens it."""
    try:
        with open_recorded(name):
            return True
    except (OSError, ValueError):
        return False
