"""Whether cost grows with the trace and nothing else: memory, time, jumps, and how soon commands answer.

``make bench-scale`` runs it. Large traces are one trace over and over, cut at PSBs; where a copy
ends and the next begins, execution goes on at another place, which is a gap.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probe import image_of, status
from subjects import GENERATED, RECORDED, ROOT, SHARED, Subject, record, subjects

if TYPE_CHECKING:
    from odograph import History

PSB = bytes([0x02, 0x82]) * 8
#: Sizes of the traces that must cost the same for each byte.
SIZES = (30_000_000, 120_000_000, 480_000_000)
LARGE = 1 << 30
JUMPS = 500
TIMES = 10


def repeated(trace: bytes, size: int) -> Iterator[bytes]:
    """At most ``size`` bytes: the trace from its first PSB to its last over and over, then a part of it."""
    first, last = trace.find(PSB), trace.rfind(PSB)
    if first < 0 or first == last:
        raise ValueError("the trace has less than two PSBs")
    while size >= last - first:
        yield trace[first:last]
        size -= last - first
    end = trace.rfind(PSB, first, first + size + len(PSB))
    if end > first:
        yield trace[first:end]


def write_repeated(subject: Subject, size: int, path: Path) -> Path:
    """Writes the trace of a subject, over and over."""
    with path.open("wb") as file:
        file.writelines(repeated(subject.trace.read_bytes(), size))
    return path


class Growth(threading.Thread):
    """Looks every few milliseconds how much memory the process has of its own, pages of files left out."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self.most = status("RssAnon")
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.005):
            self.most = max(self.most, status("RssAnon"))

    def __enter__(self) -> Growth:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    @property
    def grown(self) -> int:
        """Bytes that came at most."""
        return max(self.most, status("RssAnon")) - self.before


def decode_large(options: argparse.Namespace) -> None:
    """In a process of its own: decodes a mapped trace and jumps about in it; prints JSON."""
    import odograph

    image = image_of(options.regions)
    odograph.decode(b"", odograph.Image())  # Python loads a module when it is needed first.
    # Looking costs time: where that is measured in small pieces, it is not done.
    with nullcontext(None) if options.again else Growth() as growth:
        wall, cpu = time.perf_counter(), time.process_time()
        history = odograph.decode(options.trace, image, threads=options.threads)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        again = time.process_time()
        if options.again:
            odograph.decode(options.trace, image, threads=options.threads)
        again = time.process_time() - again
        found = jump(history, options.jumps) if options.jumps else {}
    found |= {
        "cpu": cpu,
        "again": again,
        "wall": wall,
        "grown": growth.grown if growth else 0,
        "instructions": len(history),
        "gaps": len(history.gaps()),
    }
    print(json.dumps(found))


def jump(history: History, times: int) -> dict[str, Any]:
    """Milliseconds, on the clock and of CPU time, that it takes to get a step anywhere; ascending."""
    draw = random.Random(0)
    history[len(history) // 2]
    clock, cpu = [], []
    for _ in range(times):
        step = draw.randrange(len(history))
        start, worked = time.perf_counter(), time.thread_time()
        history[step]
        cpu.append(1000 * (time.thread_time() - worked))
        clock.append(1000 * (time.perf_counter() - start))
    return {"clock": sorted(clock), "worked": sorted(cpu)}


def in_process(subject: Subject, path: Path, *options: str) -> dict[str, Any]:
    """What :func:`decode_large` prints."""
    words = [str(path), *subject.arguments()[1:], *options]
    done = subprocess.run([sys.executable, __file__, "--decode", *words], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def large(subject: Subject, folder: Path) -> Iterator[str]:
    """A trace of a gigabyte: memory beyond the mapped file, and jumps."""
    path = write_repeated(subject, LARGE, folder / "large.pt")
    try:
        for threads in (1, 2):
            found = in_process(subject, path, "--threads", str(threads), "--jumps", str(JUMPS))
            yield (
                f"{subject.name}, {path.stat().st_size / 1e6:.0f} MB, {threads} thread{'s'[: threads > 1]}: "
                f"{found['wall']:.1f} s, {found['instructions'] / 1e9:.1f} G instructions, "
                f"{found['gaps']} gaps, {found['grown'] / 1e6:.0f} MB of memory besides the file"
            )
            for name, kind in (("on the clock", "clock"), ("of CPU time", "worked")):
                took = found[kind]
                yield (
                    f"  jump to a step, ms {name}: median {statistics.median(took):.2f}, "
                    f"99 of 100 below {took[len(took) * 99 // 100]:.2f}, most {took[-1]:.2f}"
                )
    finally:
        path.unlink(missing_ok=True)


def linear(subject: Subject, folder: Path) -> Iterator[str]:
    """ns for each byte of trace at several sizes, and how far they lie apart."""
    rates: dict[str, list[float]] = {"cpu": [], "again": []}
    for size in SIZES:
        path = write_repeated(subject, size, folder / "linear.pt")
        try:
            rounds = [in_process(subject, path, "--again") for _ in range(3)]
        finally:
            path_size = path.stat().st_size
            path.unlink(missing_ok=True)
        for name, values in rates.items():
            values.append(min(found[name] for found in rounds) / path_size * 1e9)
        cold, warm = (values[-1] for values in rates.values())
        yield f"{subject.name}, {path_size / 1e6:.0f} MB: {cold:.2f} ns a byte cold, {warm:.2f} warm"
    for name, values in zip(("cold", "warm"), rates.values(), strict=True):
        apart = max(values) / min(values) - 1
        yield f"  {name}: the slowest is {100 * apart:.0f} % slower than the quickest"


def answers(folder: Path) -> Iterator[str]:
    """How soon ``odograph info`` and an import are done."""
    path = folder / "small.perf.data"
    if not path.exists():
        record("small", folder, path)
    command = [sys.executable, "-m", "odograph", "info", str(path)]

    def info() -> float:
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - start

    yield line(f"odograph info of {path.stat().st_size / 1e3:.0f} kB", info)
    code = "import time; t = time.perf_counter(); import odograph; print(time.perf_counter() - t)"

    def imported() -> float:
        return float(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout)

    yield line("import odograph", imported)


def line(what: str, seconds: Callable[[], float]) -> str:
    """The least and the middle of some runs, in ms on the clock."""
    times = [1000 * seconds() for _ in range(TIMES)]
    return f"{what}: least {min(times):.0f} ms, median {statistics.median(times):.0f} ms"


def main() -> int:
    """Runs all parts, or the one decode that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench", help="keep traces here")
    parser.add_argument("--subject", help="the trace to repeat (default: the first there is)")
    parser.add_argument("--decode", dest="trace", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("regions", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--jumps", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--again", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.trace is not None:
        decode_large(options)
        return 0
    default = GENERATED[0] if SHARED.is_dir() else RECORDED[1]
    for subject in subjects([options.subject or default], options.folder):
        folder = options.folder
        for text in chain(answers(folder), linear(subject, folder), large(subject, folder)):
            print(text, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
