"""Memory over time as it travels: what lies where, and the bytes by their digests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from odograph.code.image import Asid, Image
from odograph.errors import UnsupportedOperation

__all__ = ["Manifest", "Moment", "PackedSection", "pack", "unpack"]

Moment = tuple[int, Image, int]
"""(TSC from which it holds, image, number of the thread that runs)."""

Piece = tuple[int, int, int]
"""Where bytes are: number of their bundle in the manifest, place in it, and size."""

#: Most bytes that travel in one message.
_PIECE = 4 << 20
#: Pieces of fewer bytes travel together: a message costs more than they do.
_SMALL = 1 << 18


@dataclass(frozen=True, slots=True)
class PackedSection:
    """A visible section of an image, and where its bytes are."""

    vaddr: int
    asid: Asid
    name: str | None
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A timeline without its bytes.

    ``moments`` are (tsc, number of the image, thread), ``images`` sections in the order they were added,
    ``digests`` those of the bundles of bytes that the sections name by number. ``digest`` is that of all.
    """

    moments: tuple[tuple[int, int, int], ...]
    images: tuple[tuple[PackedSection, ...], ...]
    digests: tuple[str, ...]
    digest: str


class _Bundles:
    """Bytes to send, each once.

    Small pieces lie together in bundles; large ones are bundles of their own, which recordings may share.
    """

    def __init__(self) -> None:
        self._known: dict[str, Piece] = {}
        self._bundles: list[bytearray | bytes] = []
        self._open: tuple[int, bytearray] | None = None

    def add(self, data: bytes) -> Piece:
        digest = _digest(data)
        if digest not in self._known:
            self._known[digest] = self._put(data)
        return self._known[digest]

    def _put(self, data: bytes) -> Piece:
        if len(data) >= _SMALL:
            self._bundles.append(data)
            return len(self._bundles) - 1, 0, len(data)
        if self._open is None or len(self._open[1]) + len(data) > _PIECE:
            self._open = len(self._bundles), bytearray()
            self._bundles.append(self._open[1])
        number, bundle = self._open
        start = len(bundle)
        bundle += data
        return number, start, len(data)

    def all(self) -> list[bytes]:
        """The bundles, by number."""
        return [bytes(bundle) for bundle in self._bundles]


def pack(moments: Iterable[Moment]) -> tuple[Manifest, dict[str, bytes]]:
    """A manifest, and the bytes by digest.

    Raises UnsupportedOperation for an image with a callback, which only this process can call, and
    ImageError if the file of a section is not what it was.
    """
    numbers: dict[int, int] = {}
    images: list[tuple[PackedSection, ...]] = []
    bundles = _Bundles()
    packed = []
    for tsc, image, owner in moments:
        if image.version not in numbers:
            if image.has_callback:
                raise UnsupportedOperation(
                    "memory behind a read_memory callback cannot be sent to other processes; give the image "
                    "sections (add_file, add_bytes), or decode without a cluster"
                )
            numbers[image.version] = len(images)
            images.append(tuple(_sections(image, bundles)))
        packed.append((tsc, numbers[image.version], owner))
    contents = bundles.all()
    digests = tuple(map(_digest, contents))
    fields = (tuple(packed), tuple(images), digests)
    manifest = Manifest(*fields, digest=_digest(repr(fields).encode()))
    return manifest, dict(zip(digests, contents, strict=True))


def _sections(image: Image, bundles: _Bundles) -> Iterable[PackedSection]:
    for section in image.sections:
        pieces = []
        for start in range(0, section.size, _PIECE):
            size = min(_PIECE, section.size - start)
            # No other section that this asid sees lies over a visible one.
            data = image.read((section.vaddr + start) % (1 << 64), size, section.asid)
            pieces.append(bundles.add(data))
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
                pieces = (
                    find(manifest.digests[bundle])[start : start + size]
                    for bundle, start, size in section.pieces
                )
                data = b"".join(pieces)
                shared[section] = Image()
                shared[section].add_bytes(data, section.vaddr, section.asid, section.name)
            image.copy_from(shared[section])
        images.append(image)
    return [(tsc, images[number], owner) for tsc, number, owner in manifest.moments]


def _digest(data: bytes | bytearray) -> str:
    return hashlib.blake2b(data, digest_size=20).hexdigest()
