"""The text of instructions."""

from __future__ import annotations

from array import array

import pytest

from odograph import _native


@pytest.mark.parametrize(
    ("raw", "mode", "text"),
    [
        ("90", 3, "nop"),
        ("e8 00 00 00 00", 3, "call 0x1005"),
        ("48 8b 05 10 00 00 00", 3, "mov rax, [rip+0x10]"),
        ("eb fe", 3, "jmp short 0x1000"),
        ("40", 2, "inc eax"),
        ("c3", 1, "ret"),
        ("f3 a4", 3, "rep movsb [rdi], [rsi]"),
        ("06", 3, "(bad)"),
        ("", 3, "(bad)"),
        ("90 90", 3, "(bad)"),
    ],
)
def test_one_instruction(raw: str, mode: int, text: str) -> None:
    assert _native.disassemble(bytes.fromhex(raw), 0x1000, mode) == text


def test_many_instructions_and_where_branches_go() -> None:
    rows = [bytes.fromhex(text) for text in ("90", "e8 10 00 00 00", "ff d0", "74 02")]
    ips = array("Q", [0x1000, 0x1001, 0x1006, 0x1008])
    texts, targets = _native.disassemble_many(ips.tobytes(), bytes([3] * 4), rows)
    assert texts == ["nop", "call 0x1016", "call rax", "je short 0x100c"]
    assert array("Q", targets).tolist() == [0, 0x1016, 0, 0x100C]
