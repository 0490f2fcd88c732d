"""Outside judges: Debian's libipt and perf decode the same trace and say what they saw.

Each skips the test by name where the judge is not installed.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import libipt


class Judgement(NamedTuple):
    """What libipt executed: steps, the hash of their addresses, and the addresses."""

    count: int
    hash: int
    ips: list[int]


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that lives as long as the tests."""
    return tempfile.TemporaryDirectory(prefix="odograph-judges-")


@cache
def _build() -> Path | str:
    """The harness, or why there is none."""
    try:
        return libipt.build(Path(_folder().name))
    except libipt.HarnessError as error:
        return str(error)


def libipt_harness() -> Path:
    """The compiled libipt harness; skips without compiler or libipt-dev."""
    harness = _build()
    if isinstance(harness, str):
        pytest.skip(f"judge libipt: {harness}")
    return harness


def libipt_decode(
    trace: bytes,
    sections: Iterable[tuple[int, bytes] | libipt.Region],
    *,
    cpu: str | None = None,
    mode: str = "insn",
) -> Judgement:
    """What libipt's instruction decoder makes of ``trace``.

    A section is ``(vaddr, code)`` or a region of a file; later ones hide earlier ones. ``cpu`` is
    ``family/model/stepping`` for errata. After an error libipt goes on at the next PSB.
    """
    harness = libipt_harness()
    with tempfile.TemporaryDirectory(dir=_folder().name) as name:
        folder = Path(name)
        regions = []
        for index, section in enumerate(sections):
            if not isinstance(section, libipt.Region):
                vaddr, code = section
                path = folder / f"section-{index}"
                path.write_bytes(code)
                section = libipt.Region(path, 0, len(code), vaddr)
            regions.append(section)
        (folder / "trace").write_bytes(trace)
        found = libipt.run(harness, mode, folder / "trace", regions, cpu=cpu, ips=folder / "ips")
        ips = [ip for (ip,) in struct.iter_unpack("<Q", (folder / "ips").read_bytes())]
    return Judgement(int(found["instructions"]), int(found["hash"], 16), ips)


def perf_script(recording: Path) -> list[int]:
    """The address of every instruction ``perf script`` finds in a perf.data file."""
    if not shutil.which("perf"):
        pytest.skip("judge perf: not installed (Debian: linux-perf)")
    command = ["perf", "script", "-i", recording, "--itrace=i1i", "-F", "ip"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"perf script: {done.stderr.strip()}")
    return [int(line, 16) for line in done.stdout.split()]
