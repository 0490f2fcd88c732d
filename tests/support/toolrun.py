"""What the fixtures of this folder give."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Printed(NamedTuple):
    """What a tool printed, and its exit code."""

    out: str
    err: str
    status: int


Run = Callable[..., Printed]
MakeTrace = Callable[..., str]
List = Callable[..., str]


def by_both(listed: List, code: bytes, packets: object, *options: str) -> str:
    """The listing of ptxed without text of instructions, which must not depend on the decoder."""
    out = listed(code, packets, "--block-decoder", "--no-inst", *options)
    assert listed(code, packets, "--insn-decoder", "--no-inst", *options) == out
    return out
