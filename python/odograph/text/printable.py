"""Text of unknown origin for a terminal: names in recordings may hold anything that moves its cursor or hides
text."""

from __future__ import annotations

import re

__all__ = ["printable"]

# What Python regards as printable and Unicode as ignorable by default (DerivedCoreProperties.txt): it shows
# as nothing.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def printable(text: str, keep: str = "") -> str:
    """The text with escapes for every character that is not shown as itself.

    These are control characters (also newlines and tabs), bidirectional marks and other format characters,
    spaces but for the common one, invisible, private and unassigned characters, and bytes that are no UTF-8
    (which Python has as lone surrogates). ``keep`` are characters to leave as they are. Bytes that are no
    UTF-8 become ``\\xff``, other characters ``\\x1b`` below U+0080, ``\\u202e`` or ``\\U000e0001``. A
    backslash stays one, so that the text cannot always be told from one that had such letters; JSON output
    can.
    """
    if text.isprintable() and (text.isascii() or _INVISIBLE.search(text) is None):
        return text
    return "".join(
        character if character in keep or _shows(character) else _escaped(character) for character in text
    )


def _shows(character: str) -> bool:
    return character.isprintable() and _INVISIBLE.match(character) is None


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
