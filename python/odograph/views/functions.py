"""Functions and modules by the instructions they executed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from odograph.text.reprs import hex_repr
from odograph.views.numbers import count, share

if TYPE_CHECKING:
    from odograph.symbols import Symbols
    from odograph.table import Table

__all__ = [
    "FunctionCount",
    "FunctionKey",
    "function_label",
    "function_lines",
    "functions",
    "modules",
    "placed",
    "same_function",
]

FunctionKey = tuple[str, str | None, int, int | None]


def same_function(module: str, name: str | None, address: int, offset: int, pid: int | None) -> FunctionKey:
    """What tells a function from others, wherever its module lies in memory; in no module its address.

    ``pid`` keeps processes apart; None: they count together.
    """
    return module, name, offset if module else address, pid


def function_label(module: str, name: str | None, address: int, offset: int) -> str:
    """The name of a function, else its place in its module or memory; of address 0, that none is known."""
    if name is not None:
        return name
    if not module and not address:
        return "(outside any call)"
    return f"{module}+{offset:#x}" if module else f"{address:#x}"


@hex_repr("address", "offset")
@dataclass(frozen=True, slots=True)
class FunctionCount:
    """What a function executed itself, callees not counted, and how often it was called.

    Stubs and thunks through which it was called are its own.

    Where nothing names code, ``name`` is None and ``address`` where the function begins, by its call frame
    information or as the last call target before it; ``offset`` is that address as the module's file has it.
    ``module`` is "" for code in none. ``pid`` is the process, None if all count together; ``address`` is then
    the lowest of all.
    """

    module: str
    name: str | None
    address: int
    offset: int
    instructions: int
    calls: int
    pid: int | None = None

    @property
    def label(self) -> str:
        """Its name, else its place in its module or memory."""
        return function_label(self.module, self.name, self.address, self.offset)


def functions(calls: Table, symbols: Symbols | None) -> list[FunctionCount]:
    """Functions with the most instructions first, from ``History.calls()``: the same numbers as those of
    ``History.functions()``. What ran outside any call is a function without a module, at address 0.
    """
    import numpy as np

    from odograph.symbols import Symbols

    symbols = Symbols() if symbols is None else symbols
    entries, row = np.unique(calls["ip"][1:], return_inverse=True)
    which, found = symbols.functions_of(entries, entries)
    own = np.zeros(len(found) + 1, dtype=np.uint64)
    number = np.zeros(len(found) + 1, dtype=np.uint64)
    rows = np.append(np.uint64(len(found)), which[row] if len(entries) else [])[: len(calls)].astype(np.intp)
    np.add.at(own, rows, calls["own"])
    np.add.at(number, rows, calls["calls"])
    known = [*found, ("", None, 0, 0)]
    counted = zip(known, own.tolist(), number.tolist(), strict=True)
    return _sorted(
        FunctionCount(*function, instructions=instructions, calls=times)
        for function, instructions, times in counted
        if instructions or times
    )


def placed(counts: Table, calls: Table, symbols: Symbols | None) -> list[tuple[str, str | None, int]]:
    """Module, name, and the instructions that lie there, by function that has the code, for all callers;
    from ``History.counts()`` and ``History.calls()``.
    """
    import numpy as np

    from odograph.symbols import Symbols

    symbols = Symbols() if symbols is None else symbols
    which, found = symbols.functions_of(counts["ip"], np.unique(calls["ip"][calls["calls"] > 0]))
    instructions = np.bincount(which, weights=counts["count"], minlength=len(found))
    named = zip(found, instructions.tolist(), strict=True)
    return [(module, name, int(number)) for (module, name, *_), number in named]


def merged(lists: Iterable[Iterable[FunctionCount]]) -> list[FunctionCount]:
    """The same for several threads together; see :func:`same_function`."""
    sums: dict[FunctionKey, FunctionCount] = {}
    for rows in lists:
        for row in rows:
            key = same_function(row.module, row.name, row.address, row.offset, row.pid)
            here = sums.get(key)
            if here is not None:
                row = replace(
                    here,
                    address=min(here.address, row.address),
                    instructions=here.instructions + row.instructions,
                    calls=here.calls + row.calls,
                )
            sums[key] = row
    return _sorted(sums.values())


def modules(rows: Iterable[tuple[str, str | None, int]]) -> list[tuple[str, int]]:
    """(module, instructions), the most first, of what :func:`placed` gave."""
    sums: dict[str, int] = {}
    for module, _, instructions in rows:
        sums[module] = sums.get(module, 0) + instructions
    return sorted(sums.items(), key=lambda item: (-item[1], item[0]))


def _sorted(rows: Iterable[FunctionCount]) -> list[FunctionCount]:
    return sorted(rows, key=lambda row: (-row.instructions, row.module, row.address))


def function_lines(rows: list[FunctionCount], limit: int = 12) -> list[str]:
    """A table of the first ``limit`` functions."""
    total = sum(row.instructions for row in rows)
    shown = rows[:limit]
    lines = [f"{'share':>7} {'instructions':>15} {'calls':>11}  function"]
    for row in shown:
        where = f"  {row.module}" if row.module and row.name is not None else ""
        where += f"  {row.pid}" if row.pid is not None else ""
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
