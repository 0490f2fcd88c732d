"""ELF files of IA-64, as far as unwinding needs them: segments, sections, relocations, functions.

Both sizes and both byte orders; executables, libraries and relocatable objects. Source: System V ABI, "Object
Files", and the Itanium supplement.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from odograph.errors import ImageError, PtError
from odograph.text.reprs import hex_repr

if TYPE_CHECKING:
    from odograph.code.image import Filename

__all__ = ["ElfFile", "Function", "Relocation", "Section", "Segment"]

MACHINE_IA_64 = 50
OS_HPUX = 1
KIND_RELOCATABLE = 1
PT_LOAD, PT_IA_64_UNWIND = 1, 0x70000001
PF_X = 1
SHT_SYMTAB, SHT_RELA, SHT_DYNSYM, SHT_IA_64_UNWIND = 2, 4, 11, 0x70000001

_SHT_NOBITS = 8
_PN_XNUM = 0xFFFF
_SHN_XINDEX = 0xFFFF
_STT_FUNC = 2


@hex_repr("address", "offset", "file_size", "memory_size")
class Segment(NamedTuple):
    """A program header."""

    kind: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int

    def has(self, address: int) -> bool:
        """Whether an address lies in its memory."""
        return self.address <= address < self.address + self.memory_size


@hex_repr("address", "offset")
class Section(NamedTuple):
    """A section header. ``link`` and ``info`` mean what the kind says."""

    name: str
    kind: int
    address: int
    offset: int
    size: int
    link: int
    info: int


@hex_repr("address")
class Function(NamedTuple):
    """A symbol of kind ``STT_FUNC``: in an object ``address`` counts from the start of ``section``."""

    address: int
    name: str
    section: int


class Relocation(NamedTuple):
    """A row of a ``SHT_RELA`` section, its symbol looked up."""

    offset: int
    kind: int
    section: int
    value: int
    """Of the symbol and the addend together, counted from the start of ``section``."""


@dataclass(frozen=True)
class _Header:
    kind: int
    program_offset: int
    program_size: int
    program_count: int
    section_offset: int
    section_size: int
    section_count: int
    name_index: int


class ElfFile:
    """An ELF file of IA-64. Contents are read from the file when they are asked for.

    ``wide`` says whether it has 64-bit structures, ``big`` whether the most significant byte comes first,
    ``os`` is the number of the operating system it names, ``is_object`` whether it still has to be linked.
    """

    def __init__(self, filename: Filename) -> None:
        """:raises ImageError: ``bad_file``: the file cannot be read; ``bad_image``: it is no ELF file of
        IA-64, or its headers are damaged. The error has the offset.
        """
        self.path = os.fsdecode(filename)
        ident = self.at(0, 16)
        if ident[:4] != b"\x7fELF":
            raise self.wrong("not an ELF file", 0)
        size, order = ident[4:5], ident[5:6]
        if size not in (b"\1", b"\2") or order not in (b"\1", b"\2") or len(ident) < 16:
            raise self.wrong("unknown ELF class or byte order", 4)
        self.wide = size == b"\2"
        self.big = order == b"\2"
        self.os = ident[7]
        self._order = ">" if self.big else "<"
        header = self._header()
        self.is_object = header.kind == KIND_RELOCATABLE
        #: The symbols that were read last; nearly always there is one table.
        self._symbols_of: tuple[Section, list[tuple[int, int, int, int]]] | None = None
        self.segments = self._segments(header)
        self.sections = self._sections(header)

    def wrong(self, what: str, offset: int) -> ImageError:
        """The error that says what is wrong with this file, and where in it."""
        return ImageError(f"{self.path}: {what}", code=PtError.bad_image, offset=offset)

    def loaded(self, address: int) -> int:
        """An address of the file as a process sees it: of 32 bits it is swizzled.

        The two highest bits of 32 become those that choose a region (HP-UX, "addp4").
        """
        address &= (1 << 64) - 1 if self.wide else 0xFFFFFFFF
        return address if self.wide else (address & 0xC0000000) << 31 | address

    def at(self, offset: int, size: int) -> bytes:
        """Bytes of the file, fewer at its end.

        :raises ImageError: ``bad_file``: the file cannot be read.
        """
        try:
            with open(self.path, "rb") as file:
                end = file.seek(0, os.SEEK_END)
                if offset >= end:
                    return b""
                file.seek(offset)
                return file.read(min(size, end - offset))
        except OSError as error:
            message = f"cannot read {self.path}: {error.strerror}"
            raise ImageError(message, code=PtError.bad_file) from error
        except ValueError as error:
            raise ImageError(f"cannot read {self.path}: {error}", code=PtError.bad_file) from error

    def contents(self, section: Section) -> bytes:
        """The bytes of a section; none if it has none in the file.

        :raises ImageError: ``bad_image``: it does not lie in the file.
        """
        if section.kind == _SHT_NOBITS:
            return b""
        data = self.at(section.offset, section.size)
        if len(data) < section.size:
            raise self.wrong(f"section {section.name} is cut off", section.offset)
        return data

    def words(self, code: str, data: bytes) -> list[tuple[int, ...]]:
        """Rows of a table in the file's byte order; what is left at the end of the data is no row."""
        row = struct.Struct(self._order + code)
        return list(row.iter_unpack(data[: len(data) // row.size * row.size]))

    @cached_property
    def functions(self) -> list[Function]:
        """The functions of the symbol table, or without one of the dynamic symbols, by section and address.

        :raises ImageError: ``bad_image``: the table is damaged.
        """
        for kind in (SHT_SYMTAB, SHT_DYNSYM):
            for table in self.sections:
                if table.kind == kind:
                    return self._functions(table)
        return []

    def relocations(self, index: int) -> list[Relocation]:
        """What the linker is to do to the section of this number.

        :raises ImageError: ``bad_image``: the rows are damaged.
        """
        result = []
        for section in self._relocations.get(index, ()):
            symbols = self._symbols(self._linked(section))
            for offset, info, addend in self.words("QQq" if self.wide else "IIi", self.contents(section)):
                number, kind = (info >> 32, info & 0xFFFFFFFF) if self.wide else (info >> 8, info & 0xFF)
                if number >= len(symbols):
                    raise self.wrong(f"a relocation names symbol {number}, which is missing", section.offset)
                _, _, place, value = symbols[number]
                result.append(Relocation(offset, kind, place, value + addend))
        return result

    @cached_property
    def _relocations(self) -> dict[int, list[Section]]:
        """The sections of relocations by the number of the section that they are for."""
        result: dict[int, list[Section]] = {}
        for section in self.sections:
            if section.kind == SHT_RELA:
                result.setdefault(section.info, []).append(section)
        return result

    @cached_property
    def functions_of_sections(self) -> dict[int, list[Function]]:
        """The functions of an object by the number of their section.

        :raises ImageError: ``bad_image``: the table is damaged.
        """
        result: dict[int, list[Function]] = {}
        for function in self.functions:
            result.setdefault(function.section, []).append(function)
        return result

    def _header(self) -> _Header:
        row = struct.Struct(self._order + ("HHIQQQIHHHHHH" if self.wide else "HHIIIIIHHHHHH"))
        data = self.at(16, row.size)
        if len(data) < row.size:
            raise self.wrong("the ELF header is cut off", 16)
        kind, machine, _, _, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum, shstrndx = row.unpack(
            data
        )
        if machine != MACHINE_IA_64:
            raise self.wrong(f"for machine {machine}, not for IA-64 ({MACHINE_IA_64})", 18)
        if phnum == _PN_XNUM or (shoff and shnum == 0) or shstrndx == _SHN_XINDEX:
            # Numbers that do not fit here are in the first section header.
            first = self.words(self._section_code(), self.at(shoff, self._section_bytes()))
            if not first:
                raise self.wrong("the first section header is cut off", shoff)
            phnum = first[0][7] if phnum == _PN_XNUM else phnum
            shnum = shnum or first[0][5]
            shstrndx = first[0][6] if shstrndx == _SHN_XINDEX else shstrndx
        return _Header(kind, phoff, phentsize, phnum, shoff, shentsize, shnum if shoff else 0, shstrndx)

    def _section_code(self) -> str:
        return "IIQQQQIIQQ" if self.wide else "IIIIIIIIII"

    def _section_bytes(self) -> int:
        return struct.calcsize("<" + self._section_code())

    def _table(self, code: str, offset: int, size: int, count: int, what: str) -> list[tuple[int, ...]]:
        """Rows of a header table, whose rows may be longer than what is known of them."""
        row = struct.Struct(self._order + code)
        if not count:
            return []
        if size < row.size:
            raise self.wrong(f"{what} of {size} bytes", offset)
        data = self.at(offset, size * count)
        if len(data) < size * count:
            raise self.wrong(f"the {what} are cut off", offset)
        return [row.unpack_from(data, size * index) for index in range(count)]

    def _segments(self, header: _Header) -> list[Segment]:
        code = "IIQQQQQQ" if self.wide else "IIIIIIII"
        rows = self._table(
            code, header.program_offset, header.program_size, header.program_count, "program headers"
        )
        if self.wide:
            return [Segment(row[0], row[1], row[2], row[3], row[5], row[6]) for row in rows]
        return [Segment(row[0], row[6], row[1], row[2], row[4], row[5]) for row in rows]

    def _sections(self, header: _Header) -> list[Section]:
        rows = self._table(
            self._section_code(),
            header.section_offset,
            header.section_size,
            header.section_count,
            "section headers",
        )
        names = b""
        if header.name_index < len(rows):
            _, _, _, _, offset, size, *_ = rows[header.name_index]
            names = self.at(offset, size)
        return [Section(_text(names, row[0]), row[1], row[3], row[4], row[5], row[6], row[7]) for row in rows]

    def _linked(self, section: Section) -> Section:
        if section.link >= len(self.sections):
            raise self.wrong(f"section {section.name} refers to section {section.link}", section.offset)
        return self.sections[section.link]

    def _symbols(self, table: Section) -> list[tuple[int, int, int, int]]:
        """(name, kind, section, value) of each symbol."""
        if self._symbols_of is None or self._symbols_of[0] != table:
            data = self.contents(table)
            if self.wide:
                rows = [(row[0], row[1] & 15, row[3], row[4]) for row in self.words("IBBHQQ", data)]
            else:
                rows = [(row[0], row[3] & 15, row[5], row[1]) for row in self.words("IIIBBH", data)]
            self._symbols_of = (table, rows)
        return self._symbols_of[1]

    def _functions(self, table: Section) -> list[Function]:
        strings = self.contents(self._linked(table))
        found = [
            Function(value, _text(strings, name), section)
            for name, kind, section, value in self._symbols(table)
            # Section 0 is where undefined symbols are.
            if kind == _STT_FUNC and section
        ]
        # Of several names of one place the first of the table stays the first.
        found.sort(key=lambda function: (function.section if self.is_object else 0, function.address))
        return found

    def __repr__(self) -> str:
        return f"<ElfFile {self.path!r}>"


def _text(strings: bytes, offset: int) -> str:
    """The string at an offset of a string table; empty outside."""
    end = strings.find(b"\0", offset)
    return strings[offset : end if end >= 0 else None].decode(errors="replace")
