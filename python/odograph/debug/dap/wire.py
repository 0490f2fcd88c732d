"""Messages of the protocol: a header with the length, and JSON."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

__all__ = ["Message", "Reader", "Writer"]

Message = dict[str, Any]

_LONGEST = 1 << 24
_LONGEST_LINE = 1 << 12
_LENGTH = re.compile(rb"Content-Length:\s*(\d{1,12})\s*\r?\n", re.IGNORECASE)


class Reader:
    """The messages of a stream, until it ends. What is no message is passed over."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Message]:
        length: int | None = None
        while line := self._stream.readline(_LONGEST_LINE):
            if line.strip():
                found = _LENGTH.search(line)
                length = int(found[1]) if found else length
                continue
            if length is None or length > _LONGEST:
                length = None
                continue
            data = self._stream.read(length)
            if len(data) < length:
                return
            length = None
            try:
                message = json.loads(data)
            except (ValueError, RecursionError):
                continue
            if isinstance(message, dict):
                yield message


class Writer:
    """Writes messages, numbered; from several threads."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def write(self, message: Message) -> None:
        """Writes one. OSError or ValueError if the connection is closed."""
        with self._lock:
            data = json.dumps({"seq": next(self._numbers), **message}).encode()
            self._stream.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
            self._stream.flush()
