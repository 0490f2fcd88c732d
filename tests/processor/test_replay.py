"""What only a replay does: going back, gaps, code that changes, questions without running."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

import odograph
from odograph import InvalidArgument, UnsupportedOperation
from odograph.decoders.packets import Packet, PacketEncoder
from odograph.processor import Processor, ReplayProcessor, StopReason, disassembly_contains, mnemonic_prefix
from support.processors import BASE, LOOP, LOOP_STEPS, calls_of, emulated, replayed

TOP = (1 << 64) - 1


@pytest.fixture
def replay(tmp_path: Path) -> ReplayProcessor:
    return replayed(tmp_path, emulated(LOOP))


def stopping(cpu: Processor, address: int, size: int) -> None:
    cpu.stop()


def test_going_back_meets_the_latest_first(replay: ReplayProcessor) -> None:
    replay.goto(len(LOOP_STEPS))
    replay.breakpoints.add_instruction(0x40_1009, 0x40_1009, callback=stopping)
    assert [replay.run(reverse=True).step for _ in range(3)] == [11, 7, 3]
    last = replay.run(reverse=True)
    assert (last.reason, last.step, last.pc) == (StopReason.BEGIN, 0, BASE)
    assert replay.run(reverse=True).reason is StopReason.BEGIN


def test_there_and_back_again(replay: ReplayProcessor) -> None:
    stamps: dict[int, list[int]] = {}

    def callback(cpu: Processor, address: int, size: int) -> None:
        stamps.setdefault(cpu.step, []).append(cpu.step_stamp)

    replay.breakpoints.add_instruction(0x40_1005, 0x40_1009, callback=callback)
    assert replay.run().reason is StopReason.END
    assert replay.pc is None
    assert replay.run().reason is StopReason.END
    forward = list(stamps)
    assert replay.run(reverse=True).reason is StopReason.BEGIN
    assert replay.run().reason is StopReason.END
    assert list(stamps) == forward == [1, 2, 3, 5, 6, 7, 9, 10, 11]
    # Each step was met three times, at three different moments.
    assert all(len(set(seen)) == 3 for seen in stamps.values())


def test_a_limit_counts_backwards_too(replay: ReplayProcessor) -> None:
    replay.goto(10)
    assert (replay.run(4, reverse=True).reason, replay.step) == (StopReason.STEPS, 6)
    assert (replay.step_insn(2, reverse=True).reason, replay.step) == (StopReason.STEPS, 4)
    assert (replay.step_insn(9, reverse=True).reason, replay.step) == (StopReason.BEGIN, 0)
    assert (replay.step_insn(99).reason, replay.step) == (StopReason.END, len(LOOP_STEPS))


@pytest.mark.parametrize("step", [-1, len(LOOP_STEPS) + 1])
def test_there_is_nothing_outside_the_history(replay: ReplayProcessor, step: int) -> None:
    with pytest.raises(InvalidArgument):
        replay.goto(step)
    for arguments in [(), (1.5,), (True,)]:
        with pytest.raises(TypeError):
            replay.goto(*arguments)
    with pytest.raises(TypeError):
        replay.goto(1, time=1)
    replay.goto(len(LOOP_STEPS))
    assert replay.pc is None


def test_a_time_is_a_place_to_go_to() -> None:
    encoder = PacketEncoder()
    encoder.add(Packet("psb")).add(Packet("tsc", tsc=100))
    encoder.add(Packet("mode.exec", csl=True, csd=False, iflag=False))
    encoder.add(Packet("fup", compression=3, ip=BASE)).add(Packet("psbend"))
    turn = Packet("tnt8", size=1, bits=1)
    encoder.add(turn).add(Packet("tsc", tsc=200)).add(turn)
    image = odograph.Image()
    # jne BASE
    image.add_bytes(b"\x75\xfe", BASE)
    replay = ReplayProcessor(odograph.decode(bytes(encoder), image, odograph.TraceConfig(nom_freq=10)))
    replay.goto(time=200)
    assert (replay.step, replay.time) == (1, 200)
    replay.goto(time=0)
    assert (replay.step, replay.time) == (0, 100)


def test_recordings_of_an_emulator_have_no_times(replay: ReplayProcessor) -> None:
    assert replay.time is None
    assert replay.history.time_range() == (None, None)
    assert replay.history.functions()["own_time"].mask.all()
    with pytest.raises(InvalidArgument, match="no processor clock"):
        replay.goto(time=0)


def test_a_trace_has_no_data(replay: ReplayProcessor) -> None:
    assert replay.read_register("rip") == BASE
    for question in (
        lambda: replay.read_register("rax"),
        lambda: replay.write_register("rip", 0),
        lambda: replay.read_memory(BASE, 1),
        lambda: replay.write_memory(BASE, b"\x90"),
        lambda: replay.data_breakpoints,
    ):
        with pytest.raises(UnsupportedOperation):
            question()


def test_hits_are_known_without_running(replay: ReplayProcessor) -> None:
    hits = replay.breakpoints.hits
    assert hits(0x40_1006, 0x40_1006).tolist() == [1, 5, 9]
    assert hits(0, TOP).tolist() == list(range(len(LOOP_STEPS)))
    assert hits(0, TOP, filter=mnemonic_prefix("dec")).tolist() == [3, 7, 11]
    assert hits(0x1000, 0x1003).tolist() == []
    assert hits(0, TOP).dtype == np.int64
    assert replay.step == 0
    assert len(replay.breakpoints) == 0


def random_code(random: random.Random) -> bytes:
    """Instructions that jump anywhere, into the middle of each other too."""
    size = random.randint(20, 200)
    code = bytearray()
    while len(code) < size:
        match random.randrange(8):
            case 0:
                code += bytes([0x70 | random.randrange(16), random.randrange(256)])
            case 1:
                code += bytes([0xB8 | random.randrange(4)]) + random.randbytes(4)
            case 2:
                code += bytes([0xEB, random.randrange(256)])
            case 3:
                code += bytes([0xE8]) + random.randint(-size, size).to_bytes(4, "little", signed=True)
            case 4:
                code += b"\xc3"
            case _:
                register = 0xC0 | random.randrange(4) << 3 | random.randrange(4)
                code += bytes([random.choice([0x01, 0x29, 0x31, 0x89, 0x39]), register])
    return bytes(code)


@pytest.mark.parametrize("seed", range(100))
def test_hits_are_those_of_a_look_at_every_instruction(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    code = random_code(dice)

    def fresh() -> Processor:
        cpu = emulated(code)
        for register, value in zip(("eax", "ecx", "edx", "ebx"), start, strict=True):
            cpu.write_register(register, value)
        return cpu

    start = [dice.getrandbits(32) for _ in range(4)]
    cpu = fresh()
    path = tmp_path / "random.perf.data"
    with cpu.record(path):  # type: ignore[attr-defined]
        cpu.run(3000)
    history = odograph.open(path).history()
    assert len(history) == cpu.step
    replay = ReplayProcessor(history)
    for _ in range(3):
        first = BASE + dice.randrange(len(code))
        last = first + dice.choice([0, 0, 1, 5, 30])
        expected = [
            (each.step, each.ip, each.size)
            for each in history
            if each.ip <= last and each.ip + each.size > first
        ]
        replay.goto(0)
        assert replay.breakpoints.hits(first, last).tolist() == [step for step, _, _ in expected]
        assert calls_of(replay, first, last) == expected
        assert calls_of(replay, first, last, reverse=True)[::-1] == expected
        assert calls_of(fresh(), first, last, limit=cpu.step) == expected


def test_code_that_changes_has_the_bytes_of_its_time(tmp_path: Path) -> None:
    # 401000 mov ecx, 2
    # 401005 inc eax              becomes dec eax
    # 401007 mov byte [0x401006], 0xc8
    # 40100f dec ecx
    # 401011 jne 401005
    code = bytes.fromhex("b902000000 ffc0 c6042506104000c8 ffc9 75f2")
    replay = replayed(tmp_path, emulated(code))
    assert [each.raw.hex() for each in replay.history if each.ip == 0x40_1005] == ["ffc0", "ffc8"]
    assert calls_of(replay, 0, TOP, filter=disassembly_contains("inc eax")) == [(1, 0x40_1005, 2)]
    replay.goto(0)
    assert calls_of(replay, 0, TOP, filter=disassembly_contains("dec eax")) == [(5, 0x40_1005, 2)]
    replay.goto(5)
    assert replay.opcode(0x40_1005) == b"\xff\xc8"
    replay.goto(1)
    assert replay.opcode(0x40_1005) == b"\xff\xc0"


def damaged() -> odograph.History:
    """1000 nop; 1001 nop; 1002 jmp rax, executed once, then lost, and then again from the start."""
    image = odograph.Image()
    image.add_bytes(bytes.fromhex("9090ffe0"), 0x1000)
    encoder = PacketEncoder()
    for kind, fields in [
        ("psb", {}),
        ("psbend", {}),
        ("mode.exec", {"csl": True, "csd": False, "iflag": False}),
        ("tip.pge", {"ip": 0x1000}),
        ("tip", {"ip": 0x1000}),
        ("ovf", {}),
        ("fup", {"ip": 0x1001}),
        ("tip", {"ip": 0x1000}),
        ("fup", {"ip": 0x1001}),
        ("tip.pgd", {}),
    ]:
        if "ip" in fields:
            fields = {"compression": 6, **fields}
        elif kind == "tip.pgd":
            fields = {"compression": 0, "ip": 0}
        encoder.add(Packet(kind, **fields))
    return odograph.decode(bytes(encoder), image)


def test_gaps_stop_both_ways() -> None:
    replay = ReplayProcessor(damaged())
    (gap,) = replay.history.gaps()
    assert [each.ip for each in replay.history] == [0x1000, 0x1001, 0x1002, 0x1001, 0x1002, 0x1000]
    stops = [replay.run() for _ in range(3)]
    assert [(stop.reason, stop.step) for stop in stops] == [
        (StopReason.GAP, gap.step),
        (StopReason.END, 6),
        (StopReason.END, 6),
    ]
    stops = [replay.run(reverse=True) for _ in range(3)]
    assert [(stop.reason, stop.step) for stop in stops] == [
        (StopReason.GAP, gap.step),
        (StopReason.BEGIN, 0),
        (StopReason.BEGIN, 0),
    ]
    assert replay.run(across_gaps=True).reason is StopReason.END
    assert replay.run(across_gaps=True, reverse=True).reason is StopReason.BEGIN


def test_turning_round_at_a_gap_meets_it_again() -> None:
    replay = ReplayProcessor(damaged())
    replay.run()
    assert replay.run(reverse=True).reason is StopReason.GAP
    assert replay.run().reason is StopReason.GAP
    assert replay.run(reverse=True).reason is StopReason.GAP
    assert replay.run(reverse=True).reason is StopReason.BEGIN
    # The instruction behind the gap is met before the gap is, going back.
    replay.goto(4)
    replay.breakpoints.add_instruction(0x1001, 0x1001, callback=stopping)
    stop = replay.run(reverse=True)
    assert (stop.reason, stop.step) == (StopReason.BREAK, 3)
    stop = replay.run(reverse=True)
    assert (stop.reason, stop.step) == (StopReason.GAP, 3)


def test_what_the_gap_swallowed_is_not_met() -> None:
    replay = ReplayProcessor(damaged())
    assert replay.breakpoints.hits(0x1000, 0x1000).tolist() == [0, 5]


def test_an_instruction_may_end_where_the_address_space_does() -> None:
    # nop; nop; jmp rax in the last four bytes, three times.
    image = odograph.Image()
    image.add_bytes(bytes.fromhex("9090ffe0"), TOP - 3)
    encoder = PacketEncoder()
    encoder.add(Packet("psb")).add(Packet("psbend"))
    encoder.add(Packet("mode.exec", csl=True, csd=False, iflag=False))
    encoder.add(Packet("tip.pge", compression=6, ip=TOP - 3))
    for _ in range(2):
        encoder.add(Packet("tip", compression=6, ip=TOP - 3))
    encoder.add(Packet("tip.pgd", compression=0, ip=0))
    replay = ReplayProcessor(odograph.decode(bytes(encoder), image))
    every = [TOP - 3, TOP - 2, TOP - 1]
    assert [address for _, address, _ in calls_of(replay, 0, TOP)] == 3 * every
    for first, last in [(TOP, TOP), (TOP - 1, TOP), (TOP - 1, TOP - 1)]:
        assert replay.breakpoints.hits(first, last).tolist() == [2, 5, 8]
        replay.goto(0)
        assert calls_of(replay, first, last) == [(step, TOP - 1, 2) for step in (2, 5, 8)]
    assert replay.breakpoints.hits(0, TOP - 4).tolist() == []


def test_a_search_is_answered_from_an_index_when_it_is_repeated(replay: ReplayProcessor) -> None:
    replay.breakpoints.add_instruction(0x40_1005, 0x40_1005, callback=stopping)
    for _ in range(5):
        replay.goto(0)
        steps = []
        while replay.run().reason is StopReason.BREAK:
            steps.append(replay.step)
            replay.step_insn()
        assert steps == [1, 5, 9]
