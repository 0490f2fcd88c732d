"""The files that a process had mapped, as a dynamic linker knows them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from odograph.code.binaries import CodeSource
from odograph.code.objects import (
    ET_EXEC,
    MACHINE_X86_64,
    PF_W,
    PT_DYNAMIC,
    PT_LOAD,
    PT_PHDR,
    ObjectFile,
    Segment,
    object_file,
)
from odograph.files.plainfile import open_recorded
from odograph.symbols import Module
from odograph.text.printable import printable
from odograph.text.reprs import hex_repr

if TYPE_CHECKING:
    from odograph.recording.recording import Recording
    from odograph.recording.recordingfile import RecordingFile

__all__ = ["LoadedFile", "Program", "open_object", "programs"]

_TOP = 1 << 64


def open_object(path: str) -> BinaryIO:
    """Opens a program or a library that a recording named; OSError or ValueError for other files."""
    found = object_file(path)
    if found is None or not found.is_object:
        raise OSError(f"{path} is not an ELF object")
    return open_recorded(path)


@hex_repr("address", "size", "offset")
class ReadOnly(NamedTuple):
    """A part of memory that holds bytes of a file: ``size`` bytes from ``offset`` on lie at ``address``."""

    address: int
    size: int
    offset: int


@hex_repr("bias", "address")
@dataclass(frozen=True)
class LoadedFile:
    """A file in memory: ``name`` as it was recorded, ``path`` where it is found here (None: nowhere).

    ``bias`` is what loading added to the addresses of the file; ``address`` where the first part of it lies
    that was recorded.
    """

    name: str
    path: str | None
    bias: int
    address: int

    @property
    def shown_name(self) -> str:
        """Its name as debuggers are told it: they print it, and XML has no control characters."""
        return printable(self.name)

    @cached_property
    def object(self) -> ObjectFile | None:
        """What the headers of the file say; None if it is not at hand or no ELF file."""
        return None if self.path is None else object_file(self.path)

    @property
    def headers(self) -> list[Segment]:
        """Its program headers; none if it is not at hand or no ELF file."""
        return [] if self.object is None else self.object.headers

    @cached_property
    def dynamic(self) -> int | None:
        """Where its dynamic section lies in memory."""
        return next((self._moved(one.address) for one in self.headers if one.kind == PT_DYNAMIC), None)

    @cached_property
    def interpreter(self) -> str | None:
        """The dynamic linker that it asks for."""
        return None if self.object is None else self.object.interpreter

    @cached_property
    def read_only(self) -> list[ReadOnly]:
        """Its segments that are not writable, so that memory holds what the file does."""
        return [
            ReadOnly(self._moved(one.address), one.file_size, one.offset)
            for one in self.headers
            if one.kind == PT_LOAD and not one.flags & PF_W
        ]

    @cached_property
    def header(self) -> tuple[int, int, int, int, int] | None:
        """(file type, entry in memory, program headers in memory, size of one, number); None if not ELF64."""
        found = self.object
        if found is None or (found.bits, found.machine) != (64, MACHINE_X86_64):
            return None
        offset, size, number = found.program_table
        where = next((one.address for one in self.headers if one.kind == PT_PHDR), None)
        if where is None:
            where = next(
                (
                    one.address + offset - one.offset
                    for one in self.headers
                    if one.kind == PT_LOAD and one.offset <= offset < one.offset + one.file_size
                ),
                None,
            )
        if where is None:
            return None
        return found.kind, self._moved(found.entry), self._moved(where), size, number

    def _moved(self, address: int) -> int:
        return (address + self.bias) % _TOP


@dataclass(frozen=True)
class Program:
    """What a process ran from ``tsc`` on: its files in the order they appeared."""

    tsc: int
    files: list[LoadedFile]
    comm: str = ""

    @cached_property
    def main(self) -> LoadedFile | None:
        """The program itself among its files; None if none is known."""
        named = [file for file in self.files if self.comm and os.path.basename(file.name)[:15] == self.comm]
        static = [file for file in self.files if file.header is not None and file.header[0] == ET_EXEC]
        asking = [file for file in self.files if file.interpreter is not None]
        # The C library can be executed too, and then asks for an interpreter.
        asking = [file for file in asking if ".so" not in os.path.basename(file.name)] or asking
        return next(iter([*named, *static, *asking, *self.files]), None)

    @cached_property
    def linker(self) -> LoadedFile | None:
        """The dynamic linker among its files."""
        wanted = self.main.interpreter if self.main is not None else None
        if wanted is None:
            return None
        name = os.path.basename(wanted)
        return next((file for file in self.files if os.path.basename(file.name) == name), None)

    def path_of(self, name: str) -> str | None:
        """Where a file is found on this machine, by its name (recorded or shown) or as the program calls its
        linker."""
        asked = self.main.interpreter if self.main is not None else None
        if name == asked and self.linker is not None:
            return self.linker.path
        known = (file.path for file in self.files if name in (file.name, file.shown_name))
        return next((path for path in known if path is not None), None)

    @cached_property
    def libraries(self) -> list[LoadedFile]:
        """All files but the program itself that have a dynamic section."""
        return [file for file in self.files if file is not self.main and file.dynamic is not None]


def programs(recording: Recording, tid: int) -> list[Program]:
    """The programs that a thread's process ran, one after the other; there is always one."""
    thread = recording.source.thread(tid)
    if recording.kind == "raw":
        return [Program(0, _of_image(recording))]
    found: list[tuple[int, dict[tuple[str, int | None], LoadedFile]]] = [(0, {})]
    for tsc, changes in recording.source.image_timeline(thread.pid):
        for change in changes:
            mapping = change.mapping
            if change.kind == "clear" and found[-1][1]:
                found.append((tsc or 0, {}))
            if change.kind != "add" or mapping is None or mapping.code is not None or mapping.kernel:
                continue
            if not mapping.filename.startswith("/") or mapping.filename.startswith("//"):
                continue
            file = _file(recording.source, mapping)
            # A library that was loaded at several addresses lies at each of them. Of a file that is not at
            # hand no part says where the others lie: the last one counts.
            known = found[-1][1].get(key := (file.name, None if file.path is None else file.bias))
            if known is None or known.bias != file.bias:
                found[-1][1][key] = file
    last = len(found) - 1
    return [
        Program(tsc, list(files.values()), thread.comm if number == last else "")
        for number, (tsc, files) in enumerate(found)
    ]


def _file(source: RecordingFile, mapping: object) -> LoadedFile:
    from odograph.code.mappings import Mapping

    assert isinstance(mapping, Mapping)
    place = source.resolve(mapping)
    path = place.path if isinstance(place, CodeSource) else None
    name = mapping.filename.removesuffix(" (deleted)")
    module = Module(name, mapping.address, min(mapping.end, _TOP), mapping.pgoff, path)
    return LoadedFile(name, path, module.bias % _TOP, mapping.address)


def _of_image(recording: Recording) -> list[LoadedFile]:
    """The ELF files that a user said lie in memory."""
    image = recording.source.user_image
    files: dict[str, LoadedFile] = {}
    for section in () if image is None else image.sections:
        name = section.filename
        if name is None or not os.path.isfile(name) or object_file(name) is None:
            continue
        module = Module(name, section.vaddr, section.vaddr + section.size, section.offset, name)
        absolute = os.path.abspath(name)
        files.setdefault(absolute, LoadedFile(absolute, absolute, module.bias % _TOP, section.vaddr))
    return list(files.values())
