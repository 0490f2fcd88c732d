"""What a program did, on one page."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from odograph.history.selection import Selection
from odograph.views.calltree import CallTreeNode, call_tree, call_tree_lines
from odograph.views.functions import FunctionCount, function_lines, functions, merged, modules, placed
from odograph.views.gaps import Explain, GapGroup, gap_groups, gap_lines, gaps_and_notes
from odograph.views.nameless import Nameless, nameless, nameless_lines
from odograph.views.numbers import count, counted, share
from odograph.views.spans import program_name, programs

if TYPE_CHECKING:
    from odograph.history.history import History
    from odograph.symbols import Module

__all__ = ["Summary", "ThreadSummary", "summarise", "summary_lines"]


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
    by_process: bool = False,
    min_share: float = 0.01,
    max_depth: int = 12,
) -> Summary:
    """What threads did, given as (tid, pid, command name, history).

    A function that several processes ran is one row, unless ``by_process``.
    """
    summary = Summary(0, 0)
    counted_functions = []
    lies: list[tuple[str, str | None, int]] = []
    modules_seen: list[Module] = []
    for tid, pid, comm, history in histories:
        number = 0
        trees = []
        ran = programs(history)
        for program in ran:
            for span in program:
                here = Selection(steps=(span.start, span.stop))
                answers = history.ask("counts", "calls", selection=here)
                calls = answers.calls
                modules_seen += span.symbols.modules if span.symbols is not None else ()
                rows = functions(calls, span.symbols)
                lies += placed(answers.counts, calls, span.symbols)
                counted_functions.append([replace(row, pid=pid) for row in rows] if by_process else rows)
            if len(program) > 1:
                calls = history.calls(program[0].start, program[-1].stop)
            number += int(calls["calls"].sum())
            names = [span.symbols for span in program if span.symbols is not None]
            trees.append(call_tree(calls, *names, min_share=min_share, max_depth=max_depth))
            if len(ran) > 1:
                trees[-1].name = program_name(program[0].symbols)
        tree = trees[0] if len(trees) == 1 else _joined(trees)
        summary.threads.append(ThreadSummary(tid, pid, comm, len(history), number, history.gap_count, tree))
        summary.instructions += len(history)
        summary.calls += number
    summary.functions = merged(counted_functions)
    summary.modules = modules(lies)
    summary.gaps = gap_groups([history for *_, history in histories], explain)
    summary.nameless = nameless(
        lies,
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
    ran = sorted((one for one in threads if one.instructions), key=lambda thread: -thread.instructions)
    for thread in ran[:trees]:
        title = f"{thread.comm or 'thread'} ({thread.tid})" if thread.tid else "(outside any call)"
        lines += ["", *call_tree_lines(thread.tree, title)]
    if len(ran) > trees:
        rest = sum(thread.instructions for thread in ran[trees:])
        lines += [
            "",
            f"{share(rest, summary.instructions)} {count(rest):>15} {'':>11}  in the call trees of "
            f"{count(len(ran) - trees)} more (all with --json)",
        ]
    if summary.nameless:
        lines += ["", *nameless_lines(summary.nameless)]
    if summary.gaps:
        lines += ["", *gap_lines(summary.gaps)]
    return lines
