"""Source lines of the code of a program, looked up once an address."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odograph.symbols import Lines

if TYPE_CHECKING:
    from odograph.debug.target import Target
    from odograph.symbols.lines import InlinedCode

__all__ = ["Line", "PiecesAt", "Places"]

Addresses = np.ndarray[Any, np.dtype[np.uint64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

_TOP = 1 << 64
_MODULE_SHIFT = 48
"""Numbers of lines in different modules differ above the number of the file."""


class Line(NamedTuple):
    """A line of source."""

    file: str
    line: int


class PiecesAt(NamedTuple):
    """The pieces of code that instructions lie in, in columns; 0 where no line is known."""

    start: Addresses
    line: np.ndarray[Any, np.dtype[np.int64]]
    """A number for the line and its file."""
    begins_statement: Flags
    """Whether a statement begins at the start of the piece."""


class Places:
    """Where the code of a program is from."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._inlined: dict[int, tuple[InlinedCode, ...]] = {}

    def line(self, address: int) -> Line | None:
        """The line of an instruction; where functions are inlined, that in the innermost one."""
        name = self._target.symbols.describe(address)
        file, line = name.inlined[0][1:] if name.inlined else (name.file, name.line)
        return Line(file, line) if file is not None and line else None

    def pieces(self, addresses: Addresses) -> PiecesAt:
        """The pieces of code that instructions lie in, as :attr:`Lines.pieces` has them."""
        found = PiecesAt(
            np.zeros(addresses.shape, dtype=np.uint64),
            np.zeros(addresses.shape, dtype=np.int64),
            np.zeros(addresses.shape, dtype=bool),
        )
        for number, module in enumerate(self._target.symbols.modules):
            here = np.flatnonzero((addresses >= module.address) & (addresses < module.end))
            pieces = Lines.of_file(module.path).pieces if module.path and len(here) else None
            if pieces is None or not len(pieces.start):
                continue
            bias = np.uint64(module.bias % _TOP)
            inside = addresses[here] - bias
            rows = np.maximum(np.searchsorted(pieces.start, inside, side="right") - 1, 0)
            known = (pieces.start[rows] <= inside) & (inside < pieces.end[rows])
            here, rows = here[known], rows[known]
            found.start[here] = pieces.start[rows] + bias
            found.line[here] = pieces.line[rows].astype(np.int64) | number << _MODULE_SHIFT
            found.begins_statement[here] = pieces.begins_statement[rows]
        return found

    def inlined(self, address: int) -> tuple[InlinedCode, ...]:
        """The inlined functions at an address, the outermost first; their numbers are those of its file."""
        known = self._inlined.get(address)
        if known is None:
            known = ()
            for module in self._target.symbols.modules:
                if module.path and module.address <= address < module.end:
                    known = Lines.of_file(module.path).inlined_at((address - module.bias) % _TOP)
            self._inlined[address] = known
        return known

    def addresses_of(self, file: str, line: int) -> tuple[int, list[int]] | None:
        """The line, or the next one that has code, and where code of it begins; None if there is none."""
        best: tuple[int, list[int]] | None = None
        modules = self._target.recording.symbols(self._target.thread.tid).modules
        for path, bias in {(module.path, module.bias) for module in modules if module.path}:
            # A compiler may have been told another directory: the last components are enough.
            lines = Lines.of_file(path)
            found = lines.addresses_of(file, line) or lines.addresses_of(os.path.basename(file), line)
            if found is None or (best is not None and found[0] > best[0]):
                continue
            moved = [(address + bias) % _TOP for address in found[1]]
            best = (found[0], sorted([*best[1], *moved]) if best and best[0] == found[0] else moved)
        return best
