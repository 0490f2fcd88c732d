"""Reads a perf.data file: file form, pipe form, or the directory form's parts.

The caller brings a path; out come attributes, features and a stream of records. What the records mean is
for ``odograph.recording.sideband``. Damage that leaves something to read is noted in ``problems``.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from odograph._native import RawMapping
from odograph.errors import RecordingError
from odograph.perfdata.attributes import Attribute, Stamper, parse_attribute
from odograph.perfdata.auxtrace import AuxTraceInfo, parse_auxtrace_info
from odograph.perfdata.compressed import Decompressor
from odograph.perfdata.expansion import Expansion, TooLarge
from odograph.perfdata.features import Features
from odograph.perfdata.format import (
    AUXTRACE,
    FEATURE_WORDS,
    FILE_HEADER,
    FILE_HEADER_SIZE,
    PIPE_HEADER_SIZE,
    RECORD_HEADER,
    Feature,
    RecordType,
    padded,
)
from odograph.perfdata.problem import Problems
from odograph.perfdata.records import AuxTrace, Record
from odograph.perfdata.source import map_file
from odograph.perfdata.time import TimeConversion
from odograph.text.counted import counted

__all__ = ["PerfDataReader"]

Buffer = RawMapping | bytes

#: What a record out of a compressed one costs, besides its bytes.
_RECORD_COST = 256
#: What an event costs, each of its ids, and a byte of a feature.
_ATTRIBUTE_COST, _ID_COST, _FEATURE_COST = 1024, 256, 16
_AUXTRACE_RECORD_SIZE = RECORD_HEADER.size + AUXTRACE.size


class PerfDataReader:
    """One perf.data recording.

    ``attributes``, ``features``, ``info`` and ``time_conversion`` are complete after ``records`` has been
    read to its end (in pipe form they come in the stream; in file form all but ``info`` are known at
    once). ``auxtraces`` collects where the trace bytes lie. Raises RecordingError if nothing can be read.
    """

    def __init__(
        self,
        data: Buffer,
        parts: Sequence[Buffer] = (),
        problems: Problems | None = None,
        max_expanded: int | None = None,
    ) -> None:
        self.expansion = Expansion(len(data) + sum(map(len, parts)), max_expanded)
        self.files: list[Buffer] = [data, *parts]
        self.problems = Problems() if problems is None else problems
        self.attributes: list[Attribute] = []
        self.features = Features()
        self.info: AuxTraceInfo | None = None
        self.time_conversion: TimeConversion | None = None
        self.auxtraces: list[AuxTrace] = []
        self.auxtrace_offsets: dict[tuple[int, int], int] = {}
        self.features_end = 0
        self.pipe = False
        self.data_offset = PIPE_HEADER_SIZE
        self.data_end = len(data)
        self._stamper: Stamper | None = None
        self._named = False
        self._read_header()

    @classmethod
    def open(cls, path: str | os.PathLike[str], max_expanded: int | None = None) -> PerfDataReader:
        """The reader of a file, of ``-``, or of a directory (``perf record --kcore`` or ``--threads``)."""
        if path != "-" and os.path.isdir(path):
            directory = Path(path)
            parts = sorted(directory.glob("data.*"), key=lambda part: (len(part.name), part.name))
            files = [map_file(part, recorded=True) for part in parts]
            return cls(map_file(directory / "data", recorded=True), files, max_expanded=max_expanded)
        return cls(map_file(path), max_expanded=max_expanded)

    @property
    def stamper(self) -> Stamper:
        """What finds the identifying block of kernel records, from the attributes seen so far."""
        if self._stamper is None:
            self._stamper = Stamper(self.attributes)
        return self._stamper

    # The header -------------------------------------------------------------------------------------

    def _read_header(self) -> None:
        data = self.files[0]
        if len(data) < PIPE_HEADER_SIZE:
            raise RecordingError("the file ends inside its header", offset=len(data))
        (size,) = struct.unpack_from("<Q", data, 8)
        if size == PIPE_HEADER_SIZE:
            self.pipe = True
            return
        if size != FILE_HEADER_SIZE:
            raise RecordingError(
                f"the header claims {size} bytes where perf.data has {FILE_HEADER_SIZE}, or "
                f"{PIPE_HEADER_SIZE} for a pipe",
                offset=8,
            )
        if len(data) < FILE_HEADER_SIZE:
            raise RecordingError("the file ends inside its header", offset=len(data))
        fields = FILE_HEADER.unpack_from(data)
        entry_size, attrs_offset, attrs_size, data_offset, data_size = fields[2:7]
        words = fields[9 : 9 + FEATURE_WORDS]
        self._read_attributes(entry_size, attrs_offset, attrs_size)
        self._find_data(data_offset, data_size)
        if data_size:
            self._read_features(data_offset + data_size, words)

    def _find_data(self, offset: int, size: int) -> None:
        length = len(self.files[0])
        if not FILE_HEADER_SIZE <= offset <= length:
            raise RecordingError(f"the data section begins outside the file, at {offset:#x}", offset=40)
        self.data_offset = offset
        self.data_end = offset + size
        if size == 0:
            self.data_end = length
            self.problems.add(
                48, "the recorder died before it finished the file; taking all data there is", cut=True
            )
        elif self.data_end > length:
            missing = self.data_end - length
            self.data_end = length
            self.problems.add(
                length, f"the file is cut: {missing} bytes of the data section are missing", cut=True
            )

    def _read_attributes(self, entry_size: int, offset: int, size: int) -> None:
        data = self.files[0]
        if entry_size < 64 + 16 or entry_size > 1 << 16:
            raise RecordingError(f"an attribute entry of {entry_size} bytes cannot be", offset=16)
        if offset + size > len(data):
            self.problems.add(24, "the attribute section runs past the end of the file", cut=True)
            size = max(0, len(data) - offset)
        # Each id stands once in the file, so together they are no more than it.
        room = len(data)
        for at in range(offset, offset + size - entry_size + 1, entry_size):
            entry = data[at : at + entry_size]
            attribute = parse_attribute(entry, 0, entry_size - 16)
            ids_offset, ids_size = struct.unpack_from("<QQ", entry, entry_size - 16)
            if ids_offset + ids_size > len(data):
                self.problems.add(at, "the ids of an event lie outside the file")
                ids_size = 0
            room -= ids_size
            if room < 0:
                self.problems.add(at, "the ids of events overlap; those from this event on are not used")
                ids_size = 0
            if not self._takes(_ATTRIBUTE_COST + _ID_COST * (ids_size // 8), at, "an event"):
                break
            ids = struct.unpack_from(f"<{ids_size // 8}Q", data, ids_offset) if ids_size >= 8 else ()
            self.attributes.append(attribute.with_ids(ids))

    def _takes(self, amount: int, offset: int, what: str) -> bool:
        """Counts memory for ``what`` at an offset; False, and a problem, if that is too much."""
        try:
            self.expansion.take(amount)
        except TooLarge as error:
            self.problems.add(offset, f"{what} is not used: {error}", left_out="records")
            return False
        return True

    def _read_features(self, table: int, words: Sequence[int]) -> None:
        data = self.files[0]
        numbers = [64 * i + bit for i, word in enumerate(words) for bit in range(64) if word >> bit & 1]
        self.features_end = table + 16 * len(numbers)
        for index, number in enumerate(numbers):
            at = table + 16 * index
            if at + 16 > len(data):
                self.problems.add(len(data), "the file is cut inside the table of features", cut=True)
                break
            offset, size = struct.unpack_from("<QQ", data, at)
            if offset + size > len(data):
                self.problems.add(at, f"the header's feature {number} lies outside the file", cut=True)
                continue
            self.features_end = max(self.features_end, offset + size)
            if self._takes(_FEATURE_COST * size, offset, f"the header's feature {number}"):
                self.features.add(number, data[offset : offset + size], offset, self.problems)
        self._name_attributes()

    def _name_attributes(self) -> None:
        """Give the attributes the names of the event description, which lists the same events again."""
        names = {event.ids: event.name for event in self.features.events}
        self.attributes = [a.with_name(names.get(a.ids, a.name)) for a in self.attributes]

    # The records ------------------------------------------------------------------------------------

    def records(self) -> Iterator[Record]:
        """All records of all files in file order, those out of compressed ones in their place.

        Trace bytes are skipped and listed in ``auxtraces``. A damaged record ends the file it is in, with
        a problem.
        """
        yield from self._records(0, self.data_offset, self.data_end)
        for number in range(1, len(self.files)):
            yield from self._records(number, 0, len(self.files[number]))

    def _records(self, file: int, position: int, end: int) -> Iterator[Record]:
        data = self.files[file]
        decompressor: Decompressor | None = None
        left_out = False
        pending = b""
        unpack = RECORD_HEADER.unpack_from
        while position + 8 <= end:
            kind, misc, size = unpack(data, position)
            if size < 8 or position + size > end:
                self._damaged(position, size, end)
                return
            record = Record(kind, misc, size, data[position : position + size], position, file)
            position += size
            if kind < 64:
                yield record
            elif kind == RecordType.AUXTRACE:
                position = self._note_auxtrace(record, position, end)
                yield record
            elif kind in (RecordType.COMPRESSED, RecordType.COMPRESSED2):
                if left_out:
                    continue
                decompressor = decompressor or Decompressor()
                try:
                    for piece in decompressor.feed(_compressed_bytes(record)):
                        self.expansion.take(len(piece))
                        pending += piece
                        used = 0
                        for inner in self._inner_records(pending, record.offset, file):
                            used += inner.size
                            self.expansion.take(_RECORD_COST)
                            yield inner
                        pending = pending[used:]
                except (ValueError, struct.error) as error:
                    # Where the next record begins is not known: records are cut anywhere.
                    left_out = True
                    message = f"the compressed records from here on are left out: {error}"
                    if isinstance(error, TooLarge):
                        self.problems.add(record.offset, message, left_out="records")
                    else:
                        self.problems.add(record.offset, message, cut=True)
                    pending = b""
            elif kind == RecordType.HEADER_TRACING_DATA:
                if size >= 12:
                    position += padded(struct.unpack_from("<I", record.data, 8)[0])
            else:
                self._note(record)
                yield record
        if pending:
            self.problems.add(end, "the last compressed record is cut", cut=True)
        if position < end:
            rest = counted(end - position, "byte")
            self.problems.add(position, f"{rest} after the last record: too few for another one", cut=True)
        elif position > end:
            self.problems.add(end, "the recording is cut inside its last record", cut=True)

    def _inner_records(self, data: bytes, offset: int, file: int) -> Iterator[Record]:
        position = 0
        while position + 8 <= len(data):
            kind, misc, size = RECORD_HEADER.unpack_from(data, position)
            if size < 8:
                raise ValueError(f"a record in them claims {counted(size, 'byte')}")
            if position + size > len(data):
                return
            record = Record(kind, misc, size, data[position : position + size], offset, file)
            if kind >= 64:
                self._note(record)
            yield record
            position += size

    def _damaged(self, position: int, size: int, end: int) -> None:
        rest = end - position
        if size < 8:
            message = f"a record claims {counted(size, 'byte')}; the {rest} from here on cannot be read"
        else:
            message = f"the recording is cut: a record of {size} bytes has only {rest}"
        self.problems.add(position, message, cut=True)

    def _note_auxtrace(self, record: Record, position: int, end: int) -> int:
        """List the trace bytes that follow ``record`` and return where they end."""
        if record.size < _AUXTRACE_RECORD_SIZE:
            self.problems.add(record.offset, "an AUXTRACE record is too short; its trace is lost", cut=True)
            return position
        size, offset, reference, idx, tid, cpu, _ = AUXTRACE.unpack_from(record.data, 8)
        cut = max(0, size - (end - position))
        if cut:
            self.problems.add(
                record.offset,
                f"the recording is cut inside trace data: {cut} of {counted(size, 'byte')} are missing",
                cut=True,
            )
            size -= cut
        self.auxtrace_offsets[(record.file, record.offset)] = len(self.auxtraces)
        self.auxtraces.append(AuxTrace(size, offset, reference, idx, tid, cpu, position, record.file, cut))
        return position + int(size)

    def _note(self, record: Record) -> None:
        """Take in the records that describe the recording rather than the program."""
        try:
            self._note_unchecked(record)
        except TooLarge as error:
            self.problems.add(
                record.offset, f"a record of type {record.type} is not used: {error}", left_out="records"
            )
        except struct.error as error:
            self.problems.add(record.offset, f"a record of type {record.type} is damaged: {error}")

    def _note_unchecked(self, record: Record) -> None:
        kind, data = record.type, record.data
        if kind == RecordType.AUXTRACE_INFO:
            info = parse_auxtrace_info(data, record.offset)
            if self.info is None:
                self.info = info
                self.time_conversion = TimeConversion.checked(info.time_shift, info.time_mult, info.time_zero)
        elif kind == RecordType.TIME_CONV:
            if self.time_conversion is None:
                self.time_conversion = TimeConversion.checked(*struct.unpack_from("<3Q", data, 8))
        elif kind == RecordType.HEADER_ATTR:
            self._note_attribute(data)
        elif kind == RecordType.HEADER_FEATURE:
            (number,) = struct.unpack_from("<Q", data, 8)
            self.expansion.take(_FEATURE_COST * len(data))
            self.features.add(number, data[16:], record.offset, self.problems)
            if number == Feature.EVENT_DESCRIPTION and not self._named:
                self._named = True
                self._name_attributes()
        elif kind == RecordType.HEADER_BUILD_ID and len(data) >= 36:
            self.expansion.take(_FEATURE_COST * len(data))
            self.features.add_build_id(data, record.misc)

    def _note_attribute(self, data: bytes) -> None:
        (size,) = struct.unpack_from("<I", data, 12)
        size = max(64, size)
        attribute = parse_attribute(data, 8, size)
        count = max(0, len(data) - 8 - size) // 8
        self.expansion.take(_ATTRIBUTE_COST + _ID_COST * count)
        attribute = attribute.with_ids(struct.unpack_from(f"<{count}Q", data, 8 + size))
        self.attributes.append(attribute)
        self.stamper.add(attribute)


def _compressed_bytes(record: Record) -> bytes:
    if record.type == RecordType.COMPRESSED:
        return record.data[8:]
    (size,) = struct.unpack_from("<Q", record.data, 8)
    return record.data[16 : 16 + size]
