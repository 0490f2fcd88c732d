"""The little that a recording needs of ELF files: the build id, where segments lie, one symbol.

Every offset is checked; a file that is not ELF, or is damaged, answers None. Files are opened as
:mod:`odograph.plainfile` does, except those that the user has ``chosen``.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from odograph.plainfile import open_recorded

__all__ = [
    "MACHINE_386",
    "MACHINE_X86_64",
    "PF_X",
    "PT_LOAD",
    "Segment",
    "build_id",
    "entry",
    "has_symbol_table",
    "is_object",
    "kind",
    "mapped_build_id",
    "program_headers",
    "program_headers_of",
    "segments",
    "symbol_address",
]

MACHINE_386, MACHINE_X86_64 = 3, 62
PT_LOAD = 1
PF_X = 1

_PT_NOTE = 4
_SHT_SYMTAB, _SHT_NOTE = 2, 7
_NT_GNU_BUILD_ID = 3
_LIMIT = 1 << 20
#: ET_REL, ET_EXEC, ET_DYN
_OBJECT_TYPES = (1, 2, 3)


class Segment(NamedTuple):
    """One program header."""

    kind: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int


class _Header(NamedTuple):
    is64: bool
    order: str
    program_offset: int
    program_size: int
    program_count: int
    section_offset: int
    section_size: int
    section_count: int


def open_file(path: str | os.PathLike[str], *, chosen: bool) -> BinaryIO:
    """Opens a file that a recording named, or any that the user has ``chosen``. Raises OSError,
    ValueError."""
    return open(path, "rb") if chosen else open_recorded(path)


def build_id(path: str | os.PathLike[str]) -> bytes | None:
    """The GNU build id note of an ELF file, None if it has none or cannot be read."""
    try:
        with open_recorded(path) as file:
            header = _header(file)
            if header is None:
                return None
            for segment in _segments(file, header):
                if segment.kind == _PT_NOTE:
                    found = find_build_id(_read(file, segment.offset, segment.file_size), header.order)
                    if found:
                        return found
            for kind, offset, size, _, _ in _sections(file, header):
                if kind == _SHT_NOTE:
                    found = find_build_id(_read(file, offset, size), header.order)
                    if found:
                        return found
    except (OSError, struct.error, ValueError, OverflowError):
        pass
    return None


def find_build_id(notes: bytes, order: str = "<") -> bytes | None:
    """The build id among ELF notes."""
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from(f"{order}III", notes, at)
        name_at = at + 12
        data_at = name_at + (name_size + 3) // 4 * 4
        if kind == _NT_GNU_BUILD_ID and notes[name_at : name_at + name_size] == b"GNU\0":
            return notes[data_at : data_at + size] or None
        at = data_at + (size + 3) // 4 * 4
    return None


def segments(path: str | os.PathLike[str], *, chosen: bool = False) -> list[Segment] | None:
    """The loadable segments of an ELF file, None if it is none."""
    headers = program_headers(path, chosen=chosen)
    return None if headers is None else [header for header in headers if header.kind == PT_LOAD]


def program_headers(path: str | os.PathLike[str], *, chosen: bool = False) -> list[Segment] | None:
    """All program headers of an ELF file, None if it is none."""
    try:
        with open_file(path, chosen=chosen) as file:
            header = _header(file)
            return None if header is None else _segments(file, header)
    except (OSError, struct.error, ValueError, OverflowError):
        return None


def program_headers_of(data: bytes) -> list[Segment] | None:
    """All program headers of the bytes of an ELF file, None if they are none."""
    try:
        file = io.BytesIO(data)
        header = _header(file)
        return None if header is None else _segments(file, header)
    except (struct.error, ValueError, OverflowError):
        return None


def mapped_build_id(read: Callable[[int, int], bytes], address: int) -> bytes | None:
    """The build id of an ELF file whose beginning is mapped at ``address``; None if it has none or is none.

    ``read`` is asked for an address and a size, and may give less.
    """
    data = read(address, 4096)
    headers = program_headers_of(data) or ()
    order = "<" if data[5:6] == b"\1" else ">"
    # What is mapped with the file's beginning lies as far from it as in the file.
    for header in headers:
        if header.kind == _PT_NOTE and header.file_size < _LIMIT and address + header.offset < 1 << 64:
            found = find_build_id(read(address + header.offset, header.file_size), order)
            if found:
                return found
    return None


def is_object(file: BinaryIO) -> bool:
    """Whether an open file is a program, a library or a kernel module: ELF, but no core. Goes to its
    start."""
    file.seek(0)
    ident = file.read(20)
    file.seek(0)
    if len(ident) < 20 or ident[:4] != b"\x7fELF" or ident[4] not in (1, 2) or ident[5] not in (1, 2):
        return False
    return int.from_bytes(ident[16:18], "little" if ident[5] == 1 else "big") in _OBJECT_TYPES


def kind(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """(32 or 64 bits, machine) of an ELF file, None if it is none."""
    try:
        with open_recorded(path) as file:
            ident = file.read(20)
    except (OSError, ValueError):
        return None
    if len(ident) < 20 or ident[:4] != b"\x7fELF" or ident[4] not in (1, 2) or ident[5] not in (1, 2):
        return None
    machine = int.from_bytes(ident[18:20], "little" if ident[5] == 1 else "big")
    return 32 * ident[4], machine


def has_symbol_table(path: str | os.PathLike[str]) -> bool:
    """Whether a file is ELF and has a full symbol table, which strip removes."""
    try:
        with open_recorded(path) as file:
            header = _header(file)
            return header is not None and any(
                kind == _SHT_SYMTAB and size > 0 for kind, _, size, _, _ in _sections(file, header)
            )
    except (OSError, ValueError, struct.error):
        return False


def entry(path: str | os.PathLike[str]) -> int | None:
    """The address at which an ELF file is entered, as the file has it; None if it has none or is none."""
    try:
        with open_recorded(path) as file:
            ident = file.read(32)
    except (OSError, ValueError):
        return None
    if len(ident) < 32 or ident[:4] != b"\x7fELF" or ident[4] not in (1, 2) or ident[5] not in (1, 2):
        return None
    address = ident[24 : 28 if ident[4] == 1 else 32]
    return int.from_bytes(address, "little" if ident[5] == 1 else "big") or None


def symbol_address(path: str | os.PathLike[str], names: tuple[str, ...]) -> int | None:
    """The value of the first of ``names`` in the symbol table of a 64-bit ELF file."""
    try:
        with open_recorded(path) as file:
            header = _header(file)
            if header is None or not header.is64:
                return None
            sections = _sections(file, header)
            for kind, offset, size, link, _ in sections:
                if kind == _SHT_SYMTAB and link < len(sections):
                    file.seek(offset)
                    table = file.read(size)
                    file.seek(sections[link][1])
                    strings = b"\0" + file.read(sections[link][2])
                    return _find_symbol(table, strings, header.order, names)
    except (OSError, struct.error, ValueError, OverflowError, MemoryError):
        pass
    return None


def _find_symbol(table: bytes, strings: bytes, order: str, names: tuple[str, ...]) -> int | None:
    found: dict[str, int] = {}
    wanted: dict[int, str] = {}
    for name in names:
        at = strings.find(b"\0" + name.encode() + b"\0")
        if at >= 0:
            wanted[at] = name
    for name_at, _, _, _, value, _ in struct.iter_unpack(f"{order}IBBHQQ", table[: len(table) // 24 * 24]):
        if name_at in wanted:
            found.setdefault(wanted[name_at], value)
    return next((found[name] for name in names if name in found), None)


def _header(file: BinaryIO) -> _Header | None:
    ident = file.read(64)
    if len(ident) < 52 or ident[:4] != b"\x7fELF" or ident[4] not in (1, 2) or ident[5] not in (1, 2):
        return None
    order = "<" if ident[5] == 1 else ">"
    if ident[4] == 2:
        if len(ident) < 64:
            return None
        program, section = struct.unpack_from(f"{order}QQ", ident, 32)
        sizes = struct.unpack_from(f"{order}HHHH", ident, 54)
    else:
        program, section = struct.unpack_from(f"{order}II", ident, 28)
        sizes = struct.unpack_from(f"{order}HHHH", ident, 42)
    return _Header(ident[4] == 2, order, program, sizes[0], sizes[1], section, sizes[2], sizes[3])


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(min(size, _LIMIT))


def _segments(file: BinaryIO, header: _Header) -> list[Segment]:
    size = 56 if header.is64 else 32
    if header.program_size < size:
        return []
    table = _read(file, header.program_offset, header.program_size * header.program_count)
    result = []
    for at in range(0, len(table) - size + 1, header.program_size):
        if header.is64:
            kind, flags, offset, address, _, file_size, memory_size = struct.unpack_from(
                f"{header.order}II5Q", table, at
            )
        else:
            kind, offset, address, _, file_size, memory_size, flags = struct.unpack_from(
                f"{header.order}7I", table, at
            )
        result.append(Segment(kind, flags, offset, address, file_size, memory_size))
    return result


def _sections(file: BinaryIO, header: _Header) -> list[tuple[int, int, int, int, int]]:
    """(type, offset, size, link, address) of each section."""
    size = 64 if header.is64 else 40
    if header.section_size < size:
        return []
    table = _read(file, header.section_offset, header.section_size * header.section_count)
    result = []
    for at in range(0, len(table) - size + 1, header.section_size):
        code = f"{header.order}IIQQQQI" if header.is64 else f"{header.order}IIIIIII"
        _, kind, _, address, offset, length, link = struct.unpack_from(code, table, at)
        result.append((kind, offset, length, link, address))
    return result
