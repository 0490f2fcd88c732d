"""Raw Intel PT files: the bytes of one trace buffer and nothing else."""

from __future__ import annotations

from odograph._native import RawMapping
from odograph.recording.recordingfile import RecordingFile, Thread
from odograph.recording.sideband import Region
from odograph.recording.stream import Extent, TraceStream

__all__ = ["read_raw"]


def read_raw(path: str, data: RawMapping | bytes) -> RecordingFile:
    """One stream, one thread with tid 0, since raw traces name none."""
    stream = TraceStream(
        0, None, 0, 0, [Extent(0, len(data))], regions=[Region(0, 0, 0)], is_cut=True, files=[data]
    )
    return RecordingFile(path, "raw", [stream], [Thread(0, 0)])
