"""A recording of ours taken apart, so that a test can change one thing and put it together again."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from odograph.perfdata.format import FILE_HEADER, RecordType

_FOOTER = struct.Struct("<QQIII")
_SECTION = struct.Struct("<IIQQ")
_MAGIC = b"ODOGRAPH"
CODE, FACTS = 1, 2


@dataclass
class Part:
    """A record, and the trace bytes behind it. ``size`` None = its true size."""

    kind: int
    misc: int
    body: bytes
    payload: bytes = b""
    size: int | None = None

    def pack(self) -> bytes:
        size = 8 + len(self.body) if self.size is None else self.size
        head = struct.pack("<IHH", self.kind & 0xFFFFFFFF, self.misc & 0xFFFF, size & 0xFFFF)
        return head + self.body + self.payload


@dataclass
class Section:
    """A section of the trailer: expanded; ``packed`` and ``size`` None = as they should be."""

    kind: int
    raw: bytes
    packed: bytes | None = None
    size: int | None = None

    def pack(self) -> bytes:
        packed = zlib.compress(self.raw, 6) if self.packed is None else self.packed
        size = len(self.raw) if self.size is None else self.size
        return _SECTION.pack(self.kind & 0xFFFFFFFF, 0, size & (1 << 64) - 1, len(packed)) + packed


@dataclass
class Container:
    """``head`` is everything before the records, ``tail`` the features behind them."""

    head: bytes
    records: list[Part]
    tail: bytes
    sections: list[Section] = field(default_factory=list)
    trailer: bool = False
    version: int = 1

    @classmethod
    def parse(cls, data: bytes) -> Container:
        """Takes a sound file in file form apart."""
        fields = FILE_HEADER.unpack_from(data)
        start, end = fields[5], fields[5] + fields[6]
        records = []
        at = start
        while at + 8 <= end:
            kind, misc, size = struct.unpack_from("<IHH", data, at)
            body, payload = data[at + 8 : at + size], b""
            at += size
            if kind == RecordType.AUXTRACE:
                (length,) = struct.unpack_from("<Q", body)
                payload = data[at : at + length]
                at += length
            records.append(Part(kind, misc, body, payload))
        container = cls(data[:start], records, data[end:])
        if data[-8:] == _MAGIC:
            offset, _, _, count, container.version = _FOOTER.unpack_from(data, len(data) - 48)
            container.trailer = True
            container.tail = data[end:offset]
            for _ in range(count):
                kind, _, _, packed = _SECTION.unpack_from(data, offset)
                offset += _SECTION.size
                container.sections.append(Section(kind, zlib.decompress(data[offset : offset + packed])))
                offset += packed
        return container

    def pack(self) -> bytes:
        """Puts it together: sizes, offsets and checksums are right, features lie where the header says."""
        stream = b"".join(part.pack() for part in self.records)
        fields = list(FILE_HEADER.unpack_from(self.head))
        moved = fields[5] + len(stream) - (fields[5] + fields[6])
        fields[6] = len(stream)
        tail = bytearray(self.tail)
        numbers = sum(word.bit_count() for word in fields[9:13])
        for index in range(numbers):
            if 16 * index + 8 <= len(tail):
                (offset,) = struct.unpack_from("<Q", tail, 16 * index)
                struct.pack_into("<Q", tail, 16 * index, max(0, offset + moved) & (1 << 64) - 1)
        data = FILE_HEADER.pack(*fields) + self.head[FILE_HEADER.size :] + stream + bytes(tail)
        if not self.trailer:
            return data
        sections = b"".join(section.pack() for section in self.sections)
        head = _FOOTER.pack(len(data), len(sections), zlib.crc32(sections), len(self.sections), self.version)
        return data + sections + head + struct.pack("<I8x", zlib.crc32(head)) + _MAGIC
