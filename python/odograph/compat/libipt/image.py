"""``pt_image_*``: the traced memory image with libipt's argument order and return values."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from odograph.code.image import Asid, Image
from odograph.compat.libipt.asid import from_c, pt_asid, to_c
from odograph.compat.libipt.errors import (
    FromCallback,
    UnknownStatus,
    pte_bad_cpu,
    pte_invalid,
    returns_status,
)
from odograph.compat.libipt.iscache import cache_of, pt_image_section_cache

if TYPE_CHECKING:
    from typing import TypeAlias

    from odograph.code.image import Filename

    read_memory_callback_t: TypeAlias = Callable[[memoryview, int, pt_asid, int, Any], int]


class pt_image:
    """An opaque handle; ``image`` is the ``odograph.Image``, None after ``pt_image_free``."""

    __slots__ = ("__weakref__", "image")

    def __init__(self, image: Image) -> None:
        self.image: Image | None = image


def pt_image_alloc(name: str | None = None) -> pt_image:
    """A new image without sections and callback."""
    return pt_image(Image(name))


def pt_image_free(image: pt_image | None) -> None:
    """Give the image up. Using it afterwards is like using None."""
    if image is not None:
        image.image = None


def image_of(image: pt_image | None) -> Image | None:
    """The image behind a handle; None for None and for one that was freed."""
    if image is not None and not isinstance(image, pt_image):
        raise TypeError(f"image must be a pt_image or None, not {type(image).__name__}")
    return None if image is None else image.image


def pt_image_name(image: pt_image | None) -> str | None:
    """The name given to the image; None if it has none."""
    inner = image_of(image)
    return None if inner is None else inner.name


@returns_status
def pt_image_add_file(
    image: pt_image | None,
    filename: Filename | None,
    offset: int,
    size: int,
    asid: pt_asid | None,
    vaddr: int,
) -> int:
    """Add a section of a file; its size is silently cut at the end of the file.

    ``-pte_invalid``: the image or filename is None, the section would start at or past the end of the
    file, or it would end beyond 2**64; ``-pte_bad_file``: the file is missing or unreadable.
    """
    inner = image_of(image)
    if inner is None or filename is None:
        return -pte_invalid
    inner.add_file(filename, offset, size, vaddr, from_c(asid))
    return 0


@returns_status
def pt_image_add_cached(
    image: pt_image | None, iscache: pt_image_section_cache | None, isid: int, asid: pt_asid | None
) -> int:
    """Add a section of a cache.

    ``-pte_invalid``: the image or cache is None; ``-pte_bad_image``: the cache does not contain ``isid``.
    """
    inner, cache = image_of(image), cache_of(iscache)
    if inner is None or cache is None:
        return -pte_invalid
    inner.add_cached(cache, isid, from_c(asid))
    return 0


@returns_status
def pt_image_copy(image: pt_image | None, src: pt_image | None) -> int:
    """Add the sections of ``src`` to ``image``; return the number of ignored sections.

    ``-pte_invalid``: one of the two is None.
    """
    inner, source = image_of(image), image_of(src)
    if inner is None or source is None:
        return -pte_invalid
    return inner.copy_from(source)


@returns_status
def pt_image_remove_by_filename(
    image: pt_image | None, filename: Filename | None, asid: pt_asid | None
) -> int:
    """Remove the sections of this file in matching address spaces; return the number of removed ones.

    ``-pte_invalid``: the image or filename is None.
    """
    inner = image_of(image)
    if inner is None or filename is None:
        return -pte_invalid
    return inner.remove_by_filename(filename, from_c(asid))


@returns_status
def pt_image_remove_by_asid(image: pt_image | None, asid: pt_asid | None) -> int:
    """Remove the sections in matching address spaces; return the number of removed ones.

    ``-pte_invalid``: the image is None.
    """
    inner = image_of(image)
    if inner is None:
        return -pte_invalid
    return inner.remove_by_asid(from_c(asid))


@returns_status
def pt_image_set_callback(
    image: pt_image | None, callback: read_memory_callback_t | None, context: Any
) -> int:
    """Set, replace or (None) remove the read-memory callback.

    ``callback(buffer, size, asid, ip, context)`` puts the bytes into ``buffer``, a writable memoryview of
    ``size`` bytes, and returns their number or the negative of a ``pte_*``, which the decoder call then
    returns. ``-pte_invalid``: the image is None.
    """
    inner = image_of(image)
    if inner is None:
        return -pte_invalid
    if callback is None:
        inner.set_callback(None)
        return 0
    if not callable(callback):
        raise TypeError(f"callback must be callable or None, not {type(callback).__name__}")

    def read_memory(address: int, size: int, asid: Asid) -> bytes | int:
        buffer = bytearray(size)
        with FromCallback():
            status = operator.index(callback(memoryview(buffer), size, to_c(asid), address, context))
        if status > size:
            return -pte_invalid
        if status < -pte_bad_cpu:
            raise UnknownStatus(status)
        return status if status < 0 else bytes(buffer[:status])

    inner._set_callback(read_memory, True)
    return 0
