"""Writes perf.data files with Intel PT traces that the perf tool can decode.

The recipe is the smallest one that perf accepts, plus what makes the file useful elsewhere: see
``PerfDataWriter``. What perf has no place for goes into the trailer (``executed.py``).

This file is long because it holds one class, which writes each kind of record.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import Any, BinaryIO, Literal, NamedTuple, Self

from odograph.code.evidence import Identity, identify
from odograph.errors import InvalidArgument, RecordingError
from odograph.files.destination import must_be_a_file
from odograph.perfdata.executed import WRITER_VERSION, Code, ExecutedFacts, Truth, trailer_bytes
from odograph.perfdata.format import (
    AUXTRACE,
    FEATURE_WORDS,
    FILE_HEADER,
    FILE_HEADER_SIZE,
    MAGIC,
    RECORD_HEADER,
    AttributeFlag,
    AuxFlag,
    Feature,
    Misc,
    RecordType,
    SampleType,
    padded,
)
from odograph.perfdata.time import TimeConversion

__all__ = ["PerfDataWriter"]

_PMU_TYPE = 8
_TRACE_ID, _SIDEBAND_ID = 1001, 1002
_ATTRIBUTE_SIZE = 112
_CONFIG_PT, _CONFIG_BRANCH = 0x1, 0x2000
_CONFIG_TSC, _CONFIG_MTC, _CONFIG_CYC, _CONFIG_NO_RETCOMP = 0x400, 0x200, 0x2, 0x800
_MTC_FREQ_BITS = 0x3C000
_SWITCH_CPU_WIDE_MODE = 3
_PROT_EXEC = 4
_PSB = bytes.fromhex("0282") * 8
#: Bytes of one thread that wait in memory before they are written as a buffer.
_BUFFER = 4 << 20
_TICK_IS_NS = TimeConversion(0, 1, 0)


class _Queue(NamedTuple):
    """Whose trace a buffer holds; ``key`` is the tid, or the CPU in recordings per CPU."""

    key: int
    tid: int
    pid: int
    cpu: int | None


class PerfDataWriter:
    """Writes one recording; a context manager, or call ``close``.

    With ``per_cpu=False`` every thread has its own buffer, found by tid; with ``per_cpu=True`` every CPU
    has one, and ``add_switch`` says who ran. ``timed``: the trace contains TSC packets, and the ``tsc`` of
    each record says when it holds; without it perf regards all maps as present always. ``time`` converts
    TSC to ns of the recording's clock (by default one tick is one ns). ``no_retcomp``, ``mtc_period``,
    ``cyc``, ``tsc_ctc`` (numerator, denominator) and ``max_nonturbo_ratio`` must be what the trace was made
    with; ``cpuid`` is perf's string (``GenuineIntel,6,78,3``), only if the trace is that processor's.

    The path must be a new name or a regular file, which is written anew.

    Records may be added in any order. A file that is never closed still opens: it counts as one whose
    recorder died. Every ``tsc`` is a full 64-bit value; 0 means "before everything".

    >>> with PerfDataWriter("out.perf.data", command_line=["ls"], recorder="qemu") as writer:
    ...     writer.add_comm(42, 42, "ls", exec=True)
    ...     writer.add_mmap2(42, 42, 0x401000, 0x1000, 0x1000, "/usr/bin/ls")
    ...     writer.add_trace(42, 42, pt_bytes)
    ...     writer.add_code(42, 0, 0x401000, executed_bytes)
    ...     writer.set_truth(42, instructions, hash)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timed: bool = False,
        per_cpu: bool = False,
        time: TimeConversion = _TICK_IS_NS,
        no_retcomp: bool = False,
        mtc_period: int | None = None,
        cyc: bool = False,
        tsc_ctc: tuple[int, int] = (0, 0),
        max_nonturbo_ratio: int = 0,
        exclude_kernel: bool = True,
        command_line: Iterable[str] = (),
        cpuid: str | None = None,
        recorder: str = "odograph",
    ) -> None:
        if time.mult == 0:
            raise InvalidArgument("the time multiplier must not be 0")
        self._timed = timed
        self._per_cpu = per_cpu
        self._time = time
        self._command_line = list(command_line)
        self._cpuid = cpuid
        self._sample_type = SampleType.IP | SampleType.TID | SampleType.IDENTIFIER
        if timed:
            self._sample_type |= SampleType.TIME
        if per_cpu:
            self._sample_type |= SampleType.CPU
        self._facts = ExecutedFacts(recorder=recorder)
        self._code: list[Code] = []
        self._build_ids: dict[str, bytes] = {}
        self._identities: dict[str, Identity] = {}
        self._inodes: dict[str, int] = {}
        self._queues: dict[int, int] = {}
        self._ring: dict[int, int] = {}
        self._waiting: dict[int, tuple[_Queue, bytearray]] = {}
        self._last_tsc = 0
        must_be_a_file(path)
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115 (closed by close)
        self._closed = False
        try:
            config = _CONFIG_PT | _CONFIG_BRANCH
            config |= _CONFIG_TSC if timed else 0
            config |= 0 if mtc_period is None else _CONFIG_MTC | mtc_period << 14
            config |= _CONFIG_CYC if cyc else 0
            config |= _CONFIG_NO_RETCOMP if no_retcomp else 0
            self._begin(config, exclude_kernel)
            self._add_auxtrace_info(tsc_ctc, max_nonturbo_ratio)
        except BaseException:
            self._file.close()
            raise

    # The beginning ----------------------------------------------------------------------------------

    def _begin(self, config: int, exclude_kernel: bool) -> None:
        flags = AttributeFlag.SAMPLE_ID_ALL | AttributeFlag.DISABLED | AttributeFlag.INHERIT
        flags |= AttributeFlag.EXCLUDE_HV | (AttributeFlag.EXCLUDE_KERNEL if exclude_kernel else 0)
        side = AttributeFlag.MMAP | AttributeFlag.COMM | AttributeFlag.TASK | AttributeFlag.MMAP2
        side |= AttributeFlag.COMM_EXEC
        side |= AttributeFlag.CONTEXT_SWITCH if self._per_cpu else 0
        software, dummy = 1, 9
        attributes = [
            (self._attribute(_PMU_TYPE, config, flags), _TRACE_ID),
            (self._attribute(software, dummy, flags | side), _SIDEBAND_ID),
        ]
        ids_offset = FILE_HEADER_SIZE
        self._attributes_offset = ids_offset + 8 * len(attributes)
        self._entry_size = _ATTRIBUTE_SIZE + 16
        self._attributes_size = self._entry_size * len(attributes)
        self._data_offset = self._attributes_offset + self._attributes_size
        self._attributes = [attribute for attribute, _ in attributes]
        self._write_header(0, 0)
        for _, identifier in attributes:
            self._file.write(struct.pack("<Q", identifier))
        for index, (attribute, _) in enumerate(attributes):
            self._file.write(attribute + struct.pack("<QQ", ids_offset + 8 * index, 8))

    def _attribute(self, kind: int, config: int, flags: int) -> bytes:
        read_format = 4
        body = struct.pack(
            "<IIQQQQQIIQ",
            kind,
            _ATTRIBUTE_SIZE,
            config,
            1,
            self._sample_type,
            read_format,
            flags,
            0,
            0,
            0,
        )
        return body.ljust(_ATTRIBUTE_SIZE, b"\0")

    def _write_header(self, data_size: int, features: int) -> None:
        mask = (1 << 64) - 1
        words = [features >> (64 * index) & mask for index in range(FEATURE_WORDS)]
        self._file.seek(0)
        self._file.write(
            FILE_HEADER.pack(
                MAGIC,
                FILE_HEADER_SIZE,
                self._entry_size,
                self._attributes_offset,
                self._attributes_size,
                self._data_offset,
                data_size,
                0,
                0,
                *words,
            )
        )

    def _add_auxtrace_info(self, tsc_ctc: tuple[int, int], max_nonturbo_ratio: int) -> None:
        words = (
            _PMU_TYPE,
            self._time.shift,
            self._time.mult,
            self._time.zero,
            int(self._timed),
            _CONFIG_TSC if self._timed else 0,
            _CONFIG_NO_RETCOMP,
            _SWITCH_CPU_WIDE_MODE if self._per_cpu else 0,
            0,
            int(self._per_cpu),
            _CONFIG_MTC,
            _MTC_FREQ_BITS,
            *tsc_ctc,
            _CONFIG_CYC,
            max_nonturbo_ratio,
            0,
        )
        intel_pt = 1
        self._write_record(RecordType.AUXTRACE_INFO, 0, struct.pack("<II17Q", intel_pt, 0, *words))

    # Sideband ---------------------------------------------------------------------------------------

    def add_comm(self, pid: int, tid: int, name: str, *, exec: bool = False, tsc: int = 0) -> None:
        """Thread ``tid`` is called ``name`` from now on; ``exec``: its process runs a new program."""
        body = struct.pack("<ii", pid, tid) + _text(name[:15])
        self._add(RecordType.COMM, Misc.COMM_EXEC if exec else 0, body, pid, tid, tsc)

    def add_fork(
        self, pid: int, ppid: int, tid: int, ptid: int, *, tsc: int = 0, ran_before: bool = False
    ) -> None:
        """Thread ``tid`` of ``pid`` began; a new process (``pid != ppid``) gets its parent's memory.

        ``ran_before``: it began before the recording did, and has memory of its own.
        """
        misc = Misc.FORK_EXEC if ran_before else 0
        self._add_task(RecordType.FORK, pid, ppid, tid, ptid, tsc, misc)

    def add_exit(self, pid: int, ppid: int, tid: int, ptid: int, *, tsc: int = 0) -> None:
        """Thread ``tid`` ended."""
        self._add_task(RecordType.EXIT, pid, ppid, tid, ptid, tsc)

    def _add_task(
        self, kind: RecordType, pid: int, ppid: int, tid: int, ptid: int, tsc: int, misc: int = 0
    ) -> None:
        self._add(kind, misc, struct.pack("<iiiiQ", pid, ppid, tid, ptid, self._ns(tsc)), pid, tid, tsc)

    def add_mmap2(
        self,
        pid: int,
        tid: int,
        address: int,
        length: int,
        pgoff: int,
        filename: str,
        *,
        prot: int = 5,
        flags: int = 2,
        device: tuple[int, int] = (0, 0),
        inode: int = 0,
        build_id: bytes | Literal["file"] | None = "file",
        mapped_at: int | None = None,
        tsc: int = 0,
    ) -> None:
        """``filename`` (or ``//anon``, ``[vdso]``) is mapped from file offset ``pgoff`` on.

        Only executable maps (``prot & 4``) matter for decoding. ``build_id="file"`` looks into the file
        now, so that a later change of it is noticed: by its build id, or else by its size and a digest.
        ``mapped_at`` is when it was mapped (ns of the wall clock): a file that changed since is not looked
        into.
        """
        if build_id == "file":
            build_id = self._identity(filename, device, inode, mapped_at).build_id
        misc = Misc.USER | (0 if prot & _PROT_EXEC else Misc.MMAP_DATA)
        if build_id:
            build_id = build_id[:20]
            self._build_ids[filename] = build_id
            misc |= Misc.MMAP_BUILD_ID
            extra = bytes([len(build_id), 0, 0, 0]) + build_id.ljust(20, b"\0")
        else:
            extra = struct.pack("<IIQQ", *device, inode, 0)
        body = struct.pack("<ii3Q", pid, tid, address, length, pgoff) + extra
        body += struct.pack("<II", prot, flags) + _text(filename)
        self._add(RecordType.MMAP2, misc, body, pid, tid, tsc)

    def _identity(
        self, filename: str, device: tuple[int, int], inode: int, mapped_at: int | None
    ) -> Identity:
        if filename[:1] != "/" or filename[:2] == "//":
            return Identity()
        known = self._identities.get(filename)
        if known is None:
            known = identify(filename, device=device, inode=inode, since=mapped_at)
            self._identities[filename] = known
            if known.facts or known.changed:
                self._facts.files[filename] = known.facts
        if known.touched or inode != self._inodes.setdefault(filename, inode):
            self._facts.touched |= {filename}
        return known

    def add_itrace_start(self, pid: int, tid: int, *, cpu: int | None = None, tsc: int = 0) -> None:
        """Tracing of a thread began."""
        body = struct.pack("<ii", pid, tid)
        self._add(RecordType.ITRACE_START, 0, body, pid, tid, tsc, cpu, _TRACE_ID)

    def add_switch(
        self, cpu: int, pid: int, tid: int, *, tsc: int, previous: tuple[int, int] = (0, 0)
    ) -> None:
        """On ``cpu`` thread ``tid`` runs now, ``previous`` (pid, tid) did before; for ``per_cpu`` files."""
        out = Misc.SWITCH_OUT
        self._add(RecordType.SWITCH_CPU_WIDE, out, struct.pack("<ii", pid, tid), *previous, tsc, cpu)
        self._add(RecordType.SWITCH_CPU_WIDE, 0, struct.pack("<ii", *previous), pid, tid, tsc, cpu)

    def add_lost(self, count: int, *, tsc: int = 0) -> None:
        """The recorder lost ``count`` records."""
        self._add(RecordType.LOST, 0, struct.pack("<QQ", _SIDEBAND_ID, count), 0, 0, tsc)

    # Trace ------------------------------------------------------------------------------------------

    def add_trace(
        self,
        tid: int,
        pid: int,
        trace: bytes | bytearray | memoryview | str | os.PathLike[str],
        *,
        cpu: int | None = None,
        tsc: int = 0,
        truncated: bool = False,
    ) -> None:
        """The next bytes of a thread's (or, with ``cpu``, a processor's) trace: bytes or a file's path.

        Bytes may be given in pieces cut anywhere; a file must end where a packet does. perf wants to know
        the thread from ``add_comm`` or ``add_fork``. ``truncated``: data was lost after these bytes.
        ``tsc`` is a time at or after the last packet; it gives the top byte that TSC packets lack.

        PAD packets may be added where buffers end, since buffers are multiples of 8 bytes; perf 6.1 loses
        its way where a PSB+ is split between buffers, so they end before a PSB.
        """
        if self._per_cpu != (cpu is not None):
            raise InvalidArgument("cpu must be given exactly for recordings per CPU")
        queue = _Queue(tid if cpu is None else cpu, tid, pid, cpu)
        waiting = self._waiting.pop(queue.key, None)
        if isinstance(trace, (str, os.PathLike)):
            if waiting is not None:
                self._write_trace(queue, waiting[1], tsc, False)
            self._copy_trace(queue, trace, tsc, truncated)
            return
        data = waiting[1] if waiting is not None else bytearray()
        data += trace
        if truncated:
            self._write_trace(queue, data, tsc, True)
            return
        cut = data.rfind(_PSB) if len(data) >= _BUFFER else 0
        if cut > 0:
            self._write_trace(queue, data[:cut], tsc, False)
            del data[:cut]
        self._waiting[queue.key] = (queue, data)

    def _copy_trace(self, queue: _Queue, path: str | os.PathLike[str], tsc: int, truncated: bool) -> None:
        with open(path, "rb") as source:
            size = os.fstat(source.fileno()).st_size
            if size == 0:
                return
            self._add_trace_header(queue, padded(size), tsc, truncated)
            left = size
            while left and (chunk := source.read(min(left, 1 << 22))):
                self._file.write(chunk)
                left -= len(chunk)
            if left:
                raise RecordingError(f"{os.fspath(path)} became shorter while it was copied")
            self._file.write(bytes(padded(size) - size))

    def _write_trace(self, queue: _Queue, data: bytearray, tsc: int, truncated: bool) -> None:
        if data:
            size = padded(len(data))
            self._add_trace_header(queue, size, tsc, truncated)
            self._file.write(data)
            self._file.write(bytes(size - len(data)))

    def _add_trace_header(self, queue: _Queue, size: int, tsc: int, truncated: bool) -> None:
        idx = self._queues.setdefault(queue.key, len(self._queues))
        offset = self._ring.get(queue.key, 0)
        self._ring[queue.key] = offset + size
        flags = AuxFlag.TRUNCATED if truncated else 0
        aux = struct.pack("<3Q", offset, size, flags)
        time = tsc or self._last_tsc
        self._add(RecordType.AUX, 0, aux, queue.pid, queue.tid, time, queue.cpu, _TRACE_ID)
        number, owner = (-1, queue.tid) if queue.cpu is None else (queue.cpu, -1)
        # Perf fails on reference 0.
        body = AUXTRACE.pack(size, offset, time or 1, idx, owner, number, 0)
        self._write_record(RecordType.AUXTRACE, 0, body)

    # The trailer ------------------------------------------------------------------------------------

    def add_code(self, pid: int, tsc: int, address: int, data: bytes) -> None:
        """``data`` is what was executed at ``address`` of process ``pid``, from ``tsc`` on.

        Without times (``timed=False``) the last version of an address counts. A forked process inherits
        its parent's code only in timed recordings; otherwise add it for both.
        """
        if not 0 <= address <= (1 << 64) - len(data):
            raise InvalidArgument(f"{len(data)} bytes at {address:#x} do not fit into 64 bits")
        if data:
            self._code.append(Code(pid, tsc, address, bytes(data)))

    def set_truth(self, tid: int, instructions: int, hash: int) -> None:
        """What the recorder counted for a thread: instructions, and the hash of their addresses."""
        self._facts.truth[tid] = Truth(instructions, hash)

    def add_gap(self, cause: str, message: str, *, tid: int | None = None, tsc: int = 0) -> None:
        """Something that ran is not in the trace, e.g. a program that could not be followed."""
        self._facts.gaps.append({"cause": cause, "message": message, "tid": tid, "tsc": tsc})

    @property
    def lost(self) -> list[str]:
        """What could not be recorded because no room was left: the messages of ``lost`` gaps."""
        return [gap["message"] for gap in self._facts.gaps if gap["cause"] == "lost"]

    def set_exit_status(self, status: int) -> None:
        """How the program ended: its status, or 128 + the signal that killed it."""
        self._facts.exit_status = status

    def set_extra(self, name: str, value: Any) -> None:
        """Anything else the recorder wants to keep; must be fit for JSON."""
        self._facts.extra[name] = value

    # The end ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write what is left: the trace's rest, features, trailer, header. A second time does nothing."""
        if self._closed:
            return
        self._closed = True
        with self._file:
            for queue, data in self._waiting.values():
                self._write_trace(queue, data, 0, False)
            self._write_record(RecordType.FINISHED_ROUND, 0, b"")
            data_end = self._file.tell()
            bits = self._write_features(data_end)
            offset = self._file.tell()
            for piece in trailer_bytes(self._facts, self._code, offset):
                self._file.write(piece)
            self._write_header(data_end - self._data_offset, bits)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _write_features(self, table: int) -> int:
        """Write table and bodies at the end of the data section; returns the feature bits."""
        bodies = self._features()
        bits = 0
        offset = table + 16 * len(bodies)
        entries = []
        for number in sorted(bodies):
            bits |= 1 << number
            entries.append(struct.pack("<QQ", offset, len(bodies[number])))
            offset += len(bodies[number])
        self._file.write(b"".join(entries))
        for number in sorted(bodies):
            self._file.write(bodies[number])
        return bits

    def _features(self) -> dict[Feature, bytes]:
        machine = os.uname() if hasattr(os, "uname") else None
        bodies = {Feature.ARCH: _feature_text("x86_64"), Feature.VERSION: _feature_text(WRITER_VERSION)}
        if machine is not None:
            bodies[Feature.HOSTNAME] = _feature_text(machine.nodename)
            bodies[Feature.OS_RELEASE] = _feature_text(machine.release)
        if self._cpuid:
            bodies[Feature.CPUID] = _feature_text(self._cpuid)
        if self._command_line:
            texts = b"".join(_feature_text(word) for word in self._command_line)
            bodies[Feature.COMMAND_LINE] = struct.pack("<I", len(self._command_line)) + texts
        if self._build_ids:
            bodies[Feature.BUILD_ID] = b"".join(map(_build_id_entry, self._build_ids.items()))
        events = (("intel_pt//", _TRACE_ID), ("dummy:u", _SIDEBAND_ID))
        description = struct.pack("<II", len(events), _ATTRIBUTE_SIZE)
        for attribute, (name, identifier) in zip(self._attributes, events, strict=True):
            description += attribute + struct.pack("<I", 1) + _feature_text(name)
            description += struct.pack("<Q", identifier)
        bodies[Feature.EVENT_DESCRIPTION] = description
        pmus = struct.pack("<II", 2, 1) + _feature_text("software")
        bodies[Feature.PMU_MAPPINGS] = pmus + struct.pack("<I", _PMU_TYPE) + _feature_text("intel_pt")
        return bodies

    # Records ----------------------------------------------------------------------------------------

    def _ns(self, tsc: int) -> int:
        return self._time.to_ns(tsc) if tsc else 0

    def _add(
        self,
        kind: RecordType,
        misc: int,
        body: bytes,
        pid: int,
        tid: int,
        tsc: int,
        cpu: int | None = None,
        identifier: int = _SIDEBAND_ID,
    ) -> None:
        """Write a kernel record with its identifying block."""
        self._last_tsc = max(self._last_tsc, tsc)
        stamp = struct.pack("<ii", pid, tid)
        if self._timed:
            stamp += struct.pack("<Q", self._ns(tsc))
        if self._per_cpu:
            stamp += struct.pack("<II", cpu or 0, 0)
        self._write_record(kind, misc, body + stamp + struct.pack("<Q", identifier))

    def _write_record(self, kind: RecordType, misc: int, body: bytes) -> None:
        size = RECORD_HEADER.size + len(body)
        if size > 0xFFFF:
            raise InvalidArgument(f"a {kind.name} record of {size} bytes is too long")
        self._file.write(RECORD_HEADER.pack(kind, misc, size) + body)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape").replace(b"\0", b"")


def _text(text: str) -> bytes:
    """NUL-terminated and padded to 8 bytes, as in records."""
    data = _encoded(text) + b"\0"
    return data.ljust(padded(len(data)), b"\0")


def _feature_text(text: str) -> bytes:
    """With its padded length in front, as in features."""
    data = _encoded(text) + b"\0"
    length = padded(len(data), 64)
    return struct.pack("<I", length) + data.ljust(length, b"\0")


def _build_id_entry(entry: tuple[str, bytes]) -> bytes:
    name, build_id = entry
    has_size = 0x8000
    data = _encoded(name) + b"\0"
    body = struct.pack("<i", -1) + build_id.ljust(20, b"\0") + bytes([len(build_id), 0, 0, 0])
    body += data.ljust(padded(len(data), 64), b"\0")
    return RECORD_HEADER.pack(RecordType.HEADER_BUILD_ID, Misc.USER | has_size, 8 + len(body)) + body
