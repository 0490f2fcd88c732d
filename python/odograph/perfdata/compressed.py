"""COMPRESSED records: a stream of ordinary records under zstd, cut anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from odograph.errors import RecordingError

__all__ = ["Decompressor"]


class Decompressor:
    """Gives back the record stream. Frames may span records, and a record may hold several frames."""

    #: A larger window of earlier bytes is not that of a recording.
    _WINDOW = 64 << 20
    #: So few bytes at once cannot become many.
    _STEP = 256

    def __init__(self) -> None:
        try:
            import zstandard  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            raise RecordingError(
                "this recording is compressed (perf record -z); install the package zstandard to read it: "
                "pip install zstandard"
            ) from None
        self._zstandard: Any = zstandard
        self._frame: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` expands to, piece by piece. Raises ValueError if it is damaged."""
        pending = [data[at : at + self._STEP] for at in range(0, len(data), self._STEP)]
        pending.reverse()
        try:
            while pending:
                if self._frame is None:
                    self._frame = self._zstandard.ZstdDecompressor(
                        max_window_size=self._WINDOW
                    ).decompressobj()
                piece = self._frame.decompress(pending.pop())
                if piece:
                    yield piece
                if self._frame.eof:
                    rest = self._frame.unused_data
                    self._frame = None
                    if rest:
                        pending.append(rest)
        except self._zstandard.ZstdError as error:
            self._frame = None
            raise ValueError(str(error)) from error
