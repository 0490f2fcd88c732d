"""Functions by how much of them was executed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from odograph.text.reprs import hex_repr
from odograph.views.functions import FunctionKey, same_function
from odograph.views.numbers import count

if TYPE_CHECKING:
    import numpy as np

    from odograph.history.selection import Coverage
    from odograph.symbols import Function, Symbols
    from odograph.table import Table

__all__ = ["Covered", "CoveredFunction", "Passes", "covered", "covered_lines"]


@hex_repr("address", "offset")
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


def covered(parts: Iterable[tuple[Passes, Symbols | None]]) -> Covered:
    """What histories in one address space covered together, each with the names that it ran under.

    A function that lay at several addresses, one after the other, is one.
    """
    import numpy as np

    from odograph.symbols import Symbols

    groups: dict[int, tuple[Symbols, list[Passes]]] = {}
    for passes, symbols in parts:
        groups.setdefault(id(symbols), (symbols or Symbols(), []))[1].append(passes)
    numbers: dict[FunctionKey, int] = {}
    functions: list[Function] = []
    # Of instructions, blocks and edges: the function, the place in it, and what else tells them apart.
    met: list[list[np.ndarray[Any, Any]]] = [[], [], []]
    for symbols, histories in groups.values():
        seen = _seen(histories)
        entries = np.concatenate([history.functions()["ip"][1:] for history in histories])
        which, found = symbols.functions_of(np.concatenate([rows[:, 0] for rows in seen]), np.unique(entries))
        order = []
        for function in found:
            key = same_function(*function, None)
            if key not in numbers:
                numbers[key] = len(functions)
                functions.append(function)
            order.append(numbers[key])
        known = np.array(order, dtype=np.uint64)
        starts = np.array([function.address for function in found], dtype=np.uint64)
        ends = np.cumsum([len(rows) for rows in seen])
        for total, rows, part in zip(met, seen, np.split(which, ends[:-1]), strict=True):
            # Where a block ends, and where an edge leads, counts from where it begins.
            columns = [known[part], rows[:, 0] - starts[part]]
            columns += [column - rows[:, 0] for column in rows[:, 1:2].T] + [*rows[:, 2:].T]
            total.append(np.stack(columns, axis=1))
    owners: list[Any] = [
        np.unique(np.concatenate(rows), axis=0)[:, 0].astype(np.int64) if rows else [] for rows in met
    ]
    counts = [np.bincount(owner, minlength=len(functions)).tolist() for owner in owners]
    covering = [CoveredFunction(*function, *row) for function, *row in zip(functions, *counts, strict=True)]
    covering.sort(key=lambda row: (-row.blocks, -row.instructions, row.module, row.address))
    return Covered(len(owners[0]), len(owners[1]), len(owners[2]), covering)


def _seen(histories: list[Passes]) -> list[np.ndarray[Any, Any]]:
    """The executed instructions, blocks and edges of histories, each once; rows begin with the address."""
    import numpy as np

    ips: list[np.ndarray[Any, Any]] = []
    blocks: list[np.ndarray[Any, Any]] = []
    edges: list[np.ndarray[Any, Any]] = []
    for history in histories:
        ips.append(history.counts()["ip"][:, None])
        coverage = history.coverage()
        columns = [coverage.blocks[name].astype(np.uint64) for name in ("ip", "end_ip", "ninsn")]
        blocks.append(np.stack(columns, axis=1))
        edges.append(np.stack([coverage.edges["from"], coverage.edges["to"]], axis=1))
    return [np.unique(np.concatenate(rows), axis=0) for rows in (ips, blocks, edges)]


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
