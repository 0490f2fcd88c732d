"""The notes of an ELF core of Linux: threads and their registers, mapped files, where the vdso is."""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from odograph.code.objects import object_file
from odograph.errors import ImageError, PtError
from odograph.text.reprs import hex_repr

__all__ = ["MACHINES", "CoreNotes", "FileMapping", "ThreadNote", "read_notes", "registers_of"]

_NT_PRSTATUS, _NT_PRPSINFO, _NT_AUXV, _NT_FILE = 1, 3, 6, 0x46494C45
_AT_ENTRY, _AT_SYSINFO_EHDR = 9, 33

#: The order of ``struct user_regs_struct`` in the kernel's ptrace interface; None = of no use here.
REGISTERS: dict[str, tuple[str | None, ...]] = {
    "x86-64": (
        *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx"),
        *("rdx", "rsi", "rdi", None, "rip", None, None, "rsp"),
    ),
    "aarch64": (*(f"x{number}" for number in range(31)), "sp", "pc"),
}
#: Machines by ``e_machine``.
MACHINES = {62: "x86-64", 183: "aarch64"}
#: Where the registers begin in ``struct elf_prstatus``.
_REGISTERS_AT = 112


@hex_repr("registers")
class ThreadNote(NamedTuple):
    """NT_PRSTATUS: a thread, the signal it got, its registers."""

    tid: int
    signal: int
    registers: dict[str, int]


@hex_repr("start", "end", "offset")
class FileMapping(NamedTuple):
    """A row of NT_FILE: where which part of a file was mapped."""

    start: int
    end: int
    offset: int
    name: str


class CoreNotes(NamedTuple):
    """What the notes of a core say: where the vdso begins, and the program's first instruction lies, too.

    None = not said.
    """

    machine: str
    threads: list[ThreadNote]
    files: list[FileMapping]
    vdso: int | None = None
    entry: int | None = None
    command: str | None = None


def registers_of(machine: str, words: tuple[int, ...]) -> dict[str, int]:
    """Registers by name, from the kernel's order; words that are missing are not known."""
    return {name: word for name, word in zip(REGISTERS[machine], words, strict=False) if name is not None}


def read_notes(path: str | os.PathLike[str]) -> CoreNotes:
    """The notes of a 64-bit little-endian core of x86-64 or AArch64. Damaged notes are left out.

    :raises ImageError: ``bad_file``: the file cannot be read; ``bad_image``: it is no such core.
    """
    name = os.fspath(path)
    found = object_file(path, chosen=True)
    is_known = found is not None and found.bits == 64 and found.is_little
    machine = MACHINES.get(found.machine) if found is not None and is_known else None
    if machine is None or found is None:
        if not os.access(path, os.R_OK):
            raise ImageError(f"cannot read {name}", code=PtError.bad_file)
        raise ImageError(
            f"{name}: not a core of a 64-bit x86-64 or AArch64 program; only those are read",
            code=PtError.bad_image,
        )
    notes = CoreNotes(machine, [], [])
    for number, data in found.notes():
        notes = _taken(notes, number, data)
    return notes


def _taken(notes: CoreNotes, number: int, data: bytes) -> CoreNotes:
    if number == _NT_PRSTATUS:
        wanted = len(REGISTERS[notes.machine])
        if len(data) >= _REGISTERS_AT + 8 * wanted:
            signal, tid = struct.unpack_from("<12xh18xi", data)
            words = struct.unpack_from(f"<{wanted}Q", data, _REGISTERS_AT)
            notes.threads.append(ThreadNote(tid, signal, registers_of(notes.machine, words)))
    elif number == _NT_PRPSINFO and len(data) >= 56:
        return notes._replace(command=data[40:56].split(b"\0")[0].decode(errors="replace") or None)
    elif number == _NT_AUXV:
        vector = dict(struct.iter_unpack("<QQ", data[: len(data) // 16 * 16]))
        return notes._replace(vdso=vector.get(_AT_SYSINFO_EHDR) or None, entry=vector.get(_AT_ENTRY) or None)
    elif number == _NT_FILE and len(data) >= 16:
        count, page = struct.unpack_from("<QQ", data)
        count = min(count, (len(data) - 16) // 24)
        names = data[16 + 24 * count :].split(b"\0")
        rows = struct.iter_unpack("<QQQ", data[16 : 16 + 24 * count])
        for (start, end, offset), name in zip(rows, names, strict=False):
            if start < end:
                notes.files.append(FileMapping(start, end, offset * page, os.fsdecode(name)))
    return notes
