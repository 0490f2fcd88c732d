"""Memory over time: executed bytes that never change cost no new version of the image."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from odograph.timeline import CodeBytes


def test_touching_runs_are_joined_and_pages_do_not_cut() -> None:
    code = CodeBytes()
    code.put(0x1FFE, b"\x01\x02\x03\x04")
    code.put(0x2002, b"\x05")
    code.put(0x5000, b"\x06")
    assert list(code.runs()) == [(0x1FFE, b"\x01\x02\x03\x04\x05"), (0x5000, b"\x06")]


def test_other_bytes_at_a_known_address_conflict() -> None:
    code = CodeBytes()
    code.put(0x1000, b"\x90\x90")
    assert not code.conflicts(0x1000, b"\x90")
    assert not code.conflicts(0x1001, b"\x90\xcc")
    assert code.conflicts(0x1001, b"\xcc")
    assert not code.conflicts(0x1002, b"\xcc")


@given(st.lists(st.tuples(st.integers(0, 9000), st.binary(min_size=1, max_size=5000)), max_size=5))
def test_runs_hold_what_was_put_last(pieces: list[tuple[int, bytes]]) -> None:
    code = CodeBytes()
    naive: dict[int, int] = {}
    for address, data in pieces:
        clash = any(naive.get(address + i, byte) != byte for i, byte in enumerate(data))
        assert code.conflicts(address, data) == clash
        code.put(address, data)
        naive.update((address + i, byte) for i, byte in enumerate(data))
    found = {address + i: byte for address, data in code.runs() for i, byte in enumerate(data)}
    assert found == naive
