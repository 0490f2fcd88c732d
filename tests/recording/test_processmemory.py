"""Memory of a process over time, against the simplest thing that could be right: one entry a byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from odograph.code.mappings import Mapping, ProcessMemory


def names(memory: ProcessMemory) -> list[tuple[int, int, str]]:
    return [(m.address, m.length, m.filename) for m in memory.state()]


def test_a_new_map_cuts_what_it_covers() -> None:
    memory = ProcessMemory(1)
    memory.add(None, Mapping(0, 100, 1000, "a"))
    memory.add(5, Mapping(40, 20, 0, "b"))
    assert names(memory) == [(0, 40, "a"), (40, 20, "b"), (60, 40, "a")]
    assert memory.state()[2].pgoff == 1060


def test_a_child_has_what_its_parent_had_at_the_fork() -> None:
    parent, child = ProcessMemory(1), ProcessMemory(2)
    parent.add(1, Mapping(0, 10, 0, "a"))
    child.inherit(2, parent)
    parent.add(3, Mapping(0, 10, 0, "b"))
    child.add(4, Mapping(20, 10, 0, "c"))
    assert names(child) == [(0, 10, "a"), (20, 10, "c")]
    assert [(tsc, [c.kind for c in changes]) for tsc, changes in child.timeline()] == [
        (2, ["add"]),
        (4, ["add"]),
    ]


def test_exec_clears() -> None:
    memory = ProcessMemory(1)
    memory.add(1, Mapping(0, 10, 0, "a"))
    memory.clear(2)
    memory.add(2, Mapping(50, 10, 0, "b"))
    assert names(memory) == [(50, 10, "b")]
    assert [[c.kind for c in changes] for _, changes in memory.timeline()] == [["add"], ["clear", "add"]]


def test_executed_bytes_that_touch_are_joined() -> None:
    memory = ProcessMemory(1)
    memory.add(None, Mapping(0, 100, 0, "file"))
    for tsc, address in enumerate((12, 10, 14, 30)):
        memory.add(tsc, Mapping(address, 2, code=bytes([address, address])))
    assert [(m.address, m.length, m.code) for m in memory.state()] == [
        (0, 10, None),
        (10, 6, bytes([10, 10, 12, 12, 14, 14])),
        (16, 14, None),
        (30, 2, bytes([30, 30])),
        (32, 68, None),
    ]


def test_a_long_line_of_descendants() -> None:
    memory = ProcessMemory(0)
    memory.add(None, Mapping(0, 1, 0, "first"))
    for pid in range(1, 5000):
        child = ProcessMemory(pid)
        child.inherit(pid, memory)
        memory = child
    assert names(memory) == [(0, 1, "first")]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20), st.booleans())))
def test_state_equals_a_byte_map(steps: list[tuple[int, int, bool]]) -> None:
    memory = ProcessMemory(1)
    plain: dict[int, tuple[str, int]] = {}
    for number, (start, length, keep) in enumerate(steps):
        if keep:
            memory.add(number, Mapping(start, length, 100 * number, str(number)))
        else:
            memory.remove(number, start, length)
        for offset in range(length):
            plain.pop(start + offset, None)
            if keep:
                plain[start + offset] = (str(number), 100 * number + offset)
    seen = {
        mapping.address + offset: (mapping.filename, mapping.pgoff + offset)
        for mapping in memory.state()
        for offset in range(mapping.length)
    }
    assert seen == plain
    starts = [mapping.address for mapping in memory.state()]
    assert starts == sorted(set(starts))
