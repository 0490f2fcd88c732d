"""From sideband records to processes, threads and who ran where: applied in the order of time.

perf.data files keep records of several CPUs in several buffers, so file order is not time order. With
times, all records are sorted by them (equal times keep file order; FINISHED_ROUND gives no more than
that). Without times ("timeless"), file order counts and all maps are regarded as present from the start.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import NamedTuple

from odograph.code.mappings import KERNEL_PID, Mapping, ProcessMemory
from odograph.perfdata.attributes import Stamp
from odograph.perfdata.executed import Code
from odograph.perfdata.format import AuxFlag, Misc, RecordType
from odograph.perfdata.problem import Problems
from odograph.perfdata.records import (
    Aux,
    KernelSymbol,
    Mmap,
    Record,
    parse_aux,
    parse_comm,
    parse_ksymbol,
    parse_lost,
    parse_mmap,
    parse_mmap2,
    parse_pair,
    parse_task,
    parse_text_poke,
)
from odograph.perfdata.time import TimeConversion

__all__ = ["Region", "Sideband", "ThreadInfo"]

_PROT_EXEC = 4
_TRUNCATED, _PARTIAL = int(AuxFlag.TRUNCATED), int(AuxFlag.PARTIAL)
_OVERWRITE = int(AuxFlag.OVERWRITE)
_SWITCH_OUT = int(Misc.SWITCH_OUT)
_RAN_BEFORE = int(Misc.FORK_EXEC)
_time_and_order = itemgetter(0, 1)


class Region(NamedTuple):
    """From ``tsc_start`` on (0 = the beginning) this thread ran. ``tid`` 0 is the idle thread, -1 unknown."""

    tsc_start: int
    tid: int
    pid: int


class ThreadInfo:
    """What the sideband says of one thread; times in ns of perf's clock, None = not recorded."""

    __slots__ = ("comm", "end", "pid", "start", "tid")

    def __init__(self, tid: int, pid: int, comm: str) -> None:
        self.tid = tid
        self.pid = pid
        self.comm = comm
        self.start: int | None = None
        self.end: int | None = None


class AuxLoss(NamedTuple):
    """An AUX record that says data was lost: at ``position`` of the ring of its CPU or thread."""

    cpu: int | None
    tid: int | None
    position: int
    flags: int
    time: int | None
    file_offset: int


# What will be applied: time, order of arrival, function, its arguments. A plain tuple because there are many.
_Event = tuple[int, int, Callable[..., None], tuple[object, ...]]


class Sideband:
    """Collects the kernel's records about the traced system, then puts them in order.

    Call ``add`` for every record, ``finish`` once; then read ``spaces`` (by pid), ``threads`` (by tid),
    ``switches`` (by CPU), ``losses`` and ``lost_records``.
    """

    def __init__(self, problems: Problems, build_ids: dict[str, bytes]) -> None:
        self.problems = problems
        self.build_ids = build_ids
        self.memories: dict[int, ProcessMemory] = {}
        self.threads: dict[int, ThreadInfo] = {}
        self.switches: dict[int, list[Region]] = {}
        self.losses: list[AuxLoss] = []
        #: Up to where in its ring the trace of a (CPU, thread) was written, and which record says so.
        self.written: dict[tuple[int | None, int | None], tuple[int, int]] = {}
        self.lost_records = 0
        self.itrace_starts: set[int] = set()
        self.children: dict[int, list[int]] = {}
        self._events: list[_Event] = []
        self._code_versions: list[Code] = []
        self._parsers: dict[int, Callable[[Record, Stamp], None]] = {
            RecordType.MMAP: self._on_mmap,
            RecordType.MMAP2: self._on_mmap,
            RecordType.COMM: self._on_comm,
            RecordType.FORK: self._on_fork,
            RecordType.EXIT: self._on_exit,
            RecordType.ITRACE_START: self._on_itrace_start,
            RecordType.SWITCH: self._on_switch,
            RecordType.SWITCH_CPU_WIDE: self._on_switch_cpu_wide,
            RecordType.KSYMBOL: self._on_ksymbol,
            RecordType.TEXT_POKE: self._on_text_poke,
            RecordType.AUX: self._on_aux,
            RecordType.LOST: self._on_lost,
        }

    def handles(self, kind: int) -> bool:
        """True if records of this type matter here."""
        return kind in self._parsers

    def add(self, record: Record, stamp: Stamp) -> None:
        """Take in one record. A damaged one is noted as a problem and left out."""
        try:
            self._parsers[record.type](record, stamp)
        except struct.error as error:
            self.problems.add(record.offset, f"a record of type {record.type} is damaged: {error}")

    def add_switch(self, time: int | None, cpu: int, pid: int, tid: int) -> None:
        """Thread ``tid`` runs on ``cpu`` from ``time`` on (for switches that a sample tells)."""
        self._later(time, self._switch, cpu, pid, tid)

    def add_code(self, code: Iterable[Code]) -> None:
        """Executed bytes that the recorder kept: they lie over what is mapped there at their time."""
        self._code_versions.extend(code)

    def finish(self, conversion: TimeConversion | None) -> None:
        """Apply everything in order; ``conversion`` None = timeless."""
        events = self._events
        if conversion is None:
            # Executed bytes come after all maps, which then count as present from the beginning.
            ordered = [(0, order, apply, arguments) for _, order, apply, arguments in events]
        else:
            ordered = []
            last, tsc = 0, 0
            for time, order, apply, arguments in events:
                if time != last:
                    last, tsc = time, conversion.to_tsc(time)
                ordered.append((tsc, order, apply, arguments))
        for order, version in enumerate(self._code_versions, len(events)):
            code = (version.pid, version.address, version.data)
            ordered.append((version.tsc, order, self._code, code))
        ordered.sort(key=_time_and_order)
        for tsc, _, apply, arguments in ordered:
            apply(tsc or None, *arguments)
        self._code_versions.clear()
        self._events.clear()

    def memory(self, pid: int) -> ProcessMemory:
        """The memory of a process, empty if nothing is known."""
        memory = self.memories.get(pid)
        if memory is None:
            memory = self.memories[pid] = ProcessMemory(pid)
        return memory

    def thread(self, tid: int, pid: int | None = None) -> ThreadInfo:
        """The thread, made known if it was not."""
        thread = self.threads.get(tid)
        if thread is None:
            thread = self.threads[tid] = ThreadInfo(tid, tid if pid is None else pid, "")
        elif pid is not None:
            thread.pid = pid
        return thread

    # Parsing: what a record says -----------------------------------------------------------------------

    def _later(self, time: int | None, apply: Callable[..., None], *arguments: object) -> None:
        self._events.append((time or 0, len(self._events), apply, arguments))

    def _on_mmap(self, record: Record, stamp: Stamp) -> None:
        if record.misc & 7 in (Misc.GUEST_KERNEL, Misc.GUEST_USER):
            return
        mmap = parse_mmap2(record) if record.type == RecordType.MMAP2 else parse_mmap(record)
        if mmap.prot is not None and not mmap.prot & _PROT_EXEC:
            return
        if mmap.length == 0 or mmap.address + mmap.length > 1 << 64:
            self.problems.add(
                record.offset, f"a map of {mmap.length:#x} bytes at {mmap.address:#x} cannot be"
            )
            return
        self._later(stamp.time, self._map, mmap, record.offset)

    def _on_comm(self, record: Record, stamp: Stamp) -> None:
        comm = parse_comm(record)
        self._later(stamp.time, self._name, comm.pid, comm.tid, comm.name, comm.exec)

    def _on_fork(self, record: Record, stamp: Stamp) -> None:
        task = parse_task(record)
        time = stamp.time if stamp.time is not None else task.time
        copies = not record.misc & _RAN_BEFORE
        self._later(time, self._fork, task.pid, task.ppid, task.tid, task.ptid, time, copies)

    def _on_exit(self, record: Record, stamp: Stamp) -> None:
        task = parse_task(record)
        time = stamp.time if stamp.time is not None else task.time
        self._later(time, self._exit, task.pid, task.tid, time)

    def _on_itrace_start(self, record: Record, stamp: Stamp) -> None:
        pid, tid = parse_pair(record)
        self._later(stamp.time, self._start, stamp.cpu, pid, tid)

    def _on_switch(self, record: Record, stamp: Stamp) -> None:
        if not record.misc & _SWITCH_OUT and stamp.tid is not None and stamp.cpu is not None:
            self._later(stamp.time, self._switch, stamp.cpu, stamp.pid, stamp.tid)

    def _on_switch_cpu_wide(self, record: Record, stamp: Stamp) -> None:
        pid, tid = parse_pair(record)
        if stamp.cpu is None:
            return
        out = record.misc & _SWITCH_OUT
        my_pid, my_tid = stamp.pid, stamp.tid
        if my_pid is None or my_tid is None:
            if not out:
                return
            my_pid = my_tid = -1
        if out:
            self._later(stamp.time, self._switch, stamp.cpu, pid, tid, my_pid, my_tid)
        else:
            self._later(stamp.time, self._switch, stamp.cpu, my_pid, my_tid, pid, tid)

    def _on_ksymbol(self, record: Record, stamp: Stamp) -> None:
        self._later(stamp.time, self._kernel_symbol, parse_ksymbol(record), record.offset)

    def _on_text_poke(self, record: Record, stamp: Stamp) -> None:
        poke = parse_text_poke(record)
        self._later(stamp.time, self._code, KERNEL_PID, poke.address, poke.new)

    def _on_aux(self, record: Record, stamp: Stamp) -> None:
        aux: Aux = parse_aux(record)
        # In a recording that began late this may be all that tells a thread's process.
        if stamp.tid is not None and stamp.tid > 0 and stamp.pid is not None and stamp.pid >= 0:
            self._later(stamp.time, self._meet, stamp.pid, stamp.tid)
        if aux.flags & _PARTIAL:
            self.problems.add(
                record.offset, "the trace pauses here: the processor was busy elsewhere (a guest?)"
            )
        if not aux.flags & _OVERWRITE:
            key = stamp.cpu, stamp.tid
            self.written[key] = max((aux.offset + aux.size, record.offset), self.written.get(key, (0, 0)))
        # Overwritten rings (snapshots) and partial data are as asked for; only truncation is loss.
        if aux.flags & _TRUNCATED:
            end = aux.offset + aux.size
            self.losses.append(AuxLoss(stamp.cpu, stamp.tid, end, aux.flags, stamp.time, record.offset))

    def _on_lost(self, record: Record, stamp: Stamp) -> None:
        lost = parse_lost(record).lost
        self.lost_records += lost
        self.problems.add(
            record.offset, f"the recorder lost {lost} records; maps or thread switches may be missing"
        )

    # Applying: in the order of time --------------------------------------------------------------------

    def _map(self, tsc: int | None, mmap: Mmap, offset: int) -> None:
        pid = KERNEL_PID if mmap.kernel or mmap.pid == KERNEL_PID else mmap.pid
        name = mmap.filename
        build_id = mmap.build_id or self.build_ids.get(name) or self.build_ids.get(_module_name(name))
        self.memory(pid).add(
            tsc,
            Mapping(
                mmap.address,
                mmap.length,
                mmap.pgoff,
                name,
                build_id,
                mmap.prot,
                pid=pid,
                kernel=pid == KERNEL_PID,
                offset=offset,
            ),
        )

    def _name(self, tsc: int | None, pid: int, tid: int, name: str, exec_: bool) -> None:
        self.thread(tid, pid).comm = name
        # Without times old and new maps cannot be told apart by the trace, so none may vanish.
        if exec_ and tsc is not None:
            self.memory(pid).clear(tsc)

    def _fork(
        self, tsc: int | None, pid: int, ppid: int, tid: int, ptid: int, time: int, copies: bool
    ) -> None:
        parent = self.threads.get(ptid)
        thread = self.thread(tid, pid)
        thread.comm = parent.comm if parent is not None else thread.comm
        thread.start, thread.end = time or None, None
        self.children.setdefault(ptid, []).append(tid)
        if pid == ppid:
            return
        if copies:
            self.memory(pid).inherit(tsc, self.memory(ppid))
        elif pid in self.memories:
            # It ran before the recording began: what it has in memory is its own, and is told next.
            self.memories[pid].clear(tsc)

    def _exit(self, tsc: int | None, pid: int, tid: int, time: int) -> None:
        self.thread(tid, pid).end = time or None

    def _meet(self, _tsc: int | None, pid: int, tid: int) -> None:
        if tid not in self.threads:
            self.thread(tid, pid)

    def _start(self, tsc: int | None, cpu: int | None, pid: int, tid: int) -> None:
        self.thread(tid, pid)
        self.itrace_starts.add(tid)
        if cpu is not None:
            self._switch(tsc, cpu, pid, tid)

    def _switch(
        self, tsc: int | None, cpu: int, pid: int, tid: int, old_pid: int = -1, old_tid: int = -1
    ) -> None:
        regions = self.switches.get(cpu)
        if regions is None:
            regions = self.switches[cpu] = [Region(0, old_tid, old_pid)] if tsc else []
        elif regions and regions[-1].tid == tid and (pid < 0 or regions[-1].pid == pid):
            return
        if tid > 0:
            known = self.threads.get(tid)
            if known is None or pid >= 0:
                known = self.thread(tid, pid if pid >= 0 else None)
            pid = known.pid
        if not regions or (regions[-1].tid, regions[-1].pid) != (tid, pid):
            regions.append(Region(tsc or 0, tid, pid))

    def _kernel_symbol(self, tsc: int | None, symbol: KernelSymbol, offset: int) -> None:
        if symbol.address + symbol.length > 1 << 64 or symbol.length == 0:
            return
        memory = self.memory(KERNEL_PID)
        if symbol.gone:
            memory.remove(tsc, symbol.address, symbol.length)
        else:
            memory.add(
                tsc, Mapping(symbol.address, symbol.length, 0, symbol.name, kernel=True, offset=offset)
            )

    def _code(self, tsc: int | None, pid: int, address: int, code: bytes) -> None:
        kernel = pid == KERNEL_PID
        if code and address + len(code) <= 1 << 64:
            self.memory(pid).add(tsc, Mapping(address, len(code), code=code, pid=pid, kernel=kernel))


def _module_name(name: str) -> str:
    """The name under which a kernel map's build id is listed: without the suffix for its symbol."""
    return name[: name.rfind("]") + 1] if name.startswith("[") else name
