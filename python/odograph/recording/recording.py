"""From a recording to histories: the place where trace bytes and memory over time meet the decoder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from odograph._native import RawEntries, RawHistory
from odograph.code.image import Image
from odograph.config import TraceConfig
from odograph.errors import InvalidArgument, OutputError, RecordingError
from odograph.files.destination import Destination
from odograph.history.history import History
from odograph.history.index import Index, IndexUse, default_path, write_index
from odograph.history.selection import Answers, Question, Selection
from odograph.recording.decoding import Decoding, Progress
from odograph.recording.timeline import ImageMoments, image_moments
from odograph.text.counted import counted
from odograph.text.reprs import hex_repr

if TYPE_CHECKING:
    from odograph.code.binaries import CodeSource, Missing
    from odograph.recording.recordingfile import RecordingFile, Thread
    from odograph.symbols import Epoch, Symbols

__all__ = ["Recording", "Verdict", "open"]


@hex_repr("recorded_hash", "decoded_hash")
@dataclass(frozen=True, slots=True)
class Verdict:
    """What the recorder counted for a thread, what decoding its trace gives, and whether they agree."""

    tid: int
    recorded_instructions: int
    decoded_instructions: int
    recorded_hash: int
    decoded_hash: int

    @property
    def ok(self) -> bool:
        """True if both count and hash agree."""
        return (
            self.recorded_instructions == self.decoded_instructions
            and self.recorded_hash == self.decoded_hash
        )


#: So many instructions are hashed without being asked: always, and for each byte of trace.
_HASHED, _HASHED_PER_BYTE = 1 << 28, 512


class Recording:
    """An opened recording: threads, memory, and a history for each thread, decoded when first asked for.

    Example::

        >>> recording = odograph.open("tests/corpus/static.qemu.data")
        >>> recording
        <Recording 'tests/corpus/static.qemu.data': perf.data, 1 threads>
        >>> len(recording.history())
        1996
    """

    def __init__(
        self,
        source: RecordingFile,
        config: TraceConfig | None,
        resync: Literal["ip", "psb"] = "ip",
        index: bool | str | os.PathLike[str] = True,
    ) -> None:
        self.source = source
        self.resync = resync
        self.config: TraceConfig = config if config is not None else _config_of(source)
        self._histories: dict[int, History] = {}
        self._symbols: dict[int, Symbols] = {}
        self._epochs: dict[int, list[Epoch]] = {}
        self._functions: dict[int, RawEntries] = {}
        self._index = _index_of(source, index)
        self.decoding = Decoding(source, self.config, resync, self._index)

    @property
    def path(self) -> str:
        """As it was opened."""
        return self.source.path

    @property
    def kind(self) -> str:
        """``"perf.data"`` or ``"raw"``."""
        return self.source.kind

    @property
    def threads(self) -> list[Thread]:
        """Threads that were traced, in the order they appear."""
        return self.source.threads

    def image(self, tid: int | None = None) -> Image:
        """Memory of a thread's process at the end of the recording."""
        return self.source.image(tid)

    def images(self, tid: int | None = None) -> Sequence[tuple[int, Image]]:
        """Memory of a thread's process over time: (TSC from which it holds, image), ascending.

        There may be many: each is made when it is asked for.
        """
        return self.decoding.images(tid)

    def served_images(self, tid: int | None = None) -> ImageMoments:
        """The same without bytes of files that debuggers may not see; see ``RecordingFile.serves``."""
        if self.kind == "raw":
            return self.decoding.images(tid)
        pid = self.source.thread(tid).pid
        answers: dict[str, bool] = {}

        def uses(source: CodeSource) -> bool:
            if source.path not in answers:
                answers[source.path] = self.source.serves(source)
            return answers[source.path]

        moments = image_moments(self.source, pid, uses=uses)
        return moments if not all(answers.values()) else self.decoding.images(tid)

    def info(self) -> dict[str, Any]:
        """What the recording says without decoding, ready for JSON."""
        return self.source.info()

    def missing(self, tid: int | None = None) -> list[Missing]:
        """Files of a thread's process whose bytes were not found, with how to supply them."""
        return self.source.missing(self.source.thread(tid).pid)

    def history(self, tid: int | None = None, *, progress: Progress | None = None) -> History:
        """The history of a thread, by default the only or the first one.

        ``progress(done, total)`` is called with trace bytes now and then. Raises InvalidArgument for a
        thread without trace.
        """
        thread = self.source.thread(tid)
        if thread.tid not in self._histories:
            pieces = RawHistory.join(self.decoding.pieces(thread, progress), self._shortage(thread))
            symbols, epochs = partial(self.symbols, thread.tid), partial(self.epochs, thread.tid)
            programs = partial(self.program_times, thread)
            # Our own recorders see threads from their beginning, and nothing else counts instructions.
            is_thread = thread.truth is not None and thread.tid != thread.pid
            self._histories[thread.tid] = History(
                pieces,
                symbols,
                epochs=epochs,
                programs=programs,
                functions=partial(self.functions, thread.tid),
                is_first=is_thread,
            )
        return self._histories[thread.tid]

    def _shortage(self, thread: Thread) -> tuple[str, int, int] | None:
        """What ran behind the last step of a thread, if that is missing: its cause, where the trace of it
        would begin, and how many bytes of that are known to be missing."""
        streams = self.decoding.streams(thread)
        end = streams[-1].size if streams else 0
        if self.source.noted.cut is not None:
            return "cut", end, sum(stream.missing for stream in streams)
        lost = any(lost.offset >= stream.size for stream in streams for lost in stream.breaks)
        lost = lost or self.source.noted.lacks_records or thread.tid in self.source.unwritten
        return ("lost", end, 0) if lost else None

    def histories(self, *, progress: Progress | None = None) -> dict[int, History]:
        """The histories of all threads by their numbers."""
        return {thread.tid: self.history(thread.tid, progress=progress) for thread in self.threads}

    def ask(self, *questions: Question, selection: Selection | None = None) -> dict[int, Answers]:
        """Answers several questions about each thread that the selection has, by one walk each: by tid.

        See :meth:`History.ask <odograph.History.ask>`.
        """
        chosen = Selection() if selection is None else selection
        unknown = [tid for tid in chosen.threads or () if all(one.tid != tid for one in self.threads)]
        for tid in unknown[:1]:
            self.source.thread(tid)
        wanted = [thread.tid for thread in self.threads if chosen.has_thread(thread.tid)]
        of_each = replace(chosen, threads=None)
        return {tid: self.history(tid).ask(*questions, selection=of_each) for tid in wanted}

    def symbols(self, tid: int | None = None) -> Symbols:
        """Names of the code of a thread's process, of all that it had mapped at any time.

        Where several files lay at one address, one after the other, the last one counts: see :meth:`epochs`.
        """
        from odograph.symbols.epochs import symbols_of

        epochs = self.epochs(tid)
        pid = self.source.thread(tid).pid
        if pid not in self._symbols:
            self._symbols[pid] = symbols_of(epochs)
        return self._symbols[pid]

    def functions(self, tid: int | None = None) -> RawEntries:
        """Where functions begin and end in the programs that a thread's process ran, as far as files say."""
        epochs = self.epochs(tid)
        pid = self.source.thread(tid).pid
        if pid not in self._functions:
            self._functions[pid] = RawEntries(
                [(epoch.tsc, epoch.symbols.bodies(), epoch.symbols.mapped()) for epoch in epochs]
            )
        return self._functions[pid]

    def epochs(self, tid: int | None = None) -> list[Epoch]:
        """Names of the code of a thread's process over time, ascending: another program, or another library
        in the place of one, has others. There is always one, and without times there is no other.
        """
        from odograph.recording.epochs import epochs_of
        from odograph.symbols.epochs import Epoch, symbols_of

        pid = self.source.thread(tid).pid
        if pid not in self._epochs:
            found = epochs_of(self.source, pid)
            if self.kind != "raw" and not self.source.pt.timed:
                found = [Epoch(0, symbols_of(found), True)]
            self._epochs[pid] = found
        return self._epochs[pid]

    def program_times(self, thread: Thread) -> list[int]:
        """When (TSC) a thread went on with other programs, as far as their first steps were recorded."""
        starts = []
        has_modules = False
        memory = self.source.memories.get(thread.pid)
        for tsc, changes in () if memory is None else memory.timeline(whole=False):
            for change in changes:
                if change.kind == "clear" and has_modules:
                    starts.append(tsc or 0)
                    has_modules = False
                elif change.inherited is not None:
                    has_modules = has_modules or bool(change.inherited.files)
                elif change.kind == "add" and change.mapping is not None:
                    has_modules = has_modules or change.mapping.code is None
        unseen = self._unseen(thread) if starts else []
        return [tsc for tsc in starts if not any(begin <= tsc < end for begin, end in unseen)]

    def _unseen(self, thread: Thread) -> list[tuple[int, int]]:
        """The times (TSC, the second exclusive) in front of pieces of a thread where trace is missing."""
        from odograph.table import Table

        is_cut = any(stream.is_cut for stream in self.decoding.streams(thread))
        unseen = []
        before = 0
        for number, piece in enumerate(self.decoding.pieces(thread)):
            first, last = piece.steps
            if piece.lost or (is_cut and number == 0):
                unseen.append((before, piece.time[0]))
            ends = Table(piece.history.instructions(last - 1, last)) if last > first else ()
            before = next((row["tsc"] for row in ends if row["tsc"] is not None), piece.time[0])
        return unseen

    def verify(self, *, max_steps: int | None = None) -> list[Verdict]:
        """Compares each thread's history with what the recorder counted; empty if it counted nothing.

        Decodes, if there is an index: what that says is no proof of what the trace gives. Raises
        :class:`~odograph.RecordingError` for more than ``max_steps`` instructions (see :meth:`check_steps`),
        and where what was counted is missing because the file is cut or damaged.
        """
        self.check_counted()
        if self._index is not None:
            return Recording(self.source, self.config, self.resync, False).verify(max_steps=max_steps)
        known = [thread.tid for thread in self.threads if thread.truth is not None]
        self.check_steps(sum(len(self.history(tid)) for tid in known), max_steps)
        verdicts = []
        for thread in self.threads:
            if thread.truth is not None:
                history = self.history(thread.tid)
                verdicts.append(
                    Verdict(
                        tid=thread.tid,
                        recorded_instructions=thread.truth.instructions,
                        decoded_instructions=len(history),
                        recorded_hash=thread.truth.hash,
                        decoded_hash=history.hash(),
                    )
                )
        return verdicts

    def check_counted(self) -> None:
        """Raises :class:`~odograph.RecordingError` if a part of the file is missing, and with it what the
        recorder may have counted."""
        cut, left_out = self.source.noted.cut, self.source.noted.left_out
        if any(thread.truth is not None for thread in self.threads):
            return
        if cut is None and left_out is not None:
            raise RecordingError(
                f"what the recorder of {self.path} may have counted was not read: {left_out.message}"
            )
        if cut is not None:
            raise RecordingError(
                f"{self.path} is cut or damaged: what its recorder may have counted is lost: {cut.message}"
            )

    def check_steps(self, steps: int, limit: int | None = None) -> None:
        """Raises :class:`~odograph.RecordingError` if hashing so many instructions takes long for the trace.

        There is no quicker way to the hash than one instruction after the other, and a few bytes of trace may
        stand for half a million. ``limit`` are allowed, by default 2**28 and 512 for each byte of trace.
        """
        size = sum(stream.size for stream in self.source.streams)
        if steps > (_HASHED + _HASHED_PER_BYTE * size if limit is None else limit):
            raise RecordingError(
                f"{steps:,} instructions in {counted(size, 'byte')} of trace take long to hash; if you trust "
                f"the recording, --max-steps {steps} (max_steps in Python) does it"
            )

    @property
    def index_use(self) -> IndexUse | None:
        """Whether an index was used for the histories asked for so far, and if not, why; None without one."""
        return None if self._index is None else self._index.use

    def save_index(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        progress: Progress | None = None,
        on_wait: Callable[[str], None] | None = None,
    ) -> str:
        """Saves an index, by default beside the recording as ``NAME.odx``; gives its path.

        :func:`odograph.open` finds it there and decodes nothing as long as the trace, all memory that was
        read, the configuration and the version of Odograph are the very same. ``on_wait`` is told before a
        FIFO is waited for. Raises
        :class:`~odograph.UnsupportedOperation` where a callback gave memory, and OSError.
        """
        if path is None and self.path == "-":
            raise InvalidArgument("what came from standard input has no place for its index: give a path")
        target = os.fspath(path) if path is not None else default_path(self.path)
        if self.path != "-" and os.path.exists(target) and os.path.samefile(target, self.path):
            raise InvalidArgument(f"{target} is the recording itself; give its index another name")
        if path is None and os.path.islink(target):
            # The recording's author chose where it leads.
            raise OutputError(f"{target} is a symbolic link; remove it, or give the index another place")
        # Decoding takes long: what is wrong with the place is said first.
        with Destination(target, what="index", on_wait=on_wait) as destination:
            write_index(destination, self.decoding.index_entries(progress))
        return target

    def check_index(self, path: str | os.PathLike[str] | None = None) -> IndexUse:
        """Whether an index, by default the one beside the recording, could be used. Decodes nothing."""
        return self.decoding.check_index(Index(default_path(self.path) if path is None else path))

    def skipped_bytes(self) -> int:
        """Bytes that are not decoded because no PSB stands before them, and that are not in a gap either.

        A raw trace, a snapshot and the trace in a sample may begin anywhere, as the end of something longer.
        Packets that only tell the time do not count.
        """
        return self.decoding.skipped_bytes()

    def packets(self) -> tuple[dict[str, int], int]:
        """Packets by kind, and how many places in the traces no packet explains."""
        return self.decoding.packets()

    def __repr__(self) -> str:
        return f"<Recording {self.path!r}: {self.kind}, {len(self.threads)} threads>"


def _index_of(source: RecordingFile, wanted: bool | str | os.PathLike[str]) -> Index | None:
    """The index at a path, or beside the recording if there is one; None for none."""
    if not isinstance(wanted, bool):
        return Index(wanted)
    default = default_path(source.path)
    return Index(default) if wanted and source.path != "-" and os.path.exists(default) else None


def _config_of(source: RecordingFile) -> TraceConfig:
    pt = source.pt
    ranges = [(f.kind, f.first, f.last) for f in pt.filters if f.file is None]
    return TraceConfig(
        mtc_freq=pt.mtc_freq,
        nom_freq=pt.nom_freq,
        cpuid_0x15_eax=pt.cpuid_0x15_eax,
        cpuid_0x15_ebx=pt.cpuid_0x15_ebx,
        filters=tuple(("stop" if kind == "stop" else "filter", first, last) for kind, first, last in ranges),
    )


def open(
    path: str | os.PathLike[str],
    *,
    image: Image | None = None,
    sysroot: str | os.PathLike[str] | tuple[str | os.PathLike[str], ...] = (),
    buildid_dirs: str | os.PathLike[str] | tuple[str | os.PathLike[str], ...] = (),
    config: TraceConfig | None = None,
    resync: Literal["ip", "psb"] = "ip",
    kcore: str | os.PathLike[str] | None = None,
    index: bool | str | os.PathLike[str] = True,
    max_expanded: int | None = None,
) -> Recording:
    """Opens a perf.data recording or a raw Intel PT file; ``"-"`` is standard input.

    ``image`` is memory of the traced program that the caller knows (for raw files, all of it).
    ``sysroot`` and ``buildid_dirs`` are searched for binaries before the paths that the recording
    names; build ids are checked. ``config`` replaces what the recording says of the processor.
    ``resync`` says where decoding goes on after damage: at the next packet that gives an IP, or PSB.
    ``kcore`` is a copy of the kernel's memory; a recording made with ``perf record --kcore`` has its own.
    ``index`` is the path of an index (see :meth:`Recording.save_index`), True for the one beside the
    recording, if there is one, False for none. One that is not of this very recording, memory and
    configuration makes no difference; ``Recording.index_use`` says why. ``max_expanded`` is how many bytes of
    memory the compressed parts of the recording may become, by default 64 times its size, but at least 32 MiB
    and at most 96 MiB and 20 times its size; what goes beyond is left out, and ``Recording.info`` says so
    among the problems.

    Raises :class:`~odograph.RecordingError` if the file is no recording; it says what it is instead.

    Example::

        >>> [thread.comm for thread in odograph.open("tests/corpus/static.qemu.data").threads]
        ['static']
    """
    # Readers of recordings are a third of what this package would import; decoding raw bytes has
    # no need of them.
    from odograph.recording.opening import open_recording

    source = open_recording(
        path,
        image=image,
        sysroot=sysroot,
        buildid_dirs=buildid_dirs,
        config=config,
        kcore=kcore,
        max_expanded=max_expanded,
    )
    return Recording(source, config, resync, index)
