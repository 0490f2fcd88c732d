"""Recordings: what a trace file holds, before anything is decoded."""

from __future__ import annotations

import gc
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from odograph.code.binaries import Binaries, CodeSource, Missing
from odograph.code.evidence import written_at
from odograph.code.objects import object_file
from odograph.errors import RecordingError
from odograph.perfdata.problem import Problem
from odograph.perfdata.reader import PerfDataReader
from odograph.perfdata.source import map_file
from odograph.recording.detect import detect, not_a_recording
from odograph.recording.perfrecording import read_perfdata
from odograph.recording.raw import read_raw
from odograph.recording.recordingfile import RecordingFile, Thread, damaged
from odograph.recording.sideband import Region
from odograph.recording.stream import Break, TraceStream

if TYPE_CHECKING:
    from odograph.code.image import Image
    from odograph.config import TraceConfig

__all__ = [
    "Break",
    "CodeSource",
    "Missing",
    "Problem",
    "RecordingFile",
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
    config: TraceConfig | None = None,
    kcore: str | os.PathLike[str] | None = None,
    max_expanded: int | None = None,
) -> RecordingFile:
    """Open a perf.data file (file, pipe or directory form), a raw PT file, or ``-`` for standard input.

    ``sysroot`` and ``buildid_dirs`` are searched for the binaries before the paths that the recording
    names. ``image`` is memory the caller knows better; ``config`` is kept for decoding. ``kcore``
    is a copy of the kernel's memory, by default the one in the directory form (perf record --kcore).
    ``max_expanded`` is how many bytes of memory its compressed parts may become, by default
    :func:`~odograph.perfdata.expansion.default_limit`; what goes beyond is left out, which is a problem.
    Raises RecordingError, with the file offset where there is one, if the file is no recording or
    ``kcore`` no ELF file; damage that leaves something to decode is listed in ``problems``.
    """
    name = os.fspath(path)
    with _collector_paused():
        recording = _open(name, sysroot, buildid_dirs, kcore, max_expanded)
    recording.user_image = None if image is None else image.snapshot()
    recording.config = config
    return recording


def _open(
    name: str,
    sysroot: Paths,
    buildid_dirs: Paths,
    kcore: str | os.PathLike[str] | None,
    max_expanded: int | None,
) -> RecordingFile:
    try:
        is_directory = name != "-" and os.path.isdir(name)
        data_path = os.path.join(name, "data") if is_directory else name
        if is_directory and not os.path.exists(data_path):
            raise RecordingError(not_a_recording(name))
        binaries = Binaries(sysroot, buildid_dirs, _kcore(name if is_directory else None, kcore))
        binaries.kcore_chosen = kcore is not None
        # Names in a directory are the choice of the recording's author.
        data = map_file(data_path, recorded=is_directory)
        if detect(data, data_path) == "raw":
            return read_raw(name, data)
        if is_directory:
            reader = PerfDataReader.open(name, max_expanded)
        else:
            reader = PerfDataReader(data, max_expanded=max_expanded)
        binaries.evidence.finished = written_at(data_path)
        return read_perfdata(name, reader, binaries)
    except struct.error as error:
        raise damaged(error) from error


def _kcore(directory: str | None, given: str | os.PathLike[str] | None) -> str | None:
    """The copy of the kernel's memory that was asked for, or that lies with the recording."""
    if given is None:
        return None if directory is None else os.path.join(directory, "kcore_dir", "kcore")
    path = os.fspath(given)
    path = os.path.join(path, "kcore") if os.path.isdir(path) else path
    if object_file(path, chosen=True) is None:
        raise RecordingError(f"{path} is not a copy of a kernel's memory; perf record --kcore makes one")
    return path


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Reading makes very many small tuples and no cycles; looking for some takes a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
