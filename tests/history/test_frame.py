"""Frames and stacks: how they read."""

from __future__ import annotations

from odograph.frame import Found, Frame, Inlined, Stack

INNER = Frame(0x401136, function="leaf", offset=6, module="prog", file="prog.c", line=7)
OUTER = Frame(
    0x401180,
    Found.CALL,
    is_return=True,
    is_guess=True,
    function="main",
    module="prog",
    inlined=(Inlined("twice", "prog.h", 3),),
)


def test_a_stack_reads_as_debuggers_print_it() -> None:
    assert str(Stack([INNER, OUTER], end="no memory at 0x7ffc1230")).splitlines() == [
        "#0   0x0000000000401136 in leaf+0x6 at prog.c:7",
        "#1   twice at prog.h:3 (inlined)",
        "#2   0x0000000000401180 in main from prog (guessed)",
        "     (no memory at 0x7ffc1230)",
    ]


def test_a_return_address_is_looked_up_inside_its_call() -> None:
    assert INNER.lookup_address == 0x401136
    assert OUTER.lookup_address == 0x40117F


def test_a_stack_is_a_sequence_that_knows_whether_it_is_complete() -> None:
    stack = Stack([INNER, OUTER])
    assert stack[0] is INNER
    assert stack[1:] == (OUTER,)
    assert len(stack) == 2
    assert stack.is_complete
    assert not Stack([INNER], end="a cycle").is_complete
