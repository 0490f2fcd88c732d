"""Source lines and inlined functions, from the debug information of one file."""

from __future__ import annotations

import functools
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from odograph._native import RawLines
from odograph.frame import Inlined

if TYPE_CHECKING:
    import numpy as np

    Addresses = np.ndarray[Any, np.dtype[np.uint64]]
    Flags = np.ndarray[Any, np.dtype[np.bool_]]

__all__ = ["Call", "Calls", "InlinedCode", "Lines", "Pieces", "Source", "utf8"]

_LARGEST_LINE = (1 << 32) - 1


class Source(NamedTuple):
    """The source of an address: a function that has code of its own, and the place in it.

    Where other functions are inlined there, ``inlined`` has them, the innermost first; ``file`` and
    ``line`` are then where they were inlined. ``raw`` is the function's name as the file has it. None: the
    file does not say.
    """

    function: str | None
    file: str | None
    line: int | None
    inlined: tuple[Inlined, ...] = ()
    raw: str | None = None


class Call(NamedTuple):
    """A call: the address behind it, the address of what is called, or its name where that is elsewhere.

    Neither is known of indirect calls. ``is_tail``: it jumps, and so leaves nothing on the stack.
    """

    behind: int
    target: int | None
    name: str | None
    is_tail: bool


class Calls(NamedTuple):
    """A function's calls, as far as debug information tells them, and whether it tells all tail calls."""

    start: int
    knows_tails: bool
    calls: tuple[Call, ...]


class Pieces(NamedTuple):
    """Pieces of code that a debugger steps by, in columns: rows of a line table as debuggers take them.

    Rows of a line that is divided into blocks continue the row before them, and so do rows without a line. Of
    rows at one address the last one counts at which a statement begins; if there is none, the last one.
    """

    start: Addresses
    end: Addresses
    """Not included."""
    line: Addresses
    """A number for the file and the line."""
    begins_statement: Flags


class InlinedCode(NamedTuple):
    """Code of a function that was inlined at one place, seen from an address in it.

    ``id`` is a number that no other code of the file has; ``begins``: its code begins at the address, or goes
    on there behind code that is not its own; ``call_line`` is the line of the call, 0 if it is not known.
    """

    id: int
    begins: bool
    call_line: int


def utf8(text: str) -> str:
    """The same text, with marks for what UTF-8 has no bytes for: names that users type may hold anything."""
    return text.encode("utf-8", "replace").decode()


class Lines:
    """The source lines of one ELF file; addresses are those of the file, before it is loaded.

    The debug information may lie in the file itself or in the separate file that its build id or its debug
    link names. Of a file without it, or one that is no ELF file, nothing is known.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._raw = RawLines(self._path)

    @staticmethod
    def of_file(path: str | os.PathLike[str]) -> Lines:
        """The lines of a file; read once as long as the file stays the same."""
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return Lines(os.devnull)
        return _lines(os.fspath(path), status.st_size, status.st_mtime_ns)

    def __bool__(self) -> bool:
        """Whether there is any debug information."""
        return self._raw._known()

    def at(self, address: int) -> Source | None:
        """The source of the instruction at an address; None where nothing is known.

        Of a return address ask for the address before it: the call stands there.
        """
        places = self._raw._at(address)
        if not places:
            return None
        *inner, (function, raw, file, line, _) = places
        inlined = tuple(Inlined(name or "??", its_file, its_line) for name, _, its_file, its_line, _ in inner)
        return Source(function, file, line, inlined, raw)

    @cached_property
    def pieces(self) -> Pieces:
        """The code that debuggers step by, ascending."""
        import numpy as np

        columns = self._raw._pieces()
        start, end, line = (np.array(column, dtype=np.uint64) for column in columns[:3])
        return Pieces(start, end, line, np.array(columns[3], dtype=bool))

    def inlined_at(self, address: int) -> tuple[InlinedCode, ...]:
        """The inlined functions at an address, the outermost first."""
        return tuple(InlinedCode(*code) for code in self._raw._inlined_at(address))

    def calls_at(self, address: int) -> Calls | None:
        """The calls of the function at an address; None where nothing is known."""
        found = self._raw._calls_at(address)
        if found is None:
            return None
        start, knows_tails, calls = found
        return Calls(start, knows_tails, tuple(Call(*call) for call in calls))

    def addresses_of(self, file: str, line: int) -> tuple[int, list[int]] | None:
        """The line, or the next one that has code, and the addresses at which code of it begins.

        ``file`` is a whole path or its last components. None if there is no such line and none behind it.
        """
        if not 0 <= line <= _LARGEST_LINE:
            return None
        return self._raw._addresses_of(utf8(file), line)

    def code_of(self, name: str) -> list[tuple[int, str, bool]]:
        """Where code of functions begins that a name means, also without parameters or namespaces.

        Each row is (address, whole name, whether it was inlined there), ascending.
        """
        return self._raw._code_of(utf8(name))

    def __repr__(self) -> str:
        return f"<Lines of {self._path!r}{'' if self else ': no debug information'}>"


@functools.lru_cache(maxsize=64)
def _lines(path: str, _size: int, _mtime: int) -> Lines:
    return Lines(path)
