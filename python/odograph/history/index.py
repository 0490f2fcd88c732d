"""Indexes: decoded histories saved beside recordings, so that opening them again decodes nothing.

An index holds neither trace nor code. It is used for exactly the trace, memory and configuration that it was
made of, which is found out by reading them; otherwise it is *stale*, and decoding takes its place.

The author of an index can make it say anything of a trace. So it is used only if it and its directory belong
to this user and no other user can write them. Otherwise decoding takes its place as well.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from odograph._native import RawHistory, load_history
from odograph.files.destination import Destination

__all__ = ["Index", "IndexUse", "default_path", "why_distrusted", "write_index"]

_MAGIC = b"odograph index 1\n"
_COUNT = struct.Struct("<I")
# Length of the name, size and checksum of the content. The name follows; contents stand behind all names.
_ENTRY = struct.Struct("<HQI")
_DAMAGED = "it is damaged"


@dataclass(frozen=True, slots=True)
class IndexUse:
    """Whether an index was used, and if not, why."""

    path: str
    used: bool
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.path}, used" if self.used else f"{self.path}, not used: {self.reason}"


def default_path(path: str) -> str:
    """Where the index of a recording lies."""
    return f"{path}.odx"


def write_index(path: str | os.PathLike[str] | Destination, entries: Mapping[str, bytes]) -> None:
    """Writes an index of these contents by name; a reader of the path sees the old or the whole new file.

    Raises OutputError, which is also an OSError.
    """
    if not isinstance(path, Destination):
        with Destination(path, what="index") as destination:
            write_index(destination, entries)
        return
    head = bytearray(_MAGIC + _COUNT.pack(len(entries)))
    for name, content in entries.items():
        coded = name.encode()
        head += _ENTRY.pack(len(coded), len(content), zlib.crc32(content)) + coded
    head += _COUNT.pack(zlib.crc32(head))
    made = path.room / "index"
    with path.writing(), open(made, "wb") as file:
        file.write(head)
        for content in entries.values():
            file.write(content)
    # No other user may write it, with any umask: it would not be used.
    made.chmod(made.stat().st_mode & ~0o022)
    path.deliver(made)


class Index:
    """An index file, and what came of using it. It may be missing or damaged: then it holds nothing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._entries: dict[str, tuple[int, int, int]] = {}
        self._data = b""
        self._loaded = 0
        #: Why it was not used, or not for everything; None if all went well.
        self.reason: str | None = None
        try:
            with _opened(self.path) as file:
                self._data = file.read()
            self._entries = _entries(self._data)
        except _Distrusted as error:
            self.reason = str(error)
        except OSError as error:
            self.reason = error.strerror or str(error)
        except (struct.error, ValueError):
            self.reason = _DAMAGED

    def get(self, name: str) -> memoryview | None:
        """A content by name; None if there is none, or if it is damaged."""
        offset, size, checksum = self._entries.get(name, (0, 0, -1))
        content = memoryview(self._data)[offset : offset + size]
        return content if zlib.crc32(content) == checksum else None

    def load(
        self, name: str, trace: Any, moments: Any, config: dict[str, Any], **how: Any
    ) -> RawHistory | None:
        """A history by name, if it is of this; see ``RawHistory.decode``."""
        content = self.get(name)
        if content is None:
            missing = "this was not decoded when it was made"
            self.reason = self.reason or (_DAMAGED if name in self._entries else missing)
            return None
        loaded = load_history(content, trace, moments, config, **how)
        if isinstance(loaded, str):
            self.reason = loaded
            return None
        self._loaded += 1
        return loaded

    @property
    def use(self) -> IndexUse | None:
        """What came of it; None if nothing was asked for yet."""
        if self._loaded == 0 and self.reason is None:
            return None
        return IndexUse(self.path, self.reason is None, self.reason)


class _Distrusted(Exception):
    """Why an index is not used, though it may be one."""


def why_distrusted(path: str | os.PathLike[str]) -> str | None:
    """Why an index at a path is not used, before it is read; None if it may be, or is not there."""
    try:
        _opened(os.fspath(path)).close()
    except _Distrusted as error:
        return str(error)
    except OSError:
        pass
    return None


def _opened(path: str) -> BinaryIO:
    """An index that only this user can have written. Raises _Distrusted or OSError."""
    if not hasattr(os, "geteuid"):
        return open(path, "rb")
    folder, name = os.path.split(os.path.abspath(path))
    # The file is opened in the directory that was checked, and what was opened is checked: nothing can be
    # exchanged in between. A link would lead to a directory that was not checked; a pipe would never answer.
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _must_be_mine(os.fstat(directory), "its directory")
        if stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            raise _Distrusted("it is a symbolic link")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        file = os.fdopen(os.open(name, flags, dir_fd=directory), "rb")
    finally:
        os.close(directory)
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _Distrusted("it is not a regular file")
        _must_be_mine(status, "it")
    except BaseException:
        file.close()
        raise
    return file


def _must_be_mine(status: os.stat_result, what: str) -> None:
    # Other names of the file (hard links) grant nothing that its mode does not. The group's bits also tell of
    # access control lists.
    if status.st_uid != os.geteuid():
        raise _Distrusted(f"{what} belongs to another user; odograph index makes one for you (--index PATH)")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _Distrusted(f"others may write {what}; chmod go-w, then odograph index makes a new one")


def _entries(data: bytes) -> dict[str, tuple[int, int, int]]:
    """Offset, size and checksum by name. Raises ValueError or struct.error if the file is no index."""
    if data[: len(_MAGIC)] != _MAGIC:
        raise ValueError("no index")
    at = len(_MAGIC)
    (count,) = _COUNT.unpack_from(data, at)
    at += _COUNT.size
    sizes: list[tuple[str, int, int]] = []
    for _ in range(count):
        length, size, checksum = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size + length
        sizes.append((data[at - length : at].decode(), size, checksum))
    (checksum,) = _COUNT.unpack_from(data, at)
    if zlib.crc32(data[:at]) != checksum:
        raise ValueError("damaged")
    at += _COUNT.size
    entries = {}
    for name, size, content_checksum in sizes:
        entries[name] = (at, size, content_checksum)
        at += size
    if at != len(data):
        raise ValueError("incomplete")
    return entries
