"""Turns a perf.data file into other forms that perf writes."""

from __future__ import annotations

import struct

from odograph.perfdata.format import FILE_HEADER, MAGIC, RecordType


def to_pipe(data: bytes) -> bytes:
    """The pipe form of a file: attributes and features become records."""
    fields = FILE_HEADER.unpack_from(data)
    entry_size, attrs_offset, attrs_size, data_offset, data_size = fields[2:7]
    result = MAGIC + struct.pack("<Q", 16)
    for at in range(attrs_offset, attrs_offset + attrs_size, entry_size):
        attribute = data[at : at + entry_size - 16]
        ids_offset, ids_size = struct.unpack_from("<QQ", data, at + entry_size - 16)
        body = attribute + data[ids_offset : ids_offset + ids_size]
        result += struct.pack("<IHH", RecordType.HEADER_ATTR, 0, 8 + len(body)) + body
    for number, body in features(data):
        result += struct.pack("<IHHQ", RecordType.HEADER_FEATURE, 0, 16 + len(body), number) + body
    return result + data[data_offset : data_offset + data_size]


def features(data: bytes) -> list[tuple[int, bytes]]:
    """Number and body of each feature of a file."""
    fields = FILE_HEADER.unpack_from(data)
    table = fields[5] + fields[6]
    bits = fields[9]
    numbers = [number for number in range(64) if bits >> number & 1]
    result = []
    for index, number in enumerate(numbers):
        offset, size = struct.unpack_from("<QQ", data, table + 16 * index)
        result.append((number, data[offset : offset + size]))
    return result


def compress(data: bytes, chunk: int, one_frame: bool) -> bytes:
    """The file with its kernel records under zstd, cut every ``chunk`` bytes; trace data stays as it is."""
    import zstandard

    fields = FILE_HEADER.unpack_from(data)
    data_offset, data_size = fields[5:7]
    out = bytearray()
    waiting = bytearray()
    stream = zstandard.ZstdCompressor().compressobj()

    def flush(last: bool = False) -> None:
        nonlocal stream
        while len(waiting) >= chunk or (last and waiting):
            piece = bytes(waiting[:chunk])
            del waiting[: len(piece)]
            if one_frame:
                packed = stream.compress(piece) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
            else:
                packed = zstandard.ZstdCompressor().compress(piece)
            out.extend(struct.pack("<IHH", RecordType.COMPRESSED, 0, 8 + len(packed)) + packed)

    at = data_offset
    while at < data_offset + data_size:
        kind, _, size = struct.unpack_from("<IHH", data, at)
        if size < 8:
            raise struct.error("a record is damaged")
        if kind < 64:
            waiting += data[at : at + size]
            flush()
        else:
            flush(last=True)
            if kind == RecordType.AUXTRACE:
                size += struct.unpack_from("<Q", data, at + 8)[0]
            out += data[at : at + size]
        at += size
    flush(last=True)
    changed = list(fields)
    changed[6] = len(out)
    changed[9:13] = [0, 0, 0, 0]
    return FILE_HEADER.pack(*changed) + data[FILE_HEADER.size : data_offset] + bytes(out)
