"""Functions and modules by the instructions they executed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from odograph.views.numbers import count, share

if TYPE_CHECKING:
    from odograph.symbols import Symbols
    from odograph.table import Table

__all__ = ["FunctionCount", "function_lines", "functions", "modules"]


@dataclass(frozen=True, slots=True)
class FunctionCount:
    """What a function executed itself, callees not counted, and how often it was called.

    Where no symbol names code, ``name`` is None and ``address`` the entry of the last call target before
    it; ``offset`` is that address as the module's file has it. ``module`` is "" for code in none.
    """

    module: str
    name: str | None
    address: int
    offset: int
    instructions: int
    calls: int

    @property
    def label(self) -> str:
        """Its name, else its place in its module or memory."""
        if self.name is not None:
            return self.name
        return f"+{self.offset:#x}" if self.module else f"{self.address:#x}"


def functions(counts: Table, calls: Table, symbols: Symbols | None) -> list[FunctionCount]:
    """Functions with the most instructions first, from ``History.counts()`` and ``History.calls()``."""
    import numpy as np

    from odograph.symbols import Symbols

    symbols = Symbols() if symbols is None else symbols
    executed = len(counts)
    called = calls["calls"] > 0
    entries = calls["ip"][called]
    which, found = symbols.functions_of(np.concatenate([counts["ip"], entries]), entries)
    instructions = np.zeros(len(found), dtype=np.uint64)
    np.add.at(instructions, which[:executed], counts["count"])
    times = np.zeros(len(found), dtype=np.uint64)
    np.add.at(times, which[executed:], calls["calls"][called])
    return _sorted(
        FunctionCount(*function, instructions=own, calls=number)
        for function, own, number in zip(found, instructions.tolist(), times.tolist(), strict=True)
    )


def merged(lists: Iterable[Iterable[FunctionCount]]) -> list[FunctionCount]:
    """The same for several threads together."""
    sums: dict[tuple[str, str | None, int, int], tuple[int, int]] = {}
    for rows in lists:
        for row in rows:
            key = (row.module, row.name, row.address, row.offset)
            instructions, calls = sums.get(key, (0, 0))
            sums[key] = (instructions + row.instructions, calls + row.calls)
    return _sorted(FunctionCount(*key, *value) for key, value in sums.items())


def modules(rows: Iterable[FunctionCount]) -> list[tuple[str, int]]:
    """(module, instructions), the most first."""
    sums: dict[str, int] = {}
    for row in rows:
        sums[row.module] = sums.get(row.module, 0) + row.instructions
    return sorted(sums.items(), key=lambda item: (-item[1], item[0]))


def _sorted(rows: Iterable[FunctionCount]) -> list[FunctionCount]:
    return sorted(rows, key=lambda row: (-row.instructions, row.module, row.address))


def function_lines(rows: list[FunctionCount], limit: int = 12) -> list[str]:
    """A table of the first ``limit`` functions."""
    total = sum(row.instructions for row in rows)
    shown = rows[:limit]
    lines = [f"{'share':>7} {'instructions':>15} {'calls':>11}  function"]
    for row in shown:
        where = f"  {row.module}" if row.module else ""
        calls = count(row.calls) if row.calls else "-"
        lines.append(
            f"{share(row.instructions, total)} {count(row.instructions):>15} {calls:>11}  "
            f"{_cut(row.label)}{where}"
        )
    rest = rows[limit:]
    if rest:
        left = sum(row.instructions for row in rest)
        lines.append(f"{share(left, total)} {count(left):>15} {'':>11}  in {count(len(rest))} more")
    return lines


def _cut(name: str, width: int = 60) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"
