"""Odograph in a process of its own, measured: prints what decoding took as JSON.

Before each decode it prints ``ready`` and waits for a line, so that two can begin at once.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import odograph

#: Addresses written at a time, and at most.
CHUNK, MOST = 1 << 24, 1 << 28


def status(name: str) -> int:
    """A size that Linux tells of this process, in bytes; 0 where it tells none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":")), 0)


def image_of(regions: list[str]) -> odograph.Image:
    """An image of regions written ``offset size address path``."""
    image = odograph.Image()
    for region in regions:
        offset, size, vaddr, path = region.split(" ", 3)
        image.add_file(path, int(offset, 16), int(size, 16), int(vaddr, 16))
    return image


def write_addresses(history: odograph.History) -> tuple[int, float]:
    """Writes addresses of steps into arrays: how many, and CPU seconds."""
    history.ips(0, CHUNK)
    start, count = time.process_time(), min(len(history), MOST)
    for step in range(0, count, CHUNK):
        history.ips(step, min(step + CHUNK, count))
    return count, time.process_time() - start


def main() -> None:
    """Decodes as often as asked; the first time is cold, the others know the code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("trace", type=Path)
    parser.add_argument("regions", nargs="*")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--ips", action="store_true")
    options = parser.parse_args()
    trace = options.trace.read_bytes()
    image = image_of(options.regions)
    odograph.decode(b"", odograph.Image())  # Python loads a module when it is needed first.
    before = status("VmRSS")
    found: dict[str, Any] = {"cpu": [], "wall": []}
    for _ in range(options.times):
        print("ready", flush=True)
        sys.stdin.readline()
        wall, cpu = time.perf_counter(), time.process_time()
        history = odograph.decode(trace, image, threads=options.threads)
        found["cpu"].append(time.process_time() - cpu)
        found["wall"].append(time.perf_counter() - wall)
        found.setdefault("peak", status("VmHWM") - before)
    found["instructions"] = len(history)
    found["gaps"] = len(history.gaps())
    if options.ips:
        found["ips"], found["ips_cpu"] = write_addresses(history)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
