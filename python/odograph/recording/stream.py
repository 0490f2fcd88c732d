"""The trace bytes of one processor or thread."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from odograph.recording.sideband import Region

__all__ = ["Break", "Piece", "TraceStream"]


class Piece(NamedTuple):
    """``size`` bytes at ``offset`` of file number ``file`` (0 = the main one)."""

    offset: int
    size: int
    file: int = 0


class Break(NamedTuple):
    """Data is missing before stream offset ``offset``, so decoding must synchronise again there."""

    offset: int
    reason: str


@dataclass(slots=True)
class TraceStream:
    """One queue of trace bytes, to be decoded by one decoder.

    ``cpu`` is None for a thread's own buffer, ``tid`` and ``pid`` None where threads share the buffer.
    ``task`` is the thread that the recorder was asked to trace, with all it starts, None = whole CPUs.
    ``regions`` say which thread ran from which TSC on, first one first. ``breaks`` are in order.
    ``reference`` is a full TSC near the stream's end, whose top 8 bits TSC packets lack (0 = unknown).
    """

    idx: int
    cpu: int | None
    tid: int | None
    pid: int | None
    pieces: list[Piece] = field(default_factory=list)
    breaks: list[Break] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    reference: int = 0
    task: int | None = None
    files: Sequence[mmap.mmap | bytes] = ()

    @property
    def size(self) -> int:
        """Bytes of trace."""
        return sum(piece.size for piece in self.pieces)

    def read(self) -> memoryview:
        """All bytes in order; not copied if they lie in one piece."""
        if len(self.pieces) == 1:
            piece = self.pieces[0]
            return memoryview(self.files[piece.file])[piece.offset : piece.offset + piece.size]
        joined = bytearray()
        for piece in self.pieces:
            joined += memoryview(self.files[piece.file])[piece.offset : piece.offset + piece.size]
        return memoryview(joined).toreadonly()

    def file_offset(self, offset: int) -> int | None:
        """Where stream offset ``offset`` lies in its file, None past the end."""
        for piece in self.pieces:
            if offset < piece.size:
                return piece.offset + offset
            offset -= piece.size
        return None
