"""Stacks of the threads in an ELF core of Linux."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from odograph.code.binaries import Binaries, Missing
from odograph.code.evidence import written_at
from odograph.code.image import Image
from odograph.code.mappings import Mapping
from odograph.code.memory import CoreMemory, LayeredMemory, Memory, ask
from odograph.code.objects import mapped_build_id, object_of_bytes, read_object
from odograph.code.vdso import NAME as VDSO
from odograph.errors import ImageError, OdographError, PtError
from odograph.symbols import Module, Symbols
from odograph.symbols.modules import MemoryModule
from odograph.unwind.notes import FileMapping, read_notes
from odograph.unwind.target import Target, Thread

__all__ = ["open_core"]

_VDSO_LIMIT = 1 << 17
#: The header of an ELF file is in memory as it is in the file.
_HEADER = 64


def open_core(
    path: str | os.PathLike[str],
    *,
    sysroot: Iterable[str | os.PathLike[str]] | str | os.PathLike[str] = (),
    buildid_dirs: Iterable[str | os.PathLike[str]] | str | os.PathLike[str] = (),
    program: str | os.PathLike[str] | None = None,
) -> Target:
    """The process of a core of a 64-bit x86-64 or AArch64 program.

    What the core leaves out is read from the mapped files: looked for in ``sysroot``, in build id
    directories, and where they were. A file whose build id is another one is not used, and named in
    ``missing``. ``program`` is the program's file, for cores that do not tell what was mapped, as QEMU's
    do not.

    :raises ImageError: ``bad_file``: the core cannot be read; ``bad_image``: it is no such core, or the
        program is no ELF file.
    """
    notes = read_notes(path)
    core = CoreMemory(path)
    binaries = Binaries(sysroot, buildid_dirs)
    headers = {file.name: ask(core, file.start, _HEADER) for file in notes.files if file.offset == 0}
    headers = {name: header for name, header in headers.items() if header.startswith(b"\x7fELF")}
    binaries.evidence.finished = written_at(path)
    binaries.evidence.bytes_of = lambda name: [(0, headers.get(name, b""))]
    modules, missing = _modules(core, notes.files, binaries)
    if program is not None and not notes.files and notes.entry is not None:
        modules += _program(os.fspath(program), notes.entry)
    files, unread = memory_of_files(modules)
    missing += unread
    if notes.vdso is not None:
        image = whole_vdso(core, notes.vdso)
        if image:
            modules.append(MemoryModule(VDSO, notes.vdso, notes.vdso + len(image), image=image))
    threads = [Thread(tid, registers, notes.command, signal) for tid, signal, registers in notes.threads]
    memory = LayeredMemory(core, files)
    pid = threads[0].tid if threads else None
    return Target(notes.machine, memory, Symbols(modules), threads, pid, tuple(dict.fromkeys(missing)))


def _program(path: str, entry: int) -> list[Module]:
    """The parts of a program whose first instruction is at ``entry``."""
    try:
        found = read_object(path, chosen=True)
    except (OSError, ValueError) as error:
        message = f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
        raise ImageError(message, code=PtError.bad_file) from error
    except ImageError:
        found = None
    if found is None or not found.loads:
        raise ImageError(
            f"{path} is not an ELF program; give the program that made the core", code=PtError.bad_image
        )
    bias = entry - found.entry
    modules = []
    for segment in found.loads:
        skipped = segment.offset % 4096
        start = segment.address + bias - skipped
        end = start + skipped + segment.memory_size
        if 0 <= start < end <= 1 << 64:
            modules.append(Module(os.path.basename(path), start, end, segment.offset - skipped, path))
    return modules


def memory_of_files(modules: Iterable[Module]) -> tuple[Memory, list[str]]:
    """What the files of modules hold, where they are mapped; and why some of them cannot be read."""
    files = Image()
    unread = []
    for module in modules:
        if module.path is not None:
            try:
                size = module.end - module.address
                files.add_file(module.path, module.offset, size, module.address, recorded=True)
            except OdographError as error:
                unread.append(str(error))
    return files.address_space(), unread


def _modules(core: Memory, files: list[FileMapping], binaries: Binaries) -> tuple[list[Module], list[str]]:
    modules: list[Module] = []
    missing: list[str] = []
    read: Callable[[int, int], bytes] = lambda address, size: ask(core, address, size)  # noqa: E731
    identity: dict[str, bytes | None] = {}
    for start, end, offset, name in files:
        if offset == 0:
            identity[name] = mapped_build_id(read, start)
        # Where the core leaves out the file's beginning, nothing tells whether the file is another one now.
        mapping = Mapping(start, end - start, offset, name, identity.get(name))
        found = binaries.find(mapping)
        if isinstance(found, Missing):
            missing.append(f"{found.reason}; {found.hint}")
        where = None if isinstance(found, Missing) else found.path
        modules.append(Module(os.path.basename(name) or name, start, end, offset, where))
    return modules, missing


def whole_vdso(memory: Memory, address: int) -> bytes:
    """The bytes of the vdso, which lies in memory as its file would; empty if it is not there."""
    found = object_of_bytes(ask(memory, address, 4096))
    if found is None or not found.headers:
        return b""
    ends = [one.offset + one.file_size for one in found.headers]
    end = min(max(*ends, found.sections_end), _VDSO_LIMIT)
    pieces = []
    for at in range(0, end, 4096):
        piece = ask(memory, address + at, min(4096, end - at)) if address + at < 1 << 64 else b""
        pieces.append(piece)
        if len(piece) < 4096:
            break
    return b"".join(pieces)
