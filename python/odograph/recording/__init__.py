"""Recordings: what a trace file holds, before anything is decoded."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from odograph.recording.binaries import Binaries, CodeSource, Missing
from odograph.recording.detect import detect
from odograph.recording.perfdata.reader import PerfDataReader
from odograph.recording.perfdata.source import map_file
from odograph.recording.perfrecording import read_perfdata
from odograph.recording.problem import Problem
from odograph.recording.raw import read_raw
from odograph.recording.recording import Recording, Thread, damaged
from odograph.recording.sideband import Region
from odograph.recording.stream import Break, TraceStream

if TYPE_CHECKING:
    from odograph.image import Image

__all__ = [
    "Break",
    "CodeSource",
    "Missing",
    "Problem",
    "Recording",
    "Region",
    "Thread",
    "TraceStream",
    "open_recording",
]

Paths = Iterable[str | os.PathLike[str]] | str | os.PathLike[str]


def open_recording(
    path: str | os.PathLike[str],
    image: Image | None = None,
    sysroot: Paths = (),
    buildid_dirs: Paths = (),
    config: Any = None,
) -> Recording:
    """Open a perf.data file (file, pipe or directory form), a raw PT file, or ``-`` for standard input.

    ``sysroot`` and ``buildid_dirs`` are searched for the binaries before the paths that the recording
    names. ``image`` is memory the caller knows better; ``config`` is kept for whoever decodes. Raises
    RecordingError, with the file offset where there is one, if the file is no recording; damage that
    leaves something to decode is listed in ``problems``.
    """
    name = os.fspath(path)
    try:
        is_directory = name != "-" and os.path.isdir(name)
        data_path = os.path.join(name, "data") if is_directory else name
        binaries = Binaries(sysroot, buildid_dirs, os.path.join(name, "kcore_dir") if is_directory else None)
        data = map_file(data_path)
        if detect(data, data_path) == "raw":
            recording = read_raw(name, data)
        else:
            reader = PerfDataReader.open(name) if is_directory else PerfDataReader(data)
            recording = read_perfdata(name, reader, binaries)
    except struct.error as error:
        raise damaged(error) from error
    recording.user_image = None if image is None else image.snapshot()
    recording.config = config
    return recording
