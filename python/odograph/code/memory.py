"""The memory of another program, read through one small question.

:class:`Memory` is the question; the classes here are ready-made answers: bytes, a file, an ELF core, a
live process, and several of these on top of each other. Anything else with a fitting ``read`` does as
well.
"""

from __future__ import annotations

import operator
import os
import threading
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from odograph._native import RawImage
from odograph.code.objects import ET_CORE, read_object
from odograph.errors import ImageError, InvalidArgument, PtError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from _typeshed import ReadableBuffer

    from odograph.code.image import Filename

__all__ = ["BytesMemory", "CoreMemory", "FileMemory", "LayeredMemory", "Memory", "ProcessMemory", "ask"]

_PAGE = 4096
_TOP = 1 << 64


@runtime_checkable
class Memory(Protocol):
    """Memory that can be read."""

    def read(self, address: int, size: int, /) -> ReadableBuffer:
        """At most ``size`` bytes from ``address``: short at the end of a mapping, empty if unmapped.

        An exception raised here comes out of the operation that needed the bytes, as the same object.
        """
        ...


def _check(address: int, size: int) -> tuple[int, int]:
    """Integers that can be an address and a size, cut at the top of the address space."""
    address, size = operator.index(address), operator.index(size)
    if not 0 <= address < _TOP or size < 0:
        raise InvalidArgument(f"no memory range: {size} bytes at {address:#x}", code=PtError.invalid)
    return address, min(size, _TOP - address)


def ask(memory: Memory, address: int, size: int) -> bytes:
    """What a memory answers, as bytes.

    :raises InvalidArgument: it gave more than it was asked for.
    :raises TypeError: it gave something that is not like bytes.
    """
    data = memoryview(memory.read(address, size)).tobytes()
    if len(data) > size:
        message = f"{memory!r} gave {len(data)} bytes, but {size} were asked for"
        raise InvalidArgument(message, code=PtError.invalid, ip=address)
    return data


class BytesMemory:
    """A copy of some bytes at an address.

    Example::

        >>> odograph.BytesMemory(b"abcdef", 0x1000).read(0x1002, 3)
        b'cde'
    """

    def __init__(self, data: ReadableBuffer, address: int = 0) -> None:
        """:raises InvalidArgument: the bytes would end beyond 2**64."""
        self._data = bytes(memoryview(data))
        self._address, _ = _check(address, 0)
        if self._address + len(self._data) > _TOP:
            raise InvalidArgument("the bytes would end beyond 2**64", code=PtError.invalid)

    def read(self, address: int, size: int) -> bytes:
        """Bytes from ``address``: short at the end, empty outside."""
        address, size = _check(address, size)
        start = address - self._address
        return self._data[start : start + size] if start >= 0 else b""

    def next_start(self, address: int) -> int | None:
        """Where the bytes begin, unless that lies before ``address``."""
        return self._address if self._data and address <= self._address else None

    def __repr__(self) -> str:
        return f"<BytesMemory {len(self._data):#x} bytes at {self._address:#x}>"


class _Sections:
    """Memory made of sections of one file."""

    def __init__(self, filename: Filename) -> None:
        self._filename = os.fsencode(filename)
        self._image = RawImage(None)

    def _add(self, offset: int, size: int, address: int) -> None:
        self._image._add_file(self._filename, offset, size, address, None)

    def read(self, address: int, size: int) -> bytes:
        """Bytes from ``address``: short at the end of a mapping, empty outside.

        :raises ImageError: ``bad_image``: the file has changed, shrunk or vanished since it was opened.
        """
        address, size = _check(address, size)
        return self._image._read(address, size, None) or b""

    def next_start(self, address: int) -> int | None:
        """Where the next mapping at or behind ``address`` begins; None if there is none."""
        return self._image._next_start(address, None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {os.fsdecode(self._filename)!r}>"


class FileMemory(_Sections):
    """A file, or part of one, at an address. It is read piece by piece, never whole."""

    def __init__(
        self, filename: Filename, address: int = 0, *, offset: int = 0, size: int | None = None
    ) -> None:
        """:param size: at most this many bytes; cut at the end of the file, as is None.
        :raises InvalidArgument: ``offset`` is at or past the end of the file, or the bytes would end
            beyond 2**64.
        :raises ImageError: ``bad_file``: the file is missing, unreadable or not a regular file.
        """
        super().__init__(filename)
        self._add(offset, _TOP - 1 if size is None else size, address)


class CoreMemory(_Sections):
    """The memory in an ELF core file, of any machine, 32 or 64 bits, either byte order.

    Only what was dumped is mapped: the part of a mapping that is not in the file is not zero but
    unknown. Of a core that was cut off, what is there can be read.
    """

    def __init__(self, filename: Filename) -> None:
        """:raises ImageError: ``bad_file``: the file cannot be read; ``bad_image``: it is no ELF core."""
        super().__init__(filename)
        name = os.fsdecode(self._filename)
        try:
            found = read_object(self._filename, chosen=True)
            file_size = os.stat(self._filename).st_size
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise ImageError(f"cannot read {name}: {why}", code=PtError.bad_file) from error
        if found.kind != ET_CORE:
            raise ImageError(f"{name}: an ELF file, but not a core", code=PtError.bad_image, offset=16)
        for segment in found.loads:
            if segment.file_size and segment.offset < file_size:
                size = min(segment.file_size, _TOP - segment.address)
                self._add(segment.offset, size, segment.address)


class ProcessMemory:
    """The memory of a live process, through ``/proc/PID/mem`` (Linux).

    Needs the right to trace the process. What a process has unmapped, and a process that is gone, read
    as unmapped. A context manager; ``close`` releases the process.
    """

    def __init__(self, pid: int) -> None:
        """:raises ImageError: ``bad_file``: there is no such process, or no permission to read it."""
        self._pid = operator.index(pid)
        self._lock = threading.Lock()
        try:
            self._file = open(f"/proc/{self._pid}/mem", "rb", buffering=0)  # noqa: SIM115
        except OSError as error:
            message = f"cannot read the memory of process {self._pid}: {error.strerror}"
            raise ImageError(message, code=PtError.bad_file) from error

    def read(self, address: int, size: int) -> bytes:
        """Bytes from ``address``: short at the end of a mapping, empty where nothing is mapped.

        :raises ValueError: after ``close``.
        """
        address, size = _check(address, size)
        pieces = []
        with self._lock:
            while size > 0 and address < 1 << 63:
                try:
                    self._file.seek(address)
                    piece = self._file.read(min(size, 1 << 20)) or b""
                except OSError:
                    break
                if not piece:
                    break
                pieces.append(piece)
                address += len(piece)
                size -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Release the process; reading is an error afterwards."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ProcessMemory {self._pid}>"


class LayeredMemory:
    """Several memories on top of each other: the first one that has the byte at an address gives it.

    An answer ends where a layer above begins. A layer tells that by a ``next_start(address)`` method, as
    those of this module and of images have; the mappings of others are taken to begin at 4 KiB borders.

    Example::

        >>> above, below = odograph.BytesMemory(b"AB", 0x1000), odograph.BytesMemory(b"abcd", 0x1000)
        >>> odograph.LayeredMemory(above, below).read(0x1000, 4)
        b'AB'
    """

    def __init__(self, *layers: Memory) -> None:
        self._layers = layers

    def read(self, address: int, size: int) -> bytes:
        """Bytes from ``address``, from the first layer that has any there.

        :raises InvalidArgument: a layer gave more than it was asked for.
        """
        address, size = _check(address, size)
        for layer in self._layers:
            if not size:
                break
            data = ask(layer, address, size)
            if data:
                return data
            size = min(size, _start_behind(layer, address) - address)
        return b""

    def next_start(self, address: int) -> int | None:
        """Where the next mapping of any layer may begin; None if there is none."""
        start = min((_start_behind(layer, address) for layer in self._layers), default=_TOP)
        return start if start < _TOP else None

    def __repr__(self) -> str:
        return f"LayeredMemory({', '.join(map(repr, self._layers))})"


def _start_behind(layer: Memory, address: int) -> int:
    """The first address behind ``address`` at which the layer may have something."""
    next_start = getattr(layer, "next_start", None)
    if next_start is None:
        return address - address % _PAGE + _PAGE
    start = next_start(address)
    return _TOP if start is None else int(start)
