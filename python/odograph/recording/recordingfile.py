"""A recording: trace streams, threads, and memory over time. It never decodes."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from odograph.code.binaries import Binaries, CodeSource, Missing
from odograph.code.mappings import KERNEL_PID, Change, Inherited, Mapping, ProcessMemory
from odograph.code.objects import object_file
from odograph.code.vdso import NAME as VDSO
from odograph.code.vdso import process_class
from odograph.errors import ImageError, InvalidArgument, OdographError, PtError, RecordingError
from odograph.files.plainfile import open_recorded
from odograph.perfdata.executed import Code, ExecutedFacts, Truth
from odograph.perfdata.problem import Problem, Problems
from odograph.perfdata.time import TimeConversion
from odograph.recording.parameters import PtParameters
from odograph.recording.stream import TraceStream

if TYPE_CHECKING:
    from odograph.code.image import Asid, Image
    from odograph.config import TraceConfig

__all__ = ["RecordingFile", "Thread"]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread that was traced. ``start`` and ``end`` in ns of perf's clock, None = not known."""

    tid: int
    pid: int
    comm: str = ""
    start: int | None = None
    end: int | None = None
    truth: Truth | None = None


class _Sections(Protocol):
    """What of ``Image`` is used here."""

    def add_file(
        self, filename: str, offset: int, size: int, vaddr: int, *, recorded: bool = False
    ) -> Any: ...

    def add_bytes(self, data: bytes, vaddr: int, *, name: str | None = None) -> Any: ...


@dataclass(slots=True)
class RecordingFile:
    """What one recording holds.

    ``kind`` is ``"perf.data"`` or ``"raw"``. ``problems`` are facts about damage; they did not stop the
    reader. ``code`` are the executed bytes kept by our own recorders, ``executed`` what else they kept.
    ``has_clock`` says that times are those of the program as it ran: our own recorders slow it down, so what
    they write as time only tells the order.
    """

    path: str
    kind: str
    streams: list[TraceStream]
    threads: list[Thread]
    pt: PtParameters = field(default_factory=PtParameters)
    time_conversion: TimeConversion | None = None
    memories: dict[int, ProcessMemory] = field(default_factory=dict)
    binaries: Binaries = field(default_factory=Binaries)
    executed: ExecutedFacts | None = None
    has_clock: bool = True
    facts: dict[str, Any] = field(default_factory=dict)
    lost_records: int = 0
    user_image: Image | None = None
    config: TraceConfig | None = None
    noted: Problems = field(default_factory=Problems)
    _kernel: Image | None = field(default=None, init=False, repr=False)
    _classes: dict[int, tuple[dict[Mapping, str | None], str | None]] = field(
        default_factory=dict, init=False, repr=False
    )
    _by_tid: dict[int, Thread] = field(default_factory=dict, init=False, repr=False)

    @property
    def problems(self) -> list[Problem]:
        """What is damaged or missing, in the order it was found."""
        return self.noted.list

    def thread(self, tid: int | None = None) -> Thread:
        """The thread with this number, by default the first. InvalidArgument if it was not traced."""
        if tid is None:
            return self.threads[0]
        if len(self._by_tid) != len(self.threads):
            self._by_tid = {thread.tid: thread for thread in reversed(self.threads)}
        if (found := self._by_tid.get(tid)) is not None:
            return found
        known = ", ".join(str(thread.tid) for thread in self.threads[:20])
        raise InvalidArgument(f"thread {tid} has no trace in this recording; threads that have: {known}")

    def image_timeline(self, pid: int, *, whole: bool = True) -> list[tuple[int | None, list[Change]]]:
        """Changes of the memory that process ``pid`` sees, kernel included, in order of TSC.

        The first entry may have TSC None: it holds from the beginning (and always, without times).
        Executed bytes come as mappings with ``code``. Bytes of files: ``resolve``. With ``whole`` the memory
        that a process has of its parent comes mapping by mapping, else as one change.
        """
        merged = [
            (tsc, changes)
            for number in dict.fromkeys((KERNEL_PID, pid))
            if number in self.memories
            for tsc, changes in self.memories[number].timeline(whole=whole)
        ]
        merged.sort(key=lambda entry: -1 if entry[0] is None else entry[0])
        result: list[tuple[int | None, list[Change]]] = []
        for tsc, changes in merged:
            if result and result[-1][0] == tsc:
                result[-1][1].extend(changes)
            else:
                result.append((tsc, list(changes)))
        return result

    def resolve(self, mapping: Mapping) -> CodeSource | Missing:
        """Where the bytes of a mapping (one without ``code``) lie on this machine, or why not."""
        known = self._process_class(mapping) if mapping.filename == VDSO else None
        return self.binaries.find(mapping, known)

    def _process_class(self, mapping: Mapping) -> str | None:
        """By the first ELF file for x86 that the program mapped to which ``mapping`` belongs."""
        if mapping.pid not in self._classes:
            self._classes[mapping.pid] = self._vdso_classes(mapping.pid)
        classes, last = self._classes[mapping.pid]
        return classes.get(mapping, last)

    def _vdso_classes(self, pid: int) -> tuple[dict[Mapping, str | None], str | None]:
        """The class of each vdso that a process had mapped, and of the process in the end."""
        classes: dict[Mapping, str | None] = {}
        known = None
        memory = self.memories.get(pid)
        for _, changes in () if memory is None else memory.timeline():
            for change in changes:
                if change.kind == "clear":
                    known = None
                elif change.mapping is not None and change.mapping.filename == VDSO:
                    classes.setdefault(change.mapping, known)
                elif known is None and change.mapping is not None and _is_file(change):
                    source = self.binaries.find(change.mapping)
                    known = process_class(source.path) if isinstance(source, CodeSource) else None
        return classes, known

    def mappings(self, pid: int) -> list[Mapping]:
        """What lies where in the end, executed bytes included, sorted by address and without overlap."""
        return [
            mapping
            for number in dict.fromkeys((pid, KERNEL_PID))
            if number in self.memories
            for mapping in self.memories[number].state()
        ]

    def missing(self, pid: int) -> list[Missing]:
        """Mappings of a process whose bytes were not found, each file once, with how to supply it."""
        found: dict[tuple[str, bytes | None, str], Missing] = {}
        for _, changes in self.image_timeline(pid):
            for change in changes:
                mapping = change.mapping
                if change.kind == "add" and mapping is not None and mapping.code is None:
                    source = self.resolve(mapping)
                    if isinstance(source, Missing):
                        found.setdefault((mapping.filename, mapping.build_id, source.reason), source)
        return list(found.values())

    def image(self, tid: int | None = None) -> Image:
        """The memory of a thread's process at the end of the recording, as far as it is known.

        Sections of an image given to ``open`` lie over what was recorded, its callback is asked for the
        rest.
        """
        image = self.new_image()
        if self.kind == "perf.data":
            thread = self.thread(tid)
            self.fill(image, self.mappings(thread.pid))
        return self.with_user_image(image)

    def new_image(self, uses: Callable[[CodeSource], bool] | None = None) -> Image:
        """The image with which a process begins: empty but for the copy of the kernel's memory, if any.

        ``uses`` says whether bytes of a file are wanted.
        """
        kcore = self.binaries.kcore
        source = None if kcore is None else CodeSource(os.fspath(kcore), 0, 0, 0, self.binaries.kcore_chosen)
        if source is not None and uses is not None and not uses(source):
            from odograph.code.image import Image

            return Image()
        if self._kernel is None:
            from odograph.code.elfimage import add_elf
            from odograph.code.image import Image

            self._kernel = Image()
            try:
                if kcore is not None:
                    add_elf(self._kernel, os.fspath(kcore), recorded=not self.binaries.kcore_chosen)
            except OdographError as error:
                self.noted.add(None, f"the copy of the kernel's memory is damaged: {error}")
        return self._kernel.snapshot()

    def with_user_image(self, image: Image) -> Image:
        """``image`` under the sections of an image given to ``open``, and its callback for the rest."""
        if self.user_image is None:
            return image
        image = image.snapshot()
        image.copy_from(self.user_image)
        if self.user_image.has_callback:
            image.set_callback(_Rest(self.user_image))
        return image

    def serves(self, source: CodeSource) -> bool:
        """Whether a debugger, which others on this machine can be, may see bytes of a file: of ELF objects,
        of what the user named, and of the copy of the kernel's memory. A recording can say that any file was
        mapped.
        """
        kcore = self.binaries.kcore
        is_kcore = kcore is not None and source.path == os.fspath(kcore)
        if source.chosen or (is_kcore and self.binaries.kcore_chosen):
            return True
        found = object_file(source.path)
        if found is not None and found.is_object:
            return True
        try:
            with open_recorded(source.path) as file:
                return is_kcore and self._holds(source.path, file)
        except (OSError, ValueError):
            return False

    def _holds(self, path: str, file: BinaryIO) -> bool:
        """Whether an open file lies in the directory of the recording under no other name: its bytes came
        with the recording. A link could lead to any core."""
        inside = os.path.join(os.path.realpath(self.path), os.path.relpath(path, self.path))
        return os.path.realpath(path) == inside and os.fstat(file.fileno()).st_nlink == 1

    def fill(
        self,
        image: _Sections,
        mappings: Iterable[Mapping],
        *,
        uses: Callable[[CodeSource], bool] | None = None,
    ) -> list[Missing]:
        """Put mappings into an image in this order; returns those whose bytes are not known.

        ``uses`` says of which files bytes are wanted, by default of all.
        """
        missing = []
        for mapping in mappings:
            if mapping.code is not None:
                image.add_bytes(mapping.code, mapping.address, name=mapping.filename or None)
                continue
            source = self.resolve(mapping)
            if isinstance(source, Missing):
                missing.append(source)
            elif uses is None or uses(source):
                place = (source.path, source.offset, source.size, source.address)
                image.add_file(*place, recorded=not source.chosen)
        return missing

    @property
    def code(self) -> list[Code]:
        """Executed bytes kept with the recording, in order of time; empty in recordings by others."""
        return [] if self.executed is None else self.executed.code

    @property
    def unwritten(self) -> dict[int, str]:
        """Threads whose recorder had no room left for all they executed, and what it says of each."""
        gaps = [] if self.executed is None else self.executed.gaps
        return {
            gap["tid"]: str(gap.get("message", ""))
            for gap in gaps
            if gap.get("cause") == "lost" and isinstance(gap.get("tid"), int)
        }

    def modules(self, pid: int) -> list[dict[str, Any]]:
        """The files mapped into a process, one entry each, with where their bytes were found.

        The kernel's are listed under the pid -1, not with each process.
        """
        files: dict[tuple[str, bytes | None], Mapping] = {}
        for _, changes in self.memories[pid].timeline(whole=False) if pid in self.memories else ():
            for change in changes:
                mapping = change.mapping
                if change.inherited is not None:
                    files = change.inherited.files | files
                elif change.kind == "add" and mapping is not None and mapping.code is None:
                    files.setdefault((mapping.filename, mapping.build_id), mapping)
        result = []
        for mapping in files.values():
            source = self.resolve(mapping)
            entry: dict[str, Any] = {
                "name": mapping.filename,
                "address": mapping.address,
                "size": mapping.length,
                "offset": mapping.pgoff,
                "build_id": mapping.build_id.hex() if mapping.build_id else None,
                "kernel": mapping.kernel,
                "path": source.path if isinstance(source, CodeSource) else None,
            }
            if isinstance(source, Missing) and not (mapping.filename[:1] == "[" and self._keeps_all_code):
                entry["missing"] = source.reason
                entry["hint"] = source.hint
            result.append(entry)
        return result

    @property
    def _keeps_all_code(self) -> bool:
        """The recorder kept every executed byte: mappings that are no files need nothing from elsewhere."""
        executed = self.executed
        return (
            executed is not None
            and executed.recorder in ("qemu", "ptrace")
            and bool(executed.code)
            and not self.unwritten
        )

    def only_inherited(self, pid: int) -> Inherited | None:
        """What a process has of its parent, if it and the kernel never mapped another file; else None."""
        found = None
        for _, changes in self.image_timeline(pid, whole=False):
            for change in changes:
                if change.inherited is not None and found is None:
                    found = change.inherited
                elif change.inherited is not None or (change.mapping and change.mapping.code is None):
                    return None
        return found

    def mapping_at(self, pid: int, address: int) -> Mapping | None:
        """The last file that process ``pid`` had mapped at an address, kernel included; None if none was."""
        for _, changes in reversed(self.image_timeline(pid, whole=False)):
            for change in reversed(changes):
                mapping = change.mapping
                if change.inherited is not None:
                    mapping = change.inherited.at(address)
                elif change.kind != "add" or mapping is None or mapping.code is not None:
                    continue
                if mapping is not None and mapping.address <= address < mapping.end:
                    return mapping
        return None

    def info(self) -> dict[str, Any]:
        """Everything about the recording that needs no decoding, ready for JSON."""
        executed = self.executed
        return {
            "path": self.path,
            "kind": self.kind,
            **self.facts,
            "parameters": {
                "mtc_freq": self.pt.mtc_freq,
                "nom_freq": self.pt.nom_freq,
                "cpuid_0x15_eax": self.pt.cpuid_0x15_eax,
                "cpuid_0x15_ebx": self.pt.cpuid_0x15_ebx,
                "cpu": list(self.pt.cpu) if self.pt.cpu else None,
                "return_compression": not self.pt.no_retcomp,
                "per_cpu": self.pt.per_cpu,
                "snapshot": self.pt.snapshot,
                "timed": self.pt.timed,
                "filters": [[f.kind, f.first, f.last, f.file] for f in self.pt.filters],
            },
            "threads": [
                {
                    "tid": thread.tid,
                    "pid": thread.pid,
                    "comm": thread.comm,
                    "start": thread.start,
                    "end": thread.end,
                }
                for thread in self.threads
            ],
            "modules": {
                pid: self.modules(pid)
                for pid in dict.fromkeys([*(thread.pid for thread in self.threads), KERNEL_PID])
                if pid in self.memories
            },
            "streams": [
                {
                    "idx": stream.idx,
                    "cpu": stream.cpu,
                    "tid": stream.tid,
                    "bytes": stream.size,
                    "breaks": [[b.offset, b.reason] for b in stream.breaks],
                }
                for stream in self.streams
            ],
            "bytes": sum(stream.size for stream in self.streams),
            "lost_records": self.lost_records,
            "recorder": executed.recorder if executed else None,
            "exit_status": executed.exit_status if executed else None,
            "executed_bytes": sum(len(code.data) for code in executed.code) if executed else 0,
            "recorder_gaps": executed.gaps if executed else [],
            "problems": [
                {"offset": p.offset, "message": p.message, "is_damage": p.is_damage} for p in self.problems
            ],
        }


def _is_file(change: Change) -> bool:
    mapping = change.mapping
    return mapping is not None and change.kind == "add" and mapping.code is None and mapping.filename != VDSO


class _Rest:
    """Asks the callback of another image: what its sections hold has been copied already."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def __call__(self, address: int, size: int, asid: Asid) -> bytes:
        try:
            return self._image.read(address, size, asid)
        except ImageError as error:
            if error.code == PtError.nomap:
                return b""
            raise


def damaged(error: Exception) -> RecordingError:
    """A RecordingError for what a parser that outran its bytes raised."""
    if isinstance(error, struct.error):
        return RecordingError(f"the recording is damaged: {error}")
    return RecordingError(str(error))
