"""Traces that lie in extents of a file, put together in memory or in a temporary file."""

from __future__ import annotations

import pytest

from odograph.recording import stream
from odograph.recording.stream import Extent, TraceStream


def extents(*found: tuple[int, int, int]) -> TraceStream:
    return TraceStream(0, None, 1, 1, [Extent(*extent) for extent in found], files=[b"abcdefgh", b"01234567"])


@pytest.mark.parametrize("in_memory", [0, 1 << 20])
def test_extents_come_in_order(monkeypatch: pytest.MonkeyPatch, in_memory: int) -> None:
    monkeypatch.setattr(stream, "_IN_MEMORY", in_memory)
    trace = extents((2, 3, 0), (6, 2, 1), (0, 1, 0))
    assert bytes(trace.read()) == b"cde67a"
    assert trace.read().readonly


def test_extents_are_put_together_once_and_one_alone_is_not_copied() -> None:
    several = extents((0, 4, 0), (4, 4, 0))
    assert several.read().obj is several.read().obj
    one = extents((2, 3, 1))
    assert one.read().obj is one.files[1]
    assert bytes(one.read()) == b"234"


def test_a_trace_without_extents_is_empty() -> None:
    assert bytes(extents().read()) == b""
