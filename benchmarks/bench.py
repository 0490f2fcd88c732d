"""Odograph beside libipt and perf, in one run: CPU time for the same traces.

``make bench`` runs it on generated traces of ``../shared/bench`` (``ODOGRAPH_SHARED`` names another
place) and on programs that Odograph records here. The decoders take turns, each time in a process of
its own. What counts is the CPU time of decoding, learning the code included, reading files and loading
modules not. "warm" is a second decode in the same process, which knows the code already. libipt always has
an image section cache, without which it is many times slower. perf decodes a perf.data file and prints next
to nothing; "odograph open" is Odograph with the same file, from opening it to its histories.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import libipt
from report import report
from result import Result
from subjects import GENERATED, RECORDED, ROOT, SHARED, Subject, subjects

PROBE = Path(__file__).with_name("probe.py")
OPEN = """
import sys, time, odograph
start = time.process_time()
recording = odograph.open(sys.argv[1])
steps = sum(len(history) for history in recording.histories().values())
print(time.process_time() - start, steps)
"""


class BenchError(Exception):
    """A decoder failed or counted wrongly."""


class Bench:
    """Measures one subject."""

    def __init__(self, subject: Subject, harness: Path | None) -> None:
        self.subject = subject
        self.harness = harness
        self.result = Result(subject.name, subject.size, subject.instructions)

    def run(self, rounds: int, insn: bool) -> Result:
        """Lets all decoders take turns, ``rounds`` times; libipt's instruction decoder has one."""
        subject = self.subject
        turns: list[Callable[[], None]] = [self.one_thread]
        if self.harness is not None:
            found = libipt.run(self.harness, "packet", subject.trace, subject.regions, hashes=False)
            self.result.tnt_bits = int(found["tnt_bits"])
            turns.append(lambda: self.libipt("block"))
        if subject.recording is not None and shutil.which("perf"):
            turns += [self.opened, self.perf]
        if (os.cpu_count() or 1) > 1:
            # Times on the clock vary more.
            turns += 3 * [self.clock_one_thread, self.two_threads, self.two_processes]
        for _ in range(rounds):
            for turn in turns:
                turn()
        if insn and self.harness is not None:
            self.libipt("insn")
        return self.result

    def one_thread(self) -> None:
        """Odograph on one thread, cold and warm, and addresses."""
        (found,) = probes(self.subject, 1, "--ips", "--times", "3")
        self.check("odograph", found["instructions"])
        self.note("odograph cold", found["cpu"][0], found["peak"])
        self.note("odograph warm", min(found["cpu"][1:]))
        rate = found["ips"] / found["ips_cpu"]
        self.result.address_rate = max(rate, self.result.address_rate or 0)

    def clock_one_thread(self) -> None:
        """One thread, on the clock."""
        self.clock("one thread", probes(self.subject, 1, "--times", "3"))

    def two_threads(self) -> None:
        """Two threads, on the clock."""
        self.clock("two threads", probes(self.subject, 1, "--threads", "2", "--times", "3"))

    def two_processes(self) -> None:
        """Two processes that decode the trace at once, each on one thread."""
        self.clock("two processes", probes(self.subject, 2, "--times", "3"))

    def libipt(self, mode: str) -> None:
        """libipt's block decoder twice, or its instruction decoder once."""
        assert self.harness is not None
        subject = self.subject
        again = mode == "block"
        found = libipt.run(self.harness, mode, subject.trace, subject.regions, hashes=False, again=again)
        self.check(f"libipt {mode}", int(found["instructions"]))
        self.note(f"libipt {mode}", float(found["seconds"]), int(found["peak"]))
        if again:
            self.note(f"libipt {mode} warm", float(found["seconds_again"]))

    def opened(self) -> None:
        """Odograph with the recording as a file."""
        command = [sys.executable, "-c", OPEN, str(self.subject.recording)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"odograph: {last_line(done.stderr)}")
        seconds, steps = done.stdout.split()
        self.check("odograph open", int(steps))
        self.note("odograph open", float(seconds))

    def perf(self) -> None:
        """``perf script`` with the recording: a sample every 10**8 instructions makes it decode them all."""
        command = ["perf", "script", "-i", str(self.subject.recording), "--itrace=i100000000i", "-F", "ip"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise BenchError(f"perf: {last_line(done.stderr)}")
        self.note("perf script", after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    def check(self, decoder: str, instructions: int) -> None:
        """Raises BenchError if a decoder missed instructions, or made some up."""
        if instructions != self.subject.instructions:
            wrong = f"counts {instructions} instructions, not {self.subject.instructions}"
            raise BenchError(f"{self.subject.name}: {decoder} {wrong}")

    def note(self, decoder: str, seconds: float, peak: int | None = None) -> None:
        """Keeps what a turn took."""
        self.result.cpu.setdefault(decoder, []).append(seconds)
        if peak is not None:
            self.result.peak[decoder] = max(peak, self.result.peak.get(decoder, 0))

    def clock(self, way: str, found: Sequence[dict[str, Any]]) -> None:
        """Keeps how long a turn was on the clock, where the slowest process counts, and what it cost."""
        for one in found:
            self.check(f"odograph, {way},", one["instructions"])
        self.note(f"{way} cold", sum(one["cpu"][0] for one in found), sum(one["peak"] for one in found))
        self.note(f"{way} warm", min(map(sum, zip(*(one["cpu"][1:] for one in found), strict=True))))
        self.result.wall.setdefault(f"{way} cold", []).append(max(one["wall"][0] for one in found))
        later = min(max(walls) for walls in zip(*(one["wall"][1:] for one in found), strict=True))
        self.result.wall.setdefault(f"{way} warm", []).append(later)


def probes(subject: Subject, count: int, *options: str) -> list[dict[str, Any]]:
    """Runs the probe in ``count`` processes whose decodes begin at once."""
    command = [sys.executable, str(PROBE), *subject.arguments(), *options]
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(count)
    ]
    try:
        while True:
            lines = [process.stdout.readline() for process in running if process.stdout]
            if lines != ["ready\n"] * count:
                break
            for process in running:
                if process.stdin:
                    process.stdin.write("go\n")
                    process.stdin.flush()
        found = []
        for process, line in zip(running, lines, strict=True):
            _, errors = process.communicate()
            if process.returncode or not line:
                raise BenchError(f"odograph: {last_line(errors)}")
            found.append(json.loads(line))
        return found
    finally:
        for process in running:
            process.kill()


def last_line(text: str) -> str:
    """What a program said last."""
    return next(reversed(text.strip().splitlines()), "it ended without a word")


def machine() -> str:
    """The processor, and how busy it was."""
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    load = os.getloadavg()[0]
    return f"{len(names)} × {names[0] if names else 'unknown'}, load before the run {load:.1f}"


def main() -> int:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "subjects", nargs="*", help=f"traces of the bench folder, or {', '.join(RECORDED)} recorded here"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each decoder runs (default 3)")
    parser.add_argument("--no-insn", action="store_true", help="without libipt's instruction decoder")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench", help="keep traces here")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--docs", type=Path, help="also write benchmarks.md and benchmarks.svg here")
    options = parser.parse_args()
    names = options.subjects or [*RECORDED, *GENERATED]
    if not SHARED.is_dir() and not options.subjects:
        print(f"without generated traces: {SHARED} is not there; on recordings alone", flush=True)
        names = list(RECORDED)
    where = machine()
    results = []
    try:
        options.folder.mkdir(parents=True, exist_ok=True)
        try:
            harness = libipt.build(options.folder)
        except libipt.HarnessError as error:
            print(f"without libipt: {error}", flush=True)
            harness = None
        for subject in subjects(names, options.folder):
            print(f"measuring {subject.name}", flush=True)
            results.append(Bench(subject, harness).run(options.rounds, not options.no_insn))
    except (BenchError, libipt.HarnessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    lines = [where, "", *report(results)]
    print("", *lines, sep="\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    if options.docs:
        from page import write_page

        write_page(options.docs, results, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
