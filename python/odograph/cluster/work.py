"""One recording that a cluster works on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from odograph.cluster.answers import Answer
from odograph.cluster.assembling import Assembling
from odograph.cluster.questions import Question, Sum
from odograph.cluster.verbs import Verb
from odograph.recording.decoding import Piece
from odograph.recording.recording import Recording
from odograph.recording.stream import TraceStream

__all__ = ["Progress", "Work"]

T = TypeVar("T")

Progress = Callable[[str, int, int], object]
"""Called with the path of a recording, and trace bytes done, of how many."""


class Work(Generic[T]):
    """The streams of a recording on their way to histories, and answers for its threads."""

    def __init__(self, recording: Recording, verb: Verb[T], progress: Progress | None) -> None:
        self.recording = recording
        self.error: Exception | None = None
        self._verb = verb
        self._questions = verb.questions(recording)
        self._progress = progress
        self._streams: list[tuple[TraceStream, list[Assembling]]] = []
        self._answered: dict[int, Assembling] = {}

    def begin(self, threads: int, part_size: int | None) -> Iterator[Assembling]:
        """What is to be decoded, one after the other; ``threads`` are those of all workers."""
        seen = set()
        for thread in self.recording.threads:
            for stream in self.recording.decoding.streams(thread):
                if stream.idx in seen or self.recording.decoding.is_decoded(stream):
                    continue
                seen.add(stream.idx)
                assemblings: list[Assembling] = []
                self._streams.append((stream, assemblings))
                for undecoded in self.recording.decoding.undecoded(stream, thread):
                    assemblings.append(Assembling(undecoded, self._questions, threads, part_size))
                    yield assemblings[-1]

    def report(self, assembling: Assembling) -> Callable[[int], object] | None:
        """What is to be told how far one of them is."""
        progress = self._progress
        if progress is None:
            return None
        known = [other for _, assemblings in self._streams for other in assemblings]
        before = sum(len(other.undecoded.trace) for other in known[: known.index(assembling)])
        total = sum(stream.size for stream in self.recording.source.streams)
        path = self.recording.path
        return lambda offset: progress(path, before + offset, total)

    def finish(self) -> None:
        """Makes the histories, when there are no more parts."""
        for stream, assemblings in self._streams:
            parts = []
            for assembling in assemblings:
                history = assembling.finish(self.report(assembling))
                self._answered[id(history)] = assembling
                parts.append((history, assembling.undecoded.lost))
            self.recording.decoding.take_decoded(stream, parts)

    def answers(self) -> list[Answer[T]]:
        """The answers for its threads."""
        answers = []
        for thread in self.recording.threads:
            pieces = self.recording.decoding.pieces(thread)
            sums = self._sums(pieces)
            value = self._verb.answer(self.recording, thread, sums)
            steps = sum(piece.steps[1] - piece.steps[0] for piece in pieces)
            answers.append(Answer(self.recording.path, thread.tid, thread.comm, steps, value))
        return answers

    def _sums(self, pieces: list[Piece]) -> list[Sum]:
        """The sums for the pieces of a thread, whose steps follow on each other."""
        totals = {question: question.sum() for question in self._questions}
        at = 0
        for piece in pieces:
            start, stop = piece.steps
            for total in totals.values():
                total.break_off(piece.lost)
            for question, part in self._parts(piece):
                totals[question].merge(part, at - start)
            at += stop - start
        return list(totals.values())

    def _parts(self, piece: Piece) -> Iterator[tuple[Question, Sum]]:
        """Sums for a piece of a stream, in order; what no part was asked is asked here."""
        history, (start, stop) = piece.history, piece.steps
        assembling = self._answered.get(id(history))
        asked = () if assembling is None else assembling.questions
        if assembling is not None:
            for sums in assembling.segments.between(start, stop):
                yield from zip(asked, sums, strict=True)
        for question in self._questions:
            if question not in asked:
                here = question.sum()
                here.add(question.ask(history, start, stop, piece.offsets), 0)
                yield question, here
