"""ELF object files: what their headers say.

The reader is native. A file that is no ELF file, or is damaged, is not read. Names, lines and calls:
:mod:`odograph.symbols`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from odograph._native import RawObject, debug_place
from odograph.errors import ImageError, PtError
from odograph.text.reprs import hex_repr

__all__ = [
    "ET_CORE",
    "ET_EXEC",
    "MACHINE_386",
    "MACHINE_X86_64",
    "PF_W",
    "PF_X",
    "PT_DYNAMIC",
    "PT_LOAD",
    "PT_PHDR",
    "ObjectFile",
    "Segment",
    "build_id",
    "debug_file",
    "mapped_build_id",
    "object_class",
    "object_file",
    "object_of_bytes",
    "read_object",
]

MACHINE_386, MACHINE_X86_64 = 3, 62
PT_LOAD, PT_DYNAMIC, PT_PHDR = 1, 2, 6
PF_X, PF_W = 1, 2
ET_EXEC, ET_CORE = 2, 4

_PT_NOTE = 4
_LARGEST_NOTES = 1 << 20
_OBJECT_TYPES = (1, 2, 3)
_PAGE = 4096

Name = str | bytes | os.PathLike[str] | os.PathLike[bytes]


@hex_repr("offset", "address", "file_size", "memory_size")
class Segment(NamedTuple):
    """One program header. Addresses are those of the file, before it is loaded."""

    kind: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int


class ProgramTable(NamedTuple):
    """Where the program headers lie in the file, the size of one, and their number as the file has it."""

    offset: int
    size: int
    number: int


class ObjectFile:
    """An ELF file: ``bits`` (32 or 64), ``is_little`` (its byte order), ``kind`` (``e_type``), ``machine``
    (``e_machine``), ``entry`` (address of its first instruction, 0: none), ``program_table``, and
    ``sections_end``, where the table of its section headers ends in the file (0: there is none).
    """

    def __init__(self, raw: RawObject) -> None:
        self._raw = raw
        facts = raw._facts()
        self.bits, self.is_little, self.kind, self.machine, self.entry, table, self.sections_end = facts
        self.program_table = ProgramTable(*table)

    @cached_property
    def headers(self) -> list[Segment]:
        """Its program headers; those that are cut off are left out."""
        return [Segment(*fields) for fields in self._raw._segments()]

    @property
    def loads(self) -> list[Segment]:
        """Its loadable segments."""
        return [header for header in self.headers if header.kind == PT_LOAD]

    @property
    def is_object(self) -> bool:
        """Whether it is a program, a library or a kernel module, and no core."""
        return self.kind in _OBJECT_TYPES

    @cached_property
    def build_id(self) -> bytes | None:
        """Its GNU build id; None if it has none."""
        return self._raw._build_id()

    @property
    def has_symbol_table(self) -> bool:
        """Whether it has a full symbol table, which strip removes."""
        return self._raw._has_symbol_table()

    @property
    def interpreter(self) -> str | None:
        """The path of the dynamic linker that it asks for."""
        name = self._raw._interpreter()
        return None if name is None else os.fsdecode(name)

    def notes(self) -> list[tuple[int, bytes]]:
        """Number and contents of the notes in its segments; damaged ones are left out."""
        return self._raw._notes()

    def value_of(self, *names: str) -> int | None:
        """The value of the first of these symbols in its full symbol table; None if it has none of them."""
        return self._raw._value_of(list(names))

    def __repr__(self) -> str:
        order = "little" if self.is_little else "big"
        return (
            f"<ObjectFile: {self.bits} bits, {order} endian, machine {self.machine}, entry {self.entry:#x}>"
        )


def read_object(name: Name, *, chosen: bool = False) -> ObjectFile:
    """Opens an ELF file: as :mod:`odograph.files.plainfile` does, or one that the user has ``chosen``.

    :raises OSError: it cannot be opened, or may not.
    :raises ValueError: the name has a zero byte.
    :raises ImageError: ``bad_image``: it is no ELF file, or its header is damaged; has the offset.
    """
    path = os.fsencode(name)
    if b"\0" in path:
        raise ValueError("a file name has no zero byte")
    raw = RawObject._open(path, not chosen)
    damage = raw._damage()
    if damage is not None:
        what, offset = damage
        raise ImageError(f"{os.fsdecode(path)}: {what}", code=PtError.bad_image, offset=offset)
    return ObjectFile(raw)


def object_file(name: Name, *, chosen: bool = False) -> ObjectFile | None:
    """The same; None if it cannot be opened or is no ELF file."""
    try:
        return read_object(name, chosen=chosen)
    except (OSError, ValueError, ImageError):
        return None


def object_class(name: Name) -> tuple[int, int] | None:
    """(32 or 64 bits, machine) of an ELF file; None for others. The beginning of its header is enough."""
    try:
        return RawObject._open(os.fsencode(name), True)._class()
    except (OSError, ValueError):
        return None


def object_of_bytes(data: bytes) -> ObjectFile | None:
    """The ELF file with these bytes, or with this beginning; None for other bytes."""
    raw = RawObject._of_bytes(data)
    return ObjectFile(raw) if raw._damage() is None else None


def build_id(name: Name) -> bytes | None:
    """The GNU build id of a file; None if it has none, cannot be read, or is no ELF file."""
    found = object_file(name)
    return None if found is None else found.build_id


def mapped_build_id(read: Callable[[int, int], bytes], address: int) -> bytes | None:
    """The build id of an ELF file whose beginning is mapped at ``address``; None if it has none or is none.

    ``read`` is asked for an address and a size, and may give less.
    """
    found = object_of_bytes(read(address, _PAGE))
    # What is mapped with the file's beginning lies as far from it as in the file.
    for header in () if found is None else found.headers:
        is_notes = header.kind == _PT_NOTE and header.file_size < _LARGEST_NOTES
        if found is not None and is_notes and address + header.offset < 1 << 64:
            identity = found._raw._build_id_in(read(address + header.offset, header.file_size))
            if identity:
                return identity
    return None


def debug_file(name: Name) -> str | None:
    """Where the debug file of an ELF file has its place, by build id; None if the file has no build id.

    It need not exist.
    """
    identity = build_id(name)
    return None if not identity else os.fspath(debug_place(identity))
