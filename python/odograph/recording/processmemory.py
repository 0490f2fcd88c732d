"""What memory of one process held, and when: ordered changes, never a single state.

A process that forked refers to its parent's changes up to that moment instead of copying them, so memory
stays in proportion to the recording.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

__all__ = ["KERNEL_PID", "Change", "Mapping", "ProcessMemory"]

#: The "process" that holds the kernel's maps, as perf.data numbers it.
KERNEL_PID = -1


class Mapping(NamedTuple):
    """``length`` bytes at ``address``: bytes of ``filename`` from file offset ``pgoff`` on, or ``code``.

    ``code`` are executed bytes kept by the recorder, None for a file. ``prot`` as in mmap(2), None = not
    recorded; ``build_id`` None = not known. ``offset`` is where the record lies in the recording.
    """

    address: int
    length: int
    pgoff: int = 0
    filename: str = ""
    build_id: bytes | None = None
    prot: int | None = None
    code: bytes | None = None
    pid: int = KERNEL_PID
    kernel: bool = False
    offset: int | None = None

    @property
    def end(self) -> int:
        """The first address after the mapping."""
        return self.address + self.length

    def part(self, start: int, end: int) -> Mapping:
        """The piece from address ``start`` up to ``end`` (not included)."""
        skip = start - self.address
        code = None if self.code is None else self.code[skip : skip + end - start]
        return self._replace(address=start, length=end - start, pgoff=self.pgoff + skip, code=code)


class Change(NamedTuple):
    """One change of the memory of a process.

    ``"add"``: ``mapping`` now lies over whatever was there. ``"remove"``: nothing lies in ``mapping``'s
    range any more. ``"clear"``: all user memory (addresses below 2**63) is gone; another program runs now.
    """

    kind: str
    mapping: Mapping | None = None


class _Inherit(NamedTuple):
    parent: ProcessMemory
    changes: int


class ProcessMemory:
    """The memory of one process over time; changes must be noted in the order they apply."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._changes: list[tuple[int | None, Change | _Inherit]] = []
        self._resets: list[int] = []

    def add(self, tsc: int | None, mapping: Mapping) -> None:
        """``mapping`` appears; None for ``tsc`` = from the beginning, or times are not known."""
        self._changes.append((tsc, Change("add", mapping)))

    def remove(self, tsc: int | None, address: int, length: int) -> None:
        """Nothing lies in the range from now on."""
        self._changes.append((tsc, Change("remove", Mapping(address, length, pid=self.pid))))

    def clear(self, tsc: int | None) -> None:
        """The process begins with empty memory."""
        self._resets.append(len(self._changes))
        self._changes.append((tsc, Change("clear")))

    def inherit(self, tsc: int | None, parent: ProcessMemory) -> None:
        """The process begins with a copy of what ``parent`` holds now."""
        if parent is self:
            return
        self._resets.append(len(self._changes))
        self._changes.append((tsc, _Inherit(parent, len(parent._changes))))

    def timeline(self) -> list[tuple[int | None, list[Change]]]:
        """All changes in order, those of one moment together."""
        result: list[tuple[int | None, list[Change]]] = []
        for tsc, change in self._changes:
            if isinstance(change, _Inherit):
                changes = [Change("clear")] if result else []
                changes += [Change("add", mapping) for mapping in change.parent.state(change.changes)]
            else:
                changes = [change]
            if result and result[-1][0] == tsc:
                result[-1][1].extend(changes)
            else:
                result.append((tsc, changes))
        return result

    def state(self, count: int | None = None) -> list[Mapping]:
        """What lies where after the first ``count`` changes (default: all), sorted and without overlap."""
        pieces: list[tuple[ProcessMemory, int, int]] = []
        memory, end = self, len(self._changes) if count is None else count
        while True:
            index = bisect_right(memory._resets, end - 1) - 1
            start = memory._resets[index] if index >= 0 else 0
            first = memory._changes[start][1] if start < end else None
            pieces.append((memory, start, end))
            if not isinstance(first, _Inherit):
                break
            memory, end = first.parent, first.changes
        layout = _Layout()
        for memory, start, end in reversed(pieces):
            for _, change in memory._changes[start:end]:
                if isinstance(change, Change) and change.mapping is not None:
                    layout.place(change.mapping, change.kind == "add")
        return layout.mappings


class _Layout:
    """Mappings sorted by address; a new one cuts what it covers."""

    def __init__(self) -> None:
        self.mappings: list[Mapping] = []
        self._starts: list[int] = []

    def place(self, new: Mapping, keep: bool) -> None:
        """Cut away what lies in the range of ``new``, and put it there if ``keep``."""
        if new.length <= 0:
            return
        start, end = new.address, new.end
        first = bisect_right(self._starts, start) - 1
        if first < 0 or self.mappings[first].end <= start:
            first += 1
        last = bisect_left(self._starts, end)
        pieces: list[Mapping] = []
        for old in self.mappings[first:last]:
            if old.address < start:
                pieces.append(old.part(old.address, start))
        if keep:
            pieces.append(new)
        for old in self.mappings[first:last]:
            if old.end > end:
                pieces.append(old.part(end, old.end))
        self.mappings[first:last] = pieces
        self._starts[first:last] = [piece.address for piece in pieces]
