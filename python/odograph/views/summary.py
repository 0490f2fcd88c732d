"""What a program did, on one page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from odograph.views.calltree import CallTreeNode, call_tree, call_tree_lines
from odograph.views.functions import FunctionCount, function_lines, functions, merged, modules
from odograph.views.gaps import Explain, GapGroup, gap_groups, gap_lines, gaps_and_notes
from odograph.views.nameless import Nameless, nameless, nameless_lines
from odograph.views.numbers import count, counted, share

if TYPE_CHECKING:
    from odograph.history import History
    from odograph.symbols import Module, Symbols

Programs = Callable[[int], "list[tuple[str, int, int, Symbols | None]]"]
"""Gives (name, first step, step after the last, symbols) of the programs of a thread."""

__all__ = ["Programs", "Summary", "ThreadSummary", "summarise", "summary_lines"]


@dataclass(slots=True)
class ThreadSummary:
    """One thread. ``instructions`` were executed in it, ``calls`` made in it."""

    tid: int
    pid: int
    comm: str
    instructions: int
    calls: int
    gaps: int
    tree: CallTreeNode


@dataclass(slots=True)
class Summary:
    """Everything that ``odograph run`` shows. ``modules`` are (name, instructions)."""

    instructions: int
    calls: int
    threads: list[ThreadSummary] = field(default_factory=list)
    modules: list[tuple[str, int]] = field(default_factory=list)
    functions: list[FunctionCount] = field(default_factory=list)
    gaps: list[GapGroup] = field(default_factory=list)
    nameless: list[Nameless] = field(default_factory=list)


def summarise(
    histories: list[tuple[int, int, str, History]],
    *,
    explain: Explain | None = None,
    programs: Programs | None = None,
    min_share: float = 0.01,
    max_depth: int = 12,
) -> Summary:
    """What threads did, given as (tid, pid, command name, history).

    ``programs`` tells which programs a thread ran one after the other, where one replaced itself.
    """
    summary = Summary(0, 0)
    counted_functions = []
    modules_seen: list[Module] = []
    for tid, pid, comm, history in histories:
        number = 0
        trees = []
        ran = programs(tid) if programs is not None else []
        for name, start, stop, symbols in ran or [("", 0, len(history), history.symbols)]:
            calls = history.calls(start, stop)
            modules_seen += symbols.modules if symbols is not None else ()
            counted_functions.append(functions(history.counts(start, stop), calls, symbols))
            number += int(calls["calls"].sum())
            trees.append(call_tree(calls, symbols, min_share=min_share, max_depth=max_depth))
            trees[-1].name = name or None
        tree = trees[0] if len(trees) == 1 else _joined(trees)
        summary.threads.append(ThreadSummary(tid, pid, comm, len(history), number, history.gap_count, tree))
        summary.instructions += len(history)
        summary.calls += number
    summary.functions = merged(counted_functions)
    summary.modules = modules(summary.functions)
    summary.gaps = gap_groups([history for *_, history in histories], explain)
    summary.nameless = nameless(
        ((row.module, row.name, row.instructions) for row in summary.functions),
        modules_seen,
        summary.instructions,
    )
    return summary


def _joined(trees: list[CallTreeNode]) -> CallTreeNode:
    """The trees of programs as the children of one."""
    total = sum(tree.instructions for tree in trees)
    return CallTreeNode("", None, 0, 0, 0, total, 0, trees)


def summary_lines(summary: Summary, *, limit: int = 12, trees: int = 3) -> list[str]:
    """The page: ``limit`` functions, and call trees of the ``trees`` busiest threads."""
    threads = summary.threads
    lines = [
        f"{counted(summary.instructions, 'instruction')} in {counted(len(threads), 'thread')} and "
        f"{counted(len([name for name, _ in summary.modules if name]), 'module')}, "
        f"{counted(summary.calls, 'call')}, {gaps_and_notes(summary.gaps)}"
    ]
    if len(threads) > 1:
        lines += ["", f"{'share':>7} {'instructions':>15} {'calls':>11}  thread"]
        busiest = sorted(threads, key=lambda thread: -thread.instructions)
        for thread in busiest[:limit]:
            part = share(thread.instructions, summary.instructions)
            text = f"{part} {count(thread.instructions):>15} {count(thread.calls):>11}"
            lines.append(f"{text}  {thread.tid} {thread.comm}".rstrip())
        if len(busiest) > limit:
            lines.append(f"{'':>35}  and {count(len(busiest) - limit)} more")
    lines += ["", f"{'share':>7} {'instructions':>15} {'':>11}  module"]
    for name, instructions in summary.modules[:limit]:
        part = share(instructions, summary.instructions)
        lines.append(f"{part} {count(instructions):>15} {'':>11}  {name or '(no module)'}")
    lines += ["", *function_lines(summary.functions, limit)]
    for thread in sorted(threads, key=lambda thread: -thread.instructions)[:trees]:
        if thread.instructions:
            title = f"{thread.comm or 'thread'} ({thread.tid})" if thread.tid else "(outside any call)"
            lines += ["", *call_tree_lines(thread.tree, title)]
    if summary.nameless:
        lines += ["", *nameless_lines(summary.nameless)]
    if summary.gaps:
        lines += ["", *gap_lines(summary.gaps)]
    return lines
