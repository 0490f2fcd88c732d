"""Whether a file that is found now is the one that was mapped then, where no build id tells.

A recording of ours holds the size and a digest of such files, and executed bytes; any other has at least a
time at which it was finished. A file that contradicts them is another one: nothing of it is used.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from odograph.code.objects import build_id
from odograph.files.plainfile import mapped_recorded, open_recorded

__all__ = ["Evidence", "FileFacts", "Identity", "identify", "written_at"]

_CHUNK = 1 << 20
#: Modification times may be as coarse as this (ns) while a program runs that was just built.
_COARSE = 20_000_000


class FileFacts(NamedTuple):
    """The size of a file in bytes, and a BLAKE2b digest of 16 bytes of its content, in hexadecimal digits."""

    size: int
    digest: str


class Identity(NamedTuple):
    """What a recorder notes of a file: its build id, or else ``facts``.

    Neither is known of a file that has ``changed`` since it was mapped, and of one that is not there. One
    that was ``touched`` may be another one: the bytes that were executed must tell.
    """

    build_id: bytes | None = None
    facts: FileFacts | None = None
    changed: bool = False
    touched: bool = False


def identify(
    path: str, *, device: tuple[int, int] = (0, 0), inode: int = 0, since: int | None = None
) -> Identity:
    """What tells a mapped file from others, now, at the end of the recording.

    ``since`` is the time (ns of the wall clock) at which it was mapped, ``device`` (major, minor) and
    ``inode`` the numbers that it had then (0: not known). A file that was written since, or another one in
    its place, is not what was mapped.
    """
    try:
        with open_recorded(path) as file:
            status = os.fstat(file.fileno())
            if since is not None and _changed(status, device, inode, since + _COARSE):
                return Identity(changed=True)
            found = build_id(path)
            touched = since is not None and _touched(status, inode, since + _COARSE)
            return Identity(found, None if found else _facts(file), touched=touched)
    except (OSError, ValueError):
        return Identity()


def _changed(status: os.stat_result, device: tuple[int, int], inode: int, since: int) -> bool:
    if status.st_mtime_ns > since:
        return True
    if inode in (0, status.st_ino):
        return False
    # A file that took another's place by rename was changed then. Numbers alone tell nothing where the file
    # system does not show the same ones to everybody: the device differs then, too.
    same_device = device == (os.major(status.st_dev), os.minor(status.st_dev))
    return same_device or status.st_ctime_ns > since


def _touched(status: os.stat_result, inode: int, since: int) -> bool:
    """Whether a file may be another one.

    Times of modification can be set to any value. The time of the last change of the inode cannot, but other
    things change it, too: permissions, links. Another number may be that of another file.
    """
    return status.st_ctime_ns > since or inode not in (0, status.st_ino)


def _facts(file: BinaryIO) -> FileFacts:
    digest = hashlib.blake2b(digest_size=16)
    file.seek(0)
    size = 0
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return FileFacts(size, digest.hexdigest())


_NEVER_SEEN = FileFacts(0, "")


def written_at(path: str | os.PathLike[str]) -> int | None:
    """When a recording was written last, in ns of the wall clock; None for what is no file, as ``-``."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns if path != "-" and stat.S_ISREG(status.st_mode) else None


def _nothing(name: str) -> Iterable[tuple[int, bytes]]:
    return ()


@dataclass(slots=True)
class Evidence:
    """What a recording knows of the files it names.

    ``files`` has the facts by recorded name, None for a file that changed while it was recorded. ``finished``
    is the time (ns of the wall clock) at which the recording was written last, ``began`` that at which the
    first program began to run; None if that is not known. Files in ``touched`` may have been replaced while
    they were recorded, also if build ids and facts say something else.
    ``bytes_of`` gives (file offset, bytes) that the file of a name had in memory.
    """

    files: Mapping[str, FileFacts | None] = field(default_factory=dict)
    finished: int | None = None
    began: int | None = None
    bytes_of: Callable[[str], Iterable[tuple[int, bytes]]] = _nothing
    touched: frozenset[str] = frozenset()

    def replaced(self, name: str, path: str | os.PathLike[str]) -> str | None:
        """Why a file is another one than was mapped, as it was replaced while it was recorded: the build id
        that was noted then is that of the new one. None if nothing speaks against it.
        """
        if name not in self.touched:
            return None
        shown = os.fspath(path)
        try:
            with open_recorded(path) as file:
                same = self._has_bytes(file, os.fstat(file.fileno()).st_size, name)
        except (OSError, ValueError) as error:
            return f"{shown} cannot be read: {error}"
        return None if same else f"{shown} was replaced while it was recorded"

    def against(self, name: str, path: str | os.PathLike[str], *, where_it_was: bool) -> str | None:
        """Why a file without a build id is not the one of this name; None if nothing speaks against it.

        ``where_it_was``: it was found by the recorded name alone, so that its time counts. A copy that the
        user brought may be newer than the recording.
        """
        shown = os.fspath(path)
        if where_it_was and self.files.get(name, _NEVER_SEEN) is None:
            return f"{shown} changed while it was recorded"
        try:
            with open_recorded(path) as file:
                status = os.fstat(file.fileno())
                known = self.files.get(name)
                if known is not None:
                    same = status.st_size == known.size and _facts(file) == known
                    return None if same else f"{shown} changed after it was recorded"
                if where_it_was and self.finished is not None and status.st_mtime_ns > self.finished:
                    return f"{shown} was written after the recording and has no build id"
                if not self._has_bytes(file, status.st_size, name):
                    return f"{shown} holds other bytes than memory had"
        except (OSError, ValueError) as error:
            return f"{shown} cannot be read: {error}"
        return None

    def _has_bytes(self, file: BinaryIO, size: int, name: str) -> bool:
        expected = [(offset, data) for offset, data in self.bytes_of(name) if data]
        if not expected or not size:
            return not expected
        with mapped_recorded(file) as mapped:
            return all(mapped[offset : offset + len(data)] == data for offset, data in expected)
