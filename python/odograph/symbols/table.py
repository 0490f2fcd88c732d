"""The functions of one file."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Literal, NamedTuple

from odograph._native import RawFunctions, unwind_tables_of_file
from odograph.symbols.lines import Lines, utf8
from odograph.text.reprs import hex_repr

if TYPE_CHECKING:
    from odograph.symbols.intervals import Addresses, Numbers

__all__ = [
    "FileFunction",
    "FunctionTable",
    "KnownBy",
    "UnwindTables",
    "table_of_bytes",
    "table_of_file",
    "unwind_tables_of",
]

KnownBy = Literal["symbol", "dwarf", "perf map", "fde", "call", ""]
"""How a function is known: by a symbol, debug information, a perf map, an entry of call frame information,
or only because it was called; "" where nothing is known."""

#: Names of a file that are looked through for suggestions, in bytes.
_MOST_NAMES = 1 << 24


@hex_repr("start", "end")
class FileFunction(NamedTuple):
    """A function of a file: its code lies from ``start`` to ``end`` (not included), as the file has it.

    ``raw`` is the name as the file has it, ``name`` as its language writes it; None if it has none.
    """

    start: int
    end: int
    name: str | None
    raw: str | None
    known_by: KnownBy


class FunctionTable:
    """The functions of one ELF file; addresses are those of the file.

    A function is known by a symbol, or else by debug information, or else by an entry of call frame
    information (FDE), which gives no name. So an address is never taken for a part of the function before.
    """

    def __init__(self, raw: RawFunctions, lines: Lines | None = None) -> None:
        self._raw = raw
        self._lines = lines
        self._known: dict[int, FileFunction] = {}

    def find(self, addresses: Addresses) -> tuple[Numbers, Addresses]:
        """The number of the function at each address and where it begins; -1 and 0 where none is known."""
        import numpy as np

        numbers, starts = self._raw._find(np.ascontiguousarray(addresses, dtype=np.uint64).data)
        return np.frombuffer(numbers, dtype=np.int64), np.frombuffer(starts, dtype=np.uint64)

    def at(self, address: int) -> FileFunction | None:
        """The function at an address; None where none is known."""
        found = self._raw._at(address)
        return None if found is None else FileFunction(*found)

    def function(self, number: int) -> FileFunction:
        """The function of a number that :meth:`find` gave."""
        known = self._known.get(number)
        if known is None:
            found = self._raw._get(number)
            if found is None:
                raise IndexError(f"no function has the number {number}")
            known = self._known[number] = FileFunction(*found)
        return known

    @property
    def has_symbols(self) -> bool:
        """Whether it has any symbol."""
        return self._raw._has_symbols()

    @functools.cached_property
    def entries(self) -> Addresses:
        """Where functions begin, ascending: by symbols (stubs among them) and by call frame information."""
        import numpy as np

        return np.frombuffer(self._raw._entries(), dtype=np.uint64)

    @functools.cached_property
    def bodies(self) -> Addresses:
        """Of all code that symbols or call frame information know, ascending: rows of begin, end (not
        included), where the function begins that it is a part of, as compilers move parts elsewhere
        (``main.cold``), and whether something begins there: 0 for a part without a name whose call frame
        information has a frame at its first instruction. Stubs of the procedure linkage table are left out.
        """
        import numpy as np

        return np.frombuffer(self._raw._bodies(), dtype=np.uint64).reshape(-1, 4)

    def functions(self) -> list[FileFunction]:
        """All functions, ascending, one for each place; stubs of the procedure linkage table among them."""
        return [FileFunction(*fields) for fields in self._raw._all()]

    def named(self, name: str) -> list[int]:
        """Where functions of exactly this name begin, as shown or as the file has it; ascending."""
        return self._raw._named(utf8(name))

    def names_at(self, start: int) -> list[tuple[str, str]]:
        """All names of the function that begins at an address: (as shown, as the file has it)."""
        return self._raw._names_at(start)

    def matches(self, name: str) -> list[tuple[int, str]]:
        """Functions that a name without parameters or namespaces may mean: start and whole name."""
        return self._raw._matches(utf8(name))

    def code_of(self, name: str) -> list[tuple[int, str, bool]]:
        """By debug information, where code of functions of this name begins: (address, whole name, whether it
        was inlined there)."""
        return [] if self._lines is None else self._lines.code_of(name)

    def known_names(self) -> list[str]:
        """Names of symbols, for suggestions."""
        return self._raw._shown_names(_MOST_NAMES)

    def __repr__(self) -> str:
        known = "has symbols" if self._raw._has_symbols() else "has no symbols"
        return f"<FunctionTable: {known}>"


class UnwindTables(NamedTuple):
    """Addresses of the file: ``starts`` of functions with unwind information; ``pads`` are (landing pad,
    first, end): an exception that passes a call between ``first`` and ``end`` (not included) lands there.
    """

    starts: list[int]
    pads: list[tuple[int, int, int]]


def table_of_file(path: str) -> FunctionTable:
    """The functions of an ELF file, its separate debug file and its MiniDebugInfo; none if it cannot be read.

    Read once as long as the file stays the same.
    """
    return _table(path, *_looks(path))


def table_of_bytes(data: bytes) -> FunctionTable:
    """The functions in the bytes of an ELF file; no functions for other bytes."""
    return FunctionTable(RawFunctions._of_bytes(data))


def unwind_tables_of(path: str) -> UnwindTables:
    """What the unwind information of an ELF file says; nothing if it cannot be read."""
    return _unwind_tables(path, *_looks(path))


def _looks(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return 0, 0
    return status.st_size, status.st_mtime_ns


@functools.lru_cache(maxsize=256)
def _table(path: str, _size: int, _mtime: int) -> FunctionTable:
    if "\0" in path:
        return table_of_bytes(b"")
    lines = Lines.of_file(path)
    return FunctionTable(RawFunctions._of_file(path, lines._raw), lines)


@functools.lru_cache(maxsize=16)
def _unwind_tables(path: str, _size: int, _mtime: int) -> UnwindTables:
    return UnwindTables([], []) if "\0" in path else UnwindTables(*unwind_tables_of_file(path))
