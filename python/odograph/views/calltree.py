"""Who called whom: call paths, cut to what matters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from odograph.text.reprs import hex_repr
from odograph.views.numbers import count, share

if TYPE_CHECKING:
    from odograph.symbols import Symbols
    from odograph.symbols.place import Function
    from odograph.table import Table

__all__ = ["CallTreeNode", "call_tree", "call_tree_lines"]


@hex_repr("address", "offset")
@dataclass(slots=True)
class CallTreeNode:
    """A function as called from its parent.

    ``instructions`` include callees, ``own`` do not. Calls of a function by itself are folded into
    one node. ``cut`` children that executed too little to be shown have ``cut_instructions`` together.
    """

    module: str
    name: str | None
    address: int
    offset: int
    calls: int
    instructions: int
    own: int
    children: list[CallTreeNode] = field(default_factory=list)
    cut: int = 0
    cut_instructions: int = 0


def call_tree(calls: Table, *symbols: Symbols, min_share: float = 0.01, max_depth: int = 12) -> CallTreeNode:
    """The tree of ``History.calls()``, most instructions first.

    ``symbols`` are the names at different times, if they changed. The root is what ran outside any call that
    was seen. Left out are functions that with their callees executed less than ``min_share`` of all
    instructions, and what lies deeper than ``max_depth``.
    """
    import numpy as np

    from odograph.symbols import Symbols

    parents = calls["parent"].tolist()
    own = calls["own"].tolist()
    times = calls["calls"].tolist()
    totals = list(own)
    for row in range(len(parents) - 1, 0, -1):
        totals[parents[row]] += totals[row]
    least = max(1, totals[0] * min_share) if totals else 1
    children: dict[int, list[int]] = {}
    small: dict[int, list[int]] = {}
    for row in range(1, len(parents)):
        (children if totals[row] >= least else small).setdefault(parents[row], []).append(row)
    # Only what may be shown needs a name.
    named = sorted({0, *(row for rows in children.values() for row in rows)}) if totals else []
    function_of: dict[int, Function] = {}
    for one in dict.fromkeys(symbols or (Symbols(),)):
        which, found = one.functions_of(calls["ip"][np.array(named, dtype=np.int64)], calls["ip"][1:])
        for row, index in zip(named, which.tolist(), strict=True):
            function_of[row] = _either(function_of.get(row), found[index])

    def build(rows: list[int], function: Function | None, depth: int) -> CallTreeNode:
        node = CallTreeNode(
            module=function.module if function is not None else "",
            name=function.name if function is not None else None,
            address=function.address if function is not None else 0,
            offset=function.offset if function is not None else 0,
            calls=sum(times[row] for row in rows),
            instructions=sum(totals[row] for row in rows),
            own=sum(own[row] for row in rows),
        )
        groups: dict[Function, list[int]] = {}
        pending = list(rows)
        while pending:
            row = pending.pop()
            for child in small.get(row, ()):
                node.cut += 1
                node.cut_instructions += totals[child]
            for child in children.get(row, ()):
                callee = function_of[child]
                if callee == function:
                    node.calls += times[child]
                    node.own += own[child]
                    pending.append(child)
                else:
                    groups.setdefault(callee, []).append(child)
        for callee, group in groups.items():
            if depth >= max_depth:
                node.cut += len(group)
                node.cut_instructions += sum(totals[row] for row in group)
            else:
                node.children.append(build(group, callee, depth + 1))
        node.children.sort(key=lambda child: (-child.instructions, child.address))
        return node

    return build([0] if totals else [], None, 0)


def _either(one: Function | None, other: Function) -> Function:
    """One of two functions that lay at one address: a call path does not tell which."""
    if one is None or one == other or not one.module:
        return other
    if not other.module:
        return one
    return one._replace(module=f"{one.module} or {other.module}", name=f"{one.name} or {other.name}")


def call_tree_lines(root: CallTreeNode, title: str = "(outside any call)") -> list[str]:
    """The tree as indented lines: share, instructions with callees, calls, function."""
    total = root.instructions
    lines = [f"{'share':>7} {'instructions':>15} {'calls':>11}  call tree"]

    def add(node: CallTreeNode, label: str, depth: int) -> None:
        calls = count(node.calls) if node.calls else ""
        lines.append(
            f"{share(node.instructions, total)} {count(node.instructions):>15} {calls:>11}  "
            f"{'  ' * depth}{label}"
        )
        for child in node.children:
            add(child, _label(child), depth + 1)
        if node.cut and node.cut_instructions * 50 > total:
            text = f"{'  ' * (depth + 1)}({count(node.cut)} more)"
            lines.append(
                f"{share(node.cut_instructions, total)} {count(node.cut_instructions):>15} {'':>11}  {text}"
            )

    add(root, title, 0)
    return lines


def _label(node: CallTreeNode) -> str:
    if node.name is None:
        return f"{node.module}+{node.offset:#x}" if node.module else f"{node.address:#x}"
    return node.name if len(node.name) <= 70 else node.name[:69] + "…"
