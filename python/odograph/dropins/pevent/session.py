"""Sideband streams side by side with a trace: records in the order of time, and whose image is to be used."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import TypeAlias

from odograph.code.elfimage import add_elf
from odograph.code.image import Image, SectionCache
from odograph.dropins.pevent.context import Context, Contexts
from odograph.dropins.pevent.event import Event, may_switch
from odograph.dropins.pevent.record import SidebandRecord
from odograph.dropins.pevent.settings import Settings
from odograph.dropins.pevent.stream import Stream
from odograph.errors import OdographError, PtError
from odograph.perfdata.format import AuxFlag, Misc, RecordType
from odograph.perfdata.records import Aux, Comm, Lost, Mmap, Task

__all__ = ["IMAGE_SECTION_LOST", "SIDEBAND_LOST", "TRACE_LOST", "Session"]

OnRecord: TypeAlias = Callable[[Stream, SidebandRecord], object]
OnError: TypeAlias = Callable[[Stream, int, PtError | str, bool], object]
OnSwitch: TypeAlias = Callable[[Context], object]

SIDEBAND_LOST = "sideband lost"
TRACE_LOST = "trace lost"
IMAGE_SECTION_LOST = "image section lost"


class Session:
    """Merges streams of records by time and keeps a context, with an image, for each process.

    A tool that only lists records calls ``advance`` and ``finish``; one that decodes calls ``event`` for
    each event. ``on_record(stream, record)`` is called for each record in its turn, before it has its
    effect; ``on_error(stream, offset, what, is_warning)`` with a ``PtError``, or a text for warnings;
    ``on_switch(context)`` whenever another context's image is to be used. Contexts begin as copies of
    ``kernel``; sections of files go through ``cache`` if there is one.
    """

    def __init__(
        self,
        kernel: Image | None = None,
        *,
        cache: SectionCache | None = None,
        on_record: OnRecord | None = None,
        on_error: OnError | None = None,
        on_switch: OnSwitch | None = None,
    ) -> None:
        self.contexts = Contexts(Image("kernel") if kernel is None else kernel, cache)
        self._cache = cache
        self._on_record = on_record
        self._on_error = on_error
        self._on_switch = on_switch
        self._unread: list[Stream] = []
        self._streams: list[Stream] = []
        self._heads: list[tuple[int, int, SidebandRecord]] = []
        self._current: Context | None = None
        self._prepared: tuple[Context, int] | None = None
        self._changed = False

    def add_stream(self, path: str, first: int, end: int | None, primary: bool, settings: Settings) -> Stream:
        """A file of records, from offset ``first`` up to ``end`` (None = to the end of the file).

        :raises RecordingError: ``bad_file``: it cannot be read; ``invalid``: it has no such part.
        """
        stream = Stream.open(path, first, end, primary, settings)
        self._unread.append(stream)
        return stream

    def add_kcore(self, path: str, base: int | None = None) -> bool:
        """The kernel's memory, for contexts that begin from now on; False if ``path`` is no ELF file."""
        return add_elf(self.contexts.kernel, path, base, self._cache) is not None

    @property
    def next_tsc(self) -> int | None:
        """TSC of the next record, None if there are no more."""
        self._start()
        return self._heads[0][0] if self._heads else None

    @property
    def pending_switch(self) -> bool:
        """True if a prepared switch waits for an event, so that no event may be left out."""
        return self._prepared is not None

    @property
    def current(self) -> Context | None:
        """The context in use; None before the first switch."""
        return self._current

    def event(self, event: Event) -> Image | None:
        """Takes in the records up to the time of ``event`` and decides about switches.

        :returns: the image to decode with from now on, if it is another one or has changed.
        """
        for stream, record in self._until(event.tsc or 0):
            self._apply(stream, record)
        if self._prepared is not None and may_switch(event, self._prepared[1]):
            self._switch(self._prepared[0])
        changed, self._changed = self._changed, False
        return self._current.image if changed and self._current is not None else None

    def advance(self, tsc: int) -> None:
        """Reports the records up to and including ``tsc``; they have no other effect."""
        for _ in self._until(tsc):
            pass

    def finish(self) -> None:
        """Reports all records that are left."""
        self.advance((1 << 64) - 1)

    # Reading -------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Reads the first record of each stream that is new."""
        while self._unread:
            self._streams.append(self._unread.pop(0))
            self._fetch(len(self._streams) - 1)

    def _fetch(self, index: int) -> None:
        stream = self._streams[index]
        try:
            record = stream.next()
        except OdographError as error:
            # Where one record does not fit, it is not known where the next begins: the stream is at its end.
            self._report(stream, stream.offset, error.code or PtError.nosync)
            return
        if record is not None:
            heapq.heappush(self._heads, (record.tsc, index, record))

    def _until(self, tsc: int) -> Iterator[tuple[Stream, SidebandRecord]]:
        """The records up to and including ``tsc``; of equal ones those of the stream that was added first."""
        self._start()
        while self._heads and self._heads[0][0] <= tsc:
            _, index, record = heapq.heappop(self._heads)
            stream = self._streams[index]
            if self._on_record is not None:
                self._on_record(stream, record)
            yield stream, record
            self._fetch(index)

    def _report(self, stream: Stream, offset: int, what: PtError | str) -> None:
        if self._on_error is not None:
            self._on_error(stream, offset, what, isinstance(what, str))

    # Effects -------------------------------------------------------------------------------------------

    def _apply(self, stream: Stream, record: SidebandRecord) -> None:
        kind, misc, body = record.raw.type, record.raw.misc, record.body
        match body:
            case Mmap():
                if not body.kernel:
                    self._map(stream, record, body)
            case Task():
                if kind == RecordType.FORK and body.pid != body.ppid:
                    self.contexts.fork(body.ppid, body.pid)
            case Comm(exec=True):
                self._exec(stream, body.pid)
            case Lost():
                self._report(stream, record.raw.offset, SIDEBAND_LOST)
            case Aux():
                if body.flags & AuxFlag.TRUNCATED:
                    self._report(stream, record.raw.offset, TRACE_LOST)
        if not stream.primary:
            return
        if kind == RecordType.ITRACE_START and isinstance(body, tuple):
            self._switch(self.contexts.get(body[0]))
        elif kind == RecordType.SWITCH_CPU_WIDE and misc & Misc.SWITCH_OUT and isinstance(body, tuple):
            self._prepare(stream, body[0])
        elif kind in (RecordType.SWITCH, RecordType.SWITCH_CPU_WIDE) and not misc & Misc.SWITCH_OUT:
            pid = record.samples.get("pid")
            if pid is not None:
                self._prepare(stream, pid)

    def _map(self, stream: Stream, record: SidebandRecord, mmap: Mmap) -> None:
        try:
            if not self.contexts.map(mmap, stream.settings):
                self._report(stream, record.raw.offset, IMAGE_SECTION_LOST)
            elif self._current is self.contexts.get(mmap.pid):
                self._changed = True
        except OdographError as error:
            self._report(stream, record.raw.offset, error.code or PtError.bad_file)

    def _exec(self, stream: Stream, pid: int) -> None:
        """Another program in the same process: who runs the old one will run this one."""
        old, new = self.contexts.replace(pid)
        if old is None:
            return
        if self._prepared is not None:
            if self._prepared[0] is old:
                self._prepared = new, self._prepared[1]
        elif self._current is old and stream.primary:
            self._prepared = new, stream.settings.kernel_start

    def _prepare(self, stream: Stream, pid: int) -> None:
        """The process changes, but perhaps not before the next event; a later change replaces this one."""
        context = self.contexts.get(pid)
        self._prepared = None if context is self._current else (context, stream.settings.kernel_start)

    def _switch(self, context: Context) -> None:
        self._prepared = None
        if context is self._current:
            return
        self._current = context
        self._changed = True
        if self._on_switch is not None:
            self._on_switch(context)
