"""Recordings in directories."""

from __future__ import annotations

import os
from collections.abc import Iterator

from odograph.perfdata.format import MAGIC
from odograph.recording.detect import PSB

__all__ = ["recordings_in"]

#: Files with these ends are taken as recordings without a look at them.
_SUFFIXES = ("perf.data", ".pt")


def recordings_in(path: str) -> Iterator[str]:
    """The recordings in a directory and those below it, by name; a path to anything else is given back.

    A recording is a file or directory that is named or begins like one. A directory made by
    ``perf record --threads`` or ``--kcore`` is one recording.
    """
    if not os.path.isdir(path) or _is_recording_directory(path):
        yield path
        return
    for name in sorted(os.listdir(path)):
        inside = os.path.join(path, name)
        if os.path.isdir(inside):
            yield from recordings_in(inside)
        elif os.path.isfile(inside) and _is_recording(inside):
            yield inside


def _is_recording_directory(path: str) -> bool:
    data = os.path.join(path, "data")
    return os.path.isfile(data) and _begins_like_one(data)


def _is_recording(path: str) -> bool:
    return path.endswith(_SUFFIXES) or _begins_like_one(path)


def _begins_like_one(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.read(len(PSB))
    except OSError:
        # Opening it says why it cannot be read.
        return True
    return head == PSB or head.startswith(MAGIC)
