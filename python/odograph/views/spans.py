"""Histories in which names change: by program, and from one set of libraries to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odograph.views.costs import FunctionCost, function_costs

if TYPE_CHECKING:
    from odograph.history.history import History, Span
    from odograph.symbols import Function, Symbols
    from odograph.symbols.intervals import Addresses

__all__ = ["history_costs", "program_name", "programs"]


def programs(history: History) -> list[list[Span]]:
    """The spans of a history, those of each program together."""
    found: list[list[Span]] = []
    for span in history.spans:
        if span.is_program or not found:
            found.append([])
        found[-1].append(span)
    return found


def program_name(symbols: Symbols | None) -> str:
    """The name of a program: of its first module that is no library."""
    names = (module.name for module in (() if symbols is None else symbols.modules))
    return next((name for name in names if ".so" not in name and not name.startswith("[")), "program")


def history_costs(history: History) -> list[FunctionCost]:
    """What functions cost, with the names that they had when they ran; see :meth:`History.functions`."""
    rows: list[FunctionCost] = []
    for program in programs(history):
        table = history.functions(program[0].start, program[-1].stop)
        if len(program) == 1:
            rows += function_costs(table, program[0].symbols)
            continue
        # A library never lies where another one is still being executed, so no call of its functions crosses
        # the border between two spans.
        renamed = _renamed(table["ip"][1:], program)
        rows += [row for row in function_costs(table, program[-1].symbols) if row.address not in renamed]
        for span in program if renamed else ():
            part = function_costs(history.functions(span.start, span.stop), span.symbols)
            rows += [row for row in part if row.address in renamed]
    return rows


def _renamed(entries: Addresses, spans: list[Span]) -> set[int]:
    """The addresses that have other names in some spans than in others."""
    names: dict[int, Function] = {}
    renamed: set[int] = set()
    for symbols in {id(span.symbols): span.symbols for span in spans}.values():
        if symbols is None:
            continue
        which, found = symbols.functions_of(entries, entries)
        for address, index in zip(entries.tolist(), which.tolist(), strict=True):
            if names.setdefault(address, found[index]) != found[index]:
                renamed.add(address)
    return renamed
