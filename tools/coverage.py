"""Line coverage of the Python tests, room by room; the command lines that tests start are counted as well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "coverage"
PACKAGE = "python/odograph/"


def main(tests: list[str]) -> int:
    """Runs tests (paths), prints a table, and gives the status of pytest."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for old in BUILD.glob(".coverage*"):
        old.unlink()
    settings = BUILD / "coveragerc"
    settings.write_text(
        f"[run]\nparallel = true\nsource = {ROOT / PACKAGE}\ndata_file = {BUILD / '.coverage'}\n"
        "patch = subprocess\nsigterm = true\nconcurrency = thread, multiprocessing\n"
    )
    coverage = [sys.executable, "-m", "coverage"]
    environment = {**os.environ, "COVERAGE_RCFILE": str(settings), "COVERAGE_PROCESS_START": str(settings)}
    ran = subprocess.run([*coverage, "run", "-m", "pytest", "-q", *tests], cwd=ROOT, env=environment)
    subprocess.run([*coverage, "combine", "-q"], cwd=BUILD, env=environment, check=True)
    report = BUILD / "coverage.json"
    subprocess.run([*coverage, "json", "-q", "-o", str(report)], cwd=ROOT, env=environment, check=True)
    lines: Counter[str] = Counter()
    run: Counter[str] = Counter()
    for name, facts in json.loads(report.read_text())["files"].items():
        inside = name.partition(PACKAGE)[2]
        room = inside.split("/")[0] if "/" in inside else "(top level)"
        for key in (room, "all"):
            lines[key] += facts["summary"]["num_statements"]
            run[key] += facts["summary"]["covered_lines"]
    print(f"{'room':<14}{'lines':>8}{'run':>8}{'share':>9}")
    for room in sorted(lines, key=lambda room: (room == "all", room)):
        share = 100 * run[room] / max(lines[room], 1)
        print(f"{room:<14}{lines[room]:>8}{run[room]:>8}{share:>7.1f} %")
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["tests"]))
