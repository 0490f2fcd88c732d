"""Executed bytes that lay where a file was mapped, by their place in the file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping as Dict
from operator import attrgetter
from typing import NamedTuple

from odograph.code.mappings import Inherited, Mapping, ProcessMemory

__all__ = ["BytesUnderFiles"]

_address = attrgetter("address")
#: Code that goes over more borders of files is no proof of any.
_MOST_PARTS = 8


class _Owner(NamedTuple):
    """A file, and the address at which its first byte would lie."""

    filename: str
    base: int


class BytesUnderFiles:
    """For each file the bytes that were executed first where nothing but it was ever mapped.

    Found out for all files together, when one is asked for first. A forked process adds what it executed
    itself; what it has of its parent is looked at, but not taken over.
    """

    def __init__(self, memories: Dict[int, ProcessMemory]) -> None:
        self._memories = memories
        self._found: dict[str, list[tuple[int, bytes]]] | None = None

    def of(self, name: str) -> list[tuple[int, bytes]]:
        """(file offset, bytes); empty for recordings without executed bytes, and for files none lie in."""
        if self._found is None:
            self._found = {}
            for memory in self._memories.values():
                self._add(memory)
        return self._found.get(name, [])

    def _add(self, memory: ProcessMemory) -> None:
        program = _Program()
        for _, changes in memory.timeline(whole=False):
            for change in changes:
                mapping = change.mapping
                if change.kind == "clear":
                    self._take(program)
                    program = _Program()
                elif change.inherited is not None:
                    self._take(program)
                    program = _Program(change.inherited)
                elif change.kind == "add" and mapping is not None:
                    program.add(mapping)
        self._take(program)

    def _take(self, program: _Program) -> None:
        assert self._found is not None
        for owner, address, code in program.owned():
            self._found.setdefault(owner.filename, []).append((address - owner.base, code))


class _Program:
    """What a process mapped and executed while it ran one program, and what it had of its parent."""

    def __init__(self, inherited: Inherited | None = None) -> None:
        self._inherited = [] if inherited is None else inherited.mappings
        self._files: list[Mapping] = []
        self._code: dict[int, bytes] = {}

    def add(self, mapping: Mapping) -> None:
        """A file was mapped, or code executed."""
        if mapping.code is None:
            self._files.append(mapping)
        else:
            self._code.setdefault(mapping.address, mapping.code)

    def owned(self) -> list[tuple[_Owner, int, bytes]]:
        """The code that lies under one file only: that file, address, bytes."""
        if not self._code:
            return []
        starts, owners = _sweep(self._files)
        found = []
        for address, code in self._code.items():
            end = address + len(code)
            first, last = bisect_right(starts, address), bisect_right(starts, end - 1)
            if last - first > _MOST_PARTS:
                continue
            inside = set(owners[first : last + 1])
            inside |= self._before(address, end)
            inside.discard(_NOBODY)
            owner = inside.pop() if len(inside) == 1 else None
            if owner is not None and self._covers(owner, address, end, starts, owners):
                found.append((owner, address, code))
        return found

    def _before(self, address: int, end: int) -> set[_Owner | None]:
        """Whose bytes the parent had in a range; None for executed ones, which are the parent's to tell."""
        at = max(0, bisect_right(self._inherited, address, key=_address) - 1)
        found: set[_Owner | None] = set()
        while at < len(self._inherited) and (mapping := self._inherited[at]).address < end and len(found) < 2:
            if mapping.end > address:
                found.add(None if mapping.code is not None else _owner(mapping))
            at += 1
        return found

    def _covers(
        self, owner: _Owner, address: int, end: int, starts: list[int], owners: list[_Owner | None]
    ) -> bool:
        """Whether a file lies in all of a range, as mapped here or by the parent."""
        first, last = bisect_right(starts, address), bisect_right(starts, end - 1)
        if all(owners[number] == owner for number in range(first, last + 1)):
            return True
        at = bisect_right(self._inherited, address, key=_address) - 1
        return at >= 0 and _owner(self._inherited[at]) == owner and end <= self._inherited[at].end


#: Nothing was mapped there.
_NOBODY = _Owner("", 1 << 64)


def _owner(mapping: Mapping) -> _Owner:
    return _Owner(mapping.filename, mapping.address - mapping.pgoff)


def _sweep(files: list[Mapping]) -> tuple[list[int], list[_Owner | None]]:
    """Where the owner of addresses changes, ascending, and the owners before and between and behind: the only
    file that was ever mapped there, ``_NOBODY``, or None for several."""
    edges: list[tuple[int, int, _Owner]] = []
    for mapping in files:
        if mapping.length > 0:
            edges.append((mapping.address, 1, _owner(mapping)))
            edges.append((mapping.end, -1, _owner(mapping)))
    edges.sort()
    starts: list[int] = []
    owners: list[_Owner | None] = [_NOBODY]
    there: dict[_Owner, int] = {}
    for index, (at, step, owner) in enumerate(edges):
        there[owner] = there.get(owner, 0) + step
        if not there[owner]:
            del there[owner]
        if index + 1 < len(edges) and edges[index + 1][0] == at:
            continue
        now = _NOBODY if not there else next(iter(there)) if len(there) == 1 else None
        if now != owners[-1]:
            starts.append(at)
            owners.append(now)
    return starts, owners
