"""perf map files: names of code that a JIT compiler made.

Format: lines ``START SIZE NAME``, hexadecimal, in ``/tmp/perf-PID.map`` (Linux
tools/perf/Documentation/jit-interface.txt). Addresses are used again in time; the last line counts.
"""

from __future__ import annotations

import os
from typing import BinaryIO, NamedTuple

from odograph.files.plainfile import open_recorded

__all__ = ["FoundMap", "PerfMap", "find_perf_map", "parse_perf_map", "read_perf_map"]

_MOST_BYTES = 256 << 20
_SHARED = "/tmp"

PerfMap = list[tuple[int, int, str]]
"""(start, end, name) in the order of the file."""


class FoundMap(NamedTuple):
    """The entries of a perf map, and the path and the reason where one was not used."""

    entries: PerfMap
    path: str = ""
    refused: str | None = None


def read_perf_map(pid: int, directories: tuple[str, ...] = (_SHARED,)) -> PerfMap:
    """The entries of the first ``perf-PID.map`` found here; other lines are skipped."""
    for directory in directories:
        try:
            with open_recorded(os.path.join(directory, f"perf-{pid}.map")) as file:
                return _entries(file)
        except (OSError, ValueError):
            continue
    return []


def _entries(file: BinaryIO) -> PerfMap:
    return parse_perf_map(file.read(_MOST_BYTES).decode("utf-8", "replace"))


def find_perf_map(
    pid: int, recording: str, *, began: int | None = None, finished: int | None = None
) -> FoundMap:
    """The entries of ``perf-PID.map`` beside a recording, or else in ``/tmp``; lines that are none are
    skipped.

    A map in ``/tmp`` is of another process of that number, or may be, if it was written last before the
    recording ``began`` or after it was ``finished`` (ns of the wall clock, None: not known). One that belongs
    neither to this user, nor root, nor the owner of the recording, is not used.
    """
    refused = FoundMap([])
    directory = os.path.dirname(os.path.abspath(recording))
    for folder, is_beside in ((directory, directory != _SHARED), (_SHARED, False)):
        path = os.path.join(folder, f"perf-{pid}.map")
        try:
            with open_recorded(path) as file:
                why = _why_not(os.fstat(file.fileno()), recording, None if is_beside else (began, finished))
                if why is None:
                    return FoundMap(_entries(file))
                if refused.refused is None:
                    refused = FoundMap([], path, f"{path} {why}")
        except (OSError, ValueError):
            continue
    return refused


def _why_not(
    status: os.stat_result, recording: str, times: tuple[int | None, int | None] | None
) -> str | None:
    began, finished = times or (None, None)
    if finished is not None and status.st_mtime_ns > finished:
        return "was written after the recording"
    if began is not None and status.st_mtime_ns < began:
        return "was written before the program began"
    if hasattr(os, "geteuid") and status.st_uid not in (os.geteuid(), 0, _owner(recording)):
        return "belongs to another user"
    return None


def _owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid
    except (OSError, ValueError):
        return None


def parse_perf_map(text: str) -> PerfMap:
    """The entries of a perf map."""
    entries: PerfMap = []
    for line in text.splitlines():
        parts = line.split(None, 2)
        if len(parts) < 3:
            continue
        try:
            start, size = int(parts[0], 16), int(parts[1], 16)
        except ValueError:
            continue
        if size > 0 and start >= 0 and start + size <= 1 << 64:
            entries.append((start, start + size, parts[2].strip()))
    return entries
