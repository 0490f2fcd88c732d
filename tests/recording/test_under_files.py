"""Which executed bytes are those of a file: such under which nothing else was ever mapped."""

from __future__ import annotations

import random
import time

from odograph.code.mappings import Mapping, ProcessMemory
from odograph.recording.underfiles import BytesUnderFiles

NAMES = ("a", "b", "c")


def random_memory(dice: random.Random, parent: ProcessMemory | None = None) -> ProcessMemory:
    """A process that maps files and executes code in them, at few addresses, and runs other programs."""
    memory = ProcessMemory(dice.randrange(1 << 20))
    if parent is not None:
        memory.inherit(5, parent)
    for tsc in range(10, 10 + dice.randrange(30)):
        address = dice.randrange(64)
        match dice.randrange(12):
            case 0 | 1 | 2:
                name = dice.choice(NAMES)
                # The same file mostly lies in the same place.
                base = dice.choice((0, 0, 0, 8)) + 16 * NAMES.index(name)
                address = max(address, base)
                memory.add(tsc, Mapping(address, dice.randrange(1, 24), address - base, name))
            case 3 if dice.random() < 0.2:
                memory.clear(tsc)
            case _:
                code = dice.randbytes(dice.randrange(1, 5))
                memory.add(tsc, Mapping(address, len(code), code=code))
    return memory


def judged(memory: ProcessMemory) -> set[tuple[str, int, bytes]]:
    """The same of a process without a parent, byte by byte."""
    found: set[tuple[str, int, bytes]] = set()
    files: list[Mapping] = []
    code: dict[int, bytes] = {}

    def take() -> None:
        for address, data in code.items():
            owners = [
                {(one.filename, one.address - one.pgoff) for one in files if one.address <= at < one.end}
                for at in range(address, address + len(data))
            ]
            if all(len(there) == 1 and there == owners[0] for there in owners):
                ((name, base),) = owners[0]
                found.add((name, address - base, data))

    for _, changes in memory.timeline():
        for change in changes:
            if change.kind == "clear":
                take()
                files, code = [], {}
            elif change.mapping is not None and change.mapping.code is not None:
                code.setdefault(change.mapping.address, change.mapping.code)
            elif change.mapping is not None:
                files.append(change.mapping)
    take()
    return found


def found_in(*memories: ProcessMemory) -> set[tuple[str, int, bytes]]:
    table = BytesUnderFiles(dict(enumerate(memories)))
    return {(name, *one) for name in NAMES for one in table.of(name)}


def test_bytes_count_where_only_one_file_ever_lay() -> None:
    for seed in range(300):
        memory = random_memory(random.Random(seed))
        assert found_in(memory) == judged(memory), seed


def test_a_child_adds_what_it_executed_itself_where_its_parent_had_the_file() -> None:
    for seed in range(300):
        dice = random.Random(seed)
        parent = random_memory(dice)
        child = random_memory(dice, parent)
        changes = [change for _, group in child.timeline() for change in group]
        own = [change.mapping for _, group in child.timeline(whole=False) for change in group]
        before = found_in(parent)
        assert before <= found_in(parent, child)
        for name, offset, data in found_in(parent, child) - before:
            places = {
                one.address - one.pgoff + offset
                for change in changes
                if (one := change.mapping) is not None and one.filename == name and one.code is None
            }
            assert any(one is not None and one.code == data and one.address in places for one in own), seed


def test_what_a_parent_executed_is_not_told_again() -> None:
    parent, child = ProcessMemory(1), ProcessMemory(2)
    parent.add(1, Mapping(0, 16, 0, "a"))
    parent.add(2, Mapping(4, 1, code=b"x"))
    child.inherit(3, parent)
    for address, code in ((4, b"y"), (5, b"z"), (20, b"w")):
        child.add(4, Mapping(address, 1, code=code))
    assert found_in(parent, child) == {("a", 4, b"x"), ("a", 5, b"z")}
    child.add(5, Mapping(5, 1, 0, "b"))
    assert found_in(parent, child) == {("a", 4, b"x")}


def test_many_files_and_many_children_take_little_time() -> None:
    parent = ProcessMemory(1)
    for number in range(20_000):
        parent.add(number, Mapping(number << 12, 0x1000, 0, f"/file{number}"))
        parent.add(number, Mapping(number << 12, 2, code=b"\x90\xc3"))
    children = []
    for pid in range(2, 302):
        child = ProcessMemory(pid)
        child.inherit(1 << 20, parent)
        child.add((1 << 20) + 1, Mapping((pid << 12) + 8, 1, code=b"\xcc"))
        children.append(child)
    start = time.process_time()
    table = BytesUnderFiles(dict(enumerate([parent, *children])))
    assert table.of("/file2") == [(0, b"\x90\xc3"), (8, b"\xcc")]
    for number in range(20_000):
        assert table.of(f"/file{number}")
    assert time.process_time() - start < 2
