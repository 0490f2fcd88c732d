"""Listings of code for the disassembly view."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odograph._native import disassemble

if TYPE_CHECKING:
    from odograph.debug.target import Target

__all__ = ["CodeLine", "listing"]

_LONGEST = 15
_TOP = 1 << 64
_UNKNOWN = "??"


class CodeLine(NamedTuple):
    """An instruction, or a byte of which nothing is known."""

    address: int
    data: bytes
    text: str

    @property
    def is_known(self) -> bool:
        """It is an instruction."""
        return self.text != _UNKNOWN


def listing(target: Target, address: int, before: int, count: int) -> list[CodeLine]:
    """``count`` lines, of which ``before`` lie before the instruction at an address (below 0: behind it).

    Where instructions begin is known behind one that is, and before one by those that were executed.
    """
    mode = 3 if target.is_64_bit else 2
    ahead = _backward(target, address, before, mode) if before > 0 else []
    rest = count - len(ahead)
    skipped = max(-before, 0)
    behind = _forward(target, address, rest + skipped, mode)[skipped:] if rest > 0 else []
    return (ahead + behind)[:count]


def _forward(target: Target, address: int, count: int, mode: int) -> list[CodeLine]:
    lines = []
    for _ in range(count):
        line = _at(target, address % _TOP, mode)
        lines.append(line)
        address += max(len(line.data), 1)
    return lines


def _backward(target: Target, address: int, count: int, mode: int) -> list[CodeLine]:
    lines: list[CodeLine] = []
    while len(lines) < count:
        before = _executed_before(target, address)
        line = CodeLine((address - 1) % _TOP, b"", _UNKNOWN) if before is None else _at(target, before, mode)
        if line.address + len(line.data) != address and line.is_known:
            line = CodeLine((address - 1) % _TOP, b"", _UNKNOWN)
        lines.append(line)
        address = line.address
    return lines[::-1]


def _executed_before(target: Target, address: int) -> int | None:
    """The last executed instruction that begins before an address, if it ends there."""
    code = target.processor.code
    rows = np.flatnonzero(code.between((address - 1) % _TOP, (address - 1) % _TOP))
    starts = [
        found.address for found in map(code.row, rows.tolist()) if found.address + found.size == address
    ]
    return max(starts, default=None)


def _at(target: Target, address: int, mode: int) -> CodeLine:
    data = target.read_code(address, _LONGEST)
    for size in range(1, len(data) + 1):
        text = _text(data[:size], address, mode)
        if text is not None:
            return CodeLine(address, data[:size], text)
    return CodeLine(address, data[:1], _UNKNOWN)


@functools.lru_cache(maxsize=1 << 14)
def _text(data: bytes, address: int, mode: int) -> str | None:
    text = disassemble(data, address, mode)
    return None if text == "(bad)" else text


def to_message(line: CodeLine, place: Any) -> dict[str, Any]:
    """As the protocol has it; ``place`` is its name."""
    message: dict[str, Any] = {"address": f"{line.address:#x}", "instruction": line.text}
    if line.data:
        message["instructionBytes"] = line.data.hex(" ")
    if not line.is_known:
        message["presentationHint"] = "invalid"
    if place is not None and not place.offset:
        message["symbol"] = str(place)
    return message
