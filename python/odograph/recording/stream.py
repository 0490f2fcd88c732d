"""The trace bytes of one processor or thread."""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from odograph._native import RawMapping
from odograph.recording.sideband import Region

__all__ = ["Break", "Extent", "TraceStream"]

#: A trace that lies in several extents is put together in memory up to this size.
_IN_MEMORY = 32 << 20


class Extent(NamedTuple):
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
    ``references`` say with which stream offset a buffer begins, and a TSC of 64 bits near its time (0 = not
    known): TSC packets lack the upper 8. ``is_cut`` says that the trace may begin anywhere, as a copy of a
    ring does, and not with a PSB. ``missing`` bytes of buffers should follow the last ones.
    """

    idx: int
    cpu: int | None
    tid: int | None
    pid: int | None
    extents: list[Extent] = field(default_factory=list)
    breaks: list[Break] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    references: list[tuple[int, int]] = field(default_factory=list)
    is_cut: bool = False
    missing: int = 0
    task: int | None = None
    files: Sequence[RawMapping | bytes] = ()
    _joined: memoryview | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def size(self) -> int:
        """Bytes of trace."""
        return sum(extent.size for extent in self.extents)

    def read(self) -> memoryview:
        """All bytes in order.

        Not copied if they lie in one extent, otherwise put together once: in memory if they are few, else
        in a temporary file that is mapped, so that memory stays bounded. OSError if there is no room for it,
        RecordingError if the recording was cut or changed since it was opened.
        """
        if self._joined is None:
            views = (
                memoryview(self.files[extent.file])[extent.offset : extent.offset + extent.size]
                for extent in self.extents
            )
            self._joined = next(views) if len(self.extents) == 1 else _join(views, self.size)
            for file in self.files:
                if isinstance(file, RawMapping):
                    file.check()
        return self._joined

    def reference(self, offset: int) -> int | None:
        """A TSC of 64 bits near the time of the bytes at stream offset ``offset``; None if not known."""
        index = bisect_right(self.references, (offset, 1 << 64)) - 1
        return (self.references[index][1] or None) if index >= 0 else None

    def file_offset(self, offset: int) -> int | None:
        """Where stream offset ``offset`` lies in its file, None past the end."""
        for extent in self.extents:
            if offset < extent.size:
                return extent.offset + offset
            offset -= extent.size
        return None


def _join(views: Iterable[memoryview], size: int) -> memoryview:
    if size <= _IN_MEMORY:
        return memoryview(b"".join(views))
    with tempfile.TemporaryFile() as file:
        file.writelines(views)
        file.flush()
        return memoryview(RawMapping("the joined trace", file.fileno()))
