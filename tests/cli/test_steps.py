"""``odograph steps``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import SHARED, Run

LISTING = """\
      [enabled at 0x401000]
      [exec mode at 0x401000: 64-bit]
   0  0000000000401000  dec eax
   1  0000000000401002  jne short 0x401000
   2  0000000000401000  dec eax
   3  0000000000401002  jne short 0x401000
   4  0000000000401000  dec eax
   5  0000000000401002  jne short 0x401000
   6  0000000000401004  ret
      [disabled]
"""


def test_a_listing(run: Run, trace: Path, code: Path) -> None:
    result = run("steps", trace, "--map", f"{code}:0x401000")
    assert (result.returncode, result.stdout, result.stderr) == (0, LISTING, "")


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        (("--from", 2, "--to", 4), [2, 3]),
        (("--tail", 2), [5, 6]),
        (("--tail", 99), list(range(7))),
        (("--from", -3), [4, 5, 6]),
        (("--from", 5, "--to", 2), []),
        (("--from", 100), []),
    ],
)
def test_which_steps(
    run_json: Callable[..., Any], trace: Path, code: Path, options: tuple[Any, ...], steps: list[int]
) -> None:
    document = run_json("steps", trace, "--map", f"{code}:0x401000", *options)
    assert [row["step"] for row in document["steps"]] == steps
    assert document["instructions"] == 7


def test_code_may_be_a_part_of_a_file(run: Run, trace: Path, code: Path, tmp_path: Path) -> None:
    packed = tmp_path / "a:b.bin"
    packed.write_bytes(b"\xcc" * 16 + code.read_bytes() + b"\xcc")
    for option in (f"{packed}:16:0x401000", f"{packed}:0x10-0x15:0x401000"):
        assert run("steps", trace, "--map", option).stdout == LISTING


def test_tail_and_from_are_too_much(run: Run, trace: Path) -> None:
    result = run("steps", trace, "--tail", 1, "--from", 1)
    assert result.returncode == 2
    assert "--tail already says which steps" in result.stderr


def test_gaps_appear_where_they_are(run: Run, trace: Path) -> None:
    result = run("steps", trace)
    assert "[gap: memory (nomap) at 0x401000" in result.stdout


def test_a_reader_that_stops_early_is_no_error(bench: Callable[[str], Path]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "odograph", "steps", str(bench("gzip-s-def.perf.data"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_bench_traces_by_their_maps(run_json: Callable[..., Any], bench: Callable[[str], Path]) -> None:
    image = bench("gzip.img")
    options = []
    for line in (SHARED / "bench" / "gzip.map").read_text().splitlines():
        vaddr, size, offset = (int(field, 16) for field in line.split()[:3])
        options += ["--map", f"{image}:{offset:#x}-{offset + size:#x}:{vaddr:#x}"]
    document = run_json("steps", bench("gzip-s-def.pt"), *options, "--tail", 3)
    assert document["instructions"] == 29985056
    assert document["gaps"] == []


def test_colour_only_on_terminals_that_want_it(run: Run, trace: Path) -> None:
    assert "\x1b" not in run("info", trace, env={**os.environ, "FORCE_COLOR": "1"}).stdout
