"""Builds and runs the libipt harness, and knows the two forms of image maps."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("libipt_harness.c")


class Region(NamedTuple):
    """A piece of a file and the address it was mapped at."""

    path: Path
    offset: int
    size: int
    vaddr: int


class HarnessError(Exception):
    """The harness could not be built or gave up; the text says why."""


def read_map(path: Path, img: Path | None = None) -> list[Region]:
    """The regions of an image map.

    With ``img`` the lines are ``vaddr size offset …``, all in that file; without it they are
    ``file offset size vaddr`` with files relative to the folder of the map. Numbers are hex.
    """
    regions = []
    for line in path.read_text().splitlines():
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        if img is not None:
            vaddr, size, offset = (int(field, 16) for field in fields[:3])
            regions.append(Region(img, offset, size, vaddr))
        else:
            offset, size, vaddr = (int(field, 16) for field in fields[-3:])
            regions.append(Region(path.parent / " ".join(fields[:-3]), offset, size, vaddr))
    return regions


def build(directory: Path, compiler: str = "cc") -> Path:
    """Compiles the harness into ``directory``; raises HarnessError without compiler or headers."""
    harness = directory / "libipt_harness"
    command: list[str | Path] = [compiler, "-O2", "-Wall", "-Wextra", "-o", harness, SOURCE, "-lipt"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise HarnessError(f"no C compiler: {compiler} was not found") from None
    except subprocess.CalledProcessError as error:
        if "intel-pt.h" in error.stderr or "-lipt" in error.stderr:
            raise HarnessError("libipt's headers are missing: install libipt-dev") from None
        raise HarnessError(error.stderr) from None
    return harness


def run(
    harness: Path,
    mode: str,
    trace: Path,
    regions: Iterable[Region],
    *,
    cpu: str | None = None,
    hashes: bool = True,
    ips: Path | None = None,
    again: bool = False,
) -> dict[str, str]:
    """Runs the harness on ``trace`` and returns what it printed, by name."""
    text = "".join(f"{r.offset:x} {r.size:x} {r.vaddr:x} {r.path.absolute()}\n" for r in regions)
    options: list[str | Path] = []
    if cpu:
        options += ["--cpu", cpu]
    if not hashes:
        options.append("--no-hash")
    if again:
        options.append("--again")
    if ips is not None:
        options += ["--ips", ips]
    command = [harness, mode, trace, "/dev/stdin", *options]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise HarnessError(done.stderr.strip() or f"the harness ended with {done.returncode}")
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())
