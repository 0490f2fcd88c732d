"""Functions by what they cost, their own and with those they call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from odograph.text.reprs import hex_repr
from odograph.views.functions import FunctionKey, function_label, same_function
from odograph.views.numbers import count, share

if TYPE_CHECKING:
    from odograph.symbols import Symbols
    from odograph.table import Table

__all__ = ["FunctionCost", "cost_lines", "function_costs", "merged_costs"]


@hex_repr("address", "offset")
@dataclass(frozen=True, slots=True)
class FunctionCost:
    """What the calls of a function cost: see :meth:`odograph.History.functions`.

    Times are ns, None if no clock is known. ``address`` is the entry that was called, the lowest of several;
    where nothing names it, ``name`` is None. ``pid`` is the process, None if all count together. Module, name
    and address of what ran outside any call are "", None and 0.
    """

    module: str
    name: str | None
    address: int
    offset: int
    calls: int
    own: int
    inclusive: int
    own_time: int | None
    inclusive_time: int | None
    pid: int | None = None

    @property
    def label(self) -> str:
        """Its name, else its place in its module or memory."""
        return function_label(self.module, self.name, self.address, self.offset)


def function_costs(functions: Table, symbols: Symbols | None) -> list[FunctionCost]:
    """The rows of ``History.functions()`` with names, in their order."""
    from odograph.symbols import Symbols

    symbols = Symbols() if symbols is None else symbols
    entries = functions["ip"][1:]
    which, found = symbols.functions_of(entries, entries)
    names = [("", None, 0, 0), *(found[index] for index in which.tolist())]
    columns = [
        functions[name].tolist() for name in ("calls", "own", "inclusive", "own_time", "inclusive_time")
    ]
    rows = []
    for (module, name, _, offset), entry, *numbers in zip(
        names, functions["ip"].tolist(), *columns, strict=True
    ):
        rows.append(FunctionCost(module, name, entry, offset, *numbers))
    return rows


def merged_costs(lists: Iterable[Iterable[FunctionCost]]) -> list[FunctionCost]:
    """Those of several threads and addresses together: see :func:`odograph.views.functions.same_function`."""
    sums: dict[FunctionKey, FunctionCost] = {}
    for rows in lists:
        for row in rows:
            key = same_function(row.module, row.name, row.address, row.offset, row.pid)
            here = sums.get(key)
            sums[key] = row if here is None else _sum(here, row)
    return list(sums.values())


def _sum(one: FunctionCost, other: FunctionCost) -> FunctionCost:
    def add(first: int | None, second: int | None) -> int | None:
        return None if first is None or second is None else first + second

    return FunctionCost(
        one.module,
        one.name,
        min(one.address, other.address),
        one.offset,
        one.calls + other.calls,
        one.own + other.own,
        one.inclusive + other.inclusive,
        add(one.own_time, other.own_time),
        add(one.inclusive_time, other.inclusive_time),
        one.pid,
    )


def cost_lines(rows: list[FunctionCost], total: int, limit: int) -> list[str]:
    """A table of the first ``limit`` functions; ``total`` instructions are all."""
    timed = any(row.own_time is not None for row in rows)
    times = f" {'own ms':>12} {'inclusive ms':>13}" if timed else ""
    heads = f"{'own':>7} {'instructions':>15} {'inclusive':>9} {'instructions':>15} {'calls':>11}"
    lines = [f"{heads}{times}  function"]
    for row in rows[:limit]:
        own, inclusive = share(row.own, total), share(row.inclusive, total)
        calls = count(row.calls) if row.calls else "-"
        text = f"{own} {count(row.own):>15} {inclusive:>9} {count(row.inclusive):>15} {calls:>11}"
        if timed:
            text += f" {_milliseconds(row.own_time):>12} {_milliseconds(row.inclusive_time):>13}"
        where = f"  {row.module}" if row.module and row.name is not None else ""
        where += f"  {row.pid}" if row.pid is not None else ""
        lines.append(f"{text}  {row.label}{where}")
    if len(rows) > limit:
        lines.append(f"and {count(len(rows) - limit)} more")
    return lines


def _milliseconds(ns: int | None) -> str:
    return "" if ns is None else f"{ns / 1e6:.3f}"
