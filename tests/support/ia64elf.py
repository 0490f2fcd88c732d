"""Writes small IA-64 executables and libraries: functions, their unwind information, symbols."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

NARROW = 1 << 63


@dataclass
class Code:
    """A function: its name, its number of bundles, its descriptors (None: no row in the table).

    ``at`` is how far behind the start of the segment it begins, None behind the one before.
    """

    name: str
    bundles: int
    descriptors: bytes | None = b""
    flags: int = 0
    at: int | None = None


@dataclass
class Written:
    """The file, and where in it things lie, as linked."""

    data: bytes = b""
    functions: dict[str, int] = field(default_factory=dict)
    table: tuple[int, int] = (0, 0)
    header: int = 0


def pad(data: bytes, size: int) -> bytes:
    """Filled with zeros up to a multiple of ``size``."""
    return data + bytes(-len(data) % size)


def info_block(descriptors: bytes, *, wide: bool, big: bool, flags: int = 0) -> bytes:
    """An information block of version 1."""
    word = 8 if wide else 4
    padded = pad(descriptors, word)
    header = 1 << 48 | flags << 32 | len(padded) // word
    handler = bytes(2 * word) if flags & 3 else b""
    return struct.pack(">Q" if big else "<Q", header) + padded + handler


def executable(
    codes: list[Code],
    *,
    wide: bool = True,
    big: bool = False,
    hpux: bool = False,
    base: int = 0x4000000000000000,
    symbols: bool = True,
    table_flags: int | None = None,
    os: int | None = None,
) -> Written:
    """An executable whose text segment begins with its own headers, at ``base``."""
    order = ">" if big else "<"
    word = "Q" if wide else "I"
    header_size, program_size, section_size = (64, 56, 64) if wide else (52, 32, 40)
    row_word = word if table_flags is None else ("I" if table_flags & NARROW else "Q")

    body = bytearray(pad(bytes(header_size + 2 * program_size), 16))
    written = Written()
    sections: list[tuple[str, int, int, int, int]] = []  # name, kind, offset, size, link

    text = len(body)
    for code in codes:
        if code.at is not None:
            assert code.at >= len(body)
            body += bytes(code.at - len(body))
        written.functions[code.name] = base + len(body)
        body += bytes(16 * code.bundles)
    sections.append((".text", 1, text, len(body) - text, 0))

    information = len(body)
    rows = []
    for code in codes:
        if code.descriptors is None:
            continue
        body += bytes(-len(body) % 8)
        start = written.functions[code.name] - base
        rows.append((start, start + 16 * code.bundles, len(body)))
        body += info_block(code.descriptors, wide=row_word == "Q", big=big, flags=code.flags)
    sections.append((".IA_64.unwind_info", 1, information, len(body) - information, 0))

    body += bytes(-len(body) % 8)
    unwind = len(body)
    table = b"".join(struct.pack(order + 3 * row_word, *row) for row in rows)
    if hpux:
        written.header = base + unwind
        flags = table_flags if table_flags is not None else (2 if wide else NARROW | 2)
        body += struct.pack(order + "QQQ", flags, unwind + 24, unwind + 24 + len(table))
        sections.append((".IA_64.unwind_hdr", 1, unwind, 24, 0))
    written.table = (base + len(body), base + len(body) + len(table))
    sections.append((".IA_64.unwind", 0x70000001, len(body), len(table), 1))
    body += table
    loaded = len(body)

    strings, rows_of_symbols = bytearray(b"\0"), bytearray(24 if wide else 16)
    for code in codes if symbols else ():
        name = len(strings)
        strings += code.name.encode() + b"\0"
        value, size = written.functions[code.name], 16 * code.bundles
        rows_of_symbols += (
            struct.pack(order + "IBBHQQ", name, 0x12, 0, 1, value, size)
            if wide
            else struct.pack(order + "IIIBBH", name, value, size, 0x12, 0, 1)
        )
    body += bytes(-len(body) % 8)
    if symbols:
        sections.append((".symtab", 2, len(body), len(rows_of_symbols), len(sections) + 2))
        body += rows_of_symbols
        sections.append((".strtab", 3, len(body), len(strings), 0))
        body += strings
    names = bytearray(b"\0")
    places = []
    for name, *_ in [*sections, (".shstrtab", 0)]:
        places.append(len(names))
        names += name.encode() + b"\0"
    sections.append((".shstrtab", 3, len(body), len(names), 0))
    body += names
    body += bytes(-len(body) % 8)

    section_table = len(body)
    body += bytes(section_size)
    for place, (_, kind, offset, size, link) in zip(places, sections, strict=True):
        address = base + offset if offset < loaded else 0
        flags = 2 if address else 0
        entry = (24 if wide else 16) if kind == 2 else 0
        body += struct.pack(
            order + ("IIQQQQIIQQ" if wide else "10I"),
            *(place, kind, flags, address, offset, size, link, 1 if kind == 2 else 0, 8, entry),
        )

    def segment(kind: int, flags: int, offset: int, size: int) -> bytes:
        place = base + offset
        if wide:
            return struct.pack(order + "II6Q", kind, flags, offset, place, place, size, size, 16)
        return struct.pack(order + "8I", kind, offset, place, place, size, size, flags, 16)

    system = os if os is not None else (1 if hpux else 0)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 2 if big else 1, 1, system]) + bytes(8)
    entry = base + text
    header = struct.pack(
        order + f"HHI{word}{word}{word}IHHHHHH",
        *(2, 50, 1, entry, header_size, section_table, 0x10 if wide else 0),
        *(header_size, program_size, 2, section_size, len(sections) + 1, len(sections)),
    )
    programs = segment(1, 5, 0, loaded) + segment(0x70000001, 4, unwind, loaded - unwind)
    body[: len(ident) + len(header) + len(programs)] = ident + header + programs
    written.data = bytes(body)
    return written
