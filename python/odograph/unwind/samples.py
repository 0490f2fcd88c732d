"""Stacks of the samples in a perf.data file that hold registers and a piece of the stack.

``perf record --call-graph dwarf`` writes such samples. How much of the stack they hold is chosen there; a
stack that is deeper ends with a reason.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from odograph.code.binaries import Binaries, CodeSource
from odograph.code.evidence import written_at
from odograph.code.memory import BytesMemory, LayeredMemory, Memory
from odograph.code.objects import object_file
from odograph.errors import RecordingError
from odograph.frame import Stack
from odograph.perfdata.attributes import Attribute
from odograph.perfdata.format import RecordType, SampleType
from odograph.perfdata.reader import PerfDataReader
from odograph.perfdata.records import Record
from odograph.perfdata.samples import Sample, parse_sample
from odograph.perfdata.source import map_file
from odograph.recording.sideband import Sideband
from odograph.symbols import Module, Symbols
from odograph.unwind.cfi import DEFAULT_LIMIT, CfiUnwinder
from odograph.unwind.core import memory_of_files

__all__ = ["SampledStack", "sampled_stacks"]

#: The kernel's numbers of registers (asm/perf_regs.h).
_REGISTERS = {
    "x86-64": dict(enumerate(("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "rip")))
    | {number + 8: f"r{number}" for number in range(8, 16)},
    "aarch64": {number: f"x{number}" for number in range(31)} | {31: "sp", 32: "pc"},
}
_MACHINES = {"": "x86-64", "x86_64": "x86-64", "aarch64": "aarch64"}


class SampledStack(NamedTuple):
    """A stack, of whom, and when: ``time`` in ns of the recording's clock; None = not recorded."""

    pid: int | None
    tid: int | None
    time: int | None
    stack: Stack


def sampled_stacks(
    path: str | os.PathLike[str],
    *,
    sysroot: Iterable[str | os.PathLike[str]] | str | os.PathLike[str] = (),
    buildid_dirs: Iterable[str | os.PathLike[str]] | str | os.PathLike[str] = (),
    limit: int = DEFAULT_LIMIT,
    max_expanded: int | None = None,
) -> Iterator[SampledStack]:
    """The stacks of user space in all samples of a perf.data file, by time; in its order if it has no times.

    Files are looked for as :func:`odograph.open` does; where they were mapped is taken from the end of the
    recording. ``max_expanded`` is as for :func:`odograph.open`. Samples without registers or stack are left
    out, and so are damaged ones.

    :raises RecordingError: it is no perf.data file, its machine is another one, or no event of it asks for
        registers and stacks.
    """
    reader = PerfDataReader(map_file(os.fspath(path)), max_expanded=max_expanded)
    machine = _MACHINES.get(reader.features.arch)
    if machine is None:
        raise RecordingError(f"stacks of {reader.features.arch} are not unwound, only of x86-64 and AArch64")
    sideband = Sideband(reader.problems, reader.features.build_ids)
    samples: list[tuple[Attribute, Sample]] = []
    for record in reader.records():
        if record.type == RecordType.SAMPLE:
            found = _sample(reader, record)
            if found is not None:
                samples.append(found)
        elif record.type < 64 and sideband.handles(record.type):
            sideband.add(record, reader.stamper.stamp(record.data))
    if not any(_has_stacks(attribute) for attribute in reader.attributes):
        raise RecordingError(f"{path} has no stacks; record with perf record --call-graph dwarf")
    sideband.finish(None)
    binaries = Binaries(sysroot, buildid_dirs, None, reader.features.os_release)
    binaries.evidence.finished = written_at(path)
    processes = _Processes(sideband, binaries, machine)
    # Each processor wrote its own: a thread that moves leaves its samples in several places.
    times = [sample.stamp.time for _, sample in samples]
    if None not in times:
        samples.sort(key=lambda one: one[1].stamp.time or 0)
    for attribute, sample in samples:
        registers = _named(attribute.sample_regs_user, sample.user_registers, _REGISTERS[machine])
        sp = registers.get("rsp", registers.get("sp"))
        if sp is None or sp + len(sample.user_stack) > 1 << 64:
            continue
        unwinder, files = processes.of(sample.stamp.pid)
        memory = LayeredMemory(BytesMemory(sample.user_stack, sp), files)
        stack = unwinder.stack(registers, memory, limit=limit)
        yield SampledStack(sample.stamp.pid, sample.stamp.tid, sample.stamp.time, stack)


def _has_stacks(attribute: Attribute) -> bool:
    wanted = SampleType.REGS_USER | SampleType.STACK_USER
    return attribute.sample_type & wanted == wanted


def _sample(reader: PerfDataReader, record: Record) -> tuple[Attribute, Sample] | None:
    attribute = _attribute_of(reader, record)
    if attribute is None or not _has_stacks(attribute):
        return None
    try:
        sample = parse_sample(record.data, attribute)
    except struct.error as error:
        reader.problems.add(record.offset, f"a sample is damaged: {error}")
        return None
    return (attribute, sample) if sample.user_registers else None


def _attribute_of(reader: PerfDataReader, record: Record) -> Attribute | None:
    """Which event a sample is of; its id comes first where there are several."""
    if len(reader.attributes) == 1:
        return reader.attributes[0]
    if len(record.data) < 16:
        return None
    (identifier,) = struct.unpack_from("<Q", record.data, 8)
    for attribute in reader.attributes:
        if attribute.sample_type & SampleType.IDENTIFIER and identifier in attribute.ids:
            return attribute
    return None


def _named(mask: int, values: tuple[int, ...], names: dict[int, str]) -> dict[str, int]:
    numbers = [number for number in range(64) if mask >> number & 1]
    return {names[number]: value for number, value in zip(numbers, values, strict=False) if number in names}


class _Processes:
    """An unwinder and the memory of its files for each process."""

    def __init__(self, sideband: Sideband, binaries: Binaries, machine: str) -> None:
        self._sideband = sideband
        self._binaries = binaries
        self._machine = machine
        self._known: dict[int | None, tuple[CfiUnwinder, Memory]] = {}

    def of(self, pid: int | None) -> tuple[CfiUnwinder, Memory]:
        known = self._known.get(pid)
        if known is None:
            known = self._known[pid] = self._new(pid)
        return known

    def _new(self, pid: int | None) -> tuple[CfiUnwinder, Memory]:
        memory = self._sideband.memories.get(pid) if pid is not None else None
        modules = []
        for mapping in memory.state() if memory is not None else ():
            if mapping.code is not None:
                continue
            source = self._binaries.find(mapping)
            path = source.path if isinstance(source, CodeSource) else None
            if path is not None and object_file(path) is None:
                path = None
            name = os.path.basename(mapping.filename) or "[anonymous]"
            modules.append(Module(name, mapping.address, min(mapping.end, 1 << 64), mapping.pgoff, path))
        files, _ = memory_of_files(modules)
        return CfiUnwinder(Symbols(modules), self._machine), files
