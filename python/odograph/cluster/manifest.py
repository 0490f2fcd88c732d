"""Memory over time as it travels: what lies where, and the bytes by their digests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from odograph.errors import UnsupportedOperation
from odograph.image import Asid, Image

__all__ = ["Manifest", "Moment", "PackedSection", "pack", "unpack"]

Moment = tuple[int, Image, int]
"""(TSC from which it holds, image, number of the thread that runs)."""

#: Most bytes that travel in one message.
_PIECE = 4 << 20


@dataclass(frozen=True, slots=True)
class PackedSection:
    """A visible section of an image; ``pieces`` are the numbers of its bytes in the manifest."""

    vaddr: int
    asid: Asid
    name: str | None
    pieces: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A timeline without its bytes.

    ``moments`` are (tsc, number of the image, thread), ``images`` sections in the order they were added,
    ``digests`` those of the bytes that the sections name by number. ``digest`` is that of all of it.
    """

    moments: tuple[tuple[int, int, int], ...]
    images: tuple[tuple[PackedSection, ...], ...]
    digests: tuple[str, ...]
    digest: str


def pack(moments: Iterable[Moment]) -> tuple[Manifest, dict[str, bytes]]:
    """A manifest, and the bytes by digest.

    Raises UnsupportedOperation for an image with a callback, which only this process can call, and
    ImageError if the file of a section is not what it was.
    """
    numbers: dict[int, int] = {}
    images: list[tuple[PackedSection, ...]] = []
    contents: dict[str, bytes] = {}
    order: dict[str, int] = {}
    packed = []
    for tsc, image, owner in moments:
        if image.version not in numbers:
            if image.has_callback:
                raise UnsupportedOperation(
                    "memory behind a read_memory callback cannot be sent to other processes; give the image "
                    "sections (add_file, add_bytes), or decode without a cluster"
                )
            numbers[image.version] = len(images)
            images.append(tuple(_sections(image, contents, order)))
        packed.append((tsc, numbers[image.version], owner))
    fields = (tuple(packed), tuple(images), tuple(order))
    return Manifest(*fields, digest=_digest(repr(fields).encode())), contents


def _sections(image: Image, contents: dict[str, bytes], order: dict[str, int]) -> Iterable[PackedSection]:
    for section in image.sections:
        pieces = []
        for start in range(0, section.size, _PIECE):
            size = min(_PIECE, section.size - start)
            # No other section that this asid sees lies over a visible one.
            data = image.read((section.vaddr + start) % (1 << 64), size, section.asid)
            digest = _digest(data)
            contents.setdefault(digest, data)
            pieces.append(order.setdefault(digest, len(order)))
        yield PackedSection(section.vaddr, section.asid, section.filename, tuple(pieces))


def unpack(manifest: Manifest, contents: Callable[[str], bytes] | Mapping[str, bytes]) -> list[Moment]:
    """The timeline again; images share the sections that they have in common."""
    find = contents.__getitem__ if isinstance(contents, Mapping) else contents
    shared: dict[PackedSection, Image] = {}
    images = []
    for sections in manifest.images:
        image = Image()
        for section in sections:
            if section not in shared:
                data = b"".join(find(manifest.digests[piece]) for piece in section.pieces)
                shared[section] = Image()
                shared[section].add_bytes(data, section.vaddr, section.asid, section.name)
            image.copy_from(shared[section])
        images.append(image)
    return [(tsc, images[number], owner) for tsc, number, owner in manifest.moments]


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=20).hexdigest()
