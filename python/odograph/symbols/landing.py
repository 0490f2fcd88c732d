"""Where exceptions land in a file, and where its functions begin."""

from __future__ import annotations

import functools
import os
from typing import NamedTuple

from odograph._native import elf_landings
from odograph.plainfile import mapped_recorded

__all__ = ["Landings", "landings_of_file"]


class Landings(NamedTuple):
    """Addresses of the file: ``starts`` of functions with unwind information; ``pads`` are (landing pad,
    first, last): an exception that passes a call between ``first`` and ``last`` (not included) lands there.
    """

    starts: list[int]
    pads: list[tuple[int, int, int]]


def landings_of_file(path: str) -> Landings:
    """What the unwind information of an ELF file says; nothing if it cannot be read."""
    try:
        status = os.stat(path)
    except OSError:
        return Landings([], [])
    return _landings(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=16)
def _landings(path: str, modified: int, size: int) -> Landings:
    try:
        with mapped_recorded(path) as data:
            return Landings(*elf_landings(data))
    except (OSError, ValueError):
        return Landings([], [])
