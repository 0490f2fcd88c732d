"""Questions that parts of a history answer by themselves, and how the answers are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from odograph._native import RawEntries, RawSum
from odograph.history.callstacks import FindUnwindTables, Open, unwind_tables

if TYPE_CHECKING:
    import numpy as np

    from odograph._native import RawHistory, RawTable
    from odograph.history.decode import Clock

__all__ = ["ALL_OFFSETS", "Find", "Passes", "Question", "Steps", "Sum", "Sums", "Wanted"]

ALL_OFFSETS = (0, (1 << 64) - 1)
"""Everything in a trace."""

Wanted = tuple[tuple[int, ...], bool]
"""Addresses, ascending, and whether they are the ends of a range, as ``RawHistory.find`` takes them."""


class Sum(Protocol):
    """Answers put together, in order."""

    def add(self, answer: bytes, by: int) -> None:
        """Adds that for the steps that follow; ``by`` is added to their numbers."""

    def merge(self, other: Any, by: int) -> None:
        """The same for a sum of such answers."""

    def break_off(self, lost: bool) -> None:
        """What is added next did not follow at once; ``lost``: trace bytes are missing in between."""


class Question(Protocol):
    """What is asked of each part. It travels, so it is small and can be pickled."""

    @property
    def in_order(self) -> bool:
        """The answer depends on what happened between the steps of a thread, others having run meanwhile."""

    def ask(
        self, history: RawHistory, start: int, stop: int, offsets: tuple[int, int] = ALL_OFFSETS
    ) -> bytes:
        """The answer for the steps ``start`` to ``stop`` (exclusive), and the events at these offsets."""

    def sum(self) -> Sum:
        """That of no steps."""


@dataclass(frozen=True, slots=True)
class Find:
    """Steps that execute something."""

    wanted: Wanted

    @property
    def in_order(self) -> bool:
        return False

    def ask(
        self, history: RawHistory, start: int, stop: int, offsets: tuple[int, int] = ALL_OFFSETS
    ) -> bytes:
        addresses, is_range = self.wanted
        return history.find(addresses, is_range, start, stop, (1 << 63) - 1)

    def sum(self) -> Steps:
        return Steps()


class Steps:
    """Steps, ascending."""

    def __init__(self) -> None:
        self._found: list[np.ndarray[Any, np.dtype[np.int64]]] = []

    def add(self, answer: bytes, by: int) -> None:
        import numpy as np

        if answer:
            self._found.append(np.frombuffer(answer, dtype=np.int64) + by)

    def merge(self, other: Steps, by: int) -> None:
        self._found += [steps + by for steps in other._found]

    def break_off(self, lost: bool) -> None:
        pass

    def steps(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """All of them."""
        import numpy as np

        return np.concatenate([np.empty(0, dtype=np.int64), *self._found])


@dataclass(frozen=True, slots=True)
class Passes:
    """What a pass over all steps gives: executions of instructions, blocks and edges, costs, call paths."""

    name: Literal["counts", "coverage", "functions", "paths", "pairs"]
    #: Where functions begin, as bytes: see ``Recording.functions``.
    functions: bytes = b""

    @property
    def in_order(self) -> bool:
        return self.name in ("functions", "paths", "pairs")

    def ask(
        self, history: RawHistory, start: int, stop: int, offsets: tuple[int, int] = ALL_OFFSETS
    ) -> bytes:
        answer = RawSum(self.name)
        answer.ask(history, start, stop, offsets, RawEntries.from_bytes(self.functions))
        return answer.to_bytes()

    def sum(self) -> Sums:
        return Sums(self.name)


class Sums:
    """What passes gave, merged."""

    def __init__(self, name: str) -> None:
        self._raw = RawSum(name)

    def add(self, answer: bytes, by: int) -> None:
        self._raw.add(answer, by)

    def merge(self, other: Sums, by: int) -> None:
        self._raw.add(other._raw.to_bytes(), by)

    def break_off(self, lost: bool) -> None:
        self._raw.break_off(lost)

    def tables(
        self,
        clock: Clock,
        is_first: bool,
        find_unwind_tables: FindUnwindTables,
        programs: Sequence[int],
    ) -> tuple[list[RawTable], Open]:
        """The tables that a history gives, and what they leave open.

        ``is_first``: its first step is the first one of its thread. ``programs`` are the TSCs at which it
        goes on with other programs.
        """
        tables, left = self._raw.tables(clock, is_first, ((), (), ()), programs)
        names = unwind_tables(left[0], find_unwind_tables)
        if names is not None:
            tables, _ = self._raw.tables(clock, is_first, names, programs)
        return tables, left
