"""The processors that breakpoints stand on, with the same programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import odograph
from odograph.processor import EmulatedProcessor, Processor, ReplayProcessor

BASE = 0x40_1000

# 401000 mov ecx, 3
# 401005 inc eax
# 401007 add ebx, eax
# 401009 dec ecx
# 40100b jne 401005
# 40100d nop
LOOP = bytes.fromhex("b903000000 ffc0 01c3 ffc9 75f8 90")
LOOP_STEPS = [0x40_1000, *3 * [0x40_1005, 0x40_1007, 0x40_1009, 0x40_100B], 0x40_100D]

Make = Callable[..., Processor]


def emulated(code: bytes, end: int | None = None, base: int = BASE, bits: int = 64) -> EmulatedProcessor:
    """A CPU before the first of these instructions; it ends behind the last, or before the one at ``end``."""
    cpu = EmulatedProcessor(bits)  # type: ignore[arg-type]
    cpu.map(base, len(code), code)
    cpu.map(0x20_0000, 0x2000)
    cpu.write_register("rsp" if bits == 64 else "esp", 0x20_1000)
    cpu.end = base + len(code) if end is None else end
    cpu.pc = base
    return cpu


def replayed(folder: Path, cpu: EmulatedProcessor) -> ReplayProcessor:
    """The replay of what a CPU executes until it ends."""
    path = folder / f"{id(cpu)}.perf.data"
    with cpu.record(path):
        cpu.run()
    return ReplayProcessor(odograph.open(path).history())


def calls_of(
    processor: Processor,
    first: int,
    last: int,
    limit: int | None = None,
    reverse: bool = False,
    **options: object,
) -> list[tuple[int, int, int]]:
    """(step, address, size) of every call of a breakpoint during a run to the end, or the beginning."""
    calls: list[tuple[int, int, int]] = []

    def callback(cpu: Processor, address: int, size: int) -> None:
        calls.append((cpu.step, address, size))

    with processor.breakpoints.add_instruction(first, last, callback=callback, **options):  # type: ignore[arg-type]
        processor.run(limit, reverse=reverse)
    return calls
