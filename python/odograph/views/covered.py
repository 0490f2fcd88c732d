"""Functions by how much of them was executed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from odograph.views.numbers import count

if TYPE_CHECKING:
    import numpy as np

    from odograph.history import Coverage
    from odograph.symbols import Symbols
    from odograph.table import Table

__all__ = ["Covered", "CoveredFunction", "Passes", "covered", "covered_lines"]


@dataclass(frozen=True, slots=True)
class CoveredFunction:
    """How many instructions, blocks and edges of a function were executed at least once.

    A block belongs to the function it begins in, an edge to the one it leaves. Where no symbol names code,
    ``name`` is None and ``address`` the entry of the last call target before it.
    """

    module: str
    name: str | None
    address: int
    offset: int
    instructions: int
    blocks: int
    edges: int

    @property
    def label(self) -> str:
        """Its name, else its place in its module or memory."""
        if self.name is not None:
            return self.name
        return f"{self.module}+{self.offset:#x}" if self.module else f"{self.address:#x}"


@dataclass(frozen=True, slots=True)
class Covered:
    """What the threads of a process executed at least once: numbers, and functions, the most blocks first."""

    instructions: int
    blocks: int
    edges: int
    functions: list[CoveredFunction]


class Passes(Protocol):
    """What of a history is used here."""

    def counts(self) -> Table: ...
    def coverage(self) -> Coverage: ...
    def functions(self) -> Table: ...


def covered(histories: Iterable[Passes], symbols: Symbols | None) -> Covered:
    """What histories in one address space covered together."""
    import numpy as np

    from odograph.symbols import Symbols

    symbols = Symbols() if symbols is None else symbols
    ips: list[np.ndarray[Any, Any]] = []
    blocks: list[np.ndarray[Any, Any]] = []
    edges: list[np.ndarray[Any, Any]] = []
    entries: list[np.ndarray[Any, Any]] = []
    for history in histories:
        ips.append(history.counts()["ip"])
        coverage = history.coverage()
        table = coverage.blocks
        columns = [table[name].astype(np.uint64) for name in ("ip", "end_ip", "ninsn")]
        blocks.append(np.stack(columns, axis=1))
        edges.append(np.stack([coverage.edges["from"], coverage.edges["to"]], axis=1))
        entries.append(history.functions()["ip"][1:])
    executed = np.unique(np.concatenate(ips))
    begun = np.unique(np.concatenate(blocks), axis=0)[:, 0]
    left = np.unique(np.concatenate(edges), axis=0)[:, 0]
    which, found = symbols.functions_of(
        np.concatenate([executed, begun, left]), np.unique(np.concatenate(entries))
    )
    ends = np.cumsum([len(executed), len(begun)])
    numbers = [np.bincount(part, minlength=len(found)).tolist() for part in np.split(which, ends)]
    rows = [CoveredFunction(*function, *row) for function, *row in zip(found, *numbers, strict=True)]
    rows.sort(key=lambda row: (-row.blocks, -row.instructions, row.module, row.address))
    return Covered(len(executed), len(begun), len(left), rows)


def covered_lines(rows: list[CoveredFunction], limit: int) -> list[str]:
    """A table of the first ``limit`` functions."""
    lines = [f"{'blocks':>11} {'edges':>11} {'instructions':>13}  function"]
    for row in rows[:limit]:
        where = f"  {row.module}" if row.module and row.name is not None else ""
        numbers = f"{count(row.blocks):>11} {count(row.edges):>11} {count(row.instructions):>13}"
        lines.append(f"{numbers}  {row.label}{where}")
    if len(rows) > limit:
        lines.append(f"{'':>37}  and {count(len(rows) - limit)} more")
    return lines
