"""What a worker does: decodes a part of a trace from its own bytes and asks it questions."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from odograph import __version__
from odograph._native import RawHistory, decode_part
from odograph.cluster.manifest import Manifest, Moment, unpack
from odograph.errors import UnsupportedOperation
from odograph.history.decode import Clock

if TYPE_CHECKING:
    from odograph.cluster.questions import Question

__all__ = ["DecodedPart", "PartTask", "Segment", "run_part", "segments"]

Segment = tuple[int, int, list[bytes]]
"""First step, step after the last, and what each question gives for the steps between."""

#: Bytes of sections that a worker keeps in images.
_MOST_KEPT = 1 << 30


@dataclass(frozen=True, slots=True)
class PartTask:
    """A part of a trace and everything that decoding it takes but memory.

    ``place`` says which part it is, ``trace`` are its bytes, ``version`` is that of the client; ``divided``
    says that answers are wanted for each moment of the timeline.
    """

    version: str
    place: bytes
    trace: bytes
    config: dict[str, Any]
    to_psb: bool
    clock: Clock
    divided: bool
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class DecodedPart:
    """A part for its assembly, and answers; steps count from its first one."""

    part: bytes
    segments: list[Segment]


def run_part(task: PartTask, manifest: Manifest, pieces: list[bytes]) -> DecodedPart | None:
    """Decodes a part; ``pieces`` are the bytes that the manifest has digests of, in that order.

    None if it takes more than its own bytes: the client decodes it then.
    """
    if task.version != __version__:
        raise UnsupportedOperation(
            f"this worker has odograph {__version__}, and the client has {task.version}; "
            "install one version on both"
        )
    decoded = decode_part(
        task.place,
        task.trace,
        _timelines.get(manifest, pieces),
        task.config,
        to_psb=task.to_psb,
        clock=task.clock,
    )
    if decoded is None:
        return None
    part, history = decoded
    return DecodedPart(part, segments(history, 0, task.divided, task.questions))


def segments(
    history: RawHistory, start: int, divided: bool, questions: tuple[Question, ...]
) -> list[Segment]:
    """Answers for the steps from ``start`` on, ``divided`` where another image or thread begins."""
    inside = [step for step, _, _ in history.moments()] if divided else []
    return [
        (first, last, [question.ask(history, first, last) for question in questions])
        for first, last in pairwise([start, *inside, history.steps])
    ]


class _Timelines:
    """Timelines by digest, those used last: what decoding learns of code lives as long as its image."""

    def __init__(self, limit: int = _MOST_KEPT) -> None:
        self._most = limit
        self._kept: OrderedDict[str, tuple[list[Moment], int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, manifest: Manifest, pieces: list[bytes]) -> list[Moment]:
        with self._lock:
            if manifest.digest not in self._kept:
                contents = dict(zip(manifest.digests, pieces, strict=True))
                size = sum(len(piece) for piece in pieces)
                self._kept[manifest.digest] = (unpack(manifest, contents), size)
            self._kept.move_to_end(manifest.digest)
            while len(self._kept) > 1 and sum(size for _, size in self._kept.values()) > self._most:
                self._kept.popitem(last=False)
            return self._kept[manifest.digest][0]


_timelines = _Timelines()
