"""The executables and libraries of a process: what they answer to an unwinder that asks."""

from __future__ import annotations

import operator
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from odograph.errors import InvalidArgument
from odograph.unwind.ia64.elf import PF_X, PT_LOAD, ElfFile, Function
from odograph.unwind.ia64.names import Answer, Key, Lookup
from odograph.unwind.ia64.table import NARROW, image_of, linked_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from odograph.code.image import Filename

__all__ = ["Module", "Modules"]

_MASK = (1 << 64) - 1


class Module:
    """An executable or library at its place in a process.

    ``text`` is the address of its text segment, from which its unwind table counts. Where nothing else is
    said that is where the file is linked to. Its contents are read from the file, never from the process.
    """

    def __init__(self, filename: Filename, text: int | None = None) -> None:
        """:param text: as the process sees it; for a 32-bit file the swizzled address or the pointer of 32
        bits.

        :raises ImageError: ``bad_file``: the file cannot be read; ``bad_image``: it is no ELF file of IA-64,
            or is damaged.
        :raises InvalidArgument: it is an object, which has no place.
        """
        self.file = ElfFile(filename)
        if self.file.is_object:
            raise InvalidArgument(f"{self.file.path}: an object that is not linked has no place in a process")
        self.table = linked_table(self.file)
        linked = self._linked_text()
        bias = 0 if text is None else operator.index(text) - linked
        if text is not None and not -(1 << 63) <= text <= _MASK:
            raise InvalidArgument(f"no address: {text:#x}")
        self._bias = bias if self.file.wide else bias & 0xFFFFFFFF
        self.text = self._loaded(linked)
        self._image = image_of(self.file, self._bias)

    @property
    def path(self) -> str:
        """The file."""
        return self.file.path

    def ranges(self) -> Iterator[tuple[int, int]]:
        """First address and end of each segment with code, as the process sees them."""
        for segment in self.file.segments:
            if segment.kind == PT_LOAD and segment.flags & PF_X and segment.memory_size:
                start = self._loaded(segment.address)
                yield start, start + segment.memory_size

    def unwind_table(self) -> list[int]:
        """What a look-up answers about its table: keys and values. Without a table there are no rows in
        it.
        """
        if self.table is None:
            flags, start, end = (0 if self.file.wide else NARROW), self.text, self.text
        else:
            flags = self.table.flags
            start, end = self._loaded(self.table.start), self._loaded(self.table.end)
        return [Key.TBASE, self.text, Key.UFLAGS, flags, Key.USTART, start, Key.UEND, end]

    def function(self, address: int) -> tuple[str, int] | None:
        """The nearest function that begins at or before an address: its name, and where it begins."""
        functions = self.file.functions
        linked = (address - self._bias) & _MASK
        if not self.file.wide:
            linked &= 0xFFFFFFFF
        found = nearest(functions, linked)
        return None if found is None else (found.name, self._loaded(found.address))

    def read(self, address: int, size: int) -> bytes | None:
        """Bytes of the file by the address at which the process has them; None if it does not have all of
        them.

        :raises ImageError: ``bad_image``: the file is not what it was.
        """
        data = self._image._read(address, size, None)
        return data if data is not None and len(data) == size else None

    def _linked_text(self) -> int:
        if self.table is not None:
            return self.table.text
        loads = [segment for segment in self.file.segments if segment.kind == PT_LOAD]
        code = [segment for segment in loads if segment.flags & PF_X] or loads
        if not code:
            raise self.file.wrong("no segment is loaded", 0)
        return code[0].address

    def _loaded(self, address: int) -> int:
        return self.file.loaded(address + self._bias)

    def __repr__(self) -> str:
        return f"<Module {self.path!r} at {self.text:#x}>"


def nearest(functions: list[Function], address: int) -> Function | None:
    """The last function that begins at or before an address; of several that begin there the first one."""
    index = bisect_right(functions, address, key=lambda function: function.address)
    if not index:
        return None
    start = functions[index - 1].address
    while index > 1 and functions[index - 2].address == start:
        index -= 1
    return functions[index - 1]


class Modules:
    """The modules of a process; all have the byte order and word size of the first one."""

    def __init__(self) -> None:
        self._modules: list[Module] = []
        self._starts: list[tuple[int, int, Module]] = []
        self._copies: list[tuple[int, int, int]] = []

    @property
    def big(self) -> bool:
        """The most significant byte comes first."""
        return bool(self._modules) and self._modules[0].file.big

    def add(self, filename: Filename, text: int | None = None) -> Module:
        """Add a file whose text segment lies at ``text``, or where it is linked to.

        :raises ImageError: ``bad_file``, ``bad_image``: the file cannot be read, is not for IA-64, or is
            damaged.
        :raises InvalidArgument: its byte order is not that of the others, its code overlaps that of another,
            or it is an object that is not linked.
        """
        module = Module(filename, text)
        if self._modules and module.file.big != self.big:
            raise InvalidArgument(f"{module.path}: its byte order is not that of {self._modules[0].path}")
        ranges = [(start, end, module) for start, end in module.ranges()]
        for start, end, other in self._starts:
            if any(first < end and start < last for first, last, _ in ranges):
                raise InvalidArgument(f"{module.path}: its code overlaps that of {other.path}")
        self._modules.append(module)
        self._starts = sorted([*self._starts, *ranges], key=lambda row: row[0])
        return module

    def add_copy(self, start: int, end: int, original: int) -> None:
        """Say that code from ``start`` up to ``end`` is a copy of what lies at ``original``.

        It is unwound as the original is: look-ups there answer with the address in the original.

        :raises InvalidArgument: there is no code in between, or bundles are cut.
        """
        if not 0 <= start < end <= _MASK or not 0 <= original <= _MASK or (start | end | original) & 15:
            raise InvalidArgument(f"no bundles: {start:#x} to {end:#x}, a copy of {original:#x}")
        self._copies.append((start, end, original))

    def find(self, address: int) -> Module | None:
        """The module whose code has an address; None if none has."""
        index = bisect_right(self._starts, address, key=lambda row: row[0])
        if not index:
            return None
        _, end, module = self._starts[index - 1]
        return module if address < end else None

    def read(self, address: int, size: int) -> bytes | None:
        """Bytes of unwind information, as the files have them; None if no file has all of them."""
        for module in self._modules:
            data = module.read(address, size)
            if data is not None:
                return data
        return None

    def lookup_ip(self, request: int, ip: int, uvec: list[Any]) -> Answer:
        """Answer a look-up: the callback of that name in uwx(3X), without its token.

        LOOKUP is answered by UTABLE, REMAP or NOTFOUND; SYMBOLS and MODULE by SYMINFO, or by NOTFOUND where
        no name is known.
        """
        if request == Lookup.FREE:
            return Answer.NOTFOUND
        module = self.find(ip)
        if request == Lookup.LOOKUP:
            if module is not None:
                uvec[:] = [*module.unwind_table(), Key.END]
                return Answer.UTABLE
            for start, end, original in reversed(self._copies):
                if start <= ip < end:
                    uvec[:] = [Key.NEWIP, (original + ip - start) & _MASK, Key.END]
                    return Answer.REMAP
            return Answer.NOTFOUND
        if module is None:
            return Answer.NOTFOUND
        if request == Lookup.MODULE:
            uvec[:] = [Key.MODULE, module.path, Key.TBASE, module.text, Key.END]
            return Answer.SYMINFO
        if request == Lookup.SYMBOLS:
            found = module.function(ip)
            if found is None:
                return Answer.NOTFOUND
            name, start = found
            uvec[:] = [Key.MODULE, module.path, Key.FUNC, name, Key.FUNCSTART, start, Key.END]
            return Answer.SYMINFO
        return Answer.ERR

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules)

    def __repr__(self) -> str:
        return f"<Modules: {', '.join(module.path for module in self._modules)}>"
