"""A tiny writer of ELF cores."""

from __future__ import annotations

import struct
from collections.abc import Iterable

PT_LOAD, PT_NOTE = 1, 4


def core(
    segments: Iterable[tuple[int, bytes, int]],
    *,
    wide: bool = True,
    order: str = "<",
    kind: int = 4,
    many: bool = False,
    note: bytes = b"note",
) -> bytes:
    """An ELF core of ``(address, content, size in memory)`` segments, after a PT_NOTE.

    ``many`` writes the number of program headers the way cores with 65535 or more of them do.
    """
    ehsize, phsize, shsize = (64, 56, 64) if wide else (52, 32, 40)
    rows = [(PT_NOTE, 0, note, 0), *((PT_LOAD, *segment) for segment in segments)]
    shoff = ehsize if many else 0
    phoff = ehsize + (shsize if many else 0)
    offset = phoff + phsize * len(rows)
    headers, contents = bytearray(), bytearray()
    for segment, address, content, memory in rows:
        place, size = offset + len(contents), len(content)
        if wide:
            headers += struct.pack(
                order + "IIQQQQQQ", segment, 5, place, address, 0, size, max(memory, size), 0x1000
            )
        else:
            headers += struct.pack(
                order + "IIIIIIII", segment, place, address, 0, size, max(memory, size), 5, 0x1000
            )
        contents += content
    number = 0xFFFF if many else len(rows)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    header = ident + struct.pack(
        order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"),
        *(kind, 62, 1, 0, phoff, shoff, 0, ehsize, phsize, number, shsize if many else 0, int(many), 0),
    )
    section = b""
    if many:
        words = struct.pack(order + "I", len(rows))
        section = bytes(44 if wide else 28) + words
        section += bytes(shsize - len(section))
    return bytes(header + section + headers + contents)
