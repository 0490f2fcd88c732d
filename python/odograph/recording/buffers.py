"""From buffers to a stream: perf's copies of one ring, which may overlap and may be filled up with zeros.

perf writes buffers in multiples of eight bytes: up to seven zeros behind the trace are filling. Snapshots,
and the extents of trace in samples, are copies of what the ring held at a moment, so a later one may repeat
the end of an earlier one. Equal bytes are taken for the same bytes: where the trace has no TSC packets, a
loop that repeats to the byte can be mistaken for an overlap, as by perf.
"""

from __future__ import annotations

from odograph._native import trace_overlap
from odograph.recording.stream import Break, Extent, TraceStream

__all__ = ["add_copy", "add_next"]

_ALIGNMENT = 8


def add_copy(stream: TraceStream, extent: Extent, reason: str, reference: int = 0) -> int:
    """Add a copy of the ring: what it repeats is left out. Gives how many bytes that are.

    Where it repeats nothing, data may be missing before it: that is a break with this ``reason``.
    """
    repeated = padding = 0
    if stream.extents:
        later = memoryview(stream.files[extent.file])[extent.offset : extent.offset + extent.size]
        found = trace_overlap(_end(stream, extent.size + _ALIGNMENT - 1), later)
        if found is None:
            stream.breaks.append(Break(_size(stream), reason))
        else:
            repeated, padding = found
    _cut(stream, padding)
    if repeated < extent.size:
        _add(stream, extent._replace(offset=extent.offset + repeated, size=extent.size - repeated), reference)
    return repeated


def add_next(stream: TraceStream, extent: Extent, missing: int, reference: int = 0) -> None:
    """Add the buffer that follows, which begins ``missing`` bytes before the end of the last one in the ring.

    If these bytes are the filling of the last one, they are no part of the trace.
    """
    if 0 < missing < _ALIGNMENT and not any(_end(stream, missing)):
        _cut(stream, missing)
    _add(stream, extent, reference)


def _size(stream: TraceStream) -> int:
    return stream.references[-1][0] + stream.extents[-1].size if stream.extents else 0


def _add(stream: TraceStream, extent: Extent, reference: int) -> None:
    stream.references.append((_size(stream), reference))
    stream.extents.append(extent)


def _end(stream: TraceStream, size: int) -> memoryview:
    """At most ``size`` last bytes behind the last break."""
    size = min(size, _size(stream) - (stream.breaks[-1].offset if stream.breaks else 0))
    views = []
    for extent in reversed(stream.extents):
        if size <= 0:
            break
        taken = min(size, extent.size)
        end = extent.offset + extent.size
        views.append(memoryview(stream.files[extent.file])[end - taken : end])
        size -= taken
    return views[0] if len(views) == 1 else memoryview(b"".join(reversed(views)))


def _cut(stream: TraceStream, size: int) -> None:
    """Leave out the last bytes."""
    while size:
        last = stream.extents.pop()
        left = last.size - min(size, last.size)
        size -= last.size - left
        if left:
            stream.extents.append(last._replace(size=left))
        else:
            stream.references.pop()
