"""What can be asked of recordings: what goes to the parts, and what the sums mean for a thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from odograph.cluster.questions import Find, Passes, Question, Steps, Sum, Sums
from odograph.history.history import History
from odograph.history.search import Where, has_names, wanted
from odograph.history.selection import Coverage
from odograph.table import Table

if TYPE_CHECKING:
    import numpy as np

    from odograph.recording.recording import Recording
    from odograph.recording.recordingfile import Thread
    from odograph.symbols import Symbols

__all__ = [
    "COSTS",
    "COUNTING",
    "COVERING",
    "PAIRS",
    "PATHS",
    "Decoding",
    "Finding",
    "Naming",
    "Passed",
    "Passing",
    "Verb",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Verb(Protocol[T_co]):
    """Something that is asked of recordings."""

    def questions(self, recording: Recording) -> tuple[Question, ...]:
        """What each part is asked."""

    def answer(self, recording: Recording, thread: Thread, sums: list[Sum]) -> T_co:
        """The answer for a thread, from the sums of those of its parts."""


class Decoding:
    """Nothing but the history."""

    def questions(self, recording: Recording) -> tuple[Question, ...]:
        return ()

    def answer(self, recording: Recording, thread: Thread, sums: list[Sum]) -> None:
        return None


class Finding:
    """Steps that execute something; what a symbol means is looked up in each process."""

    def __init__(self, where: Where) -> None:
        self._where = where

    def _of(self, recording: Recording, tid: int) -> Find | None:
        """The question for a thread; None if a name may mean one thing at one time and another at another."""
        if not has_names(self._where):
            return Find(wanted(self._where, None))
        if len(recording.epochs(tid)) > 1:
            return None
        return Find(wanted(self._where, recording.symbols(tid)))

    def questions(self, recording: Recording) -> tuple[Question, ...]:
        every = (self._of(recording, thread.tid) for thread in recording.threads)
        return tuple(dict.fromkeys(question for question in every if question is not None))

    def answer(
        self, recording: Recording, thread: Thread, sums: list[Sum]
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        question = self._of(recording, thread.tid)
        if question is None:
            return recording.history(thread.tid).find(self._where)
        return cast("Steps", sums[self.questions(recording).index(question)]).steps()


class Passing(Generic[T]):
    """What one pass over all steps of a thread gives, as :class:`~odograph.History` gives it."""

    def __init__(self, question: Passes, made: Callable[[list[Table]], T]) -> None:
        self._question = question
        self._made = made

    def questions(self, recording: Recording) -> tuple[Question, ...]:
        return _questions(recording, (self._question,))

    def answer(self, recording: Recording, thread: Thread, sums: list[Sum]) -> T:
        number = self.questions(recording).index(_question_for(self._question, recording, thread))
        return self._made(_tables(sums[number], self._question, recording, thread))


def _question_for(question: Passes, recording: Recording, thread: Thread) -> Passes:
    """The question with the functions of a thread's programs, if it is one about calls."""
    if not question.in_order:
        return question
    return replace(question, functions=recording.functions(thread.tid).to_bytes())


def _questions(recording: Recording, questions: tuple[Passes, ...]) -> tuple[Question, ...]:
    """The questions for all threads, each once."""
    every = (
        _question_for(question, recording, thread) for question in questions for thread in recording.threads
    )
    return tuple(dict.fromkeys(every))


_OF_WHOLE: dict[str, Callable[[History], list[Table]]] = {
    "functions": lambda history: [history.functions()],
    "paths": lambda history: [history.calls()],
    "pairs": lambda history: [history.pairs(), history.switches()],
}


def _tables(total: Sum, question: Passes, recording: Recording, thread: Thread) -> list[Table]:
    history, programs = recording.history(thread.tid), recording.program_times(thread)
    tables, (_, _, matters) = cast("Sums", total).tables(
        recording.decoding.clock, history.begins_program, history.unwind_tables, programs
    )
    if matters:
        # What was called in one part makes a function of what was jumped to in another: the whole tells.
        return _OF_WHOLE[question.name](history)
    return [Table(table) for table in tables]


@dataclass(frozen=True, slots=True)
class Passed:
    """What passes gave for a thread, under the names that a history has for them, and names of its code.

    ``history`` is that of a thread whose names change, as they do with another program: what they mean is
    to be asked of its spans, since the sums are those of all of them.
    """

    steps: int
    pid: int
    symbols: Symbols
    tables: dict[str, list[Table]]
    history: History | None = None

    def counts(self) -> Table:
        """Executions of instructions."""
        return self.tables["counts"][0]

    def coverage(self) -> Coverage:
        """Executions of blocks and edges."""
        return Coverage(*self.tables["coverage"])

    def functions(self) -> Table:
        """Costs of functions."""
        return self.tables["functions"][0]


class Naming:
    """Several passes at once, for views that name what they count."""

    def __init__(self, *questions: Passes) -> None:
        self._questions = questions

    def questions(self, recording: Recording) -> tuple[Question, ...]:
        return _questions(recording, self._questions)

    def answer(self, recording: Recording, thread: Thread, sums: list[Sum]) -> Passed:
        asked = self.questions(recording)
        tables: dict[str, list[Table]] = {}
        for question in self._questions:
            total = sums[asked.index(_question_for(question, recording, thread))]
            tables[question.name] = _tables(total, question, recording, thread)
        steps = sum(piece.steps[1] - piece.steps[0] for piece in recording.decoding.pieces(thread))
        history = recording.history(thread.tid)
        changing = history if len(history.spans) > 1 else None
        return Passed(steps, thread.pid, recording.symbols(thread.tid), tables, changing)


COUNTING = Passing(Passes("counts"), lambda tables: tables[0])
COVERING = Passing(Passes("coverage"), lambda tables: Coverage(*tables))
COSTS = Passing(Passes("functions"), lambda tables: tables[0])
PAIRS = Passing(Passes("pairs"), lambda tables: tables[0])
PATHS = Passing(Passes("paths"), lambda tables: tables[0])
