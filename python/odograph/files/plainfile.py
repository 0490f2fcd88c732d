"""Files whose names a recording holds: what may be opened of them, and how.

The author of a recording chose the names in it, so a name may lead to a pipe that never answers, to a device,
or to a file of the kernel that does something when it is read. :func:`open_recorded` opens only regular files
that are stored somewhere. Names that the user gives (``--sysroot``, ``--elf``, …) are opened as they are;
what lies below a directory that the user named, by a name of the recording, is the recording's choice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

from odograph._native import RawMapping
from odograph._native import open_recorded as _open_recorded
from odograph.errors import RecordingError

Name = str | bytes | os.PathLike[str] | os.PathLike[bytes]

__all__ = ["is_plain", "mapped_recorded", "open_recorded"]


def open_recorded(name: Name) -> BinaryIO:
    """Opens a regular file by a name that a recording, a core or another file holds.

    Never waits. What was checked is the opened file itself; the name may lead elsewhere later.

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


@contextmanager
def mapped_recorded(name: Name | BinaryIO) -> Iterator[RawMapping]:
    """The bytes of such a file, or of one that is open already, mapped rather than read.

    What was made of them inside the ``with`` statement counts only if that ends without an error.

    :raises OSError: it cannot be opened, it is empty, or it was changed or cut meanwhile.
    :raises ValueError: the name has a zero byte.
    """
    with ExitStack() as stack:
        if isinstance(name, (str, bytes, os.PathLike)):
            shown, file = name, stack.enter_context(open_recorded(name))
        else:
            shown, file = "the file", name
        mapping = RawMapping(os.fsdecode(shown), file.fileno())
        try:
            yield mapping
            mapping.check()
        except RecordingError as error:
            raise OSError(str(error)) from error


def is_plain(name: Name) -> bool:
    """Whether :func:`open_recorded` opens it."""
    try:
        with open_recorded(name):
            return True
    except (OSError, ValueError):
        return False
