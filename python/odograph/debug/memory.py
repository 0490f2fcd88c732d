"""Memory at a moment, as far as a trace and the files of a program tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odograph.debug.modules import open_object
from odograph.errors import ImageError

if TYPE_CHECKING:
    from odograph.code.image import Image
    from odograph.debug.modules import LoadedFile
    from odograph.recording.timeline import ImageMoments

__all__ = ["CodeMemory"]


class CodeMemory:
    """Executed code, mapped files, and the segments of files that are not writable. There is no data.

    ``images`` are (TSC from which it holds, image), ascending.
    """

    def __init__(self, images: ImageMoments) -> None:
        self._images = images

    def image(self, tsc: int | None) -> Image:
        """The image of a moment; the last one if the time is not known."""
        if tsc is None:
            return self._images[-1][1]
        return self._images[self._images.number_at(tsc)][1]

    def read(self, address: int, size: int, tsc: int | None, files: list[LoadedFile]) -> bytes:
        """Bytes from an address; short where they are no longer known, empty if the first one is not."""
        image = self.image(tsc)
        data = b""
        while len(data) < size:
            piece = _of_image(image, address + len(data), size - len(data))
            piece = piece or _of_files(files, address + len(data), size - len(data))
            if not piece:
                break
            data += piece
        return data


def _of_image(image: Image, address: int, size: int) -> bytes:
    if not 0 <= address < 1 << 64:
        return b""
    try:
        return image.read(address, min(size, (1 << 64) - address))
    except ImageError:
        return b""


def _of_files(files: list[LoadedFile], address: int, size: int) -> bytes:
    for file in files:
        for part in file.read_only:
            within = address - part.address
            if file.path is not None and 0 <= within < part.size:
                try:
                    with open_object(file.path) as data:
                        data.seek(part.offset + within)
                        return data.read(min(size, part.size - within))
                except (OSError, ValueError):
                    return b""
    return b""
