"""The full lists, part by part, with a time for each: ``make acceptance``.

``python tests/acceptance.py [PART…]`` runs some parts only; ``FUZZ_SECONDS`` (default 600) is how long each
fuzzer runs. A part fails if its command does; what cannot run here is skipped by name and counted.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FUZZ_SECONDS = os.environ.get("FUZZ_SECONDS", "600")
PYTEST = [sys.executable, "-m", "pytest", "-q", "-m", "acceptance or not acceptance", "-rs"]
STRESS = ["cargo", "run", "--profile", "quick", "--quiet", "-p", "odograph-core", "--example", "stress", "--"]
CARGO_FUZZ = ["cargo", "fuzz"]
#: What scripts exit with that cannot run here, and say why.
CANNOT_RUN = 77


def fuzz(crate: str, target: str, *options: str) -> list[str]:
    """The command that runs a fuzz target."""
    where = ["--fuzz-dir", f"crates/{crate}/fuzz", "-s", "none"]
    return [*CARGO_FUZZ, "run", *where, target, "--", f"-max_total_time={FUZZ_SECONDS}", *options]


PARTS: dict[str, list[str]] = {
    "core": ["cargo", "test", "--profile", "quick", "--quiet", "--workspace", "--exclude", "odograph-python"],
    "ia64 info blocks": [
        *("cargo", "test", "--profile", "quick", "--quiet", "-p", "odograph-unwind"),
        *("--test", "ia64_anything", "--", "--ignored"),
    ],
    "truth": [*PYTEST, "tests/history/test_ground_truth.py"],
    "hardware": [*PYTEST, "tests/decoders/test_hardware_traces.py"],
    "images": [*PYTEST, "tests/code", "tests/compat"],
    "packets": [*PYTEST, "tests/decoders/test_packets.py", "tests/decoders/test_decoders.py"],
    "conformance": [*PYTEST, "tests/decoders/test_conformance.py"],
    "recordings": [*PYTEST, "tests/recording"],
    "stacks": [*PYTEST, "tests/unwind", "tests/history/test_stacks.py"],
    "everything else": [
        *PYTEST,
        "tests",
        *(
            f"--ignore=tests/{name}"
            for name in (
                "recording",
                "unwind",
                "code",
                "compat",
                "history/test_ground_truth.py",
                "history/test_stacks.py",
                "decoders/test_hardware_traces.py",
                "decoders/test_conformance.py",
            )
        ),
    ],
    "bare Debian 12": ["tests/bare_root.sh", "bookworm"],
    "bare Debian 13": ["tests/bare_root.sh", "trixie"],
    "wheel on bare Debian 12": ["tests/wheel_root.sh", "bookworm"],
    "wheel on bare Debian 13": ["tests/wheel_root.sh", "trixie"],
    "faults": [sys.executable, "tests/fuzz/plant_faults.py"],
    "speed": [sys.executable, "benchmarks/bench.py"],
    "breakpoints": [sys.executable, "benchmarks/breakpoints.py"],
    "speed of ia64 unwinding": [sys.executable, "benchmarks/unwind.py"],
    "scale": [sys.executable, "benchmarks/scale.py"],
    "fuzz packets": fuzz("core", "packets"),
    "fuzz events": fuzz("core", "events", "-max_len=400"),
    "fuzz query": fuzz("core", "query", "-max_len=400"),
    "fuzz blocks": fuzz("core", "blocks", "-max_len=400"),
    "fuzz instructions": fuzz("core", "instruction"),
    "fuzz flow": fuzz("core", "flow", "-max_len=400"),
    "fuzz saved": fuzz("core", "saved"),
    "fuzz live": fuzz("core", "live", "-max_len=400"),
    "fuzz objects": fuzz("objects", "object"),
    "fuzz instruction listing": fuzz("listing", "instruction_listing", "-max_len=400"),
    "fuzz packet listing": fuzz("listing", "packet_listing", "-max_len=400"),
    "fuzz ia64 unwinding": fuzz("unwind", "ia64", "-max_len=1000"),
    "fuzz call frame information": fuzz("unwind", "cfi", "-max_len=1000"),
    "stress flow": [*STRESS, FUZZ_SECONDS],
    "fuzz perf.data": [sys.executable, "tests/fuzz/fuzz_perfdata.py", "--seconds", FUZZ_SECONDS],
    "fuzz recordings": [sys.executable, "tests/fuzz/fuzz_recordings.py", "--seconds", FUZZ_SECONDS],
    "fuzz debug adapter": [sys.executable, "tests/fuzz/fuzz_dap.py", "--seconds", FUZZ_SECONDS],
    "fuzz gdb server": [sys.executable, "tests/fuzz/fuzz_gdbserver.py", "--seconds", FUZZ_SECONDS],
    "fuzz pevent": [sys.executable, "tests/fuzz/fuzz_pevent.py", "--seconds", FUZZ_SECONDS],
}


def summary(output: str) -> str:
    """The line of a run's output that says how it went."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    counts = [line for line in lines if re.search(r"\d+ (passed|failed)", line)]
    return (counts or lines or [""])[-1]


def main(wanted: list[str]) -> int:
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        print(f"no such part: {', '.join(unknown)}; there are: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    failed: list[str] = []
    skipped: list[str] = []
    for name in wanted or PARTS:
        start = time.monotonic()
        print(f"== {name}", flush=True)
        if PARTS[name][:2] == CARGO_FUZZ and not shutil.which("cargo-fuzz"):
            skipped.append(name)
            print("   skipped: cargo-fuzz is not installed (cargo install cargo-fuzz)", flush=True)
            continue
        environment = {**os.environ, "HYPOTHESIS_PROFILE": "others"}
        if PARTS[name][:2] == CARGO_FUZZ:
            environment["RUSTC_BOOTSTRAP"] = "1"
        command = PARTS[name]
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        took = time.monotonic() - start
        if run.returncode == CANNOT_RUN:
            skipped.append(name)
            print(f"   {run.stderr.strip()}", flush=True)
            continue
        if run.returncode:
            failed.append(name)
            print(run.stdout[-6000:] + run.stderr[-3000:])
        for line in run.stdout.splitlines():
            if line.startswith(("SKIPPED", "== ")):
                print(f"   {line}")
        verdict = "FAILED" if run.returncode else "ok"
        print(f"   {verdict} in {took:.0f} s: {summary(run.stdout or run.stderr)}", flush=True)
    total = len(wanted or PARTS)
    verdict = f"acceptance: {total - len(failed) - len(skipped)} of {total} parts ok"
    for word, names in (("failed", failed), ("skipped", skipped)):
        verdict += f"; {word}: {', '.join(names)}" if names else ""
    print(verdict)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
