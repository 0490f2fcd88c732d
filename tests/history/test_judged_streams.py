"""Random traces, sound and damaged, decoded here and by Debian's libipt: every layer says the same.

Where the two are known to differ, and why, stands in ``crates/core/tests/support/streams/known``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.paths import ROOT

SOURCE = ROOT / "tests/libipt_streams.c"
CLASSES, LAYERS = 5, 3


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled judge; skips without compiler, libipt-dev or cargo."""
    program = tmp_path_factory.mktemp("judge") / "libipt_streams"
    if not shutil.which("cc"):
        pytest.skip("judge libipt: no C compiler: cc was not found")
    if not shutil.which("cargo"):
        pytest.skip("judge libipt: cargo was not found")
    command: list[str | Path] = ["cc", "-O2", "-Wall", "-Wextra", "-o", program, SOURCE, "-lipt"]
    done = subprocess.run(command, capture_output=True, text=True)
    if "intel-pt.h" in done.stderr or "-lipt" in done.stderr:
        pytest.skip("judge libipt: libipt's headers are missing: install libipt-dev")
    assert done.returncode == 0, done.stderr
    return program


def compare(judge: Path, first: int, count: int, seconds: int) -> None:
    """Compares ``count`` streams of every class in every layer; fails with the smallest that differ."""
    example = [
        "cargo",
        "run",
        "--profile",
        "quick",
        "--quiet",
        "-p",
        "odograph-core",
        "--example",
        "judged",
        "--",
    ]
    command: list[str | Path] = [*example, judge, judge.parent, str(first), str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout + done.stderr
    same = [int(number) for number in re.findall(r"(\d+) lines the same", done.stdout)]
    assert len(same) == CLASSES * LAYERS
    assert sum(same) > 10 * count * CLASSES * LAYERS
    survived = re.search(r"libipt did not survive (\d+)", done.stdout)
    assert survived
    assert int(survived[1]) <= 1 + count * CLASSES * LAYERS // 100


def test_a_few_hundred_streams(judge: Path) -> None:
    compare(judge, 1, 30, 600)


@pytest.mark.acceptance
def test_tens_of_thousands_of_streams(judge: Path) -> None:
    compare(judge, 1000, 2400, 3600)
