"""One trace that is put together from parts which others decode."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from odograph import __version__
from odograph._native import RawAssembly, RawHistory
from odograph.cluster.manifest import pack
from odograph.cluster.questions import Question
from odograph.cluster.segments import Segments
from odograph.cluster.sender import Memory
from odograph.cluster.worker import DecodedPart, PartTask, segments
from odograph.history.decode import thread_count
from odograph.recording.decoding import Undecoded

__all__ = ["Assembling"]

#: Bytes of trace in a part, at least and at most.
_PART = (256 << 10, 4 << 20)


class Assembling:
    """Parts of one trace on their way to a history.

    What does not fit, since it began with a wrong guess, is decoded here: the result is that of decoding
    everything here.
    """

    def __init__(
        self, undecoded: Undecoded, questions: tuple[Question, ...], threads: int, part_size: int | None
    ) -> None:
        usual = min(max(len(undecoded.trace) // max(4 * threads, 1), _PART[0]), _PART[1])
        self.undecoded = undecoded
        # What needs the order of a thread's steps is asked of the whole where others ran in between.
        self.questions = tuple(q for q in questions if not (undecoded.divided and q.in_order))
        self.memory = Memory(*pack(undecoded.moments))
        self.segments = Segments(self.questions)
        self.history: RawHistory | None = None
        #: How many parts others decoded, and how many of them did not fit.
        self.fitted, self.misfits = 0, 0
        self._assembly = RawAssembly(
            undecoded.trace,
            undecoded.moments.timeline,
            undecoded.config,
            to_psb=undecoded.to_psb,
            clock=undecoded.clock,
            threads=thread_count(None),
            size=part_size or usual,
            base=undecoded.base,
        )

    def tasks(self) -> Iterator[tuple[int, PartTask]]:
        """The parts to decode elsewhere, by number; each is made when it is asked for."""
        what = self.undecoded
        for number, first, last, place in self._assembly.places():
            yield (
                number,
                PartTask(
                    version=__version__,
                    place=place,
                    trace=bytes(what.trace[first:last]),
                    config=what.config,
                    to_psb=what.to_psb,
                    clock=what.clock,
                    divided=what.divided,
                    questions=self.questions,
                ),
            )

    def wants(self, number: int, report: Callable[[int], object] | None) -> bool:
        """Whether a part is of use. Decodes what comes before it and is still missing."""
        while self._assembly.wanted is not None and self._assembly.wanted < number:
            self._decode_here(report)
        return self._assembly.wanted == number

    def take(self, decoded: DecodedPart | None, report: Callable[[int], object] | None) -> None:
        """Takes in the part that is wanted; None if it could not be decoded."""
        before = self._assembly.steps
        if decoded is not None and self._assembly.add(decoded.part):
            self.segments.add(decoded.segments, before)
            self.fitted += 1
        else:
            self.misfits += decoded is not None
            self._decode_here(report)
        if report is not None:
            at_end = self._assembly.wanted is None
            report(len(self.undecoded.trace) if at_end else self._assembly.reached)

    def finish(self, report: Callable[[int], object] | None) -> RawHistory:
        """The history, when there are no more parts."""
        while self._assembly.wanted is not None:
            self._decode_here(report)
        self.history = self._assembly.finish()
        return self.history

    def _decode_here(self, report: Callable[[int], object] | None) -> None:
        before = self._assembly.steps
        history = self._assembly.decode_here(report)
        self.segments.add(segments(history, before, self.undecoded.divided, self.questions), 0)
