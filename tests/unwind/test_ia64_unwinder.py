"""Stacks of IA-64 by names: frames, registers, where they lie, and what ends a stack."""

from __future__ import annotations

import base64
import gzip
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from odograph.code.memory import BytesMemory, LayeredMemory
from odograph.errors import InvalidArgument, Reentered, UnwindError
from odograph.frame import Found
from odograph.unwind.ia64 import (
    Answer,
    Key,
    Location,
    Lookup,
    Modules,
    Request,
    Snapshot,
    Status,
    Unwinder,
    unwind,
)
from support.sharedtraces import no_shared, shared_paths

TEXT = 0x4000000000000000
TABLE, BLOCKS = TEXT + 0x8000, TEXT + 0x9000
SP, BSP = 0x6000000000010000, 0x6000000000020080
SAVES = b"\x46\xa0\x03\xe0\x00\x04\x3f"
"""A prologue of three slots: rp, pfs and the predicates in GR32 to GR34; a frame of 64 bytes."""
BOTTOM = b"\x00\xb0\x80\x3f"
"""rp lies in GR0: nobody called this."""


class Target:
    """Functions of 0x100 bytes, one after the other, and what is said of their memory and registers."""

    def __init__(self, *functions: bytes) -> None:
        self.unwind: dict[int, int] = {}
        self.words: dict[int, int] = {}
        self.registers: dict[str, int | tuple[int, int]] = {"pfs": 0, "unat": 0}
        self.asked: list[tuple[Request, int | str, int]] = []
        self.freed = 0
        rows = b""
        for number, descriptors in enumerate(functions):
            padded = descriptors + bytes(-len(descriptors) % 8)
            block = BLOCKS + 0x100 * number
            self._put(block, struct.pack("<Q", 1 << 48 | len(padded) // 8) + padded)
            rows += struct.pack("<3Q", 0x100 * number, 0x100 * number + 0x100, block - TEXT)
        self._put(TABLE, rows)
        self.end = TABLE + len(rows)

    def _put(self, address: int, data: bytes) -> None:
        self.unwind.update(enumerate(data, address))

    def copy_in(self, request: Request, place: int | str, size: int) -> bytes | None:
        self.asked.append((request, place, size))
        if isinstance(place, str):
            assert request is Request.REG
            value = self.registers.get(place)
            if value is None:
                return None
            return struct.pack("<2Q", *value) if isinstance(value, tuple) else struct.pack("<Q", value)
        if request is Request.UINFO:
            return bytes(self.unwind[address] for address in range(place, place + size))
        word = self.words.get(place)
        return None if word is None else struct.pack("<Q", word)

    def lookup_ip(self, request: Lookup, ip: int, uvec: list[Any]) -> int:
        if request is Lookup.FREE:
            self.freed += 1
        if request is Lookup.SYMBOLS:
            uvec[:] = [Key.MODULE, "a.out", Key.FUNC, f"function {(ip - TEXT) // 0x100}", Key.END]
            return Answer.SYMINFO
        if request is not Lookup.LOOKUP or not TEXT <= ip < TEXT + 0x8000:
            return Answer.NOTFOUND
        uvec[:] = [Key.TBASE, TEXT, Key.USTART, TABLE, Key.UEND, self.end]
        return Answer.UTABLE

    def unwinder(self, function: int = 0) -> Unwinder:
        unwinder = Unwinder(self.copy_in, self.lookup_ip)
        unwinder.start(TEXT + 0x100 * function + 0x22, SP, BSP, 8 | 4 << 7)
        return unwinder


@pytest.fixture
def target() -> Target:
    """A function that was called by another one, which is the outermost."""
    target = Target(SAVES, BOTTOM)
    target.words = dict(zip(range(BSP, BSP + 24, 8), [TEXT + 0x130, 5 | 3 << 7, 0xFF], strict=True))
    target.registers |= {"gr4": 44, "br1": 11, "fr2": (1 << 63, 0xFFFE), "gr8": 8}
    return target


def test_a_stack_and_what_it_prints(target: Target) -> None:
    stack = target.unwinder().stack()
    assert stack.end == "bottom"
    assert [frame.address for frame in stack] == [TEXT + 0x22, TEXT + 0x130]
    assert [frame.found for frame in stack] == [Found.START, Found.UNWIND_INFO]
    assert [frame.is_return for frame in stack] == [False, True]
    assert [(frame.function, frame.offset) for frame in stack] == [("function 0", 0x22), ("function 1", 0x30)]
    assert stack[1].module == "a.out"
    assert stack[1].registers["sp"] == SP + 64
    assert stack[1].registers["pr"] == 0xFF
    assert stack[1].registers["gr4"] == 44
    # Whose value nobody knows is left out.
    assert "lc" not in stack[1].registers
    assert str(stack).splitlines()[1].startswith("#1   0x4000000000000130 in function 1+0x30")


def test_float_registers_as_numbers_of_16_bytes(target: Target) -> None:
    frame = target.unwinder().stack(floats=True, names=False)[0]
    assert frame.registers["fr2"] == 0xFFFE << 64 | 1 << 63
    assert frame.function is None


def test_steps_by_hand(target: Target) -> None:
    unwinder = target.unwinder()
    assert unwinder.register("psp") == SP + 64
    assert unwinder.function_start == TEXT
    assert unwinder.step() is Status.OK
    assert [unwinder.register(name) for name in ("ip", "bsp", "cfm")] == [TEXT + 0x130, BSP - 24, 5 | 3 << 7]
    assert unwinder.location("ip") == Location(register_stack=BSP)
    assert unwinder.location("sp") == Location()
    assert unwinder.location("gr4") == Location(register="gr4")
    assert unwinder.register("fr2") == (1 << 63, 0xFFFE)
    assert not unwinder.nat("gr4")
    assert unwinder.name() == ("a.out", "function 1", 0x30)
    assert unwinder.step() is Status.BOTTOM
    assert unwinder.step() is Status.BOTTOM
    assert unwinder.abi_context == (0, 0)


def test_registers_that_are_given(target: Target) -> None:
    unwinder = target.unwinder()
    unwinder.start(TEXT + 0x22, SP, BSP, 8, {"gr5": 55, "fr16": (1, 2), "pr": 3})
    unwinder.set_nat("gr5", True)
    assert unwinder.register("gr5") == 55
    assert unwinder.nat("gr5")
    assert unwinder.register("fr16") == (1, 2)
    for name, value in {"gr8": 1, "gr128": 1, "r4": 1, "fr16": 1, "gr5": (1, 2), "sp": 1 << 64}.items():
        with pytest.raises(InvalidArgument):
            unwinder.set_register(name, value)
    with pytest.raises(InvalidArgument):
        unwinder.set_nat("gr8", True)


def test_errors_say_why_and_where(target: Target) -> None:
    del target.words[BSP]
    unwinder = target.unwinder()
    with pytest.raises(UnwindError, match="register stack cannot be read") as caught:
        unwinder.step()
    assert caught.value.status == Status.COPYIN_RSTK
    assert caught.value.ip == TEXT + 0x22
    with pytest.raises(UnwindError) as caught:
        unwinder.nat("gr8")
    assert caught.value.status == Status.BADREGID
    stack = unwinder.stack()
    assert len(stack) == 1
    assert not stack.is_complete
    assert "register stack" in stack.end
    with pytest.raises(UnwindError) as caught:
        Unwinder(target.copy_in, target.lookup_ip).stack()
    assert caught.value.status == Status.NOCONTEXT


def test_interrupted_frames_end_a_stack() -> None:
    target = Target(b"\x00\xff\x03s\x3f")
    unwinder = target.unwinder()
    assert unwinder.step() is Status.ABI_FRAME
    assert unwinder.abi_context == (3, ord("s"))
    assert unwinder.stack().end == "interrupted: context 0x73 of system 3"


def test_the_context_that_a_signal_interrupted() -> None:
    # The trampoline has no frame of its own; the interrupted function has one of 64 bytes and 20 stacked
    # registers.
    target = Target(b"\x00\xff\x03s\x3f", SAVES, BOTTOM)
    context, sp, bsp = SP + 0x100, SP + 0x2000, BSP + 0x4000
    cfm = 20 | 8 << 7
    words = {
        0x28: TEXT + 0x122,
        0x30: cfm,
        0x48: bsp + 8 * 20,
        0x70: 0,
        0x78: 78,
        0x80: 0x81,
        0x88 + 8 * 6: 66,
        0xC8 + 8 * 8: 88,
        0xC8 + 8 * 12: sp,
        0x1D0 + 16 * 6: 1 << 63,
        0x1D0 + 16 * 6 + 8: 0xFFFF,
    }
    target.words = {context + offset: word for offset, word in words.items()}
    target.words |= dict(zip(range(bsp, bsp + 24, 8), [TEXT + 0x230, 5 | 3 << 7, 0x41], strict=True))
    target.registers |= {"gr4": 44, "br1": 11, "gr8": 1, "fr2": (2, 3)}
    unwinder = target.unwinder()
    unwinder.set_nat("gr4", True)
    assert unwinder.step() is Status.ABI_FRAME
    # Its place is not known, and everything stays.
    assert not unwinder.resume()
    assert unwinder.register("sp") == SP
    target.words[SP + 0x20] = context
    assert unwinder.resume()
    assert [unwinder.register(name) for name in ("ip", "sp", "bsp", "cfm")] == [TEXT + 0x122, sp, bsp, cfm]
    assert [unwinder.register(name) for name in ("lc", "pr", "br6", "gr8")] == [78, 0x81, 66, 88]
    assert unwinder.register("fr6") == (1 << 63, 0xFFFF)
    assert [unwinder.register(name) for name in ("gr4", "br1", "fr2")] == [44, 11, (2, 3)]
    assert unwinder.nat("gr4")
    # The kernel did not save it, and the initial context has another one.
    with pytest.raises(UnwindError):
        unwinder.register("bspstore")
    stack = target.unwinder().stack()
    assert stack.end == "bottom"
    assert [frame.address - TEXT for frame in stack] == [0x22, 0x122, 0x230]
    assert [frame.found for frame in stack] == [Found.START, Found.SIGNAL, Found.UNWIND_INFO]
    assert [frame.is_return for frame in stack] == [False, False, True]
    assert stack[2].registers["pr"] == 0x41
    assert stack[2].registers["sp"] == sp + 64
    # Beginning anew asks for registers again.
    unwinder.start(TEXT + 0x22, SP, BSP, 0)
    assert unwinder.register("gr8") == 1


def test_stacks_that_go_round_or_on_for_ever() -> None:
    target = Target(b"\x00\x3f")
    target.registers["br0"] = TEXT + 0x10
    stack = target.unwinder().stack()
    assert stack.end == "the caller is the frame itself"
    assert len(stack) == 2
    target.registers["pfs"] = 1 << 7
    stack = target.unwinder().stack(limit=100, names=False)
    assert (len(stack), stack.end) == (100, "there are more than 100 frames")


def test_what_was_learned_is_read_again_only_when_it_is_forgotten(target: Target) -> None:
    unwinder = target.unwinder()

    def reads() -> int:
        target.asked.clear()
        unwinder.start(TEXT + 0x22, SP, BSP, 8 | 4 << 7)
        assert unwinder.stack().is_complete
        return sum(request is Request.UINFO for request, _, _ in target.asked)

    first = reads()
    assert first > 0
    assert reads() == 0
    unwinder.forget()
    assert reads() == first


def test_exceptions_of_callbacks_come_out(target: Target) -> None:
    unwinder = target.unwinder()
    error = KeyError("mine")

    def fail(*_: object) -> bytes:
        raise error

    failing = Unwinder(fail, target.lookup_ip)
    failing.start(TEXT + 0x22, SP, BSP, 8)
    before = target.freed
    with pytest.raises(KeyError) as caught:
        failing.step()
    assert caught.value is error
    assert target.freed == before + 1
    assert failing.register("sp") == SP

    def again(*_: object) -> None:
        unwinder.step()

    unwinder = Unwinder(again, target.lookup_ip)
    unwinder.start(TEXT + 0x22, SP, BSP, 8)
    with pytest.raises(Reentered):
        unwinder.step()
    longer = Unwinder(lambda request, place, size: bytes(size + 1), target.lookup_ip)
    longer.start(TEXT + 0x22, SP, BSP, 8)
    with pytest.raises(InvalidArgument, match="9 bytes"):
        longer.step()


def snapshots() -> Iterator[tuple[dict[str, Any], Path]]:
    """One in thirty of the machine snapshots of executed programs."""
    for path in shared_paths("ia64/vectors/*.jsonl.gz"):
        with gzip.open(path) as lines:
            for number, line in enumerate(lines):
                if number % 30 == 7:
                    yield json.loads(line), path.with_name(path.name.replace(".jsonl.gz", ".elf"))


def snapshot_of(machine: dict[str, Any], elf: Path) -> Snapshot:
    registers: dict[str, int | tuple[int, int]] = {
        name: machine[name] for name in ("ip", "sp", "bsp", "pfs", "pr", "unat", "lc", "fpsr", "rnat")
    }
    registers["cfm"] = machine["cfm"] | machine["ec"] << 52
    registers["bspstore"] = machine["rbs_end"]
    registers |= {f"gr{number}": value for number, value in enumerate(machine["gr"], 1)}
    registers |= {f"br{number}": value for number, value in enumerate(machine["br"])}
    registers |= {f"fr{number}": tuple(value) for number, value in machine["fr"].items()}
    stacks = [
        BytesMemory(zlib.decompress(base64.b64decode(data)), address)
        for address, data in (machine["mstack"], machine["rstack"])
    ]
    modules = Modules()
    modules.add(elf)
    return Snapshot(LayeredMemory(*stacks), registers, modules)


def test_callers_of_executed_programs() -> None:
    count = 0
    for machine, elf in snapshots():
        stack = unwind(snapshot_of(machine, elf))
        assert stack.is_complete, stack.end
        assert len(stack) == len(machine["frames"]) + 1
        for frame, true in zip(stack[1:], machine["frames"], strict=True):
            assert [frame.registers[name] for name in ("ip", "sp", "bsp", "cfm", "lc", "unat")] == [
                true[name] for name in ("ip", "sp", "bsp", "cfm", "lc", "unat")
            ]
            assert [frame.registers[f"gr{number}"] for number in range(4, 8)] == true["gr"]
            assert [frame.registers[f"br{number}"] for number in range(1, 6)] == true["br"]
            count += 1
    if not count:
        pytest.skip(no_shared("ia64/vectors"))
    assert count > 300
