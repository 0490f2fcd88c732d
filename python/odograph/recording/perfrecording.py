"""From a perf.data file to a RecordingFile: queues, breaks, threads."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from odograph.code.binaries import Binaries
from odograph.errors import RecordingError
from odograph.perfdata.attributes import Attribute
from odograph.perfdata.auxtrace import AuxTraceInfo
from odograph.perfdata.executed import WRITER_VERSION, ExecutedFacts, has_trailer, read_trailer
from odograph.perfdata.expansion import TooLarge
from odograph.perfdata.format import RecordType, SampleType
from odograph.perfdata.reader import PerfDataReader
from odograph.perfdata.records import AuxTrace, Record
from odograph.perfdata.samples import Sample, parse_sample, sched_switch_next
from odograph.recording.buffers import add_copy, add_next
from odograph.recording.parameters import PtParameters
from odograph.recording.recordingfile import RecordingFile, Thread
from odograph.recording.sideband import AuxLoss, Region, Sideband, ThreadInfo
from odograph.recording.stream import Break, Extent, TraceStream
from odograph.recording.underfiles import BytesUnderFiles
from odograph.text.counted import counted

__all__ = ["read_perfdata"]

_TRACEPOINT = 2
_SWITCH_BY_TRACEPOINT = 1


def read_perfdata(path: str, reader: PerfDataReader, binaries: Binaries) -> RecordingFile:
    """Read all records and put them in order. Raises RecordingError if there is no Intel PT in it."""
    binaries.release = reader.features.os_release
    sideband = Sideband(reader.problems, reader.features.build_ids)
    samples = _Samples(reader, sideband)
    for record in reader.records():
        if record.type == RecordType.SAMPLE:
            samples.add(record)
        elif record.type < 64 and sideband.handles(record.type):
            sideband.add(record, reader.stamper.stamp(record.data))
    info = _info(reader, bool(samples.extents))
    parameters = PtParameters.from_perf(info, reader.attributes, reader.features.cpuid)
    executed = _executed(reader)
    if executed is not None:
        sideband.add_code(executed.code)
    sideband.finish(reader.time_conversion if parameters.timed else None)
    streams, positions = _streams(reader, parameters)
    if not parameters.snapshot:
        _find_unwritten(reader, streams, positions, sideband.written)
    streams += samples.streams(max((stream.idx for stream in streams), default=-1) + 1)
    if not any(stream.size for stream in streams):
        reader.problems.add(None, "the recording has no trace data; was the traced program very short?")
    _apply_losses(reader, streams, positions, sideband.losses)
    _attribute(streams, sideband, parameters)
    if executed is not None:
        binaries.evidence.files = executed.files
        binaries.evidence.touched = executed.touched
        began = executed.extra.get("began")
        binaries.evidence.began = began if isinstance(began, int) else None
    binaries.evidence.bytes_of = BytesUnderFiles(sideband.memories).of
    has_clock = executed.has_clock if executed is not None else _has_clock(reader)
    threads = _threads(streams, sideband, executed)
    return RecordingFile(
        path,
        "perf.data",
        streams,
        threads if has_clock else [replace(thread, start=None, end=None) for thread in threads],
        parameters,
        reader.time_conversion,
        sideband.memories,
        binaries,
        executed,
        has_clock=has_clock,
        facts=_facts(reader),
        lost_records=sideband.lost_records,
        noted=reader.problems,
    )


def _info(reader: PerfDataReader, has_samples: bool) -> AuxTraceInfo:
    if reader.info is not None:
        return reader.info
    if not reader.auxtraces and not has_samples:
        names = ", ".join(a.name or f"type {a.type} config {a.config:#x}" for a in reader.attributes[:8])
        if (cut := reader.problems.cut) is not None:
            raise RecordingError(f"nothing is left of the Intel PT trace: {cut.message}", offset=cut.offset)
        raise RecordingError(
            f"this perf.data file holds no Intel PT trace; it recorded: {names or 'nothing'}. Record with "
            "perf record -e intel_pt// or odograph record"
        )
    reader.problems.add(
        None, "AUXTRACE_INFO is missing; the trace's settings are guessed, times are not known"
    )
    kind = reader.attributes[0].type if reader.attributes else 0
    return AuxTraceInfo(kind, 0, 0, 0, 0, 0x400, 0x800, 0, 0, int(any(a.cpu >= 0 for a in reader.auxtraces)))


# Queues ------------------------------------------------------------------------------------------------


def _streams(
    reader: PerfDataReader, parameters: PtParameters
) -> tuple[list[TraceStream], dict[int, list[tuple[int, int, int]]]]:
    """One stream for each idx, and for each the (ring offset, stream offset, size) of its extents."""
    streams: dict[int, TraceStream] = {}
    positions: dict[int, list[tuple[int, int, int]]] = {}
    ends: dict[int, int] = {}
    for trace in _in_index_order(reader):
        stream = streams.get(trace.idx)
        if stream is None:
            cpu = trace.cpu if trace.cpu >= 0 else None
            tid = trace.tid if trace.tid > 0 and cpu is None else None
            stream = streams[trace.idx] = TraceStream(trace.idx, cpu, tid, None, files=reader.files)
            stream.is_cut = bool(parameters.snapshot)
            stream.task = trace.tid if trace.tid > 0 else None
            positions[trace.idx] = []
        stream.missing += trace.missing
        if trace.size == 0:
            continue
        extent, repeated = Extent(trace.position, trace.size, trace.file), 0
        if parameters.snapshot:
            repeated = add_copy(stream, extent, "snapshot", trace.reference)
        else:
            add_next(stream, extent, ends.get(trace.idx, trace.offset) - trace.offset, trace.reference)
        ends[trace.idx] = trace.offset + trace.size
        if repeated < trace.size:
            place = (trace.offset + repeated, stream.references[-1][0], trace.size - repeated)
            positions[trace.idx].append(place)
    return list(streams.values()), positions


def _in_index_order(reader: PerfDataReader) -> Iterable[AuxTrace]:
    """Buffers in file order, or as the AUX index of the header has them, if it fits."""
    index = reader.features.auxtrace_index
    if not index or len(reader.files) > 1:
        return reader.auxtraces
    numbers = [reader.auxtrace_offsets.get((0, offset)) for offset, _ in index]
    if sorted(number for number in numbers if number is not None) != list(range(len(reader.auxtraces))):
        reader.problems.add(None, "the index of trace buffers does not fit them; file order is used")
        return reader.auxtraces
    return [reader.auxtraces[number] for number in numbers if number is not None]


def _find_unwritten(
    reader: PerfDataReader,
    streams: list[TraceStream],
    positions: dict[int, list[tuple[int, int, int]]],
    written: dict[tuple[int | None, int | None], tuple[int, int]],
) -> None:
    """Finds trace of which the kernel told, but which did not come: the recording is cut between records."""
    owners = _Owners(streams)
    for (cpu, tid), (end, offset) in written.items():
        stream = owners.of(cpu, tid)
        reached = max((ring + size for ring, _, size in positions[stream.idx]), default=0) if stream else 0
        missing = end - reached - (stream.missing if stream else 0)
        if missing > 0:
            of = f"CPU {cpu}" if cpu is not None else f"thread {tid}"
            reader.problems.add(
                offset,
                f"the recording is cut: {counted(missing, 'byte')} of the trace of {of} are missing",
                cut=True,
            )
            if stream is not None:
                stream.missing += missing


class _Owners:
    """Finds the stream into which a thread on a CPU wrote."""

    def __init__(self, streams: list[TraceStream]) -> None:
        self._only = streams[0] if len(streams) == 1 else None
        self._by_cpu: dict[int | None, TraceStream] = {
            stream.cpu: stream for stream in streams if stream.cpu is not None
        }
        self._by_tid: dict[int | None, TraceStream] = {
            stream.tid: stream for stream in streams if stream.cpu is None and stream.tid is not None
        }

    def of(self, cpu: int | None, tid: int | None) -> TraceStream | None:
        """The stream; None if it is not known which."""
        return self._by_cpu.get(cpu) or self._by_tid.get(tid) or self._only


def _apply_losses(
    reader: PerfDataReader,
    streams: list[TraceStream],
    positions: dict[int, list[tuple[int, int, int]]],
    losses: list[AuxLoss],
) -> None:
    """Turn AUX records that say "truncated" into breaks at the place in the stream where data is missing."""
    owners = _Owners(streams)
    sizes = {stream.idx: stream.size for stream in streams}
    for places in positions.values():
        places.sort()
    for loss in losses:
        stream = owners.of(loss.cpu, loss.tid)
        if stream is None:
            reader.problems.add(loss.file_offset, "trace data was lost, but it is not known in which stream")
            for any_of_them in streams:
                any_of_them.breaks.append(Break(any_of_them.size, "truncated"))
            continue
        offset = sizes[stream.idx]
        places = positions.get(stream.idx, [])
        index = bisect_left(places, (loss.position,)) - 1
        if index >= 0:
            ring, start, size = places[index]
            offset = min(start + loss.position - ring, start + size)
        stream.breaks.append(Break(offset, "truncated"))
        where = f"CPU {stream.cpu}" if stream.cpu is not None else f"thread {stream.tid}"
        reader.problems.add(
            loss.file_offset,
            f"trace data of {where} was lost at stream offset {offset:#x}: the buffer was full (give perf "
            "record a larger one: -m ,64M)",
        )
    for stream in streams:
        stream.breaks = sorted(set(stream.breaks))


# Samples -----------------------------------------------------------------------------------------------


class _Samples:
    """SAMPLE records that matter: extents of trace in sample mode, and sched_switch."""

    def __init__(self, reader: PerfDataReader, sideband: Sideband) -> None:
        self.reader = reader
        self.sideband = sideband
        self.extents: dict[tuple[int | None, int | None], list[tuple[int, Extent]]] = {}
        self._attributes: dict[int, Attribute] = {}
        self._known = 0
        self._seen = reader.attributes

    def add(self, record: Record) -> None:
        attribute = self._attribute_of(record)
        if attribute is None:
            return
        wanted = attribute.sample_type & SampleType.AUX or (
            attribute.type == _TRACEPOINT and attribute.sample_type & SampleType.RAW
        )
        if not wanted:
            return
        try:
            sample = parse_sample(record.data, attribute)
        except struct.error as error:
            has_trace = bool(attribute.sample_type & SampleType.AUX)
            self.reader.problems.add(record.offset, f"a sample is damaged: {error}", cut=has_trace)
            return
        if sample.aux_size:
            self._add_piece(record, sample)
        if attribute.type == _TRACEPOINT and attribute.name.startswith("sched:sched_switch"):
            tid = sched_switch_next(sample.raw)
            if tid is not None and sample.stamp.cpu is not None:
                self.sideband.add_switch(sample.stamp.time, sample.stamp.cpu, -1, tid)

    def _attribute_of(self, record: Record) -> Attribute | None:
        attributes = self.reader.attributes
        if len(attributes) == 1:
            return attributes[0]
        # In pipe form attributes come among the records, and get their names once.
        if attributes is not self._seen:
            self._seen, self._known = attributes, 0
        for attribute in attributes[self._known :]:
            self._attributes.update(dict.fromkeys(attribute.ids, attribute))
        self._known = len(attributes)
        position = 8
        if attributes and not attributes[0].sample_type & SampleType.IDENTIFIER:
            before = (
                SampleType.IP,
                SampleType.TID,
                SampleType.TIME,
                SampleType.ADDR,
            )
            position += sum(8 for bit in before if attributes[0].sample_type & bit)
        if len(record.data) < position + 8:
            return None
        return self._attributes.get(struct.unpack_from("<Q", record.data, position)[0])

    def _add_piece(self, record: Record, sample: Sample) -> None:
        if self.reader.files[record.file][record.offset + 8 : record.offset + 16] != record.data[8:16]:
            self.reader.problems.add(
                record.offset, "trace data inside compressed samples cannot be read", cut=True
            )
            return
        stamp = sample.stamp
        cpu = stamp.cpu
        key = (cpu, None if cpu is not None else stamp.tid)
        extent = Extent(record.offset + sample.aux_start, sample.aux_size, record.file)
        self.extents.setdefault(key, []).append((stamp.time or 0, extent))

    def streams(self, first_idx: int) -> list[TraceStream]:
        """One stream for each CPU or thread; a sample that repeats nothing of the last is a new start."""
        conversion = self.reader.time_conversion
        result: list[TraceStream] = []
        for (cpu, tid), timed in self.extents.items():
            timed.sort(key=lambda entry: entry[0])
            stream = TraceStream(first_idx + len(result), cpu, tid, None, files=self.reader.files)
            stream.is_cut = True
            for time, extent in timed:
                reference = 0 if conversion is None else conversion.to_tsc(time)
                add_copy(stream, extent, "sample", reference)
            result.append(stream)
        return result


# Threads -----------------------------------------------------------------------------------------------


def _attribute(streams: list[TraceStream], sideband: Sideband, parameters: PtParameters) -> None:
    """Say which thread each stream's trace is about."""
    all_tids = {thread.tid for thread in sideband.threads.values() if thread.tid > 0}
    # Several threads of one process: it is not known which ran when, but memory is the same for all.
    pids = {thread.pid for thread in sideband.threads.values() if thread.tid > 0}
    only = next(iter(pids)) if len(pids) == 1 else -1
    for stream in streams:
        regions = sideband.switches.get(stream.cpu) if stream.cpu is not None else None
        if stream.tid is not None:
            stream.pid = _pid_of(stream.tid, sideband)
            stream.regions = [Region(0, stream.tid, stream.pid)]
        elif regions and parameters.timed:
            stream.regions = list(regions)
        else:
            tids = {region.tid for region in regions or () if region.tid > 0}
            tids = tids or all_tids
            tid = next(iter(tids)) if len(tids) == 1 else -1
            stream.regions = [Region(0, tid, _pid_of(tid, sideband) if tid > 0 else only)]
        if stream.tid is None and len(stream.regions) == 1 and stream.regions[0].tid > 0:
            stream.tid, stream.pid = stream.regions[0].tid, stream.regions[0].pid


def _pid_of(tid: int, sideband: Sideband) -> int:
    thread = sideband.threads.get(tid)
    return tid if thread is None else thread.pid


def _traced_tasks(streams: list[TraceStream], sideband: Sideband) -> set[int] | None:
    """The threads the trace was bound to and all they started; None if whole CPUs were traced."""
    tasks = {stream.task for stream in streams if stream.size}
    if not tasks or None in tasks:
        return None
    traced = {tid for tid in tasks if tid is not None} | sideband.itrace_starts
    waiting = list(traced)
    while waiting:
        for child in sideband.children.get(waiting.pop(), ()):
            if child not in traced:
                traced.add(child)
                waiting.append(child)
    return traced


def _threads(streams: list[TraceStream], sideband: Sideband, executed: ExecutedFacts | None) -> list[Thread]:
    """The threads that have trace, in the order in which they first ran."""
    first: dict[int, tuple[int, int]] = {}
    traced = _traced_tasks(streams, sideband)
    for order, stream in enumerate(stream for stream in streams if stream.size):
        for region in stream.regions:
            if region.tid > 0 and (traced is None or region.tid in traced):
                first[region.tid] = min((region.tsc_start, order), first.get(region.tid, (1 << 64, order)))
    if not first:
        unknown = next((stream.regions[0].pid for stream in streams if stream.regions), -1)
        return [Thread(-1, unknown)]
    result = []
    for tid in sorted(first, key=lambda number: first[number]):
        known = sideband.threads.get(tid) or ThreadInfo(tid, tid, "")
        truth = None if executed is None else executed.truth.get(tid)
        result.append(Thread(tid, known.pid, known.comm, known.start, known.end, truth))
    return result


# What else the file says -------------------------------------------------------------------------------


def _facts(reader: PerfDataReader) -> dict[str, Any]:
    features = reader.features
    return {
        "form": "pipe" if reader.pipe else "directory" if len(reader.files) > 1 else "file",
        "command_line": features.command_line,
        "hostname": features.hostname,
        "os_release": features.os_release,
        "perf_version": features.version,
        "arch": features.arch,
        "cpu_description": features.cpu_description,
        "cpuid": features.cpuid,
        "events": [
            {
                "name": attribute.name or None,
                "type": attribute.type,
                "config": attribute.config,
                "sample_type": attribute.sample_type,
                "ids": list(attribute.ids),
            }
            for attribute in reader.attributes
        ],
    }


def _has_clock(reader: PerfDataReader) -> bool:
    """True if times may be a processor's although no trailer says so.

    No kernel converts a time stamp counter one to one. Recorders without a clock do, and a file of theirs
    that was cut may say nothing else of its origin.
    """
    conversion = reader.time_conversion
    is_identity = conversion is not None and (conversion.shift, conversion.mult, conversion.zero) == (0, 1, 0)
    return not is_identity and reader.features.version != WRITER_VERSION


def _executed(reader: PerfDataReader) -> ExecutedFacts | None:
    """The trailer of our own recordings; a damaged one is a problem, and the file is then like any other."""
    data = reader.files[0]
    if not has_trailer(data):
        if reader.features.version == WRITER_VERSION and not reader.pipe:
            reader.problems.add(
                len(data),
                "the executed bytes kept with this recording are gone; the file was cut or changed",
                cut=True,
            )
        return None
    try:
        executed = read_trailer(data, reader.expansion)
    except TooLarge as error:
        reader.problems.add(
            len(data), f"what the recorder kept with this recording is not used: {error}", left_out="records"
        )
        return None
    except ValueError as error:
        reader.problems.add(
            len(data),
            f"the executed bytes kept with this recording are damaged and not used: {error}",
            cut=True,
        )
        return None
    if executed is not None:
        if executed.left_out is not None:
            message = f"the executed bytes kept with this recording are not used: {executed.left_out}"
            reader.problems.add(len(data), message, left_out="code")
        executed.code.sort(key=lambda code: code.tsc)
    return executed
