"""Unwind tables: where an ELF file has them, and what their rows say.

A table has a row for each function: where it starts, where it ends, where the block with its descriptors
lies. Source: Intel Itanium Software Conventions and Runtime Architecture Guide, 11.4, and HP-UX's
``unwind_hdr``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from odograph.code.image import Image
from odograph.errors import InvalidArgument
from odograph.text.reprs import hex_repr
from odograph.unwind.ia64.elf import (
    OS_HPUX,
    PT_IA_64_UNWIND,
    PT_LOAD,
    SHT_IA_64_UNWIND,
    ElfFile,
    Relocation,
    Section,
)

__all__ = ["NARROW", "Entry", "Listing", "UnwindTable", "block", "image_of", "linked_table", "listings"]

NARROW = 1 << 63
"""The flag of tables whose words have 32 bits."""

_MOST_WORDS = 1 << 16
"""Of a block; a function that needs more than some dozen is rare."""

_SEGMENT_RELATIVE = {0x5C, 0x5D, 0x5E, 0x5F}
"""``R_IA64_SEGREL32MSB``, ``32LSB``, ``64MSB``, ``64LSB``."""


@hex_repr("text", "start", "end")
class UnwindTable(NamedTuple):
    """The table of an executable or library, by addresses as it is linked."""

    text: int
    """What its rows count from: the start of the segment it lies in."""
    flags: int
    """:data:`NARROW`, and on HP-UX the version."""
    start: int
    end: int

    @property
    def row_size(self) -> int:
        """Bytes of a row."""
        return 12 if self.flags & NARROW else 24


@hex_repr("start", "end", "info")
class Entry(NamedTuple):
    """A row, and the information block it leads to.

    ``start`` and ``end`` are addresses as linked; in an object they count from the start of the section with
    the number ``section``, which is 0 elsewhere. ``info`` counts from where the table counts from; ``place``
    is where the block lies in the file, -1 if it does not.
    """

    start: int
    end: int
    info: int
    section: int
    place: int


class Listing(NamedTuple):
    """A table of a file. ``offset`` is where it lies in the file."""

    name: str
    offset: int
    narrow: bool
    entries: list[Entry]


def image_of(file: ElfFile, bias: int = 0) -> Image:
    """The memory that a linked file gives, each address moved by ``bias`` and, of 32 bits, swizzled.

    :raises ImageError: ``bad_image``: a segment does not lie in the file.
    """
    image = Image(file.path)
    for segment in file.segments:
        if segment.kind != PT_LOAD or not segment.file_size:
            continue
        try:
            image.add_file(file.path, segment.offset, segment.file_size, file.loaded(segment.address + bias))
        except InvalidArgument as error:
            raise file.wrong("a segment does not lie in the file", segment.offset) from error
    return image


def linked_table(file: ElfFile) -> UnwindTable | None:
    """The table of an executable or library; None if it has none.

    On HP-UX a header before the table says where it begins and ends.

    :raises ImageError: ``bad_image``: it lies in no segment that is loaded, or has parts of rows.
    """
    found = _segment_or_section(file)
    if found is None:
        return None
    start, size, offset = found
    load = next((load for load in file.segments if load.kind == PT_LOAD and load.has(start)), None)
    if load is None:
        raise file.wrong("the unwind table lies in no segment that is loaded", offset)
    if start + size > load.address + load.file_size:
        raise file.wrong("the unwind table is cut off", offset)
    header = file.words("QQQ", file.at(offset, 24)) if file.os == OS_HPUX else []
    if header:
        flags, first, last = header[0]
        table = UnwindTable(load.address, flags, load.address + first, load.address + last)
        # A row in the place of a header would say that code lies behind it.
        if start + 24 <= table.start <= table.end <= start + size:
            return _whole(file, table, offset)
    return _whole(file, UnwindTable(load.address, 0 if file.wide else NARROW, start, start + size), offset)


def listings(file: ElfFile) -> Iterator[Listing]:
    """All tables of a file, one after the other; several in an object, at most one elsewhere.

    :raises ImageError: ``bad_image``: a table, its section or its relocations are damaged.
    """
    if file.is_object:
        for number, section in enumerate(file.sections):
            if section.kind == SHT_IA_64_UNWIND:
                yield _listing_of_object(file, number, section)
    else:
        table = linked_table(file)
        if table is not None:
            yield _listing_of_linked(file, table)


def block(file: ElfFile, entry: Entry, narrow: bool) -> bytes:
    """The information block of a row, from its header on.

    It is cut off where the file is and where no block is so long, and empty if it does not lie in the file.
    """
    if entry.place < 0:
        return b""
    words = int.from_bytes(file.at(entry.place, 8), "big" if file.big else "little") & 0xFFFFFFFF
    return file.at(entry.place, 8 + min(words, _MOST_WORDS) * (4 if narrow else 8))


def _whole(file: ElfFile, table: UnwindTable, offset: int) -> UnwindTable:
    size = table.end - table.start
    if size % table.row_size:
        raise file.wrong(f"an unwind table of {size} bytes, with rows of {table.row_size}", offset)
    return table


def _segment_or_section(file: ElfFile) -> tuple[int, int, int] | None:
    """Address, size and file offset of the segment or section that holds the table."""
    for segment in file.segments:
        if segment.kind == PT_IA_64_UNWIND:
            return segment.address, segment.file_size, segment.offset
    for section in file.sections:
        if section.kind == SHT_IA_64_UNWIND and section.address:
            return section.address, section.size, section.offset
    return None


def _listing_of_linked(file: ElfFile, table: UnwindTable) -> Listing:
    narrow = table.row_size == 12
    offset = _file_offset(file, table.start)
    rows = file.words("III" if narrow else "QQQ", file.at(offset, table.end - table.start))
    entries = []
    for start, end, info in rows:
        place = _file_offset(file, table.text + info)
        entries.append(Entry(table.text + start, table.text + end, info, 0, place))
    name = next((section.name for section in file.sections if section.offset == offset), ".IA_64.unwind")
    return Listing(name, offset, narrow, entries)


def _listing_of_object(file: ElfFile, number: int, section: Section) -> Listing:
    """Rows whose words the linker would fill in."""
    narrow = not file.wide
    word = 4 if narrow else 8
    moved: dict[int, Relocation] = {
        row.offset: row for row in file.relocations(number) if row.kind in _SEGMENT_RELATIVE
    }
    rows = file.words("III" if narrow else "QQQ", file.contents(section))
    entries = []
    for index, row in enumerate(rows):
        places = [moved.get((3 * index + column) * word) for column in range(3)]
        start, end, info = (
            value if place is None else place.value for value, place in zip(row, places, strict=True)
        )
        code = places[0].section if places[0] is not None else section.info
        home = places[2].section if places[2] is not None else 0
        place = -1
        if 0 < home < len(file.sections) and 0 <= info < file.sections[home].size:
            place = file.sections[home].offset + info
        entries.append(Entry(start, end, info, code, place))
    return Listing(section.name, section.offset, narrow, entries)


def _file_offset(file: ElfFile, address: int) -> int:
    """Where the byte at an address as linked lies in the file; -1 if it does not."""
    for segment in file.segments:
        if segment.kind == PT_LOAD and segment.address <= address < segment.address + segment.file_size:
            return segment.offset + address - segment.address
    return -1
