"""``pt_iscache_*``: the image section cache with libipt's argument order and return values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from odograph.code.image import SectionCache
from odograph.compat.libipt.errors import pte_invalid, returns_status

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from odograph.code.image import Filename

_MOST_READ: Final = 0xFFFF  # libipt counts the bytes of one read in 16 bits


class pt_image_section_cache:
    """An opaque handle; ``cache`` is the ``odograph.SectionCache``, None after ``pt_iscache_free``."""

    __slots__ = ("__weakref__", "cache")

    def __init__(self, cache: SectionCache) -> None:
        self.cache: SectionCache | None = cache


def pt_iscache_alloc(name: str | None = None) -> pt_image_section_cache:
    """A new, empty cache."""
    return pt_image_section_cache(SectionCache(name))


def pt_iscache_free(iscache: pt_image_section_cache | None) -> None:
    """Give the cache up. Images keep the sections they have from it."""
    if iscache is not None:
        iscache.cache = None


def cache_of(iscache: pt_image_section_cache | None) -> SectionCache | None:
    """The cache behind a handle; None for None and for one that was freed."""
    if iscache is not None and not isinstance(iscache, pt_image_section_cache):
        raise TypeError(f"iscache must be a pt_image_section_cache or None, not {type(iscache).__name__}")
    return None if iscache is None else iscache.cache


def pt_iscache_name(iscache: pt_image_section_cache | None) -> str | None:
    """The name given to the cache; None if it has none."""
    cache = cache_of(iscache)
    return None if cache is None else cache.name


@returns_status
def pt_iscache_set_limit(iscache: pt_image_section_cache | None, limit: int) -> int:
    """Keep at most ``limit`` bytes. ``-pte_invalid``: the cache is None."""
    cache = cache_of(iscache)
    if cache is None:
        return -pte_invalid
    cache.limit = limit
    return 0


@returns_status
def pt_iscache_add_file(
    iscache: pt_image_section_cache | None, filename: Filename | None, offset: int, size: int, vaddr: int
) -> int:
    """Add a section and return its isid, which is positive.

    ``-pte_invalid``: the cache or filename is None, or the section would start at or past the end of the
    file; ``-pte_bad_file``: the file is missing or unreadable; ``-pte_nomem``: the cache is full.
    """
    cache = cache_of(iscache)
    if cache is None or filename is None:
        return -pte_invalid
    return cache.add_file(filename, offset, size, vaddr)


@returns_status
def pt_iscache_read(
    iscache: pt_image_section_cache | None, buffer: WriteableBuffer | None, size: int, isid: int, vaddr: int
) -> int:
    """Fill ``buffer`` with at most ``size`` bytes of section ``isid`` at ``vaddr``; return their number.

    ``-pte_invalid``: the cache or buffer is None, the size is 0 or beyond the buffer; ``-pte_bad_image``:
    there is no such section, or its file has changed; ``-pte_nomap``: ``vaddr`` is not in it.
    """
    cache = cache_of(iscache)
    if cache is None or buffer is None or size <= 0:
        return -pte_invalid
    with memoryview(buffer) as view, view.cast("B") as room:
        if room.readonly:
            raise TypeError("the buffer must be writable")
        if size > len(room):
            return -pte_invalid
        data = cache.read(isid, vaddr, min(size, _MOST_READ))
        room[: len(data)] = data
    return len(data)
