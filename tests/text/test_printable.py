"""Text that moves no cursor and hides nothing."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odograph.text.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ls", "ls"),
        ("größe 文字 🙂 a\u0301", "größe 文字 🙂 a\u0301"),
        ("a\\x1bb", "a\\x1bb"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\r\n\tb", "a\\x0d\\x0a\\x09b"),
        ("\x7f\u009b", "\\x7f\\u009b"),
        ("\udcff", "\\xff"),
        ("\ud800", "\\ud800"),
        ("\u202e\u2066\u200b\ufeff\u00ad", "\\u202e\\u2066\\u200b\\ufeff\\u00ad"),
        ("\U000e0041", "\\U000e0041"),
        ("\u3164\ufe0f", "\\u3164\\ufe0f"),
        ("\u00a0\u2028", "\\u00a0\\u2028"),
    ],
)
def test_what_shows_itself_stays_and_all_else_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_own_line_ends_are_kept_where_that_is_asked_for() -> None:
    assert printable("a\nb\t\x1b\r", "\n\t") == "a\nb\t\\x1b\\x0d"


def test_no_character_of_unicode_is_forgotten() -> None:
    for code in [*range(0x3400), *range(0xA000, 0xAC00), *range(0xD7F0, 0x11000), *range(0xE0000, 0xE0200)]:
        character = chr(code)
        shown = printable(character)
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            assert shown != character
            assert shown.isascii()
        else:
            assert shown == character or shown.isascii()


@given(st.text(st.characters()))
def test_what_is_printable_is_printable_again(text: str) -> None:
    once = printable(text)
    assert printable(once) == once
    assert once.isprintable()
