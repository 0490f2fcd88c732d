"""Intervals that lie over each other, and which one is on top at an address."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Addresses = np.ndarray[Any, np.dtype[np.uint64]]
    Numbers = np.ndarray[Any, np.dtype[np.int64]]

__all__ = ["Layers"]


class Layers:
    """Intervals ``[start, end)``; where several overlap, the one given last is on top."""

    def __init__(self, intervals: Sequence[tuple[int, int]]) -> None:
        import numpy as np

        starts, ends, owners = [], [], []
        for start, end, owner in _flatten(intervals):
            starts.append(start)
            ends.append(end - 1)
            owners.append(owner)
        self._start_list, self._last_list, self._owner_list = starts, ends, owners
        self._starts = np.array(starts, dtype=np.uint64)
        self._lasts = np.array(ends, dtype=np.uint64)
        self._owners = np.array(owners, dtype=np.int64)

    def at(self, address: int) -> int:
        """The index of the interval on top at one address; -1 where none is."""
        at = bisect_right(self._start_list, address) - 1
        inside = at >= 0 and address <= self._last_list[at]
        return self._owner_list[at] if inside else -1

    def find(self, addresses: Addresses) -> Numbers:
        """The index of the interval on top at each address; -1 where none is."""
        import numpy as np

        if not len(self._starts):
            return np.full(len(addresses), -1, dtype=np.int64)
        at = np.searchsorted(self._starts, addresses, side="right") - 1
        inside = (at >= 0) & (addresses <= self._lasts[at])
        return np.where(inside, self._owners[at], -1)


def _flatten(intervals: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """The same area in pieces (start, end, owner) that do not overlap, ascending."""
    edges = sorted({edge for start, end in intervals if start < end for edge in (start, end)})
    order = sorted((start, -owner, end) for owner, (start, end) in enumerate(intervals) if start < end)
    pieces: list[tuple[int, int, int]] = []
    active: list[tuple[int, int]] = []
    upcoming = 0
    for edge, after in pairwise(edges):
        while upcoming < len(order) and order[upcoming][0] <= edge:
            _, owner, end = order[upcoming]
            heapq.heappush(active, (owner, end))
            upcoming += 1
        while active and active[0][1] <= edge:
            heapq.heappop(active)
        if active:
            owner = -active[0][0]
            if pieces and pieces[-1][1] == edge and pieces[-1][2] == owner:
                pieces[-1] = (pieces[-1][0], after, owner)
            else:
                pieces.append((edge, after, owner))
    return pieces
