"""The symbols of one file."""

from __future__ import annotations

import functools
import mmap
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from odograph._native import RawTable, elf_symbols
from odograph.plainfile import open_recorded
from odograph.recording import elf
from odograph.symbols.debugfiles import debug_file

if TYPE_CHECKING:
    from odograph.symbols.intervals import Addresses, Numbers

__all__ = ["SymbolTable", "table_of_bytes", "table_of_file"]


class SymbolTable:
    """Names of address ranges; addresses are those of the file.

    Rows are ``(start, size, name, raw)``, ``raw`` being the name as the file has it. Where ranges
    overlap, the one with the highest start counts, and of those with one start the first row.
    """

    def __init__(self, rows: Iterable[tuple[int, int, str, str]]) -> None:
        import numpy as np

        #: All names, aliases too: (start, name, raw).
        self._all: list[tuple[int, str, str]] = []
        starts: list[int] = []
        sizes: list[int] = []
        self.names: list[str] = []
        for start, size, name, raw in sorted(rows, key=lambda row: row[0]):
            self._all.append((start, name, raw))
            if starts and starts[-1] == start:
                continue
            starts.append(start)
            sizes.append(max(1, min(size, (1 << 64) - start)))
            self.names.append(name)
        self.starts = np.array(starts, dtype=np.uint64)
        self._lasts = self.starts + (np.array(sizes, dtype=np.uint64) - np.uint64(1))
        #: The address behind each.
        self.ends = self._lasts + np.uint64(1)
        self._outer: Numbers | None = None
        self._by_name: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def find(self, addresses: Addresses) -> Numbers:
        """The index of the symbol at each address; -1 where none is."""
        import numpy as np

        if not len(self.names):
            return np.full(len(addresses), -1, dtype=np.int64)
        found = (np.searchsorted(self.starts, addresses, side="right") - 1).astype(np.int64)
        # An address behind the end of a symbol may still lie in one that surrounds it.
        beyond = (found >= 0) & (addresses > self._lasts[found])
        while beyond.any():
            found[beyond] = self._surrounding()[found[beyond]]
            beyond = (found >= 0) & (addresses > self._lasts[found])
        return found

    def _surrounding(self) -> Numbers:
        """For each symbol the nearest one before it that ends later; -1 if there is none."""
        import numpy as np

        if self._outer is None:
            lasts = self._lasts.tolist()
            outer = np.full(len(lasts), -1, dtype=np.int64)
            open_ones: list[int] = []
            for index, last in enumerate(lasts):
                while open_ones and lasts[open_ones[-1]] <= last:
                    open_ones.pop()
                if open_ones:
                    outer[index] = open_ones[-1]
                open_ones.append(index)
            self._outer = outer
        return self._outer

    def address(self, name: str) -> int | None:
        """Where a symbol starts; None if there is none. Its name as shown, as in the file, or without
        the parameters of a C++ function; of several with one name the one with the lowest address.
        """
        if self._by_name is None:
            by_name: dict[str, int] = {}
            self._by_name = by_name
            for start, shown, raw in self._all:
                by_name.setdefault(shown, start)
                by_name.setdefault(raw, start)
            for start, shown, _ in self._all:
                if shown.endswith((")", " const")) and "(" in shown:
                    by_name.setdefault(shown[: _parameters_at(shown)], start)
        return self._by_name.get(name)

    def known_names(self) -> Iterable[str]:
        """All names that :meth:`address` takes."""
        self.address("")
        return self._by_name or ()


def _parameters_at(name: str) -> int:
    """Where the parameter list of a C++ name begins."""
    depth = 0
    for at in range(len(name) - 1, -1, -1):
        if name[at] == ")":
            depth += 1
        elif name[at] == "(":
            depth -= 1
            if depth == 0:
                return at
    return len(name)


def table_of_file(path: str) -> SymbolTable:
    """The symbols of an ELF file and of its separate debug file; empty if it cannot be read."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return SymbolTable(())
    return _table(path, status.st_size, status.st_mtime_ns)


def table_of_bytes(data: bytes) -> SymbolTable:
    """The symbols of the bytes of an ELF file; empty if they are none."""
    return SymbolTable(_rows_of(elf_symbols(data)))


@functools.lru_cache(maxsize=256)
def _table(path: str, _size: int, _mtime: int) -> SymbolTable:
    rows = _rows(path)
    place = debug_file(path)
    if place is not None and elf.build_id(place) == elf.build_id(path):
        rows += _rows(place)
    return SymbolTable(rows)


def _rows(path: str) -> list[tuple[int, int, str, str]]:
    try:
        with open_recorded(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            table = elf_symbols(data)
    except (OSError, ValueError):
        return []
    return _rows_of(table)


def _rows_of(table: RawTable) -> list[tuple[int, int, str, str]]:
    return list(
        zip(_u64(table, "start"), _u64(table, "size"), _text(table, "name"), _text(table, "raw"), strict=True)
    )


def _u64(table: RawTable, name: str) -> list[int]:
    return memoryview(table.column(name)[1]).cast("Q").tolist()


def _text(table: RawTable, name: str) -> list[str]:
    values: list[str] = table.column(name)[1]
    return values
