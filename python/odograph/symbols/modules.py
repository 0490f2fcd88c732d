"""The mapped files of a process."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from odograph.code.binaries import CodeSource, Missing
from odograph.code.objects import PF_X, ObjectFile, Segment, object_file, object_of_bytes
from odograph.symbols.table import FunctionTable, table_of_bytes, table_of_file
from odograph.text.reprs import hex_repr

if TYPE_CHECKING:
    from odograph.code.mappings import Mapping

__all__ = ["MemoryModule", "Module", "module_of"]

_TOP = 1 << 64
_PAGE = 4096


def _page(offset: int) -> int:
    return offset - offset % _PAGE


@hex_repr("address", "end", "offset")
@dataclass(frozen=True)
class Module:
    """A mapped part of a file.

    ``path`` is where the file is found on this machine, None if it is not; ``address`` to ``end`` (not
    included) where it lies in memory; ``offset`` where the part begins in the file.
    """

    name: str
    address: int
    end: int
    offset: int = 0
    path: str | None = None

    @property
    def file(self) -> ObjectFile | None:
        """What the headers of the file say; None if it is not at hand or no ELF file."""
        return None if self.path is None else _file(self.path)

    @cached_property
    def bias(self) -> int:
        """What loading added to the addresses of the file. Of files that are not ELF: to file offsets."""
        file = self.file
        here = [
            segment
            for segment in (() if file is None else file.loads)
            if _page(segment.offset) <= self.offset < segment.offset + segment.file_size
        ]
        # The page of a file in which one segment ends and the next begins is mapped for both.
        for segment in sorted(here, key=self._likeness, reverse=True):
            return self.address - (segment.address + self.offset - segment.offset)
        return self.address - self.offset

    def _likeness(self, segment: Segment) -> tuple[bool, bool, bool]:
        """How much this looks like the mapping of a segment."""
        first = _page(segment.offset)
        whole = _page(segment.offset + segment.file_size + _PAGE - 1) - first
        return first == self.offset, whole == self.end - self.address, bool(segment.flags & PF_X)

    @cached_property
    def table(self) -> FunctionTable:
        """The functions of the file; read when first asked for."""
        return table_of_bytes(b"") if self.path is None else table_of_file(self.path)

    def inside(self, address: int) -> int:
        """An address as the file has it."""
        return (address - self.bias) % _TOP

    def loaded(self, address: int) -> int:
        """Where an address of the file lies in memory."""
        return (address + self.bias) % _TOP


@hex_repr("address", "end", "offset")
@dataclass(frozen=True)
class MemoryModule(Module):
    """An ELF file that lies in memory as a whole and is no file, such as the vdso; ``image`` is its bytes."""

    image: bytes = field(default=b"", repr=False)

    @property
    def file(self) -> ObjectFile | None:
        """What its headers say; None if it is no ELF file."""
        return object_of_bytes(self.image)

    @cached_property
    def bias(self) -> int:
        """What loading added to the addresses of the file."""
        file = self.file
        for segment in () if file is None else file.loads:
            return self.address - (segment.address - segment.offset)
        return self.address

    @cached_property
    def table(self) -> FunctionTable:
        """The functions of the file; read when first asked for."""
        return table_of_bytes(self.image)


def module_of(mapping: Mapping, source: CodeSource | Missing) -> Module:
    """What a mapping of a recording is. ``source`` says where its file is found on this machine."""
    return Module(
        name=os.path.basename(mapping.filename) or "[anonymous]",
        address=mapping.address,
        end=min(mapping.end, _TOP),
        offset=mapping.pgoff,
        path=source.path if isinstance(source, CodeSource) else None,
    )


def _file(path: str) -> ObjectFile | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return _read(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _read(path: str, _size: int, _mtime: int) -> ObjectFile | None:
    return object_file(path)
