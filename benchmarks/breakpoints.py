"""What breakpoints on a history cost: that never hit, that hit, the next hit from anywhere, and memory.

``python benchmarks/breakpoints.py [NAME]`` takes a generated trace of ``../shared/bench`` or a program it
records; one with less than 100 million instructions is repeated. One thread, CPU time. It ends with 1 if
something costs more than :data:`LIMITS` allow.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import odograph
from odograph.processor import ReplayProcessor, mnemonic_prefix
from probe import image_of, status
from scale import write_repeated
from subjects import GENERATED, RECORDED, ROOT, SHARED, subjects

if TYPE_CHECKING:
    from odograph.processor import Processor

LEAST = 100_000_000
"""Instructions of the history."""
LIMITS = {
    "search that finds nothing, ns an instruction": 1.0,
    "next hit through the index, µs": 100.0,
    "previous hit through the index, µs": 100.0,
    "hit with a callback, forward, µs": 1.0,
    "hit with a callback, backward, µs": 1.0,
    "memory with an index, bytes a block execution": 16.0,
}
JUMPS = 2000


class Clock:
    """CPU seconds of a piece of work."""

    seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts what is done inside."""
        gc.collect()
        start = time.process_time()
        yield
        self.seconds = time.process_time() - start


def ignore(cpu: Processor, address: int, size: int) -> None:
    """The callback of a breakpoint that is only counted."""


def stop(cpu: Processor, address: int, size: int) -> None:
    """The callback of a breakpoint to stop at."""
    cpu.stop()


def address_executed(cpu: ReplayProcessor, times: int) -> tuple[int, int]:
    """The address whose instruction was executed about so often, and how often."""
    counts = cpu.history.counts()
    at = int(np.abs(np.asarray(counts["count"]).astype(np.int64) - times).argmin())
    return int(counts["ip"][at]), int(counts["count"][at])


def never(cpu: ReplayProcessor, clock: Clock) -> float:
    """Nanoseconds an instruction of a run whose only breakpoint lies where one rare instruction is."""
    length = len(cpu.history)
    address, times = address_executed(cpu, 1)
    # The search knows that the instruction was executed, but not when.
    step = int(cpu.breakpoints.hits(address, address)[-1])
    ahead = (0, step) if step > length // 2 else (step + 1, length)
    with cpu.breakpoints.add_instruction(address, address, callback=ignore) as handle:
        cpu.goto(ahead[0])
        with clock.running():
            cpu.run(ahead[1] - ahead[0], across_gaps=True)
        if handle.hits >= times:
            raise RuntimeError("the breakpoint was to be hit before or after")
    return clock.seconds / (ahead[1] - ahead[0]) * 1e9


def nearest(cpu: ReplayProcessor, clock: Clock, reverse: bool) -> float:
    """Microseconds to the next hit of a rare instruction, or the previous one, from anywhere."""
    address, times = address_executed(cpu, 1000)
    draw = random.Random(0)
    with cpu.breakpoints.add_instruction(address, address, callback=stop) as handle:
        for _ in range(3):
            cpu.goto(len(cpu.history) if reverse else 0)
            cpu.run(reverse=reverse, across_gaps=True)
        before = handle.hits
        spent = 0.0
        for _ in range(JUMPS):
            cpu.goto(draw.randrange(len(cpu.history)))
            start = time.process_time()
            cpu.run(reverse=reverse, across_gaps=True)
            spent += time.process_time() - start
        if handle.hits == before or not times:
            raise RuntimeError("nothing was hit")
    return spent / JUMPS * 1e6


def callbacks(cpu: ReplayProcessor, clock: Clock, times: int, reverse: bool) -> tuple[float, int]:
    """Microseconds a hit of an instruction that is executed about so often, the search for it included."""
    address, _ = address_executed(cpu, times)
    cpu.goto(len(cpu.history) if reverse else 0)
    with cpu.breakpoints.add_instruction(address, address, callback=ignore) as handle:
        with clock.running():
            cpu.run(reverse=reverse, across_gaps=True)
        return clock.seconds / handle.hits * 1e6, handle.hits


def measure(history: odograph.History, before: int) -> Iterator[tuple[str, float]]:
    """What things cost; ``before`` is the memory of this process before there was a history."""
    clock = Clock()
    cpu = ReplayProcessor(history)
    with clock.running():
        instructions = len(cpu.code)
    yield "different instructions", instructions
    yield "learning them, ns an instruction", clock.seconds / len(history) * 1e9
    with clock.running():
        found = cpu.breakpoints.hits(0, (1 << 64) - 1, filter=mnemonic_prefix("no such thing"))
    yield "a filter that refuses all, ms", clock.seconds * 1e3
    if len(found):
        raise RuntimeError("the filter refuses everything")
    yield "search that finds nothing, ns an instruction", never(cpu, clock)
    yield "next hit through the index, µs", nearest(cpu, clock, reverse=False)
    yield "previous hit through the index, µs", nearest(cpu, clock, reverse=True)
    for times in (100_000, 1_000_000):
        for way, reverse in (("forward", False), ("backward", True)):
            spent, hits = callbacks(cpu, clock, times, reverse)
            # What the search costs is measured above: it depends on how far apart the hits are.
            yield f"{hits} hits with a callback, {way}, the search included, µs a hit", spent
    for way, reverse in (("forward", False), ("backward", True)):
        found_already = [callbacks(cpu, clock, 1_000_000, reverse)[0] for _ in range(3)]
        yield f"hit with a callback, {way}, µs", min(found_already)
    blocks = int(np.asarray(history.coverage().blocks["count"]).sum())
    gc.collect()
    grown = status("RssAnon") - before
    yield "block executions", blocks
    yield "memory with an index, bytes a block execution", grown / blocks


def main() -> int:
    """Measures one history."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("name", nargs="?", choices=[*GENERATED, *RECORDED])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench", help="keep traces here")
    options = parser.parse_args()
    name = options.name or (GENERATED[0] if SHARED.is_dir() else RECORDED[0])
    for subject in subjects([name], options.folder):
        path = subject.trace
        if subject.instructions < LEAST:
            times = LEAST // subject.instructions + 2
            path = write_repeated(subject, times * subject.size, options.folder / f"{name}.long.pt")
        before = status("RssAnon")
        history = odograph.decode(path, image_of(subject.arguments()[1:]), threads=1)
        print(f"{name}: {len(history):,} instructions", flush=True)
        if len(history) < LEAST:
            raise RuntimeError("the history is too short")
        failed = []
        for what, figure in measure(history, before):
            limit = LIMITS.get(what)
            beyond = limit is not None and figure >= limit
            failed += [what] * beyond
            said = "" if limit is None else f"  (less than {limit:g}{': FAILED' if beyond else ''})"
            print(f"{figure:>14,.3f}  {what}{said}", flush=True)
        return 1 if failed else 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
