"""What is asked of a history, of which of its steps, and which rows of the answer are wanted."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from odograph.errors import InvalidArgument, UnknownSymbol
from odograph.table import Table

if TYPE_CHECKING:
    from odograph.symbols import Symbols

__all__ = ["ALL_ROWS", "QUESTIONS", "Answers", "Coverage", "Question", "Rows", "Selection"]

Question = Literal["counts", "coverage", "functions", "calls", "pairs"]
"""The name of what :class:`~odograph.History` can be asked for together with others."""

QUESTIONS: tuple[Question, ...] = ("counts", "coverage", "functions", "calls", "pairs")

Rows = tuple[list[tuple[int, int]] | None, int | None, int]
"""Intervals of code, both ends included, ascending and apart; levels of calls; least cost."""

ALL_ROWS: Rows = (None, None, 0)


class _Timed(Protocol):
    """What a selection asks of a history: how many steps it has, and which step ran at a time in ns."""

    def __len__(self) -> int: ...
    def at_time(self, time: int, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Coverage:
    """Executions of blocks and of edges between them.

    ``blocks`` has the columns ip, end_ip, ninsn and count: each of the :meth:`~odograph.History.blocks` once.
    ``edges`` has the columns from (the last instruction of a block), to (the instruction executed next) and
    count, for blocks that ended in an instruction whose successor only the trace tells. There is an edge
    where tracing was off in between and went on where it was expected to, as in system calls of a user-only
    trace. There is none across a gap, where tracing went on elsewhere, where an interrupt or another
    asynchronous branch came between, or from one piece of trace of a thread to the next.
    """

    blocks: Table
    edges: Table


class Answers:
    """What :meth:`~odograph.History.ask` found, under the names of the questions."""

    def __init__(self, tables: dict[Question, list[Table]]) -> None:
        self._tables = tables

    def _of(self, question: Question) -> list[Table]:
        if question not in self._tables:
            asked = ", ".join(self._tables)
            raise InvalidArgument(f"{question!r} was not asked; what was: {asked or 'nothing'}")
        return self._tables[question]

    @property
    def counts(self) -> Table:
        """As :meth:`~odograph.History.counts` gives it."""
        return self._of("counts")[0]

    @property
    def coverage(self) -> Coverage:
        """As :meth:`~odograph.History.coverage` gives it."""
        return Coverage(*self._of("coverage"))

    @property
    def functions(self) -> Table:
        """As :meth:`~odograph.History.functions` gives it."""
        return self._of("functions")[0]

    @property
    def calls(self) -> Table:
        """As :meth:`~odograph.History.calls` gives it."""
        return self._of("calls")[0]

    @property
    def pairs(self) -> Table:
        """As :meth:`~odograph.History.pairs` gives it."""
        return self._of("pairs")[0]

    def __repr__(self) -> str:
        return f"<Answers: {', '.join(self._tables)}>"


@dataclass(frozen=True, slots=True)
class Selection:
    """Of which threads and steps something is asked, and which rows of the answer are wanted.

    What is None is not narrowed. ``threads`` are tids, for those who ask several histories. ``steps`` and
    ``time`` are (first, end), the end exclusive: of steps by Python's slice rules, of times in ns; with both,
    what lies in both. These decide what is counted.

    The others only leave out rows. ``functions`` are names, addresses in functions, or (first, last)
    address; ``modules`` are names of modules. With both, code in either is wanted: instructions, blocks,
    edges from or to it, calls and costs of functions, and the paths to them. ``depth``: calls, and paths,
    with fewer than so many others around them. ``min_cost``: calls, functions and paths that cost at least
    so many instructions, callees included.

    Example::

        >>> answers = history.ask("counts", selection=odograph.Selection(steps=(0, 2)))
        >>> answers.counts["count"].tolist()
        [1, 1]
    """

    threads: Collection[int] | None = None
    steps: tuple[int | None, int | None] | None = None
    time: tuple[int, int] | None = None
    functions: Collection[str | int | tuple[int, int]] | None = None
    modules: Collection[str] | None = None
    depth: int | None = None
    min_cost: int = 0

    def __post_init__(self) -> None:
        for name in ("functions", "modules", "threads"):
            value = getattr(self, name)
            if isinstance(value, str | bytes | int) or (
                value is not None and not isinstance(value, Collection)
            ):
                raise InvalidArgument(f"{name} is a collection: write {name}=[{value!r}]")
        if self.depth is not None and self.depth < 0:
            raise InvalidArgument(f"a depth is not negative: {self.depth}")
        if self.min_cost < 0:
            raise InvalidArgument(f"a cost is not negative: {self.min_cost}")

    def has_thread(self, tid: int) -> bool:
        """Whether this thread is asked."""
        return self.threads is None or tid in self.threads

    def steps_of(self, history: _Timed) -> tuple[int, int]:
        """The first step that is asked of a history, and the one behind the last.

        Raises :class:`~odograph.InvalidArgument` for threads, of which a history knows nothing, and for times
        where no clock is known.
        """
        if self.threads is not None:
            raise InvalidArgument("a history is of one thread: leave out threads, or use Recording.ask")
        first, last, _ = slice(*(self.steps or (None, None))).indices(len(history))
        if self.time is not None:
            begin, end = self.time
            first = max(first, history.at_time(begin))
            last = min(last, history.at_time(end))
        return first, max(first, last)

    def rows(self, find_symbols: Callable[[], Symbols] | None) -> Rows:
        """Which rows are wanted, names resolved; KeyError for names that are not known."""
        if self.functions is None and self.modules is None:
            return None, self.depth, self.min_cost
        intervals: list[tuple[int, int]] = []
        for one in self.functions or ():
            if isinstance(one, tuple):
                intervals.append(one)
        named = [one for one in self.functions or () if not isinstance(one, tuple)]
        if named or self.modules:
            if find_symbols is None:
                missing = ", ".join(map(str, [*named, *(self.modules or ())]))
                raise UnknownSymbol(f"this history has no symbols to look up {missing} in")
            intervals += find_symbols().extents(named, self.modules or ())
        return _apart(intervals), self.depth, self.min_cost


def _apart(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Intervals in ascending order, those that touch put together."""
    result: list[tuple[int, int]] = []
    for first, last in sorted(intervals):
        if result and first <= result[-1][1] + 1:
            result[-1] = result[-1][0], max(result[-1][1], last)
        else:
            result.append((first, last))
    return result
