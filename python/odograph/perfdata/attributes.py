"""perf_event_attr: what was recorded, and how the records that belong to it are laid out."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from odograph.perfdata.format import ATTRIBUTE, AttributeFlag, SampleType

__all__ = ["Attribute", "Stamp", "StampLayout", "Stamper", "parse_attribute"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """One recorded event. ``ids`` are the kernel's numbers for it, one per CPU or thread."""

    type: int
    config: int
    sample_type: int
    read_format: int
    flags: int
    config1: int = 0
    config2: int = 0
    branch_sample_type: int = 0
    sample_regs_user: int = 0
    sample_regs_intr: int = 0
    aux_sample_size: int = 0
    ids: tuple[int, ...] = ()
    name: str = ""

    @property
    def has_stamps(self) -> bool:
        """True if every kernel record ends in an identifying block."""
        return bool(self.flags & AttributeFlag.SAMPLE_ID_ALL)

    def with_ids(self, ids: Iterable[int]) -> Attribute:
        """The same event with these ids."""
        return replace(self, ids=tuple(ids))

    def with_name(self, name: str) -> Attribute:
        """The same event with this name."""
        return replace(self, name=name)


def parse_attribute(data: bytes, offset: int = 0, size: int | None = None) -> Attribute:
    """Read a perf_event_attr of ``size`` bytes (by default as many as it says itself).

    Versions differ in length only; fields a version lacks are 0. Raises struct.error if fewer than 64
    bytes are there.
    """
    fields = ATTRIBUTE.unpack_from(data, offset)
    if size is None:
        size = fields[1] or ATTRIBUTE.size
    size = min(size, len(data) - offset)

    def extra(at: int, code: str) -> int:
        if at + struct.calcsize(code) > size:
            return 0
        value: int = struct.unpack_from(code, data, offset + at)[0]
        return value

    return Attribute(
        type=fields[0],
        config=fields[2],
        sample_type=fields[4],
        read_format=fields[5],
        flags=fields[6],
        config1=fields[9],
        config2=extra(64, "<Q"),
        branch_sample_type=extra(72, "<Q"),
        sample_regs_user=extra(80, "<Q"),
        sample_regs_intr=extra(96, "<Q"),
        aux_sample_size=extra(112, "<I"),
    )


class Stamp(NamedTuple):
    """Who, when and where of one record; None where the recording does not say."""

    pid: int | None = None
    tid: int | None = None
    time: int | None = None
    cpu: int | None = None
    id: int | None = None


NO_STAMP = Stamp()

_STAMP_FIELDS = (
    (SampleType.TID, "ii"),
    (SampleType.TIME, "Q"),
    (SampleType.ID, "Q"),
    (SampleType.STREAM_ID, "Q"),
    (SampleType.CPU, "I4x"),
    (SampleType.IDENTIFIER, "Q"),
)


class StampLayout:
    """Where the fields of the identifying block lie; the block ends where its record ends."""

    def __init__(self, sample_type: int) -> None:
        code = "<"
        names: list[str] = []
        for bit, part in _STAMP_FIELDS:
            if sample_type & bit:
                code += part
                names += ["pid", "tid"] if bit == SampleType.TID else [bit.name or ""]
        self.struct = struct.Struct(code)
        self.size = self.struct.size
        self._at = {name: index for index, name in enumerate(names)}
        self._usual = names == ["pid", "tid", "TIME", "CPU", "IDENTIFIER"]

    def values(self, record: bytes) -> dict[str, int] | None:
        """The fields of the block by name (pid, tid, TIME, ID, ...); None if ``record`` is too short."""
        start = len(record) - self.size
        if start < 8:
            return None
        return dict(zip(self._at, self.struct.unpack_from(record, start), strict=True))

    def parse(self, record: bytes) -> Stamp:
        """The block at the end of ``record``; empty if the record is too short to hold one."""
        start = len(record) - self.size
        if start < 8:
            return NO_STAMP
        values = self.struct.unpack_from(record, start)
        if self._usual:
            return Stamp._make(values)
        at = self._at

        def value(name: str) -> int | None:
            index = at.get(name)
            return None if index is None else values[index]

        identifier = value("IDENTIFIER")
        return Stamp(
            value("pid"),
            value("tid"),
            value("TIME"),
            value("CPU"),
            value("ID") if identifier is None else identifier,
        )


class Stamper:
    """Finds the layout of each record's identifying block among all events of a recording."""

    def __init__(self, attributes: Iterable[Attribute]) -> None:
        self._layouts: dict[int, StampLayout] = {}
        self._single: StampLayout | None = None
        self._by_id: dict[int, StampLayout] = {}
        self._distances: set[int] = set()
        self._from_end = 0
        for attribute in attributes:
            self.add(attribute)

    def add(self, attribute: Attribute) -> None:
        """Takes in one more event."""
        if not attribute.has_stamps:
            return
        kind = attribute.sample_type & _STAMP_MASK
        layout = self._layouts.get(kind)
        if layout is None:
            layout = self._layouts[kind] = StampLayout(attribute.sample_type)
            self._fallback = next(iter(self._layouts.values()))
        self._single = layout if len(self._layouts) == 1 else None
        self._by_id.update(dict.fromkeys(attribute.ids, layout))
        # Layouts that differ can be told apart only by an id at one distance from the end.
        self._distances.add(_id_distance(attribute.sample_type))
        self._from_end = next(iter(self._distances)) if len(self._distances) == 1 else 0

    def stamp(self, record: bytes) -> Stamp:
        """The identifying block of ``record`` (a whole kernel record); empty where there is none."""
        if self._single is not None:
            return self._single.parse(record)
        if not self._by_id:
            return NO_STAMP
        layout = self._fallback
        if self._from_end and len(record) >= 8 + self._from_end:
            (identifier,) = struct.unpack_from("<Q", record, len(record) - self._from_end)
            layout = self._by_id.get(identifier, layout)
        return layout.parse(record)


_STAMP_MASK = 0
for _bit, _ in _STAMP_FIELDS:
    _STAMP_MASK |= _bit


def _id_distance(sample_type: int) -> int:
    """Bytes from the event id to the end of the block; 0 if the block holds no id."""
    if sample_type & SampleType.IDENTIFIER:
        return 8
    if not sample_type & SampleType.ID:
        return 0
    later = (SampleType.STREAM_ID, SampleType.CPU)
    return 8 + sum(8 for bit in later if sample_type & bit)
