"""Odograph beside libipt and perf, in one run: CPU time for the same traces.

``make bench`` runs it on the generated traces of ``../shared/bench`` (``ODOGRAPH_SHARED`` names
another place); ``--recording FILE.perf.data`` measures a recording instead, beside perf alone.
The decoders take turns, each round in a process of its own; what counts is the CPU time of decoding on
one thread. "warm" is a second decode in the same process, which knows the code already. libipt always has
an image section cache, without which it is many times slower.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import libipt

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("ODOGRAPH_SHARED", ROOT.parent / "shared"))
TRACES = ("py-m-def", "xz-m-def", "perl-m-def", "py-s-def", "gzip-s-def", "sql-s-def")

ODOGRAPH = """
import sys, time, odograph
again, trace, regions = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
image = odograph.Image()
for region in regions:
    offset, size, vaddr, path = region.split(" ", 3)
    image.add_file(path, int(offset, 16), int(size, 16), int(vaddr, 16))
histories = []
for _ in range(1 + again):
    start = time.process_time()
    histories.append(odograph.decode(trace, image, threads=1))
    took = time.process_time() - start
print(took, len(histories[-1]), len(histories[-1].gaps()))
"""

RECORDING = """
import sys, time, odograph
start = time.process_time()
steps = sum(len(history) for history in odograph.open(sys.argv[1]).histories().values())
print(time.process_time() - start, steps, 0)
"""


@dataclass
class Measure:
    """What one decoder did with one trace. Times are CPU seconds, a value a round."""

    decoder: str
    seconds: list[float] = field(default_factory=list)
    instructions: int | None = None

    @property
    def best(self) -> float:
        """The least of the rounds: the one least disturbed."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.seconds)


@dataclass
class Result:
    """All decoders on one trace."""

    trace: str
    size: int
    instructions: int | None
    tnt_bits: int | None
    measures: list[Measure]


class BenchError(Exception):
    """A decoder failed or counted wrongly."""


def odograph_run(code: str, arguments: list[str | Path]) -> tuple[float, int]:
    """CPU seconds and instructions of one run in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"odograph: {done.stderr.strip().splitlines()[-1]}")
    seconds, steps, _gaps = done.stdout.split()
    return float(seconds), int(steps)


def perf_run(recording: Path) -> tuple[float, None]:
    """CPU seconds of ``perf script`` decoding everything and printing next to nothing."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command: list[str | Path] = ["perf", "script", "-i", recording, "--itrace=i100000000i", "-F", "ip"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"perf: {done.stderr.strip()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, None


def measure(decoders: dict[str, Callable[[], tuple[float, int | None]]], rounds: int) -> list[Measure]:
    """Lets the decoders take turns, ``rounds`` times."""
    measures = {name: Measure(name) for name in decoders}
    for _ in range(rounds):
        for name, run in decoders.items():
            seconds, instructions = run()
            measures[name].seconds.append(seconds)
            measures[name].instructions = instructions
    return list(measures.values())


def unpack(source: Path, target: Path) -> Path:
    """``target``, made from the xz file ``source`` if it is not there yet."""
    if not target.exists():
        with lzma.open(source) as packed, target.open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    return target


def bench_trace(name: str, folder: Path, harness: Path | None, rounds: int, every_mode: bool) -> Result:
    """Measures all decoders on one trace of the bench folder."""
    bench = SHARED / "bench"
    truth = dict(line.split(None, 1) for line in (bench / f"{name}.gt").read_text().splitlines())
    workload = name.rsplit("-", 2)[0]
    trace = unpack(bench / f"{name}.pt.xz", folder / f"{name}.pt")
    code = unpack(bench / f"{workload}.img.xz", folder / f"{workload}.img")
    regions = libipt.read_map(bench / f"{workload}.map", code)
    arguments: list[str | Path] = [trace]
    arguments += [f"{r.offset:x} {r.size:x} {r.vaddr:x} {r.path}" for r in regions]
    decoders: dict[str, Callable[[], tuple[float, int | None]]] = {
        "odograph": lambda: odograph_run(ODOGRAPH, ["0", *arguments]),
        "odograph warm": lambda: odograph_run(ODOGRAPH, ["1", *arguments]),
    }

    def libipt_run(mode: str) -> tuple[float, int | None]:
        assert harness is not None
        found = libipt.run(harness, mode, trace, regions, hashes=False)
        return float(found["seconds"]), None if mode == "packet" else int(found["instructions"])

    if harness is not None:
        decoders["libipt block"] = lambda: libipt_run("block")
        if every_mode:
            decoders["libipt insn"] = lambda: libipt_run("insn")
            decoders["libipt packet"] = lambda: libipt_run("packet")
    recording = bench / f"{name}.perf.data.xz"
    if recording.exists() and shutil.which("perf"):
        plain = unpack(recording, folder / f"{name}.perf.data")
        decoders["perf"] = lambda: perf_run(plain)
    expected = int(truth["insns"])
    measures = measure(decoders, rounds)
    for one in measures:
        if one.instructions not in (None, expected):
            raise BenchError(f"{name}: {one.decoder} counts {one.instructions} instructions, not {expected}")
    return Result(name, trace.stat().st_size, expected, int(truth["tnt_bits"]), measures)


def bench_recording(recording: Path, rounds: int) -> Result:
    """Measures a perf.data file with Odograph and, where it is installed, perf."""
    decoders: dict[str, Callable[[], tuple[float, int | None]]] = {
        "odograph": lambda: odograph_run(RECORDING, [recording])
    }
    if shutil.which("perf"):
        decoders["perf"] = lambda: perf_run(recording)
    measures = measure(decoders, rounds)
    return Result(recording.name, recording.stat().st_size, measures[0].instructions, None, measures)


def table(results: list[Result]) -> Iterator[str]:
    """The results as lines of text; the ratio is CPU time over that of Odograph."""
    yield (
        f"{'trace':12} {'decoder':14} {'min s':>8} {'median s':>8} "
        f"{'MB/s':>8} {'M insn/s':>9} {'ns/TNT bit':>10} {'ratio':>7}"
    )
    for result in results:
        own = result.measures[0].best
        for one in result.measures:
            rate = f"{result.instructions / one.best / 1e6:9.1f}" if result.instructions else f"{'-':>9}"
            bit = f"{one.best / result.tnt_bits * 1e9:10.2f}" if result.tnt_bits else f"{'-':>10}"
            yield (
                f"{result.trace:12} {one.decoder:14} {one.best:8.3f} {one.median:8.3f} "
                f"{result.size / one.best / 1e6:8.1f} {rate} {bit} {one.best / own:7.2f}"
            )


@contextmanager
def working_folder(kept: Path | None) -> Iterator[Path]:
    """A folder for unpacked traces: ``kept``, or one that goes away."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="odograph-bench-") as name:
        yield Path(name)


def main() -> int:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("traces", nargs="*", default=TRACES, help="names of traces in the bench folder")
    parser.add_argument("--rounds", type=int, default=3, help="how often each decoder runs (default 3)")
    parser.add_argument("--all-modes", action="store_true", help="libipt's slower layers as well")
    parser.add_argument("--recording", type=Path, action="append", default=[], help="a perf.data file")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--folder", type=Path, help="keep unpacked traces here")
    options = parser.parse_args()
    results = []
    try:
        with working_folder(options.folder) as folder:
            try:
                harness = libipt.build(folder)
            except libipt.HarnessError as error:
                print(f"without libipt: {error}", file=sys.stderr)
                harness = None
            for recording in options.recording:
                results.append(bench_recording(recording, options.rounds))
            if (SHARED / "bench").is_dir():
                for name in options.traces:
                    print(f"measuring {name} …", file=sys.stderr)
                    results.append(bench_trace(name, folder, harness, options.rounds, options.all_modes))
            elif not options.recording:
                print(f"no traces in {SHARED / 'bench'}: give --recording FILE.perf.data", file=sys.stderr)
                return 1
    except (BenchError, libipt.HarnessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print("\n".join(table(results)))
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
