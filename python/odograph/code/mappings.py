"""What memory of one process held, and when: ordered changes, never a single state.

A process that forked refers to its parent's changes up to that moment instead of copying them, so memory
stays in proportion to the recording.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import cached_property
from typing import Any, NamedTuple

from odograph.text.reprs import hex_repr

__all__ = ["KERNEL_PID", "Change", "Mapping", "ProcessMemory"]

#: The "process" that holds the kernel's maps, as perf.data numbers it.
KERNEL_PID = -1


@hex_repr("address", "length", "pgoff")
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

    ``"add"``: ``mapping`` now lies over what was there. ``"remove"``: nothing lies in ``mapping``'s
    range any more. ``"clear"``: all user memory (addresses below 2**63) is gone; another program runs now.
    ``"inherit"``: what ``inherited`` says lies there, code of the parent included; a clear comes before it.
    """

    kind: str
    mapping: Mapping | None = None
    inherited: Inherited | None = None


class Inherited:
    """What a parent held when it forked: one object for all children between whose forks nothing changed."""

    def __init__(self, mappings: list[Mapping], mapped: list[Mapping]) -> None:
        #: Sorted by address, without overlap.
        self.mappings = mappings
        #: The files alone, also where executed bytes lie over them; sorted by address, without overlap.
        self.mapped = mapped
        #: What was found out about these mappings by those who name code.
        self.modules: Any = None
        self.symbols: Any = None

    @cached_property
    def files(self) -> dict[tuple[str, bytes | None], Mapping]:
        """The first mapping of each file, by name and build id."""
        found: dict[tuple[str, bytes | None], Mapping] = {}
        for mapping in self.mapped:
            found.setdefault((mapping.filename, mapping.build_id), mapping)
        return found

    def at(self, address: int) -> Mapping | None:
        """The file mapped at an address."""
        index = bisect_right(self.mapped, address, key=lambda mapping: mapping.address) - 1
        mapping = self.mapped[index] if index >= 0 else None
        return mapping if mapping is not None and address < mapping.end else None


class _Inherit(NamedTuple):
    parent: ProcessMemory
    changes: int


class ProcessMemory:
    """The memory of one process over time; changes must be noted in the order they apply."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._changes: list[tuple[int | None, Change | _Inherit]] = []
        self._resets: list[int] = []
        self._states: dict[int, Inherited] = {}

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
        """The process begins with a copy of what ``parent`` holds now.

        Executed bytes that it has from its own beginning on lie over the copy: a fork is where it begins.
        """
        if parent is self:
            return
        own: list[tuple[int | None, Change | _Inherit]] = []
        if not self._resets:
            for when, change in self._changes:
                if when is not None or isinstance(change, _Inherit):
                    break
                if change.mapping is not None and change.mapping.code is not None:
                    own.append((tsc, change))
        self._resets.append(len(self._changes))
        self._changes.append((tsc, _Inherit(parent, len(parent._changes))))
        self._changes += own

    def timeline(self, *, whole: bool = True) -> list[tuple[int | None, list[Change]]]:
        """All changes in order, those of one moment together. With ``whole`` no change is "inherit"."""
        result: list[tuple[int | None, list[Change]]] = []
        for tsc, change in self._changes:
            if isinstance(change, _Inherit):
                inherited = change.parent._state(change.changes)
                if whole:
                    changes = [Change("clear")] if result else []
                    changes += [Change("add", mapping) for mapping in inherited.mappings]
                else:
                    changes = [Change("clear")] if result else []
                    changes.append(Change("inherit", None, inherited))
            else:
                changes = [change]
            if result and result[-1][0] == tsc:
                result[-1][1].extend(changes)
            else:
                result.append((tsc, changes))
        return result

    def state(self, count: int | None = None) -> list[Mapping]:
        """What lies where after the first ``count`` changes (default: all), sorted and without overlap."""
        return self._state(len(self._changes) if count is None else count).mappings

    def _state(self, count: int) -> Inherited:
        """What lies where after the first ``count`` changes."""
        if (known := self._states.get(count)) is not None:
            return known
        layout, files = _Layout(), _Layout()
        memory, end = self, count
        while True:
            index = bisect_right(memory._resets, end - 1) - 1
            start = memory._resets[index] if index >= 0 else 0
            for _, change in reversed(memory._changes[start:end]):
                if isinstance(change, Change) and change.mapping is not None:
                    layout.uncover(change.mapping, change.kind == "add")
                    if change.mapping.code is None:
                        files.uncover(change.mapping, change.kind == "add")
            first = memory._changes[start][1] if start < end else None
            if not isinstance(first, _Inherit):
                break
            memory, end = first.parent, first.changes
            # What was asked for before need not be worked out again, however long the line of parents is.
            if (known := memory._states.get(end)) is not None:
                for mapping in known.mappings:
                    layout.uncover(mapping, True)
                for mapping in known.mapped:
                    files.uncover(mapping, True)
                break
        result = self._states[count] = Inherited(layout.mappings(), files.mappings())
        return result


class _Layout:
    """Builds the final state from the last change back to the first: a change shows where no later one lies.

    What is covered is kept as few joined ranges, so that a hundred thousand blocks of executed code
    do not have to be cut out of each other.
    """

    def __init__(self) -> None:
        self._shown: list[Mapping] = []
        self._starts: list[int] = []
        self._ends: list[int] = []

    def uncover(self, mapping: Mapping, shows: bool) -> None:
        """Take in one change; ``shows`` False = it only hides earlier ones."""
        start, end = mapping.address, mapping.end
        if start >= end:
            return
        # The covered ranges that overlap or touch ours.
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if shows:
            at = start
            for index in range(first, last):
                if at < self._starts[index]:
                    self._shown.append(mapping.part(at, self._starts[index]))
                at = max(at, self._ends[index])
            if at < end:
                self._shown.append(mapping.part(at, end))
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def mappings(self) -> list[Mapping]:
        """What shows, sorted by address; executed bytes that touch are joined."""
        result: list[Mapping] = []
        run: list[Mapping] = []
        for mapping in sorted(self._shown, key=lambda mapping: mapping.address):
            if run and (mapping.code is None or mapping.address != run[-1].end):
                result.append(_joined(run))
                run = []
            if mapping.code is None:
                result.append(mapping)
            else:
                run.append(mapping)
        if run:
            result.append(_joined(run))
        return result


def _joined(run: list[Mapping]) -> Mapping:
    if len(run) == 1:
        return run[0]
    code = b"".join(mapping.code or b"" for mapping in run)
    return run[0]._replace(length=len(code), code=code)
