"""The record stream: one tuple a record, bodies parsed only on demand."""

from __future__ import annotations

import struct
from typing import NamedTuple

from odograph.perfdata.format import Misc

__all__ = [
    "Aux",
    "AuxTrace",
    "Comm",
    "Inode",
    "KernelSymbol",
    "Lost",
    "Mmap",
    "Record",
    "Task",
    "TextPoke",
    "Throttle",
    "parse_aux",
    "parse_comm",
    "parse_ksymbol",
    "parse_lost",
    "parse_lost_samples",
    "parse_mmap",
    "parse_mmap2",
    "parse_pair",
    "parse_task",
    "parse_text_poke",
    "parse_throttle",
]


class Record(NamedTuple):
    """One record: its type, misc bits, whole size, all its bytes, and where it lies in the file.

    A record that came out of a compressed one has the offset of that one. ``file`` is 0 for the main
    file, n for the n-th part of a recording that is a directory.
    """

    type: int
    misc: int
    size: int
    data: bytes
    offset: int
    file: int = 0


class Inode(NamedTuple):
    """Which file a MMAP2 record means: device numbers, inode and its generation."""

    major: int
    minor: int
    number: int
    generation: int


class Mmap(NamedTuple):
    """A file (or nothing) mapped at an address; ``build_id`` only if the kernel recorded it.

    ``inode`` and ``flags`` (those of mmap(2)) are what MMAP2 adds; where the kernel recorded a build id,
    its bytes lie in the place of the inode.
    """

    pid: int
    tid: int
    address: int
    length: int
    pgoff: int
    filename: str
    prot: int | None
    build_id: bytes | None
    kernel: bool
    inode: Inode | None = None
    flags: int = 0


class Comm(NamedTuple):
    """A thread's new name; ``exec``: because its process runs another program now."""

    pid: int
    tid: int
    name: str
    exec: bool


class Task(NamedTuple):
    """A thread began (FORK) or ended (EXIT); ``time`` as the record's body says."""

    pid: int
    ppid: int
    tid: int
    ptid: int
    time: int


class Aux(NamedTuple):
    """``size`` bytes were added at ``offset`` of the AUX ring."""

    offset: int
    size: int
    flags: int


class Lost(NamedTuple):
    """``lost`` records of event ``id`` found no room in the buffer."""

    id: int
    lost: int


class Throttle(NamedTuple):
    """An event came too often and was switched off (THROTTLE) or on again (UNTHROTTLE)."""

    time: int
    id: int
    stream_id: int


class AuxTrace(NamedTuple):
    """One buffer of trace bytes: ``offset`` in the AUX ring, ``position`` of the bytes in the file.

    ``missing`` bytes behind them should be there, too.
    """

    size: int
    offset: int
    reference: int
    idx: int
    tid: int
    cpu: int
    position: int
    file: int
    missing: int = 0


class KernelSymbol(NamedTuple):
    """Kernel code that came (BPF programs, trampolines) or went."""

    address: int
    length: int
    kind: int
    gone: bool
    name: str


class TextPoke(NamedTuple):
    """The kernel changed its own code."""

    address: int
    old: bytes
    new: bytes


_KERNEL = int(Misc.KERNEL)
_MMAP = struct.Struct("<ii3Q")
_MMAP2 = struct.Struct("<ii3Q24sII")
_PAIR = struct.Struct("<ii")
_TASK = struct.Struct("<iiiiQ")
_INODE = struct.Struct("<IIQQ")
_AUX = struct.Struct("<3Q")
_LOST = struct.Struct("<2Q")
_THROTTLE = struct.Struct("<3Q")
_KSYMBOL = struct.Struct("<QIHH")
_TEXT_POKE = struct.Struct("<QHH")


def text(data: bytes, start: int, end: int | None = None) -> str:
    """The NUL-terminated string at ``start``; undecodable bytes survive as surrogate escapes."""
    stop = data.find(b"\0", start, end)
    if stop < 0:
        stop = len(data) if end is None else end
    return data[start:stop].decode("utf-8", "surrogateescape")


def parse_mmap(record: Record) -> Mmap:
    """Body of MMAP; struct.error if it is cut short, as in all parsers here."""
    pid, tid, address, length, pgoff = _MMAP.unpack_from(record.data, 8)
    prot = None if record.misc & Misc.MMAP_DATA == 0 else 0
    kernel = record.misc & 7 == _KERNEL
    return Mmap(pid, tid, address, length, pgoff, text(record.data, 40), prot, None, kernel)


def parse_mmap2(record: Record) -> Mmap:
    """Body of MMAP2, with a build id if misc says that one replaces the inode."""
    pid, tid, address, length, pgoff, extra, prot, flags = _MMAP2.unpack_from(record.data, 8)
    build_id = None
    if record.misc & Misc.MMAP_BUILD_ID:
        build_id = extra[4 : 4 + min(extra[0], 20)] or None
    kernel = record.misc & 7 == _KERNEL
    inode = Inode._make(_INODE.unpack(extra))
    name = text(record.data, 72)
    return Mmap(pid, tid, address, length, pgoff, name, prot, build_id, kernel, inode, flags)


def parse_comm(record: Record) -> Comm:
    """Body of COMM."""
    pid, tid = _PAIR.unpack_from(record.data, 8)
    return Comm(pid, tid, text(record.data, 16), bool(record.misc & Misc.COMM_EXEC))


def parse_task(record: Record) -> Task:
    """Body of FORK and EXIT."""
    return Task(*_TASK.unpack_from(record.data, 8))


def parse_pair(record: Record) -> tuple[int, int]:
    """The (pid, tid) that begins ITRACE_START and SWITCH_CPU_WIDE."""
    pid, tid = _PAIR.unpack_from(record.data, 8)
    return pid, tid


def parse_aux(record: Record) -> Aux:
    """Body of AUX."""
    return Aux(*_AUX.unpack_from(record.data, 8))


def parse_lost(record: Record) -> Lost:
    """Body of LOST."""
    return Lost(*_LOST.unpack_from(record.data, 8))


def parse_lost_samples(record: Record) -> int:
    """Body of LOST_SAMPLES: how many."""
    (lost,) = struct.unpack_from("<Q", record.data, 8)
    return int(lost)


def parse_throttle(record: Record) -> Throttle:
    """Body of THROTTLE and UNTHROTTLE."""
    return Throttle(*_THROTTLE.unpack_from(record.data, 8))


def parse_ksymbol(record: Record) -> KernelSymbol:
    """Body of KSYMBOL."""
    address, length, kind, flags = _KSYMBOL.unpack_from(record.data, 8)
    return KernelSymbol(address, length, kind, bool(flags & 1), text(record.data, 24))


def parse_text_poke(record: Record) -> TextPoke:
    """Body of TEXT_POKE."""
    address, old_length, new_length = _TEXT_POKE.unpack_from(record.data, 8)
    start = 8 + _TEXT_POKE.size
    middle = start + old_length
    end = middle + new_length
    if end > len(record.data):
        raise struct.error("TEXT_POKE names more bytes than it holds")
    return TextPoke(address, record.data[start:middle], record.data[middle:end])
