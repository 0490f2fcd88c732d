"""Where a file goes that is still to be made: looked at before the work, filled after it.

Everything that writes a file at a path of the user's goes through here. A new name is made and a regular
file is replaced, both at once when the whole file is there. A symbolic link stays, and the file it leads to
is written. FIFOs, pipes and the null device are streamed to. The rest is refused before anything is done.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from odograph.errors import OutputError

__all__ = ["Destination", "must_be_a_file"]

_CHUNK = 1 << 20
#: Devices that do nothing with what is written to them; the second has no room, which is said.
_HARMLESS = ("/dev/null", "/dev/full")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class Destination:
    """A place for one file; a context manager.

    ``what`` is made there, which takes at least ``least`` bytes. ``room`` is a directory for temporary files
    that has, where that is possible, as much room as the place itself; it is removed at the end. What is
    written there is written in :meth:`writing`. A FIFO is waited for until another process reads it;
    ``on_wait`` is called with a sentence before. Raises OutputError, also an OSError, where nothing can be
    written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        what: str = "file",
        least: int = 0,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self.what = what
        self._on_wait = on_wait
        #: The file that is made or replaced; for what is streamed the path as it was given.
        self.target = self.path
        self._replaces = False
        #: The permissions of what is replaced: the new file has no others.
        self._mode = 0o777
        self._descriptor: int | None = None
        self._keeps_room = False
        found = self._look()
        if found is None or stat.S_ISREG(found.st_mode):
            self.room = self._beside(found, least)
        else:
            self._open(found)
            self.room = self._elsewhere()

    @property
    def streamed(self) -> bool:
        """The file cannot be read again at this place."""
        return self._descriptor is not None and not self._is_regular

    def _look(self) -> os.stat_result | None:
        """What is there; None if nothing is."""
        self._is_regular = True
        if self.path == "-":
            raise OutputError(
                f"the {self.what} cannot go to standard output, where other output goes; "
                "name a file, a FIFO or /dev/fd/N"
            )
        if not self.path:
            raise OutputError(f"the name for the {self.what} is empty; name a file")
        if self.path.endswith(os.sep) and not os.path.isdir(self.path):
            raise OutputError(
                f"{self.path} ends with {os.sep}, so it cannot name a file; leave out the {os.sep} at the end"
            )
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._cannot(error) from error
        refuse_other_kinds(self.path, found, self.what)
        self._is_regular = stat.S_ISREG(found.st_mode)
        if not stat.S_ISCHR(found.st_mode):
            self._refuse_standard_streams(found)
        return found

    def _refuse_standard_streams(self, found: os.stat_result) -> None:
        for descriptor, name in ((1, "standard output"), (2, "standard error")):
            try:
                same = os.path.samestat(os.fstat(descriptor), found)
            except OSError:
                continue
            if same:
                raise OutputError(
                    f"{self.path} is {name}, where other output goes; give the {self.what} another place"
                )

    def _beside(self, found: os.stat_result | None, least: int) -> Path:
        """Room beside a file that is made or replaced."""
        self.target = os.path.realpath(self.path)
        if found is not None:
            self._mode = stat.S_IMODE(found.st_mode)
            # An open descriptor may be all that is left of a file.
            with contextlib.suppress(OSError):
                self._replaces = os.path.samestat(os.stat(self.target), found)
            try:
                os.close(os.open(self.path, os.O_WRONLY))
            except OSError as error:
                raise self._cannot(error) from error
        else:
            self._replaces = True
        parent = os.path.dirname(self.target)
        if self._replaces:
            try:
                room = Path(tempfile.mkdtemp(prefix=".odograph-", dir=parent))
            except OSError as error:
                if found is None or error.errno in _NO_ROOM:
                    raise self._cannot(error, parent) from error
            else:
                if _free(parent) < least:
                    room.rmdir()
                    raise OutputError(f"no room left in {parent} for the {self.what}; give another place")
                return room
        self._replaces = False
        self._descriptor = os.open(self.path, os.O_WRONLY)
        return self._elsewhere()

    def _open(self, found: os.stat_result) -> None:
        # Not to become our terminal, and never to be made.
        flags = os.O_WRONLY | getattr(os, "O_NOCTTY", 0)
        try:
            self._descriptor = self._open_read_fifo(flags) if stat.S_ISFIFO(found.st_mode) else None
            if self._descriptor is None:
                self._descriptor = os.open(self.path, flags)
            if stat.S_ISCHR(found.st_mode):
                # The devices that are let through do nothing with a byte, or have no room for any.
                os.write(self._descriptor, b"\0")
        except OSError as error:
            self._close()
            raise self._cannot(error) from error
        if not os.path.samestat(os.fstat(self._descriptor), found):
            self._close()
            raise OutputError(f"{self.path} was replaced just now; try again")

    def _open_read_fifo(self, flags: int) -> int | None:
        """The FIFO if a process reads it already; None, and a word about it, if it must be waited for."""
        try:
            descriptor = os.open(self.path, flags | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if self._on_wait is not None:
                self._on_wait(f"{self.path} is a FIFO that nothing reads; waiting for a reader")
            return None
        os.set_blocking(descriptor, True)
        return descriptor

    def _elsewhere(self) -> Path:
        try:
            return Path(tempfile.mkdtemp(prefix="odograph-"))
        except OSError as error:
            self._close()
            raise OutputError(f"there is no room for temporary files: {error}; set TMPDIR") from error

    def _cannot(self, error: OSError, place: str | None = None) -> OutputError:
        place = place or self.path
        parent = os.path.dirname(os.path.realpath(self.path))
        if error.errno in _NO_ROOM and self._is_regular:
            text = f"no room left in {parent} for the {self.what}; give another place"
        elif error.errno == errno.ENOENT and not os.path.isdir(parent):
            text = f"there is no directory {parent}"
        elif error.errno == errno.ENOTDIR:
            text = f"cannot write to {self.path}: part of the path is not a directory"
        elif error.errno == errno.ETXTBSY:
            text = f"cannot write to {self.path}: it is a program that runs; give another place"
        else:
            text = f"cannot write to {place}: {error.strerror or error}; give another place"
        result = OutputError(text)
        result.errno = error.errno
        return result

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """While ``room`` is written to: raises OutputError, which names the place, if no room is left."""
        try:
            yield
        except OSError as error:
            if isinstance(error, OutputError) or error.errno not in _NO_ROOM:
                raise
            raise self._cannot(error) from error

    def deliver(self, file: Path) -> None:
        """Puts a finished file into its place. What is streamed is copied, and ``file`` stays.

        Raises OutputError if that fails; ``file`` is kept then, and the error says where.
        """
        try:
            if self._replaces:
                self._replace(file)
            elif self._descriptor is not None:
                self._copy(file, self._descriptor)
        except OSError as error:
            why = error.strerror or str(error)
            kept = self._keep(file)
            raise OutputError(
                f"cannot write to {self.path}: {why}; the {self.what} is kept in {kept}"
            ) from error

    def _replace(self, file: Path) -> None:
        os.chmod(file, stat.S_IMODE(os.stat(file).st_mode) & self._mode)
        try:
            try:
                os.replace(file, self.target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                # It was made on another file system.
                beside = self.room / "beside"
                shutil.copy(file, beside)
                os.replace(beside, self.target)
        except OSError as error:
            if error.errno in _NO_ROOM or not os.path.isfile(self.target):
                raise
            # The name may be one that something is mounted on: then only the content can be replaced.
            with open(self.target, "r+b") as target:
                self._copy(file, target.fileno())

    def _copy(self, file: Path, descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
        with open(file, "rb") as source:
            while chunk := source.read(_CHUNK):
                left = memoryview(chunk)
                while left:
                    left = left[os.write(descriptor, left) :]

    def _keep(self, file: Path) -> Path:
        """Saves a file from being removed with the room; where it is then."""
        name = os.path.basename(self.target) or self.what
        for directory in (self.room.parent, Path(tempfile.gettempdir())):
            with contextlib.suppress(OSError):
                handle, kept = tempfile.mkstemp(prefix=f"{name}.", suffix=".kept", dir=directory)
                os.close(handle)
                try:
                    shutil.move(file, kept)
                except OSError:
                    os.unlink(kept)
                    raise
                return Path(kept)
        self.keep_room()
        return file

    def keep_room(self) -> None:
        """Leaves ``room`` and what is in it where they are."""
        self._keeps_room = True

    def _close(self) -> None:
        if self._descriptor is not None:
            # What was buffered elsewhere may fail now; deliver has seen all errors of writing.
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def close(self) -> None:
        """Removes ``room``. A second time does nothing."""
        self._close()
        if not self._keeps_room:
            self.keep_room()
            shutil.rmtree(self.room, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def refuse_other_kinds(path: str, found: os.stat_result, what: str) -> None:
    """Raises OutputError where nothing can or should be written."""
    mode = found.st_mode
    kind = None
    if stat.S_ISDIR(mode):
        raise OutputError(f"{path} is a directory; name a file in it")
    if stat.S_ISSOCK(mode):
        kind = "a socket"
    elif stat.S_ISBLK(mode):
        kind = "a block device"
    elif stat.S_ISCHR(mode) and found.st_rdev not in _harmless():
        kind = "a device"
    if kind is not None:
        raise OutputError(f"{path} is {kind}; give the {what} another place")


def must_be_a_file(path: str | os.PathLike[str]) -> None:
    """Raises OutputError unless ``path`` is a regular file or can become one."""
    name = os.fspath(path)
    try:
        found = os.stat(name)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        refuse_other_kinds(name, found, "recording")
        raise OutputError(f"{name} cannot be written to at any place; make a file and copy it there")


def _harmless() -> set[int]:
    devices = set()
    for name in _HARMLESS:
        with contextlib.suppress(OSError):
            devices.add(os.stat(name).st_rdev)
    return devices


def _free(directory: str) -> int:
    """Bytes that can be written in a directory."""
    usage = shutil.disk_usage(directory)
    # Some file systems do not say how large they are.
    return usage.free if usage.total else 1 << 62
