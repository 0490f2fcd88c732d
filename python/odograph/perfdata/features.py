"""The header's features: texts about the machine, build ids, names of events."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from odograph.perfdata.attributes import Attribute, parse_attribute
from odograph.perfdata.format import Feature
from odograph.perfdata.problem import Problems
from odograph.perfdata.records import text

__all__ = ["Features"]

_TEXTS = {
    Feature.HOSTNAME: "hostname",
    Feature.OS_RELEASE: "os_release",
    Feature.VERSION: "version",
    Feature.ARCH: "arch",
    Feature.CPU_DESCRIPTION: "cpu_description",
    Feature.CPUID: "cpuid",
}


@dataclass(slots=True)
class Features:
    """What the features of a recording say; empty where it says nothing."""

    hostname: str = ""
    os_release: str = ""
    version: str = ""
    arch: str = ""
    cpu_description: str = ""
    cpuid: str = ""
    command_line: list[str] = field(default_factory=list)
    build_ids: dict[str, bytes] = field(default_factory=dict)
    cpus: tuple[int, int] | None = None
    events: list[Attribute] = field(default_factory=list)
    pmus: dict[int, str] = field(default_factory=dict)
    auxtrace_index: list[tuple[int, int]] | None = None
    compression: tuple[int, int] | None = None
    present: list[int] = field(default_factory=list)

    def add(self, number: int, body: bytes, offset: int, problems: Problems) -> None:
        """Take in the body of feature ``number``; what is damaged becomes a problem, not an error."""
        self.present.append(number)
        try:
            self._parse(number, body)
        except (struct.error, IndexError, ValueError) as error:
            name = Feature(number).name if number in Feature._value2member_map_ else str(number)
            problems.add(offset, f"the header's feature {name} is damaged: {error}")

    def _parse(self, number: int, body: bytes) -> None:
        if number in _TEXTS:
            setattr(self, _TEXTS[Feature(number)], _string(body, 0)[0])
        elif number == Feature.COMMAND_LINE:
            self.command_line = _string_list(body)
        elif number == Feature.BUILD_ID:
            self._parse_build_ids(body)
        elif number == Feature.NR_CPUS:
            online, available = struct.unpack_from("<II", body)
            self.cpus = (online, available)
        elif number == Feature.EVENT_DESCRIPTION:
            self._parse_events(body)
        elif number == Feature.PMU_MAPPINGS:
            (count,) = struct.unpack_from("<I", body)
            at = 4
            for _ in range(count):
                (kind,) = struct.unpack_from("<I", body, at)
                name, at = _string(body, at + 4)
                self.pmus[kind] = name
        elif number == Feature.AUXTRACE:
            (count,) = struct.unpack_from("<Q", body)
            if count > len(body) // 16:
                raise ValueError(f"{count} entries do not fit in {len(body)} bytes")
            words = struct.unpack_from(f"<{2 * count}Q", body, 8)
            self.auxtrace_index = list(zip(words[::2], words[1::2], strict=True))
        elif number == Feature.COMPRESSED:
            _version, kind, level, _ratio, _length = struct.unpack_from("<5I", body)
            self.compression = (kind, level)

    def _parse_build_ids(self, body: bytes) -> None:
        at = 0
        while at + 36 <= len(body):
            _kind, misc, size = struct.unpack_from("<IHH", body, at)
            if size < 36 or at + size > len(body):
                raise ValueError(f"build id entry of {size} bytes")
            self.add_build_id(body[at : at + size], misc)
            at += size

    def add_build_id(self, record: bytes, misc: int) -> None:
        """One entry of the build id table, which in pipe form is a record of its own."""
        length = record[32] if misc & 0x8000 else 20
        self.build_ids[text(record, 36)] = record[12 : 12 + min(length or 20, 20)]

    def _parse_events(self, body: bytes) -> None:
        count, attribute_size = struct.unpack_from("<II", body)
        at = 8
        if not 64 <= attribute_size <= len(body):
            raise ValueError(f"attribute size {attribute_size}")
        for _ in range(count):
            attribute = parse_attribute(body, at, attribute_size)
            at += attribute_size
            (ids,) = struct.unpack_from("<I", body, at)
            name, at = _string(body, at + 4)
            numbers = struct.unpack_from(f"<{ids}Q", body, at)
            at += 8 * ids
            self.events.append(attribute.with_ids(numbers).with_name(name))


def _string(body: bytes, at: int) -> tuple[str, int]:
    """A length-prefixed string and where the next thing begins."""
    (length,) = struct.unpack_from("<I", body, at)
    end = at + 4 + length
    if end > len(body):
        raise ValueError(f"a string of {length} bytes runs past the end")
    return text(body, at + 4, end), end


def _string_list(body: bytes) -> list[str]:
    (count,) = struct.unpack_from("<I", body)
    at = 4
    strings = []
    for _ in range(count):
        string, at = _string(body, at)
        strings.append(string)
    return strings
