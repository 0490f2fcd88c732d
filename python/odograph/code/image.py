"""The memory image of a traced program: which bytes lay where, in which address space.

An :class:`Image` holds sections of files and bytes, and may have a callback for the memory that no
section holds. A :class:`SectionCache` lets many images and threads share file sections. What the bytes
mean is not the business of this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from odograph._native import Asid, RawImage, RawSectionCache
from odograph.errors import ImageError, PtError
from odograph.text.reprs import hex_repr

if TYPE_CHECKING:
    from typing import TypeAlias

    from _typeshed import ReadableBuffer

    Filename: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
    ReadMemory: TypeAlias = Callable[[int, int, Asid], ReadableBuffer]

__all__ = ["AddressSpace", "Asid", "Image", "Section", "SectionCache"]


@hex_repr("offset", "vaddr")
@dataclass(frozen=True, slots=True)
class Section:
    """A visible section of an image, or the visible part of one that was truncated or split."""

    filename: str | None
    """The file's name as it was given, or the name given to bytes."""
    offset: int
    """Where the visible part begins in the file or in the bytes."""
    size: int
    """Size of the visible part in bytes."""
    vaddr: int
    """Its first address."""
    asid: Asid
    """The address space it was added for."""
    isid: int
    """Its identifier in its section cache; 0 = not from a cache."""


def _section(fields: tuple[bytes | None, int, int, int, Asid, int]) -> Section:
    name, offset, size, vaddr, asid, isid = fields
    filename = None if name is None else os.fsdecode(name)
    return Section(filename, offset, size, vaddr, asid, isid)


class SectionCache(RawSectionCache):
    """File sections under positive identifiers (isid), shared by any number of images and threads.

    ``limit`` is the most bytes of file content to keep: 0 keeps none, None is no limit. It changes how
    often files are read, never what is read; identifiers stay valid when files are forgotten.

    Example::

        >>> cache = odograph.SectionCache()
        >>> isid = cache.add_file("/bin/sh", 0, 4096, 0x400000)
        >>> cache.read(isid, 0x400000, 4)
        b'\\x7fELF'
    """

    @property
    def limit(self) -> int | None:
        """The most bytes of file content to keep; 0 = keep none, None = no limit. Setting it prunes at once.

        :raises InvalidArgument: a negative limit or one beyond 2**64 - 1.
        """
        return self._limit()

    @limit.setter
    def limit(self, limit: int | None) -> None:
        self._set_limit(limit)

    @property
    def kept(self) -> int:
        """Bytes of file content that are kept now."""
        return self._kept()

    def add_file(
        self, filename: Filename, offset: int, size: int, vaddr: int, *, recorded: bool = False
    ) -> int:
        """Add a section of a file and return its isid, which is positive.

        The same section again (name as given, offset, size after it was cut to the end of the file, vaddr)
        gives the same isid; at another vaddr it gets a new one and shares the file. A file that has changed
        on disk since it was added is another file. ``recorded`` as for :meth:`Image.add_file`.

        :raises InvalidArgument: ``offset`` is at or past the end of the file, or the section would end
            beyond 2**64.
        :raises ImageError: ``bad_file``: the file is missing, unreadable or not a regular file;
            ``nomem``: there are 65528 sections already.
        """
        return self._add_file(os.fsencode(filename), offset, size, vaddr, recorded)

    def read(self, isid: int, address: int, size: int) -> bytes:
        """Bytes of section ``isid``; short at the end of the section.

        :raises InvalidArgument: ``size`` is 0.
        :raises ImageError: ``bad_image``: there is no such section, or its file is no longer what it was;
            ``nomap``: ``address`` does not lie in it.
        """
        return self._read(isid, address, size)

    def section(self, isid: int) -> Section:
        """What section ``isid`` is.

        :raises ImageError: ``bad_image``: there is no such section.
        """
        return _section(self._section(isid))

    def __repr__(self) -> str:
        return f"<SectionCache {self.name or 'without name'}, limit {self.limit}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SectionCache cannot be pickled or copied; share it")


class Image(RawImage):
    """The memory image of a traced program: sections by address space, and a callback for the rest.

    Images are values: :meth:`snapshot` is cheap, and a decoder that took a snapshot does not see later
    changes. An image may be used by several threads, and from inside its own callback.

    Where an ``asid`` may be given, None stands for ``Asid()``, which matches every address space. Numbers
    that are negative or beyond 2**64 - 1 raise ``InvalidArgument``.

    Example::

        >>> image = odograph.Image("loop")
        >>> image.add_bytes(bytes.fromhex("ff c8 75 fc c3"), 0x401000)
        >>> image.read(0x401002, 2).hex()
        '75fc'
    """

    @property
    def sections(self) -> list[Section]:
        """The visible sections in the order they were added; the parts of a split one by address."""
        return [_section(fields) for fields in self._sections()]

    def add_file(
        self,
        filename: Filename,
        offset: int,
        size: int,
        vaddr: int,
        asid: Asid | None = None,
        *,
        recorded: bool = False,
    ) -> None:
        """Add ``size`` bytes from ``offset`` of a file at address ``vaddr``.

        The size is silently cut at the end of the file; 0 adds an empty section. Older sections that
        overlap the new one and whose asid matches are truncated or split. The file is not read now but
        piece by piece when bytes are needed; if its size or modification time is another one then,
        reading is ``bad_image``. ``recorded``: a recording chose the name, so that files of the kernel
        (procfs, sysfs, devtmpfs and their like) are refused as well.

        :raises InvalidArgument: ``offset`` is at or past the end of the file, or the section would end
            beyond 2**64.
        :raises ImageError: ``bad_file``: the file is missing, unreadable, not a regular file, or refused.
        """
        self._add_file(os.fsencode(filename), offset, size, vaddr, asid, recorded)

    def add_cached(self, cache: SectionCache, isid: int, asid: Asid | None = None) -> None:
        """Add section ``isid`` of a cache, at the address the cache has for it.

        :raises ImageError: ``bad_image``: the cache has no such section.
        """
        self._add_cached(cache, isid, asid)

    def add_bytes(
        self, data: ReadableBuffer, vaddr: int, asid: Asid | None = None, name: Filename | None = None
    ) -> None:
        """Add a copy of ``data`` at address ``vaddr``; ``name`` serves where a file has its file name.

        :raises InvalidArgument: the section would end beyond 2**64.
        """
        self._add_bytes(data, vaddr, asid, None if name is None else os.fsencode(name))

    def copy_from(self, source: Image) -> int:
        """Add what is visible of the sections of ``source``, in the order they were added there.

        Name and callback are not copied. Copying an image to itself changes nothing.

        :returns: the number of sections that could not be added. Sections are shared and not opened
            again, so this is always 0.
        """
        return self._copy_from(source)

    def remove_by_filename(self, filename: Filename, asid: Asid | None = None) -> int:
        """Remove the sections with this name, compared as given, whose asid matches.

        :returns: the number removed; the parts of a split section count separately.
        """
        return self._remove_by_filename(os.fsencode(filename), asid)

    def remove_by_asid(self, asid: Asid | None = None) -> int:
        """Remove the sections whose asid matches.

        :returns: the number removed; the parts of a split section count separately.
        """
        return self._remove_by_asid(asid)

    def invalidate(self, address: int, size: int, asid: Asid | None = None) -> None:
        """Say that the memory behind the callback has changed in ``size`` bytes from ``address``.

        :raises InvalidArgument: the range would end beyond 2**64.
        """
        self._invalidate(address, size, asid)

    def set_callback(self, read_memory: ReadMemory | None) -> None:
        """Set the function that is asked for memory no section holds; None removes it.

        ``read_memory(address, size, asid)`` returns at most ``size`` bytes from ``address``; it is asked for
        at most the rest of the 4 KiB page and never into a section. A short answer is used, an empty one
        is ``nomap``; one that is too long raises ``InvalidArgument``, one that is no buffer ``TypeError``. An
        exception raised inside comes out of the operation that needed the bytes, as the same object.
        """
        if read_memory is not None and not callable(read_memory):
            raise TypeError(f"read_memory must be callable or None, not {type(read_memory).__name__}")
        self._set_callback(read_memory, False)

    @property
    def has_callback(self) -> bool:
        """There is a function that is asked for memory no section holds."""
        return self._has_callback()

    def read(self, address: int, size: int, asid: Asid | None = None) -> bytes:
        """Bytes from ``address``: short at the end of the section it begins in.

        :raises ImageError: ``nomap``: nothing is there; ``bad_image``: the section's file is no longer
            what it was when it was added.
        """
        data = self._read(address, size, asid)
        if data is None:
            raise ImageError(
                "no memory mapped at this address",
                code=PtError.nomap,
                ip=address,
                asid=Asid() if asid is None else asid,
            )
        return data

    def address_space(self, asid: Asid | None = None) -> AddressSpace:
        """What ``asid`` sees of this image, as a ``Memory``. It follows later changes of the image."""
        return AddressSpace(self, Asid() if asid is None else asid)

    def snapshot(self) -> Image:
        """A cheap copy with the same name, sections and callback that later changes do not reach."""
        copy = Image(self.name)
        copy._assign(self)
        return copy

    def __copy__(self) -> Image:
        return self.snapshot()

    def __deepcopy__(self, memo: object) -> Image:
        return self.snapshot()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Image cannot be pickled; make it again from its files where it is needed")

    def __repr__(self) -> str:
        count = len(self._sections())
        return f"<Image {self.name or 'without name'}, {count} section{'' if count == 1 else 's'}>"


@dataclass(frozen=True, slots=True)
class AddressSpace:
    """One address space of an image, as a ``Memory``."""

    image: Image
    asid: Asid

    def read(self, address: int, size: int) -> bytes:
        """Bytes from ``address``: short at the end of a section, empty where nothing is mapped.

        :raises ImageError: ``bad_image``: the section's file is no longer what it was.
        """
        return self.image._read(address, size, self.asid) or b""

    def next_start(self, address: int) -> int | None:
        """Where the next section at or behind ``address`` begins, or the next page if there is a callback."""
        return self.image._next_start(address, self.asid)
