"""Modules whose code has no names: why, and what brings them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from odograph.code.objects import debug_file, object_file
from odograph.symbols.debugfiles import debug_packages

if TYPE_CHECKING:
    from odograph.symbols import Module

__all__ = ["Nameless", "nameless", "nameless_lines"]

#: The share of all instructions from which on a module is named.
NOTICEABLE = 0.05


@dataclass(frozen=True, slots=True)
class Nameless:
    """A module that executed ``instructions`` in functions without a name, ``share`` of all (0 to 1).

    ``path`` is the file here, None if there is none; ``debug_file`` where its debug file would be found;
    ``package`` the Debian package that has it, None if that is not known.
    """

    module: str
    path: str | None
    instructions: int
    share: float
    reason: str
    help: str
    debug_file: str | None
    package: str | None


def nameless(
    rows: Iterable[tuple[str, str | None, int]], modules: Iterable[Module], total: int
) -> list[Nameless]:
    """Modules with a noticeable share of code that no symbol names, for want of a symbol table.

    ``rows`` are (module, name of the function, its own instructions); the most instructions come first.
    Where a symbol table was read and does not name some code, nothing would bring a name: nothing is said.
    """
    sums: dict[str, int] = {}
    for name, function, instructions in rows:
        if function is None and name and not name.startswith("["):
            sums[name] = sums.get(name, 0) + instructions
    noticed = {name: number for name, number in sums.items() if number >= NOTICEABLE * max(total, 1)}
    paths: dict[str, str | None] = {}
    for module in modules:
        if module.name in noticed:
            paths[module.name] = paths.get(module.name) or module.path
    wanting = {name: path for name, path in paths.items() if path is None or not _lacks_nothing(path)}
    packages = debug_packages(path for path in wanting.values() if path is not None)
    found = []
    for name, path in wanting.items():
        place = debug_file(path) if path is not None else None
        package = packages.get(path) if path is not None else None
        reason, remedy = _explained(path, place, package)
        part = noticed[name] / total
        found.append(Nameless(name, path, noticed[name], part, reason, remedy, place, package))
    return sorted(found, key=lambda one: (-one.instructions, one.module))


def _lacks_nothing(path: str) -> bool:
    """Whether a file has a full symbol table, in it or its debug file; or is no ELF file, which has none."""
    own = object_file(path)
    if own is None or own.has_symbol_table:
        return True
    place = debug_file(path)
    separate = object_file(place) if place is not None else None
    return separate is not None and separate.has_symbol_table


def _explained(path: str | None, place: str | None, package: str | None) -> tuple[str, str]:
    """Why there are no names, and what brings them."""
    if path is None:
        return (
            "its file is not here, or not the recorded one",
            "name a directory that has the recorded file with --sysroot",
        )
    ways = []
    if package is not None:
        # Debian keeps those packages in an archive of their own.
        archive = "" if package == "libc6-dbg" else " (from Debian's archive debian-debug)"
        ways.append(f"apt install {package}{archive}")
    elif place is not None:
        ways.append("install its package of debug symbols")
    if place is not None:
        ways.append(f"put its debug file at {place}")
    else:
        ways.append("link it without -s, and do not strip it")
    return "it was stripped of its symbols", ", or ".join(ways)


def nameless_lines(found: list[Nameless], limit: int = 4) -> list[str]:
    """A headline, and two lines for each of the first ``limit`` modules; nothing if there are none."""
    if not found:
        return []
    lines = ["code without names, shown by its place in the file:"]
    for one in found[:limit]:
        lines.append(f"{100 * one.share:5.1f} %  {one.module}: {one.reason}")
        lines.append(f"    try: {one.help}")
    if len(found) > limit:
        lines.append(f"and {len(found) - limit} more modules")
    return lines
