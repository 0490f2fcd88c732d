"""What only an emulated CPU does: data, code that changes, other modes, errors."""

from __future__ import annotations

import builtins
import errno
import struct
from pathlib import Path
from typing import Any

import pytest

from odograph import InvalidArgument, UnsupportedOperation
from odograph.processor import BreakpointFlags, EmulatedProcessor, Processor, StopReason, unicornlibrary
from support.processors import BASE, LOOP, LOOP_STEPS, calls_of, emulated, replayed

TOP = (1 << 64) - 1


def test_nothing_of_the_instruction_is_done_when_it_is_met() -> None:
    cpu, values = emulated(LOOP), []
    cpu.breakpoints.add_instruction(
        0x40_1005, 0x40_1005, callback=lambda c, a, s: values.append(c.read_register("eax"))
    )
    cpu.run()
    assert values == [0, 1, 2]
    assert cpu.read_register("ebx") == 6


def test_a_repeated_string_instruction_is_one() -> None:
    # mov ecx, 5; mov esi, 200000; mov edi, 200800; rep movsb; nop
    code = bytes.fromhex("b905000000 be00002000 bf00082000 f3a4 90")
    cpu = emulated(code)
    cpu.write_memory(0x20_0000, b"hello")
    assert calls_of(cpu, 0x40_100F, 0x40_1010) == [(3, 0x40_100F, 2)]
    assert cpu.read_memory(0x20_0800, 5) == b"hello"
    assert cpu.step == 5


def test_an_instruction_that_changes_its_own_block_is_one() -> None:
    # mov byte [401008], 90; (401008) inc, becomes nop; nop
    cpu = emulated(bytes.fromhex("c604250810400090 f4 90"))
    assert calls_of(cpu, 0, TOP) == [(0, BASE, 8), (1, BASE + 8, 1), (2, BASE + 9, 1)]
    assert cpu.step == 3


def test_a_jump_to_itself_is_executed_again_and_again() -> None:
    cpu, calls = emulated(bytes.fromhex("ebfe")), []
    cpu.breakpoints.add_instruction(BASE, BASE, callback=lambda c, a, s: calls.append(c.step))
    assert cpu.run(1000).reason is StopReason.STEPS
    assert calls == list(range(1000))
    assert cpu.step == 1000


def test_new_bytes_are_a_new_question() -> None:
    # 401000 mov ecx, 2; 401005 inc eax, becomes dec eax; mov byte [401006], c8; dec ecx; jne 401005
    code = bytes.fromhex("b902000000 ffc0 c6042506104000c8 ffc9 75f2")
    asked: list[bytes] = []

    def filter(cpu: Processor, opcode: bytes) -> bool:
        asked.append(opcode)
        return opcode == b"\xff\xc8"

    assert calls_of(emulated(code), 0x40_1005, 0x40_1005, filter=filter) == [(5, 0x40_1005, 2)]
    assert asked == [b"\xff\xc0", b"\xff\xc8"]


@pytest.mark.parametrize(
    ("code", "step"),
    [("90 0f0b", 1), ("90 06", 1), ("90 e9ffff0f00", 2), ("90 8b042500000000", 1)],
    ids=["ud2", "no instruction", "nothing mapped", "fault"],
)
def test_what_cannot_be_executed_is_an_error_there(code: str, step: int) -> None:
    cpu = emulated(bytes.fromhex(code), end=0)
    calls = calls_of(cpu, 0, TOP)
    stop = cpu.run()
    assert stop.reason is StopReason.ERROR
    assert stop.step == step
    assert stop.messages
    assert all(0 < size <= 15 for _, _, size in calls)


def test_a_halt_is_the_end() -> None:
    cpu = emulated(b"\x90\xf4\x90")
    stop = cpu.run()
    assert (stop.reason, stop.step, stop.pc) == (StopReason.END, 2, BASE + 2)
    assert cpu.run().step == 3


# 401000 mov dword [200010], 11223344; 40100b mov eax, [200010]; 401012 nop
STORE = bytes.fromhex("c7042510002000 44332211 8b042510002000 90")


def test_a_write_is_told_before_and_stops_behind() -> None:
    cpu, told = emulated(STORE), []

    def callback(cpu: Any, address: int, value: bytes) -> None:
        told.append((address, value, cpu.read_memory(0x20_0010, 4)))
        cpu.stop("written")

    cpu.data_breakpoints.add_write(0x20_0013, 0x20_0020, callback=callback)
    stop = cpu.run()
    assert told == [(0x20_0010, b"\x44\x33\x22\x11", bytes(4))]
    assert (stop.reason, stop.pc, stop.step) == (StopReason.BREAK, 0x40_100B, 1)
    assert cpu.read_memory(0x20_0010, 4) == b"\x44\x33\x22\x11"
    assert cpu.run().reason is StopReason.END
    assert len(told) == 1


def test_a_read_is_told() -> None:
    cpu, told = emulated(STORE), []
    handle = cpu.data_breakpoints.add_read(
        0x20_0010, 0x20_0010, callback=lambda c, address, size: told.append((address, size, c.step))
    )
    cpu.run()
    assert told == [(0x20_0010, 4, 1)]
    assert handle.hits == 1
    handle.remove()
    with pytest.raises(InvalidArgument):
        handle.remove()


@pytest.mark.parametrize(
    ("arguments", "error"), [((2, 1), ValueError), ((True, 1), TypeError), ((0, 1 << 64), ValueError)]
)
def test_data_breakpoints_refuse_what_the_others_refuse(
    arguments: tuple[int, int], error: type[Exception]
) -> None:
    cpu = emulated(STORE)
    with pytest.raises(error):
        cpu.data_breakpoints.add_write(*arguments, callback=print)
    with pytest.raises(TypeError):
        cpu.data_breakpoints.add_read(0, 1, callback=None)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument):
        cpu.data_breakpoints.add_read(0, 1, callback=print, flags=2)
    assert len(cpu.data_breakpoints) == 0


def test_an_exception_at_a_write_comes_out_behind_it() -> None:
    cpu, trouble = emulated(STORE), ValueError("mine")

    def callback(cpu: object, address: int, value: bytes) -> None:
        raise trouble

    handle = cpu.data_breakpoints.add_write(0x20_0010, 0x20_0010, callback=callback)
    with pytest.raises(ValueError, match="mine") as raised:
        cpu.run()
    assert raised.value is trouble
    assert cpu.pc == 0x40_100B
    assert cpu.step == 1
    handle.remove()
    assert cpu.run().reason is StopReason.END


def test_virtual_and_linear_addresses_in_16_bit() -> None:
    # 1000:0100 nop; inc ax; nop
    cpu = EmulatedProcessor(16)
    cpu.map(0, 0x40000)
    cpu.write_memory(0x1_0100, b"\x90\x40\x90")
    cpu.write_register("cs", 0x1000)
    cpu.pc, cpu.end = 0x100, 0x103
    calls: list[tuple[str, int]] = []
    add = cpu.breakpoints.add_instruction
    add(0x101, 0x101, callback=lambda c, a, s: calls.append(("virtual", a)))
    add(
        0x1_0101, 0x1_0101, callback=lambda c, a, s: calls.append(("linear", a)), flags=BreakpointFlags.LINEAR
    )
    add(0x1_0101, 0x1_0101, callback=lambda c, a, s: calls.append(("neither", a)))
    assert cpu.run().reason is StopReason.END
    assert calls == [("virtual", 0x101), ("linear", 0x1_0101)]
    assert cpu.step == 3


def test_a_recording_of_16_bit_code_has_linear_addresses(tmp_path: Path) -> None:
    # 1000:0100 mov cx, 3; inc ax; loop 103; nop
    def fresh() -> EmulatedProcessor:
        cpu = EmulatedProcessor(16)
        cpu.map(0, 0x40000)
        cpu.write_memory(0x1_0100, bytes.fromhex("b90300 40 e2fd 90"))
        cpu.write_register("cs", 0x1000)
        cpu.pc, cpu.end = 0x100, 0x107
        return cpu

    replay = replayed(tmp_path, fresh())
    for offset in (0x101, 0x103, 0x104, 0x106):
        linear = 0x1_0000 + offset
        met = calls_of(fresh(), linear, linear, flags=BreakpointFlags.LINEAR)
        assert met
        replay.goto(0)
        assert calls_of(replay, linear, linear, flags=BreakpointFlags.LINEAR) == met
        assert [step for step, _, _ in calls_of(fresh(), offset, offset)] == [step for step, _, _ in met]


def test_virtual_and_linear_addresses_in_32_bit() -> None:
    cpu = EmulatedProcessor(32)
    cpu.map(0, 0x100000)
    base, access, limit = 0x2_0000, 0x9B, 0xFFFFF
    entry = limit & 0xFFFF | base << 16 | access << 40 | (limit >> 16) << 48 | 0xC << 52
    cpu.write_memory(0x1000, struct.pack("<2Q", 0, entry))
    cpu.write_register("gdtr", (0, 0x1000, 15, 0))
    cpu.write_register("cs", 8)
    cpu.write_memory(0x2_0100, LOOP)
    cpu.pc, cpu.end = 0x100, 0x100 + len(LOOP)
    assert cpu.code_base == base
    assert cpu.opcode(0x105) == b"\xff\xc0"
    assert [address for _, address, _ in calls_of(cpu, 0x106, 0x106)] == 3 * [0x105]
    cpu.pc = 0x100
    linear = calls_of(cpu, 0x2_0106, 0x2_0106, flags=BreakpointFlags.LINEAR)
    assert [address for _, address, _ in linear] == 3 * [0x2_0105]


@pytest.mark.parametrize("bits", [32, 64])
def test_a_recording_has_the_same_hits(tmp_path: Path, bits: int) -> None:
    replay = replayed(tmp_path, emulated(LOOP, bits=bits))
    assert replay.history.ips().tolist() == LOOP_STEPS
    for first, last in [(0, TOP), (0x40_1006, 0x40_1007), (0x40_100D, 0x40_100D)]:
        replay.goto(0)
        assert calls_of(replay, first, last) == calls_of(emulated(LOOP, bits=bits), first, last)


def test_an_error_while_it_is_recorded_is_not_blamed_on_the_recording(tmp_path: Path) -> None:
    cpu = emulated(LOOP)
    with pytest.raises(OSError, match="elsewhere is full") as caught, cpu.record(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "elsewhere is full")
    assert type(caught.value) is OSError
    assert list(tmp_path.iterdir()) == []


def test_it_cannot_go_back() -> None:
    cpu = emulated(LOOP)
    assert not cpu.reversible
    for back in (
        lambda: cpu.run(reverse=True),
        lambda: cpu.step_insn(reverse=True),
        lambda: cpu.goto(0),
        lambda: cpu.breakpoints.hits(0, 1),
    ):
        with pytest.raises(UnsupportedOperation):
            back()


def test_registers_and_memory_that_are_not_there() -> None:
    cpu = emulated(LOOP)
    for wrong in (
        lambda: cpu.read_register("r99"),
        lambda: cpu.read_memory(0x9000_0000, 1),
        lambda: cpu.write_memory(0x9000_0000, b"x"),
        lambda: cpu.map(BASE, 1),
        lambda: EmulatedProcessor(8),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidArgument):
            wrong()


def test_a_missing_emulator_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "unicorn":
            raise ImportError(name)
        return real(name, *rest)

    unicornlibrary.unicorn.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    try:
        with pytest.raises(UnsupportedOperation, match=r"odograph\[emulator\]"):
            EmulatedProcessor()
    finally:
        unicornlibrary.unicorn.cache_clear()
