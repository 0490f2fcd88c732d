"""Stacks over memory that lies, and what the caller's own memory does."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from odograph import InvalidArgument, Reentered
from odograph.code.memory import BytesMemory, LayeredMemory
from odograph.symbols import Module, Symbols
from odograph.unwind import CfiUnwinder, Found

BASE = 0x5555_5555_0000
STACK = 0x7FFF_FFF0_0000
#: Frame pointers only: no unwind information, and no names but the symbols'.
FRAME_POINTERS = ["-O1", "-fno-omit-frame-pointer", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]
PROGRAM = """
__attribute__((noinline)) int leaf(int x) { return x * 3; }
__attribute__((noinline)) int middle(int x) { return leaf(x + 1) + 1; }
__attribute__((noinline)) int outer(int x) { return middle(x + 1) + 1; }
int _start(int x) { return outer(x) + 1; }
"""


class Loaded:
    """A program at :data:`BASE`, with its symbols and code."""

    def __init__(self, path: Path) -> None:
        listing = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
        self.addresses = {line.split()[2]: BASE + int(line.split()[0], 16) for line in listing.splitlines()}
        text = subprocess.run(["objdump", "-d", path], capture_output=True, text=True, check=True).stdout
        #: The address behind each call, by the function that is called.
        self.returns: dict[str, int] = {}
        callee = None
        for line in text.splitlines():
            words = line.split("\t")
            if len(words) >= 2 and callee is not None:
                self.returns[callee] = BASE + int(words[0].strip(" :"), 16)
            callee = words[-1].split("<")[1].rstrip(">") if "call" in words[-1] else None
        self.symbols = Symbols([Module("prog", BASE, BASE + 0x5000, 0, str(path))])
        self.code = BytesMemory(path.read_bytes(), BASE)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    if not shutil.which("gcc") or os.uname().machine != "x86_64":
        pytest.skip("needs gcc for x86-64")
    directory = tmp_path_factory.mktemp("cfi")
    (directory / "prog.c").write_text(PROGRAM)
    command = [
        "gcc",
        *FRAME_POINTERS,
        "-nostdlib",
        "-static-pie",
        "-Wl,-z,noseparate-code",
        "-o",
        "prog",
        "prog.c",
    ]
    subprocess.run(command, cwd=directory, check=True)
    return Loaded(directory / "prog")


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def test_frame_pointers_lead_up_where_there_is_no_unwind_information(loaded: Loaded) -> None:
    stack_bytes = words(
        STACK + 0x20, loaded.returns["middle"], 0, 0, STACK + 0x40, loaded.returns["outer"], 0
    )
    stack_bytes += words(0, 0, 0, 0, 0)
    # Behind push and mov.
    registers = {"rip": loaded.addresses["middle"] + 4, "rsp": STACK, "rbp": STACK}
    memory = LayeredMemory(BytesMemory(stack_bytes, STACK), loaded.code)
    stack = CfiUnwinder(loaded.symbols).stack(registers, memory)
    assert [frame.function for frame in stack] == ["middle", "outer", "_start"]
    assert [frame.found for frame in stack] == [Found.START] + [Found.FRAME_POINTER] * 2
    assert [frame.is_return for frame in stack] == [False, True, True]
    assert [frame.registers["rsp"] for frame in stack] == [STACK, STACK + 0x10, STACK + 0x30]
    assert stack.is_complete


def test_the_first_instruction_has_no_frame_yet(loaded: Loaded) -> None:
    stack_bytes = words(loaded.returns["leaf"], 0, 0, STACK + 0x40, loaded.returns["middle"], 0, 0, 0, 0, 0)
    registers = {"rip": loaded.addresses["leaf"], "rsp": STACK, "rbp": STACK + 0x18}
    memory = LayeredMemory(BytesMemory(stack_bytes, STACK), loaded.code)
    stack = CfiUnwinder(loaded.symbols).stack(registers, memory)
    assert [(frame.function, frame.found) for frame in stack[:3]] == [
        ("leaf", Found.START),
        ("middle", Found.LEAF),
        ("outer", Found.FRAME_POINTER),
    ]


def test_a_call_to_unmapped_memory_still_has_a_caller(loaded: Loaded) -> None:
    registers = {"rip": 0, "rsp": STACK, "rbp": 0}
    memory = LayeredMemory(BytesMemory(words(loaded.returns["leaf"], 0, 0), STACK), loaded.code)
    stack = CfiUnwinder(loaded.symbols).stack(registers, memory)
    assert [(frame.address, frame.function) for frame in stack[:2]] == [
        (0, None),
        (loaded.returns["leaf"], "middle"),
    ]
    assert stack[1].is_guess


def test_missing_memory_ends_a_stack_with_a_reason() -> None:
    unwinder = CfiUnwinder(Symbols())
    stack = unwinder.stack({"rip": 0x1000, "rsp": STACK}, BytesMemory(b""))
    assert len(stack) == 1
    assert not stack.is_complete
    assert stack.end == "no unwind information for 0x1000"


def test_a_cycle_ends_a_stack(loaded: Loaded) -> None:
    """Memory that is the same everywhere."""

    class Same:
        def read(self, address: int, size: int) -> bytes:
            data = loaded.code.read(address, size)
            return data or words(address, loaded.returns["leaf"]) * (size // 16)

    registers = {"rip": loaded.addresses["middle"] + 4, "rsp": STACK, "rbp": STACK}
    stack = CfiUnwinder(loaded.symbols).stack(registers, Same(), limit=5000)
    assert not stack.is_complete
    assert len(stack) <= 5000


def test_a_limit_is_kept_and_said(loaded: Loaded) -> None:
    class Endless:
        def read(self, address: int, size: int) -> bytes:
            data = loaded.code.read(address, size)
            if data:
                return data
            first = address - address % 16
            rows = b"".join(words(at + 16, loaded.returns["leaf"]) for at in range(first, address + size, 16))
            return rows[address - first :][:size]

    registers = {"rip": loaded.addresses["middle"] + 4, "rsp": STACK, "rbp": STACK}
    stack = CfiUnwinder(loaded.symbols).stack(registers, Endless(), limit=1000)
    assert len(stack) == 1000
    assert stack.end == "more than 1000 frames"
    assert len(CfiUnwinder(loaded.symbols).stack(registers, Endless(), limit=0)) == 0


def test_an_exception_of_the_memory_comes_out_as_it_is() -> None:
    error = KeyError("mine")

    class Raising:
        def read(self, address: int, size: int) -> bytes:
            raise error

    unwinder = CfiUnwinder(Symbols())
    with pytest.raises(KeyError) as caught:
        unwinder.stack({"rip": 0x1000, "rsp": STACK}, Raising())
    assert caught.value is error
    assert len(unwinder.stack({"rip": 0x1000, "rsp": STACK}, BytesMemory(b""))) == 1


def test_what_a_memory_gives_is_checked() -> None:
    class Wrong:
        def __init__(self, answer: object) -> None:
            self.answer = answer

        def read(self, address: int, size: int) -> bytes:
            return self.answer  # type: ignore[return-value]

    unwinder = CfiUnwinder(Symbols())
    with pytest.raises(InvalidArgument, match="were asked for"):
        unwinder.stack({"rip": 0x1000, "rsp": STACK}, Wrong(bytes(5000)))
    with pytest.raises(TypeError):
        unwinder.stack({"rip": 0x1000, "rsp": STACK}, Wrong("text"))


def test_a_memory_that_uses_its_unwinder_is_refused() -> None:
    unwinder = CfiUnwinder(Symbols())

    class Twisted:
        def read(self, address: int, size: int) -> bytes:
            unwinder.stack({"rip": 0x1000, "rsp": STACK}, self)
            return b""

    with pytest.raises(Reentered):
        unwinder.stack({"rip": 0x1000, "rsp": STACK}, Twisted())
    assert len(unwinder.stack({"rip": 0x1000, "rsp": STACK}, BytesMemory(b""))) == 1


def test_registers_and_machines_are_checked() -> None:
    unwinder = CfiUnwinder(Symbols())
    with pytest.raises(InvalidArgument, match="rsp"):
        unwinder.stack({"rip": 1}, BytesMemory(b""))
    with pytest.raises(InvalidArgument):
        unwinder.stack({"rip": 1, "rsp": 1 << 64}, BytesMemory(b""))
    with pytest.raises(InvalidArgument, match="sparc"):
        CfiUnwinder(Symbols(), "sparc")
    with pytest.raises(InvalidArgument, match="pc"):
        CfiUnwinder(Symbols(), "aarch64").stack({"sp": 1}, BytesMemory(b""))


def test_registers_and_memory_may_be_anything(loaded: Loaded) -> None:
    chance = random.Random(11)
    edges = [0, 1, 7, 0xFFF, STACK, STACK + 4, (1 << 63) - 1, 1 << 63, (1 << 64) - 8, (1 << 64) - 1]
    edges += [BASE - 1, BASE, *loaded.addresses.values(), *loaded.returns.values()]
    for machine in ("x86-64", "aarch64"):
        unwinder = CfiUnwinder(loaded.symbols, machine)
        for _ in range(500):
            data = words(*(chance.choice(edges) for _ in range(64)))[chance.randrange(8) :]
            memory = LayeredMemory(BytesMemory(data, STACK), loaded.code)
            names = unwinder._registers
            registers = {name: chance.choice(edges) for name in names}
            stack = unwinder.stack(registers, memory, limit=300)
            assert 1 <= len(stack) <= 300
            assert stack.end
            str(stack)
