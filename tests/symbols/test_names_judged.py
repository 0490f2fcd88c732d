"""Names of steps against gdb, and of functions that only call frame information knows against readelf."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

import odograph
from odograph.recorder import qemu
from odograph.recorder.record import record
from support.judgednames import Step, build, disagreements, steps_of

pytestmark = [
    pytest.mark.skipif(qemu.unavailable() is not None, reason="no QEMU"),
    *(
        pytest.mark.skipif(shutil.which(tool) is None, reason=f"needs {tool}")
        for tool in ("gcc", "gdb", "objcopy", "readelf")
    ),
]

#: Of all programs together.
SAMPLE, ALL = 600, 10_000


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Recordings by what their program shows."""
    folder = tmp_path_factory.mktemp("named")
    made = {}
    for number, (name, (program, arguments)) in enumerate(build(folder).items()):
        made[name] = folder / f"{number}.data"
        record([str(program), *arguments], str(made[name]), backend="qemu")
    return made


def sampled(recordings: dict[str, Path], count: int, seed: int) -> list[Step]:
    """Steps at random, as many of each program, more of its own files than of libraries."""
    generator = random.Random(seed)
    steps: list[Step] = []
    for name, path in recordings.items():
        recording = odograph.open(path)
        chosen: dict[int, list[int]] = {}
        each = max(1, count // len(recordings) // len(recording.threads))
        for thread in recording.threads:
            ips = recording.history(thread.tid).ips()
            own = [step for step, ip in enumerate(ips.tolist()) if not 0x4000800000 < ip < 1 << 63]
            picked = [generator.randrange(len(ips)) for _ in range(each - each // 2)]
            picked += [generator.choice(own) for _ in range(each // 2)] if own else []
            chosen[thread.tid] = sorted(set(picked))
        steps += steps_of(path, name, chosen)
    return steps


def test_names_of_steps_are_gdbs(recordings: dict[str, Path], tmp_path: Path) -> None:
    steps = sampled(recordings, SAMPLE, 1)
    assert {step.place.known_by for step in steps} >= {"symbol", "dwarf", "fde"}
    assert disagreements(steps, tmp_path) == []


@pytest.mark.acceptance
def test_names_of_many_steps_are_gdbs(recordings: dict[str, Path], tmp_path: Path) -> None:
    steps = sampled(recordings, 2 * ALL, 2)
    assert len(steps) >= ALL
    assert disagreements(steps, tmp_path) == []
