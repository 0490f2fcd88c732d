"""Standard output and standard error of a command that may be full or closed.

Python writes what is still buffered when it ends. If that fails, it says so in its own words and exits with
120. So commands write what is buffered themselves, say what failed and exit with their own codes. After that
:func:`give_up` throws away what cannot be written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import IO, Any, TextIO

__all__ = ["Named", "Tolerant", "give_up", "opened"]


def opened(stream: TextIO | None) -> TextIO:
    """The stream; for one that was closed before the start (Python has None), one that cannot be written."""
    if stream is not None:
        return stream
    return os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")


class Named:
    """A stream whose errors of writing say that it is standard output."""

    def __init__(self, stream: IO[Any]) -> None:
        self.stream = stream

    def write(self, data: Any) -> int:
        """How much was given."""
        with _naming():
            return self.stream.write(data)

    def flush(self) -> None:
        """Writes what is buffered."""
        with _naming():
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Tolerant:
    """Standard error: where it cannot be written, the command goes on."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """The number of characters given, written or not."""
        with contextlib.suppress(OSError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Writes what is buffered, if it can be written."""
        with contextlib.suppress(OSError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def _naming() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = "standard output"
        raise


def give_up(*streams: TextIO) -> None:
    """Throws away what is buffered for standard streams and cannot be written. Call it last."""
    for stream in streams:
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)
