"""Executed bytes that lay where a file was mapped, by their place in the file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from odograph.recording.processmemory import Mapping, ProcessMemory

__all__ = ["bytes_of_file"]


def bytes_of_file(name: str, memories: Iterable[ProcessMemory]) -> list[tuple[int, bytes]]:
    """(file offset, bytes) that were executed first where nothing but the file of this name was ever mapped.

    Empty for recordings without executed bytes, and for files that none of them lie in.
    """
    found: list[tuple[int, bytes]] = []
    for memory in memories:
        files: list[Mapping] = []
        code: dict[int, bytes] = {}
        for _, changes in memory.timeline():
            for change in changes:
                mapping = change.mapping
                if change.kind == "clear":
                    found += _inside(name, files, code)
                    files, code = [], {}
                elif change.kind == "add" and mapping is not None and mapping.code is not None:
                    code.setdefault(mapping.address, mapping.code)
                elif change.kind == "add" and mapping is not None:
                    files.append(mapping)
        found += _inside(name, files, code)
    return found


def _inside(name: str, files: list[Mapping], code: dict[int, bytes]) -> list[tuple[int, bytes]]:
    if not code:
        return []
    found: list[tuple[int, bytes]] = []
    addresses = sorted(code)
    for mapping in files:
        if mapping.filename != name or any(_hides(other, mapping) for other in files):
            continue
        at = bisect_right(addresses, mapping.address - 1)
        while at < len(addresses) and addresses[at] + len(code[addresses[at]]) <= mapping.end:
            found.append((addresses[at] - mapping.address + mapping.pgoff, code[addresses[at]]))
            at += 1
    return found


def _hides(other: Mapping, mapping: Mapping) -> bool:
    """Whether something else was mapped in the same place at some time."""
    if other.address >= mapping.end or mapping.address >= other.end:
        return False
    return (
        other.filename != mapping.filename or other.address - other.pgoff != mapping.address - mapping.pgoff
    )
