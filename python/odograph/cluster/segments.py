"""Answers for the steps of a stream, as its parts come in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from odograph.cluster.questions import Question, Sum
from odograph.cluster.worker import Segment

__all__ = ["Segments"]


@dataclass(slots=True)
class _Stretch:
    """Steps between two changes of the image or the thread."""

    first: int
    end: int
    sums: list[Sum]


class Segments:
    """Sums of the answers to some questions, one for each stretch in which image and thread were the same."""

    def __init__(self, questions: tuple[Question, ...]) -> None:
        self._questions = questions
        self._stretches: list[_Stretch] = []

    def add(self, part: Iterable[Segment], by: int) -> None:
        """Adds those of the next part, its first to the last one here; ``by`` is added to its steps."""
        goes_on = bool(self._stretches)
        for first, end, answers in part:
            if not goes_on:
                sums = [question.sum() for question in self._questions]
                self._stretches.append(_Stretch(first + by, end + by, sums))
            goes_on = False
            stretch = self._stretches[-1]
            stretch.end = end + by
            for total, answer in zip(stretch.sums, answers, strict=True):
                total.add(answer, by)

    def between(self, start: int, stop: int) -> Iterator[list[Sum]]:
        """The sums of the stretches inside ``start`` to ``stop`` (exclusive), in order."""
        for stretch in self._stretches:
            if start <= stretch.first and stretch.end <= stop:
                yield stretch.sums
