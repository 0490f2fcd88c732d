"""Records as the text that libipt's tools print. All numbers are hexadecimal without a prefix.

Where a name is not printable, its characters are escaped, as libipt's tools do not do.
"""

from __future__ import annotations

from typing import TypeAlias

from odograph.dropins.pevent.record import SidebandRecord
from odograph.dropins.pevent.stream import Stream
from odograph.perfdata.format import AuxFlag, Misc, RecordType
from odograph.perfdata.records import Aux, Comm, Lost, Mmap, Task, Throttle
from odograph.text.printable import printable

__all__ = ["prefix", "text"]

#: Names and values for the verbose form; the compact one has the values only, pid and tid as one.
_Fields: TypeAlias = list[tuple[str, str]]

_UNSIGNED = (1 << 64) - 1


def prefix(stream: Stream, record: SidebandRecord, *, filename: bool, offset: bool, time: bool) -> str:
    """What stands before a record: its file, its offset there, its TSC if it has a time."""
    start = ""
    if filename and offset:
        start = f"{printable(stream.filename)}:{record.raw.offset:016x}  "
    elif filename:
        start = f"{printable(stream.filename)}  "
    elif offset:
        start = f"{record.raw.offset:016x}  "
    return f"{start}{record.tsc:016x}  " if time and "TIME" in record.samples else start


def text(record: SidebandRecord, *, verbose: bool) -> str:
    """The record in one line, or in one for its name and one for each field; no newline at the end."""
    if verbose:
        lines = [f"  {key}: {value}" for key, value in (*_fields(record), *_samples(record))]
        return "\n".join([_name(record), *lines])
    compact = _compact(record)
    samples = "".join(f" {value}" for value in _compact_samples(record))
    return f"{_name(record)}{compact}  {{{samples} }}"


def _hex(value: int) -> str:
    return f"{value & _UNSIGNED:x}"


def _id(value: int) -> str:
    """A pid or tid; -1 (none) shows as 32 bits."""
    return f"{value & 0xFFFFFFFF:x}"


def _pair(pid: int, tid: int) -> str:
    return f"{_id(pid)}/{_id(tid)}"


def _name(record: SidebandRecord) -> str:
    kind, misc, body = record.raw.type, record.raw.misc, record.body
    suffix = ""
    if not record.known:
        return "PERF_RECORD_UNKNOWN"
    if kind == RecordType.COMM and misc & Misc.COMM_EXEC:
        suffix = ".EXEC"
    elif kind in (RecordType.SWITCH, RecordType.SWITCH_CPU_WIDE):
        suffix = ".OUT" if misc & Misc.SWITCH_OUT else ".IN"
    elif isinstance(body, Aux) and body.flags & AuxFlag.TRUNCATED:
        suffix = ".TRUNCATED"
    return f"PERF_RECORD_{RecordType(kind).name}{suffix}"


def _compact(record: SidebandRecord) -> str:
    """The fields of the compact form, with the blank before them."""
    if not record.known:
        return f" ({record.raw.type:x}, {record.raw.misc:x})"
    match record.body:
        case Task() as task:
            values = [_pair(task.pid, task.tid), _pair(task.ppid, task.ptid), _hex(task.time)]
        case _:
            values = _joined(_fields(record))
    return f" {', '.join(values)}" if values else ""


def _joined(fields: _Fields) -> list[str]:
    """The values; a pid and the tid behind it as one."""
    values = [value for _, value in fields]
    if len(fields) >= 2 and fields[0][0].endswith("pid") and fields[1][0].endswith("tid"):
        values[:2] = ["/".join(values[:2])]
    return values


def _fields(record: SidebandRecord) -> _Fields:
    """The body's fields in the order of the record."""
    match record.body:
        case Mmap() as m:
            inode: _Fields = []
            if m.inode is not None:
                inode = [
                    ("maj", _hex(m.inode.major)),
                    ("min", _hex(m.inode.minor)),
                    ("ino", _hex(m.inode.number)),
                    ("ino_generation", _hex(m.inode.generation)),
                    ("prot", _hex(m.prot or 0)),
                    ("flags", _hex(m.flags)),
                ]
            return [
                ("pid", _id(m.pid)),
                ("tid", _id(m.tid)),
                ("addr", _hex(m.address)),
                ("len", _hex(m.length)),
                ("pgoff", _hex(m.pgoff)),
                *inode,
                ("filename", printable(m.filename)),
            ]
        case Lost() as lost:
            return [("id", _hex(lost.id)), ("lost", _hex(lost.lost))]
        case Comm() as comm:
            return [("pid", _id(comm.pid)), ("tid", _id(comm.tid)), ("comm", printable(comm.name))]
        case Task() as task:
            return [
                ("pid", _id(task.pid)),
                ("ppid", _id(task.ppid)),
                ("tid", _id(task.tid)),
                ("ptid", _id(task.ptid)),
                ("time", _hex(task.time)),
            ]
        case Throttle() as throttle:
            return [
                ("time", _hex(throttle.time)),
                ("id", _hex(throttle.id)),
                ("stream_id", _hex(throttle.stream_id)),
            ]
        case Aux() as aux:
            return [
                ("aux offset", _hex(aux.offset)),
                ("aux size", _hex(aux.size)),
                ("flags", _hex(aux.flags)),
            ]
        case (int() as pid, int() as tid):
            who = ""
            if record.raw.type == RecordType.SWITCH_CPU_WIDE:
                who = "next " if record.raw.misc & Misc.SWITCH_OUT else "prev "
            return [(f"{who}pid", _id(pid)), (f"{who}tid", _id(tid))]
        case int() as count:
            return [("lost", _hex(count))]
    if record.known:
        return []
    return [("type", _hex(record.raw.type)), ("misc", _hex(record.raw.misc))]


_SAMPLE_KEYS = (
    ("pid", "pid"),
    ("tid", "tid"),
    ("TIME", "time"),
    ("ID", "id"),
    ("CPU", "cpu"),
    ("STREAM_ID", "stream id"),
    ("IDENTIFIER", "identifier"),
)


def _samples(record: SidebandRecord) -> _Fields:
    samples = record.samples
    return [
        (key, _id(samples[name]) if name in ("pid", "tid") else _hex(samples[name]))
        for name, key in _SAMPLE_KEYS
        if name in samples
    ]


def _compact_samples(record: SidebandRecord) -> list[str]:
    return _joined([(key, f"cpu-{value}" if key == "cpu" else value) for key, value in _samples(record)])
