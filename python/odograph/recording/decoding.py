"""Decoding a recording: which bytes, with which memory, and whose the decoded pieces are.

A recording has streams of trace bytes. A stream is divided where data is missing (:class:`Undecoded`), and
what is decoded of it into the pieces of the threads that ran (:class:`Piece`). Machines that decode for this
one ask :class:`Decoding` as well: `odograph.cluster` takes what is undecoded and gives histories back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from odograph._native import RawHistory, count_packets, save_history, skipped_bytes
from odograph.code.image import Image
from odograph.config import TraceConfig
from odograph.history.decode import Clock, clock_of, thread_count
from odograph.history.index import Index, IndexUse
from odograph.recording.timeline import ImageMoments, Moments, Starts, image_moments

if TYPE_CHECKING:
    from odograph.recording.recordingfile import RecordingFile, Thread
    from odograph.recording.stream import TraceStream

__all__ = ["Decoding", "Piece", "Progress", "Undecoded"]

Progress = Callable[[int, int], object]
"""``progress(done, total)``, in trace bytes."""
_END = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a decoded stream: its steps, where its events and gaps lie, and when it was (TSC)."""

    history: RawHistory
    steps: tuple[int, int]
    offsets: tuple[int, int]
    time: tuple[int, int]
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Undecoded:
    """Trace bytes without a hole, and everything that decoding them takes.

    ``moments`` are (tsc, image, number of the thread that runs); ``base`` is where the bytes begin in their
    stream, ``lost`` says that bytes are missing before them, ``size`` is that of the stream. ``divided`` says
    that several threads may have run, each from one moment to another.
    """

    trace: memoryview
    moments: Moments
    config: dict[str, Any]
    to_psb: bool
    clock: Clock
    base: int
    lost: bool
    size: int
    divided: bool

    def decode(self, progress: Progress | None = None) -> RawHistory:
        """Decodes them here."""

        def report(offset: int) -> None:
            if progress is not None:
                progress(self.base + offset, self.size)

        return RawHistory.decode(
            self.trace, self.moments.timeline, self.config, **self._how(), progress=report
        )

    def load(self, index: Index, name: str) -> RawHistory | None:
        """Takes what an index holds by a name, if it is of these."""
        return index.load(name, self.trace, self.moments.timeline, self.config, **self._how())

    def _how(self) -> dict[str, Any]:
        return {
            "raise_on_gap": False,
            "to_psb": self.to_psb,
            "clock": self.clock,
            "threads": thread_count(None),
            "base": self.base,
        }


class Decoding:
    """What is decoded of a recording so far, and what is not yet.

    ``index`` is a saved history to take what it holds from, None for none.
    """

    def __init__(
        self, source: RecordingFile, config: TraceConfig, resync: Literal["ip", "psb"], index: Index | None
    ) -> None:
        self.source = source
        self.config = config
        self.resync = resync
        self.index = index
        self._decoded: dict[int, list[tuple[RawHistory, bool]]] = {}
        self._images: dict[int, ImageMoments] = {}
        self._starts: Starts = {}
        self._streams: dict[int | None, list[TraceStream]] | None = None
        self._pieces: dict[int, dict[int, list[Piece]]] = {}
        self._owners: dict[int, Moments] = {}
        # Streams of which nothing had to be decoded.
        self._indexed: set[int] = set()

    @property
    def is_raw(self) -> bool:
        """The file is a raw trace: no sideband, one image."""
        return self.source.kind == "raw"

    def images(self, tid: int | None) -> ImageMoments:
        """Memory of a thread's process over time."""
        if self.is_raw:
            return _one_image(self.source.user_image)
        pid = self.source.thread(tid).pid
        if pid not in self._images:
            self._images[pid] = image_moments(self.source, pid, self._starts)
        return self._images[pid]

    def pieces(self, thread: Thread, progress: Progress | None = None) -> list[Piece]:
        """The parts of streams that are this thread's, in order of time."""
        found: list[Piece] = []
        for stream in self.streams(thread):
            if stream.idx not in self._pieces:
                self._pieces[stream.idx] = self._divided(stream, thread, progress)
            found += self._pieces[stream.idx].get(thread.tid, ())
        # Without times all begin at 0 and keep the order of the recording.
        found.sort(key=lambda piece: piece.time[0])
        return found

    def _divided(
        self, stream: TraceStream, thread: Thread, progress: Progress | None
    ) -> dict[int, list[Piece]]:
        """The pieces of a stream by the thread that ran; a thread's first in a part is ``lost`` if it is."""
        pieces: dict[int, list[Piece]] = {}
        last: tuple[int, Piece] | None = None
        parts = self._decode(stream, thread, progress)
        for begin, (part, lost) in zip(_edges(stream), parts, strict=False):
            begun: set[int] = set()
            for owner, piece in self._regions(stream, part, last or _nothing_before(stream, begin, part)):
                last = owner, piece
                tid = thread.tid if self.is_raw else owner
                pieces.setdefault(tid, []).append(replace(piece, lost=lost and tid not in begun))
                begun.add(tid)
        return pieces

    def streams(self, thread: Thread) -> list[TraceStream]:
        """The streams in which a thread ran."""
        if self.is_raw:
            return self.source.streams
        if self._streams is None:
            self._streams = {}
            for stream in self.source.streams:
                owners: set[int | None] = {region.tid for region in stream.regions}
                for tid in owners or {stream.tid}:
                    self._streams.setdefault(tid, []).append(stream)
        return self._streams.get(thread.tid, [])

    def _regions(
        self, stream: TraceStream, part: RawHistory, before: tuple[int, Piece] | None
    ) -> Iterator[tuple[int, Piece]]:
        """Who ran in which piece of a part of a stream; ``before`` is who ran last in the part before."""
        first = next((tsc for _, tsc, _ in part.checkpoints() if tsc is not None), None)
        if first is None and before is not None:
            # Nothing in it says when it was, and so who ran: it goes on where the last part ended.
            tid, last_piece = before
            yield tid, Piece(part, (0, part.steps), (0, _END), (last_piece.time[0], _END))
            return
        first = first or 0
        if len(stream.regions) <= 1:
            tid = stream.regions[0].tid if stream.regions else stream.tid or 0
            yield tid, Piece(part, (0, part.steps), (0, _END), (first, _END))
            return
        owners = self._owners[stream.idx]
        cuts = [(0, 0, 0), *part.moments()]
        ends = [*cuts[1:], (part.steps, None, _END)]
        for (step, moment, offset), (last, next_moment, end) in zip(cuts, ends, strict=True):
            if (step, offset) == (last, end):
                continue
            tsc, region = owners.region(moment)
            tid = stream.regions[region].tid
            until = _END if next_moment is None else owners.region(next_moment)[0]
            yield tid, Piece(part, (step, last), (offset, end), (max(tsc, first), until))

    def _decode(
        self, stream: TraceStream, thread: Thread, progress: Progress | None
    ) -> list[tuple[RawHistory, bool]]:
        """Decodes a stream, in parts where data is missing: (history, data lost before it)."""
        if stream.idx not in self._decoded:
            decoded = []
            indexed = self.index is not None
            for part in self.undecoded(stream, thread):
                history = None if self.index is None else part.load(self.index, _entry(stream, part.base))
                if history is None:
                    indexed = False
                    history = part.decode(progress)
                decoded.append((history, part.lost))
            self._decoded[stream.idx] = decoded
            if indexed:
                self._indexed.add(stream.idx)
        return self._decoded[stream.idx]

    def is_decoded(self, stream: TraceStream) -> bool:
        """Whether the histories of a stream are there already."""
        return stream.idx in self._decoded

    def take_decoded(self, stream: TraceStream, parts: list[tuple[RawHistory, bool]]) -> None:
        """Takes the histories of what is :meth:`undecoded` of a stream, which others made, and ``lost``."""
        self._decoded[stream.idx] = parts
        self._pieces.pop(stream.idx, None)

    def undecoded(self, stream: TraceStream, thread: Thread) -> list[Undecoded]:
        """What is to be decoded of a stream in which ``thread`` ran, divided where data is missing."""
        trace = stream.read()
        moments = self._owners[stream.idx] = self._moments(stream, thread)
        recorded = self.source.pt.cpu
        lost_at = {lost.offset for lost in stream.breaks}
        return [
            Undecoded(
                trace=(piece := trace[begin:end]),
                moments=moments,
                config=self.config.for_native(recorded, trace=piece, tsc_near=stream.reference(begin)),
                to_psb=self.resync == "psb",
                clock=self.clock,
                base=begin,
                lost=begin in lost_at or (begin == 0 and not stream.is_cut and skipped_bytes(piece) > 0),
                size=len(trace),
                divided=len(stream.regions) > 1,
            )
            for begin, end in pairwise(_edges(stream))
        ]

    @property
    def clock(self) -> Clock:
        """What makes ns of ticks; None where times mean nothing: see ``RecordingFile.has_clock``."""
        if not self.source.has_clock:
            return None
        conversion = self.source.time_conversion
        if conversion is not None:
            return ("perf", conversion.zero, conversion.mult, conversion.shift)
        return clock_of(self.config)

    def _moments(self, stream: TraceStream, thread: Thread) -> Moments:
        """Images over the time of a stream, and whose they are."""
        if self.is_raw or not stream.regions:
            return Moments([(0, 0, _one_image(self.source.user_image), _END)])
        for region in stream.regions:
            if region.pid not in self._images:
                self._images[region.pid] = image_moments(self.source, region.pid, self._starts)
        ends = [region.tsc_start for region in stream.regions[1:]] + [1 << 64]
        return Moments(
            (region.tsc_start, region.tid & 0xFFFFFFFF, self._images[region.pid], end)
            for region, end in zip(stream.regions, ends, strict=True)
        )

    def index_entries(self, progress: Progress | None) -> dict[str, bytes]:
        """What an index of this recording holds, by name. Decodes what is not decoded yet."""
        entries = {}
        for thread in self.source.threads:
            for stream in self.streams(thread):
                decoded = self._decode(stream, thread, progress)
                for begin, (history, _) in zip(_edges(stream), decoded, strict=False):
                    name = _entry(stream, begin)
                    if name not in entries:
                        entries[name] = save_history(history)
        for stream in self.source.streams:
            entries[_entry(stream, "packets")] = json.dumps(self._count_packets(stream)).encode()
        return entries

    def check_index(self, index: Index) -> IndexUse:
        """Whether an index could be used. Decodes nothing."""
        for thread in self.source.threads:
            for stream in self.streams(thread):
                for part in self.undecoded(stream, thread):
                    if part.load(index, _entry(stream, part.base)) is None:
                        return IndexUse(index.path, False, index.reason)
        return IndexUse(index.path, index.reason is None, index.reason)

    def skipped_bytes(self) -> int:
        """Bytes that are not decoded because no PSB stands before them, and that are not in a gap either.

        A raw trace, a snapshot and the trace in a sample may begin anywhere, as the end of something longer.
        Packets that only tell the time do not count.
        """
        total = 0
        for stream in self.source.streams:
            trace, lost_at = stream.read(), {lost.offset for lost in stream.breaks}
            for begin, end in pairwise(_edges(stream)):
                if stream.is_cut and begin not in lost_at:
                    total += skipped_bytes(trace[begin:end])
        return total

    def packets(self) -> tuple[dict[str, int], int]:
        """Packets by kind, and how many places in the traces no packet explains."""
        counts: dict[str, int] = {}
        damaged = 0
        for stream in self.source.streams:
            kinds, errors = self._count_packets(stream)
            damaged += errors
            for kind, number in kinds:
                counts[kind] = counts.get(kind, 0) + number
        return counts, damaged

    def _count_packets(self, stream: TraceStream) -> tuple[list[tuple[str, int]], int]:
        # An index that was used is of this trace.
        if self.index is not None and stream.idx in self._indexed:
            noted = self.index.get(_entry(stream, "packets"))
            if noted is not None:
                kinds, errors = json.loads(bytes(noted))
                return [(str(kind), int(count)) for kind, count in kinds], int(errors)
        return count_packets(stream.read(), self.config.for_native(self.source.pt.cpu))


def _one_image(image: Image | None) -> ImageMoments:
    images = ImageMoments()
    images.add(0, image or Image())
    return images


def _nothing_before(stream: TraceStream, begin: int, part: RawHistory) -> tuple[int, Piece] | None:
    """Who ran before a stream of which nothing can be decoded: who ran when its first part was read."""
    reference = stream.reference(begin)
    if part.steps or reference is None:
        return None
    tids = [region.tid for region in stream.regions if region.tsc_start <= reference]
    return (tids[-1], Piece(part, (0, 0), (0, _END), (0, _END))) if tids else None


def _edges(stream: TraceStream) -> list[int]:
    """Where the parts of a stream begin between which data is missing, and where the last one ends."""
    size = stream.size
    return [0, *(lost.offset for lost in stream.breaks if 0 < lost.offset < size), size]


def _entry(stream: TraceStream, what: int | str) -> str:
    """What an index calls a part of a stream, by where it begins, or what else it holds of it."""
    return f"{stream.idx}/{what}"
