"""perf map files: names of code that a JIT compiler made.

Format: lines ``START SIZE NAME``, hexadecimal, in ``/tmp/perf-PID.map`` (Linux
tools/perf/Documentation/jit-interface.txt). Addresses are used again in time; the last line counts.
"""

from __future__ import annotations

import os

__all__ = ["PerfMap", "read_perf_map"]

_MOST_BYTES = 256 << 20

PerfMap = list[tuple[int, int, str]]
"""(start, end, name) in the order of the file."""


def read_perf_map(pid: int, directories: tuple[str, ...] = ("/tmp",)) -> PerfMap:
    """The entries of the first ``perf-PID.map`` found here; lines that are none are skipped."""
    for directory in directories:
        path = os.path.join(directory, f"perf-{pid}.map")
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return parse_perf_map(file.read(_MOST_BYTES))
        except OSError:
            continue
    return []


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
