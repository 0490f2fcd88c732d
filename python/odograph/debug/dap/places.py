"""Source lines of the code of a program, looked up once an address."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from odograph.symbols import Lines

if TYPE_CHECKING:
    from odograph.symbols import Source, Symbols

__all__ = ["Line", "Places"]

_TOP = 1 << 64


class Line(NamedTuple):
    """A line of source."""

    file: str
    line: int


class Places:
    """Where the code of a program is from."""

    def __init__(self, symbols: Symbols) -> None:
        self.symbols = symbols
        self._known: dict[int, Source | None] = {}

    def source(self, address: int) -> Source | None:
        """The source of the instruction at an address; None where nothing is known."""
        if address not in self._known:
            self._known[address] = self.symbols.source_of(address)
        return self._known[address]

    def line(self, address: int) -> Line | None:
        """The line of an instruction; where functions are inlined, that in the innermost one."""
        source = self.source(address)
        if source is None:
            return None
        file, line = source.inlined[0][1:] if source.inlined else (source.file, source.line)
        return Line(file, line) if file is not None and line else None

    def addresses_of(self, file: str, line: int) -> tuple[int, list[int]] | None:
        """The line, or the next one that has code, and where code of it begins; None if there is none."""
        best: tuple[int, list[int]] | None = None
        for path, bias in {(module.path, module.bias) for module in self.symbols.modules if module.path}:
            # A compiler may have been told another directory: the last components are enough.
            lines = Lines.of_file(path)
            found = lines.addresses_of(file, line) or lines.addresses_of(os.path.basename(file), line)
            if found is None or (best is not None and found[0] > best[0]):
                continue
            moved = [(address + bias) % _TOP for address in found[1]]
            best = (found[0], sorted([*best[1], *moved]) if best and best[0] == found[0] else moved)
        return best
