"""What a cluster found out about recordings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["Answer", "Answers", "Broken"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """The answer for one thread of a recording."""

    path: str
    tid: int
    comm: str
    steps: int
    value: T


@dataclass(frozen=True, slots=True)
class Broken:
    """A recording for which there is no answer, and why."""

    path: str
    error: Exception

    def __str__(self) -> str:
        return f"{self.path}: {self.error}"


@dataclass(slots=True)
class Answers(Generic[T]):
    """Answers for all threads of all recordings, in order, and what could not be answered."""

    answers: list[Answer[T]] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Instructions executed in all of them."""
        return sum(answer.steps for answer in self.answers)
