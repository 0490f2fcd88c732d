"""Which code of a file belongs to which function."""

from __future__ import annotations

import functools
import itertools
import os
import re

from odograph.symbols.landing import landings_of_file
from odograph.symbols.table import table_of_file

__all__ = ["bodies_of_file"]

#: Parts of a function that a compiler moved elsewhere: ``main.cold``, ``read.part.0``.
_PART = re.compile(r"(.+?)\.(?:cold|part)(?:\.\d+)?(?:\.(?:cold|part|isra|constprop)(?:\.\d+)?)*$")


def bodies_of_file(path: str) -> tuple[tuple[int, int, int], ...]:
    """(start, end, start of the function that it is a part of) of the code of an ELF file.

    Addresses are those of the file. They come from symbols, and from unwind information where there is
    none. Stubs that call other files are left out.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ()
    return _bodies(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _bodies(path: str, _size: int, _mtime: int) -> tuple[tuple[int, int, int], ...]:
    table = table_of_file(path)
    starts, ends = table.starts.tolist(), table.ends.tolist()
    stubs = [start for start, name in zip(starts, table.names, strict=True) if name.endswith("@plt")]
    rows: dict[int, tuple[int, int]] = {}
    behind = [*starts[1:], (1 << 64) - 1][: len(starts)]
    for start, end, following, name in zip(starts, ends, behind, table.names, strict=True):
        if name.endswith("@plt"):
            continue
        part = _PART.match(name)
        owner = None if part is None else table.address(part[1])
        # Symbols of assembler code may have no size.
        rows[start] = (following if end <= start + 1 else end, start if owner is None else owner)
    for start, end in _unnamed(landings_of_file(path).starts, starts, ends):
        # The stubs have unwind information, and so has what leads from them to the dynamic linker.
        if not any(start - 16 <= stub <= end for stub in stubs):
            rows[start] = (end, start)
    return tuple((start, end, owner) for start, (end, owner) in sorted(rows.items()))


def _unnamed(found: list[int], starts: list[int], ends: list[int]) -> list[tuple[int, int]]:
    """Functions that only unwind information tells of, each up to what comes next."""
    edges = sorted({*found, *starts})
    following = dict(itertools.pairwise([*edges, (1 << 64) - 1]))
    named = sorted(zip(starts, ends, strict=True))
    unnamed = []
    at = 0
    last = 0
    for start in sorted(set(found)):
        while at < len(named) and named[at][0] <= start:
            last = max(last, named[at][1])
            at += 1
        if start >= last:
            unnamed.append((start, following[start]))
    return unnamed
