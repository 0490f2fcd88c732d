"""Packets of gdb's remote protocol: ``$data#checksum``, acknowledgements, and the interrupt byte.

Source: the GDB manual, appendix "Remote Protocol", "Overview".
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

__all__ = ["LARGEST", "Framer", "Signal", "escape", "frame", "unescape"]

LARGEST = 1 << 16
"""Most bytes of a packet; of more nothing is kept."""

_ESCAPED = b"#$}*"


class Signal(enum.Enum):
    """What comes between packets."""

    INTERRUPT = "interrupt"
    DAMAGED = "damaged"
    """A packet whose checksum is wrong, or that is too long."""
    REPEAT = "repeat"
    """The other side did not understand the last packet."""


class Framer:
    """Finds packets in any bytes of a connection, however they are cut."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._inside = False
        self._sum = b""
        self._summing = False
        self._too_long = False

    def feed(self, data: bytes) -> Iterator[bytes | Signal]:
        """Packets and signals that are complete now. Bytes between packets that mean nothing are skipped."""
        for value in data:
            if self._summing:
                self._sum += bytes([value])
                if len(self._sum) == 2:
                    yield self._finish()
            elif value == ord("$"):
                # One that was begun and not ended is given up.
                self._begin()
            elif self._inside and value == ord("#"):
                self._summing = True
            elif self._inside:
                if len(self._data) < LARGEST:
                    self._data.append(value)
                else:
                    self._too_long = True
            elif value == 3:
                yield Signal.INTERRUPT
            elif value == ord("-"):
                yield Signal.REPEAT

    def _begin(self) -> None:
        self._data.clear()
        self._inside, self._too_long = True, False

    def _finish(self) -> bytes | Signal:
        data, said = bytes(self._data), self._sum
        is_good = not self._too_long and said.lower() == _checksum(data)
        self._data.clear()
        self._sum, self._summing, self._inside = b"", False, False
        return data if is_good else Signal.DAMAGED


def frame(data: bytes) -> bytes:
    """A packet around some data, which must be escaped already."""
    return b"$" + data + b"#" + _checksum(data)


def _checksum(data: bytes) -> bytes:
    return b"%02x" % (sum(data) & 0xFF)


def escape(data: bytes) -> bytes:
    """Binary data as it may stand in a packet."""
    result = bytearray()
    for value in data:
        if value in _ESCAPED:
            result += bytes([ord("}"), value ^ 0x20])
        else:
            result.append(value)
    return bytes(result)


def unescape(data: bytes) -> bytes:
    """The binary data of a packet."""
    result = bytearray()
    values = iter(data)
    for value in values:
        result.append(next(values, 0) ^ 0x20 if value == ord("}") else value)
    return bytes(result)
