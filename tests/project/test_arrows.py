"""Imports of the Python package: no circle of modules, and no room that grows beyond the others.

That a room imports only rooms before it is import-linter's work (`lint-imports`, pyproject.toml).
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from support.paths import ROOT

PACKAGE = ROOT / "python" / "odograph"
LARGEST_SHARE = 0.15


def modules_of(package: Path) -> dict[str, Path]:
    """Every module of a package by its dotted name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(source: str, modules: Mapping[str, object]) -> Iterator[str]:
    """The modules that a module imports: at its head, in functions, and for type checkers alone."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in modules:
                    yield inner
                elif node.module in modules:
                    yield node.module


def circle_in(sources: Mapping[str, str], root: str) -> list[str]:
    """The modules of a circle of imports, the first one again at the end; empty if there is none.

    The root package is left out: it loads the names that users find there when they are asked for.
    """
    graph = {
        name: set(imports_of(source, sources)) - {root} for name, source in sources.items() if name != root
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    sources = {name: path.read_text() for name, path in modules_of(PACKAGE).items()}
    assert len(sources) > 200
    assert circle_in(sources, "odograph") == []


@pytest.mark.parametrize(
    "second",
    [
        "from odograph.first import A",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from odograph.first import A",
        "def f():\n    import odograph.first",
        "from odograph import first",
    ],
)
def test_a_circle_is_found_wherever_the_import_stands(second: str) -> None:
    sources = {"odograph": "", "odograph.first": "from odograph.second import B", "odograph.second": second}
    assert sorted(set(circle_in(sources, "odograph"))) == ["odograph.first", "odograph.second"]


def test_the_largest_room_holds_at_most_a_seventh_of_the_lines() -> None:
    lines: Counter[str] = Counter()
    for path in modules_of(PACKAGE).values():
        lines[path.relative_to(PACKAGE).parts[0]] += len(path.read_text().splitlines())
    room, most = lines.most_common(1)[0]
    assert most <= LARGEST_SHARE * lines.total(), f"{room} has {most} of {lines.total()} lines: divide it"
