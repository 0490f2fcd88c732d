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
