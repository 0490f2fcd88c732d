"""Ready-made breakpoint filters.

A breakpoint asks its filter once for each distinct opcode and text, so a filter may depend on nothing else;
these here look at nothing of the processor, which may be any of the same class.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple

from odograph._native import disassemble
from odograph.errors import InvalidArgument

__all__ = [
    "Filter",
    "all_of",
    "any_of",
    "disassembly_contains",
    "filter_of",
    "mnemonic_prefix",
    "opcode_mask",
]


Filter = Callable[[Any, bytes], bool]
"""``filter(processor, opcode) -> bool``: whether an instruction with these bytes is meant."""


class Question(NamedTuple):
    """What a filter is being asked about: an opcode, and its text where it lies."""

    opcode: bytes
    text: str


_asked: ContextVar[Question | None] = ContextVar("asked", default=None)


def ask(filter: Filter, processor: object, question: Question) -> object:
    """Asks a filter; the ready-made ones see the text too, which may depend on the address."""
    token = _asked.set(question)
    try:
        return filter(processor, question.opcode)
    finally:
        _asked.reset(token)


def _text_of(opcode: bytes) -> str:
    asked = _asked.get()
    text = asked.text if asked is not None and asked.opcode == opcode else disassemble(opcode, 0)
    return text.casefold()


def opcode_mask(pattern: bytes, mask: bytes | None = None) -> Filter:
    """Instructions whose first bytes are ``pattern``, compared where ``mask`` has ones (everywhere without
    one).

    An instruction with fewer bytes than the mask does not match. Raises :class:`~odograph.InvalidArgument` if
    the two differ in length.
    """
    pattern = bytes(pattern)
    mask = b"\xff" * len(pattern) if mask is None else bytes(mask)
    if len(mask) != len(pattern):
        raise InvalidArgument(f"pattern and mask have {len(pattern)} and {len(mask)} bytes")
    size = len(mask)
    mask_bits = int.from_bytes(mask, "little")
    wanted = int.from_bytes(pattern, "little") & mask_bits

    def matches(_processor: object, opcode: bytes) -> bool:
        return len(opcode) >= size and int.from_bytes(opcode[:size], "little") & mask_bits == wanted

    return matches


def mnemonic_prefix(prefix: str) -> Filter:
    """Instructions whose text begins with this, in upper or lower case: ``mnemonic_prefix("call")``."""
    prefix = prefix.casefold()

    def matches(_processor: object, opcode: bytes) -> bool:
        return _text_of(opcode).startswith(prefix)

    return matches


def disassembly_contains(part: str) -> Filter:
    """Instructions whose text contains this, in upper or lower case: ``disassembly_contains("[rsp")``."""
    part = part.casefold()

    def matches(_processor: object, opcode: bytes) -> bool:
        return part in _text_of(opcode)

    return matches


def all_of(*filters: Filter) -> Filter:
    """Instructions that all of the filters take; every one if there are none."""

    def matches(processor: object, opcode: bytes) -> bool:
        return all(each(processor, opcode) for each in filters)

    return matches


def any_of(*filters: Filter) -> Filter:
    """Instructions that one of the filters takes; none if there are none."""

    def matches(processor: object, opcode: bytes) -> bool:
        return any(each(processor, opcode) for each in filters)

    return matches


def filter_of(text: str) -> Filter:
    """The filter that a text means: ``prefix=TEXT``, ``text=TEXT`` or ``opcode=HEX[/MASK]``.

    Raises :class:`~odograph.InvalidArgument` for any other.
    """
    kind, _, value = text.partition("=")
    try:
        match kind:
            case "prefix" if value:
                return mnemonic_prefix(value)
            case "text" if value:
                return disassembly_contains(value)
            case "opcode" if value:
                pattern, _, mask = value.partition("/")
                return opcode_mask(bytes.fromhex(pattern), bytes.fromhex(mask) if mask else None)
    except ValueError as error:
        raise InvalidArgument(f"{text!r}: {error}") from error
    raise InvalidArgument(f"{text!r} is not prefix=TEXT, text=TEXT or opcode=HEX[/MASK]")
