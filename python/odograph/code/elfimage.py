"""ELF files into images, segment by segment."""

from __future__ import annotations

from odograph.code.image import Image, SectionCache
from odograph.code.objects import Segment, object_file

__all__ = ["add_elf", "add_section"]


def add_elf(
    image: Image,
    filename: str,
    base: int | None = None,
    cache: SectionCache | None = None,
    *,
    recorded: bool = False,
) -> list[Segment] | None:
    """Adds the loadable segments that have bytes in the file, moved so that the lowest is at ``base``.

    ``recorded``: a recording chose the name, see :mod:`odograph.files.plainfile`.

    :returns: these segments as the file has them; empty if there are none, None if it is no ELF file.
    :raises InvalidArgument: a segment begins past the end of the file.
    """
    found = object_file(filename, chosen=not recorded)
    if found is None:
        return None
    loads = [segment for segment in found.loads if segment.file_size]
    shift = base - min(segment.address for segment in loads) if loads and base is not None else 0
    for segment in loads:
        vaddr = (segment.address + shift) % (1 << 64)
        add_section(image, filename, segment.offset, segment.file_size, vaddr, cache, recorded=recorded)
    return loads


def add_section(
    image: Image,
    filename: str,
    offset: int,
    size: int,
    vaddr: int,
    cache: SectionCache | None,
    *,
    recorded: bool = False,
) -> None:
    """Adds a part of a file, through a cache if there is one. Errors as :meth:`Image.add_file`."""
    if cache is None:
        image.add_file(filename, offset, size, vaddr, recorded=recorded)
    else:
        image.add_cached(cache, cache.add_file(filename, offset, size, vaddr, recorded=recorded))
