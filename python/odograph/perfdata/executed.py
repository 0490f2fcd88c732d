"""The trailer of our own recordings: executed bytes and what the recorder knew, where perf does not look.

After the last feature body lies::

    section*   u32 kind, u32 0, u64 size when expanded, u64 size as stored, zlib bytes
    footer     48 bytes at the very end of the file:
               u64 offset of the first section, u64 size of all sections, u32 CRC-32 of them,
               u32 number of sections, u32 version, u32 CRC-32 of the footer so far, 8 zero bytes,
               8 bytes magic "ODOGRAPH"

Sections: 1 = code, entries of (i32 pid, u32 size, u64 TSC, u64 address, bytes); 2 = facts, one JSON object.
Unknown kinds are skipped, so later versions may add some; a higher version is refused.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from odograph._native import RawMapping, recorded_code
from odograph.code.evidence import FileFacts
from odograph.perfdata.expansion import Expansion, TooLarge
from odograph.text.reprs import hex_repr

__all__ = ["Code", "ExecutedFacts", "Truth", "read_trailer", "trailer_bytes"]

MAGIC = b"ODOGRAPH"
VERSION = 1
#: What our files give as the version of perf; it tells that a trailer has to follow.
WRITER_VERSION = "odograph with executed bytes"
_FOOTER = struct.Struct("<QQIIII8x8s")
_FOOTER_HEAD = struct.Struct("<QQIII")
_SECTION = struct.Struct("<IIQQ")
_CODE = struct.Struct("<iIQQ")
_CODE_SECTION, _FACTS_SECTION = 1, 2
#: A code section is split at this size when written, so that reading needs little memory at a time.
_CHUNK = 16 << 20
#: What an entry of code costs in memory besides its bytes, what each of those costs, and a byte of facts.
_ENTRY_COST, _BYTE_COST, _FACT_COST = 512, 5, 32


@hex_repr("address")
class Code(NamedTuple):
    """``data`` lay at ``address`` of process ``pid`` from time ``tsc`` on (0 = from the beginning)."""

    pid: int
    tsc: int
    address: int
    data: bytes


@hex_repr("hash")
class Truth(NamedTuple):
    """What the recorder itself counted for one thread while it ran (hash as in ``odograph verify``)."""

    instructions: int
    hash: int


@dataclass(slots=True)
class ExecutedFacts:
    """Everything a trailer says. ``gaps`` are sentences such as "program could not be followed".

    ``files`` tells files without build id from others, by name: see :class:`FileFacts`; None for one that
    changed while it was recorded. ``touched`` are the names of files that may have been replaced meanwhile.
    Older trailers have none.
    """

    recorder: str = ""
    exit_status: int | None = None
    truth: dict[int, Truth] = field(default_factory=dict)
    gaps: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    files: dict[str, FileFacts | None] = field(default_factory=dict)
    touched: frozenset[str] = frozenset()
    code: list[Code] = field(default_factory=list)
    #: Why ``code`` is empty although the trailer has some: it would take too much memory.
    left_out: str | None = None

    @property
    def has_clock(self) -> bool:
        """Times are a processor's. Recorders without one write times that only tell the order."""
        return self.recorder not in ("qemu", "ptrace", "emulator")


def trailer_bytes(facts: ExecutedFacts, code: Iterable[Code], offset: int) -> Iterator[bytes]:
    """The trailer piece by piece, to be written at file position ``offset`` and followed by nothing."""
    total = checksum = count = 0
    for kind, raw in _sections(facts, code):
        packed = zlib.compress(raw, 6)
        piece = _SECTION.pack(kind, 0, len(raw), len(packed)) + packed
        checksum = zlib.crc32(piece, checksum)
        total += len(piece)
        count += 1
        yield piece
    head = _FOOTER_HEAD.pack(offset, total, checksum, count, VERSION)
    yield _FOOTER.pack(offset, total, checksum, count, VERSION, zlib.crc32(head), MAGIC)


def _sections(facts: ExecutedFacts, code: Iterable[Code]) -> Iterator[tuple[int, bytes]]:
    document = {
        "recorder": facts.recorder,
        "exit_status": facts.exit_status,
        "truth": {str(tid): [truth.instructions, truth.hash] for tid, truth in facts.truth.items()},
        "gaps": facts.gaps,
        "extra": facts.extra,
        "files": facts.files,
        "touched": sorted(facts.touched),
    }
    yield _FACTS_SECTION, json.dumps(document, separators=(",", ":")).encode()
    pending: list[bytes] = []
    size = 0
    for entry in code:
        pending.append(_CODE.pack(entry.pid, len(entry.data), entry.tsc, entry.address))
        pending.append(entry.data)
        size += _CODE.size + len(entry.data)
        if size >= _CHUNK:
            yield _CODE_SECTION, b"".join(pending)
            pending, size = [], 0
    if pending:
        yield _CODE_SECTION, b"".join(pending)


def has_trailer(data: RawMapping | bytes) -> bool:
    """True if the file ends in a trailer's footer, sound or not."""
    return len(data) >= _FOOTER.size and data[-len(MAGIC) :] == MAGIC


def read_trailer(data: RawMapping | bytes, expansion: Expansion | None = None) -> ExecutedFacts | None:
    """The trailer at the end of a file, None if there is none.

    Raises ValueError if it is damaged, TooLarge if its facts take more memory than ``expansion`` allows. If
    only the code does, that is left out, and ``left_out`` says why.
    """
    if not has_trailer(data):
        return None
    end = len(data) - _FOOTER.size
    offset, size, checksum, count, version, footer_checksum, _ = _FOOTER.unpack_from(data, end)
    if zlib.crc32(data[end : end + _FOOTER_HEAD.size]) != footer_checksum:
        raise ValueError("its footer is damaged")
    if version > VERSION:
        raise ValueError(f"it has version {version}; this Odograph knows up to {VERSION}")
    if offset + size != end:
        raise ValueError("its parts do not lie where it says; the file was cut or changed")
    if _checksum(data, offset, end) != checksum:
        raise ValueError("its checksum is wrong")
    expansion = expansion or Expansion(len(data))
    facts = ExecutedFacts()
    at = offset
    for _ in range(count):
        if end - at < _SECTION.size:
            raise ValueError("a section is cut")
        kind, _, expanded, packed = _SECTION.unpack_from(data, at)
        at += _SECTION.size
        if packed > end - at:
            raise ValueError("a section is cut")
        if kind in (_CODE_SECTION, _FACTS_SECTION):
            if kind == _FACTS_SECTION:
                raw = _expand(data[at : at + packed], expanded, expansion)
                expansion.take(_FACT_COST * len(raw))
                _parse_facts(raw, facts)
            elif facts.left_out is None:
                try:
                    raw = _expand(data[at : at + packed], expanded, expansion)
                    facts.code.extend(_parse_code(raw, expansion))
                except TooLarge as error:
                    facts.left_out = str(error)
                    facts.code.clear()
        at += packed
    return facts


def _checksum(data: RawMapping | bytes, start: int, end: int) -> int:
    checksum = 0
    for at in range(start, end, _CHUNK):
        checksum = zlib.crc32(data[at : min(at + _CHUNK, end)], checksum)
    return checksum


def _expand(packed: bytes, size: int, expansion: Expansion) -> bytes:
    # It is held only while it is read; what is made of it counts.
    if size > expansion.left:
        expansion.take(size)
    try:
        raw = zlib.decompressobj().decompress(packed, size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(raw) != size:
        raise ValueError(f"a section expands to {len(raw)} bytes instead of {size}")
    return raw


def _parse_code(raw: bytes, expansion: Expansion) -> Iterator[Code]:
    """The entries of a section by process, time and address; those that touch are one."""
    found = recorded_code(raw, _ENTRY_COST, _BYTE_COST, expansion.left)
    if found is None:
        expansion.take(expansion.left + 1)
        return iter(())
    expansion.take(_ENTRY_COST * len(found) + _BYTE_COST * sum(len(entry[3]) for entry in found))
    return map(Code._make, found)


def _parse_facts(raw: bytes, facts: ExecutedFacts) -> None:
    try:
        document = json.loads(raw)
        facts.recorder = str(document.get("recorder", ""))
        status = document.get("exit_status")
        facts.exit_status = None if status is None else int(status)
        facts.truth = {
            int(tid): Truth(int(pair[0]), int(pair[1])) for tid, pair in document.get("truth", {}).items()
        }
        facts.gaps = [dict(gap) for gap in document.get("gaps", [])]
        facts.extra = dict(document.get("extra", {}))
        facts.files = {
            name: None if known is None else FileFacts(int(known[0]), str(known[1]))
            for name, known in document.get("files", {}).items()
        }
        facts.touched = frozenset(map(str, document.get("touched", [])))
    except (TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise ValueError(f"its facts make no sense: {error}") from error
