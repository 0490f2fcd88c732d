"""What breakpoints promise on a recorded history, on recordings of real programs."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import odograph
from odograph import UnsupportedOperation
from odograph.processor import Processor, ReplayProcessor, StopReason, mnemonic_prefix, opcode_mask
from odograph.recorder import ptrace, qemu
from odograph.recorder.record import record
from support.paths import PROGRAMS
from support.processors import calls_of
from support.sharedtraces import Unpacker, bench_image

PLACE = 0x1337_0000
TRACES = ("gzip-s-def", "py-s-irq")

recorders = pytest.mark.parametrize(
    "backend",
    [
        pytest.param("qemu", marks=pytest.mark.skipif(qemu.unavailable() is not None, reason="no QEMU")),
        pytest.param(
            "ptrace", marks=pytest.mark.skipif(ptrace.unavailable() is not None, reason="no ptrace")
        ),
    ],
)


Decode = Callable[..., odograph.History]


@pytest.fixture(scope="module")
def decoded(shared: Path, unpacked: Unpacker) -> Decode:
    """``decoded(name)`` is the history of a shared trace; ``change`` may damage the trace before."""
    known: dict[str, odograph.History] = {}

    def decode(name: str, change: Callable[[bytearray], None] | None = None) -> odograph.History:
        if change is None and name in known:
            return known[name]
        folder = shared / "bench"
        image = bench_image(folder, name.rsplit("-", 2)[0], unpacked)
        trace = bytearray(unpacked(folder / f"{name}.pt.xz").read_bytes())
        if change is None:
            return known.setdefault(name, odograph.decode(bytes(trace), image))
        change(trace)
        return odograph.decode(bytes(trace), image)

    return decode


def addresses_and_sizes(history: odograph.History, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each instruction, by listing them all."""
    table = history.instructions(start, stop)
    return np.asarray(table["ip"]), np.asarray(table["size"]).astype(np.uint64)


def stopping(cpu: Processor, address: int, size: int) -> None:
    cpu.stop()


@pytest.mark.parametrize("name", TRACES)
def test_statement_36_hits_are_those_of_a_look_at_every_instruction(decoded: Decode, name: str) -> None:
    history = decoded(name)
    replay = ReplayProcessor(history)
    most = 1_000_000
    ips, sizes = addresses_and_sizes(history, 0, most)
    draw = random.Random(name)
    for _ in range(20):
        first = int(ips[draw.randrange(len(ips))]) + draw.randint(-3, 3)
        last = first + draw.choice([0, 0, 1, 7, 1000, 1 << 20])
        expected = np.flatnonzero((ips <= last) & (ips + sizes > first))
        found = replay.breakpoints.hits(first, last)
        assert found[found < len(ips)].tolist() == expected.tolist(), f"{first:#x} {last:#x}"


@pytest.mark.parametrize("name", TRACES)
def test_statement_37_going_back_visits_the_same_steps(decoded: Decode, name: str) -> None:
    history = decoded(name)
    replay = ReplayProcessor(history)
    counts = history.counts()
    rare = np.flatnonzero(np.asarray(counts["count"]) == 7)
    address = int(counts["ip"][int(rare[len(rare) // 2])])
    forward = calls_of(replay, address, address)
    assert len(forward) == 7
    assert replay.run().reason is StopReason.END
    assert calls_of(replay, address, address, reverse=True) == forward[::-1]
    replay.goto(len(history))
    replay.breakpoints.add_instruction(address, address, callback=stopping)
    for step, _, _ in reversed(forward):
        stop = replay.run(reverse=True)
        assert (stop.reason, stop.step, stop.pc) == (StopReason.BREAK, step, address)
    assert replay.run(reverse=True).reason is StopReason.BEGIN


@pytest.mark.parametrize("name", TRACES)
def test_statement_38_there_and_back(decoded: Decode, name: str) -> None:
    history = decoded(name)
    replay = ReplayProcessor(history)
    address = int(history.ips(len(history) // 2, len(history) // 2 + 1)[0])
    stamps: list[tuple[int, int]] = []
    replay.breakpoints.add_instruction(
        address, address, callback=lambda cpu, *_: stamps.append((cpu.step, cpu.step_stamp))
    )
    ends = [replay.run(reverse=reverse).reason for reverse in (False, False, True, True, False)]
    assert ends == [*2 * [StopReason.END], *2 * [StopReason.BEGIN], StopReason.END]
    steps = replay.breakpoints.hits(address, address).tolist()
    assert [step for step, _ in stamps] == [*steps, *reversed(steps), *steps]
    assert len({stamp for _, stamp in stamps}) == len(stamps)


def hole(trace: bytearray) -> None:
    """Something that no processor writes, in the middle of a third and of two thirds of a trace."""
    for part in (1, 2):
        at = len(trace) * part // 3
        trace[at : at + 64] = 64 * b"\xff"


@pytest.mark.parametrize("name", TRACES)
def test_statement_39_gaps_stop_both_ways(decoded: Decode, name: str) -> None:
    history = decoded(name, hole)
    replay = ReplayProcessor(history)
    gaps = sorted({gap.step for gap in history.gaps()})
    assert gaps
    forward, backward = [], []
    while (stop := replay.run()).reason is StopReason.GAP:
        forward.append(stop.step)
    assert stop.reason is StopReason.END
    while (stop := replay.run(reverse=True)).reason is StopReason.GAP:
        backward.append(stop.step)
    assert stop.reason is StopReason.BEGIN
    assert forward == backward[::-1] == gaps
    for step in gaps:
        around = (max(step - 3000, 0), min(step + 3000, len(history)))
        ips, sizes = addresses_and_sizes(history, *around)
        for ip in np.unique(ips)[:20].tolist():
            found = replay.breakpoints.hits(ip, ip)
            near = found[(found >= around[0]) & (found < around[1])] - around[0]
            assert near.tolist() == np.flatnonzero((ips <= ip) & (ips + sizes > ip)).tolist()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@recorders
def test_statement_40_code_that_was_mapped_at_one_address_at_different_times(
    backend: Any, tmp_path: Path
) -> None:
    program = tmp_path / "remapped"
    subprocess.run(["cc", "-O1", "-o", program, PROGRAMS / "remapped.c"], check=True)
    # mov eax, 1; ret and nop; mov eax, 2; ret
    codes = [bytes.fromhex("b801000000c3"), bytes.fromhex("90b802000000c3")]
    files = [tmp_path / name for name in ("first", "second")]
    for file, code in zip(files, codes, strict=True):
        file.write_bytes(code.ljust(4096, b"\xcc"))
    path = tmp_path / "remapped.data"
    assert record([str(program), *map(str, files)], path, backend=backend).status == 0
    history = odograph.open(path).history()
    replay = ReplayProcessor(history)
    steps = replay.breakpoints.hits(PLACE, PLACE).tolist()
    assert len(steps) == 6
    for turn, step in enumerate(steps):
        replay.goto(step)
        assert replay.opcode(PLACE) == (codes[0][:5], codes[1][:1])[turn % 2]
    assert replay.breakpoints.hits(PLACE, PLACE, filter=mnemonic_prefix("nop")).tolist() == steps[1::2]
    assert replay.breakpoints.hits(PLACE, PLACE, filter=opcode_mask(b"\xb8\1")).tolist() == steps[::2]
    assert history.symbols is not None
    main = history.symbols.resolve("main")
    assert replay.breakpoints.at("remapped!main+4", 2) == (main + 4, main + 5)
    with pytest.raises(KeyError):
        replay.breakpoints.at("remapped!nobody")
    # The second byte belongs to the instruction that begins at the first, or begins one itself.
    replay.goto(0)
    met = calls_of(replay, PLACE + 1, PLACE + 1)
    assert [(address, size) for _, address, size in met] == 3 * [(PLACE, 5), (PLACE + 1, 5)]
    assert calls_of(replay, PLACE + 1, PLACE + 1, reverse=True) == met[::-1]


@pytest.mark.parametrize("name", ["py-s-def"])
def test_statement_41_an_index_is_small(decoded: Decode, name: str) -> None:
    history = decoded(name)
    replay = ReplayProcessor(history)
    counts = history.counts()
    address = int(counts["ip"][int(np.argmax(np.asarray(counts["count"])))])
    replay.breakpoints.add_instruction(address, address, callback=stopping)
    for _ in range(4):
        replay.goto(len(history) // 2)
        assert replay.run().reason is StopReason.BREAK
    index = replay.code.search(replay.code.between(address, address)).all()
    blocks = int(np.asarray(history.coverage().blocks["count"]).sum())
    assert len(index.steps) == int(np.max(np.asarray(counts["count"])))
    assert index.steps.nbytes + index.rows.nbytes < 16 * blocks


def test_statement_42_a_trace_has_no_data(decoded: Decode) -> None:
    replay = ReplayProcessor(decoded("gzip-s-def"))
    for question in (
        lambda: replay.data_breakpoints.add_read(0, 1, callback=stopping),
        lambda: replay.read_register("rax"),
        lambda: replay.write_register("rax", 0),
        lambda: replay.read_memory(0, 1),
        lambda: replay.write_memory(0, b"\0"),
    ):
        with pytest.raises(UnsupportedOperation):
            question()
