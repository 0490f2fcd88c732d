"""A tiny writer of raw perf records: a header, packed fields, a padded name, packed samples."""

from __future__ import annotations

import struct

TID, TIME, ID, CPU, STREAM_ID, IDENTIFIER = 2, 4, 0x40, 0x80, 0x200, 0x10000
EVERYTHING = TID | TIME | ID | CPU | STREAM_ID | IDENTIFIER

KERNEL, OUT, EXEC = 1, 0x2000, 0x2000


def name(text: str) -> bytes:
    data = text.encode() + b"\0"
    return data + bytes(-len(data) % 8)


def record(kind: int, body: bytes = b"", samples: bytes = b"", misc: int = 0) -> bytes:
    return struct.pack("<IHH", kind, misc, 8 + len(body) + len(samples)) + body + samples


def time(tsc: int) -> bytes:
    return struct.pack("<Q", tsc)


def who(pid: int, tid: int, tsc: int) -> bytes:
    return struct.pack("<iiQ", pid, tid, tsc)


def everything(tsc: int, identifier: int = 0xEE) -> bytes:
    """All samples there are: pid 11, tid 12, time, id 14, stream id 16, CPU 15, identifier."""
    return struct.pack("<iiQQQIIQ", 0x11, 0x12, tsc, 0x14, 0x16, 0x15, 0, identifier)


def mmap(
    pid: int, address: int, size: int, offset: int, file: str, samples: bytes = b"", misc: int = 0
) -> bytes:
    return record(1, struct.pack("<ii3Q", pid, pid, address, size, offset) + name(file), samples, misc)


def mmap2(pid: int, address: int, size: int, offset: int, file: str, samples: bytes = b"") -> bytes:
    body = struct.pack("<ii3QIIQQII", pid, pid + 1, address, size, offset, 8, 1, 0xABC, 7, 5, 2)
    return record(10, body + name(file), samples, 2)


def lost(samples: bytes = b"") -> bytes:
    return record(2, struct.pack("<QQ", 0x21, 0x22), samples)


def comm(pid: int, text: str, samples: bytes = b"", misc: int = 0) -> bytes:
    return record(3, struct.pack("<ii", pid, pid) + name(text), samples, misc)


def task(kind: int, pid: int, ppid: int, samples: bytes = b"") -> bytes:
    """EXIT (4) or FORK (7); threads have the number of their process plus 0x10."""
    return record(kind, struct.pack("<iiiiQ", pid, ppid, pid + 0x10, ppid + 0x10, 0x41), samples)


def throttle(kind: int, samples: bytes = b"") -> bytes:
    return record(kind, struct.pack("<3Q", 0x51, 0x52, 0x53), samples)


def aux(flags: int, samples: bytes = b"") -> bytes:
    return record(11, struct.pack("<3Q", 0x1000, 0x800, flags), samples)


def itrace_start(pid: int, samples: bytes = b"") -> bytes:
    return record(12, struct.pack("<ii", pid, pid), samples)


def lost_samples(samples: bytes = b"") -> bytes:
    return record(13, struct.pack("<Q", 0x61), samples)


def switch(samples: bytes = b"", misc: int = 0) -> bytes:
    return record(14, b"", samples, misc)


def switch_cpu_wide(pid: int, samples: bytes = b"", misc: int = 0) -> bytes:
    return record(15, struct.pack("<ii", pid, pid), samples, misc)
