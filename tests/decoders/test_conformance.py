"""The decoder conformance cases: a sample of their command lines, and all of them in acceptance runs."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from conformance import (
    TOOLS,
    CommandLine,
    Runner,
    as_executable,
    command_lines,
    comparable,
    difference,
    failures,
)
from conformance import in_process as in_this_process


def report(lines: list[CommandLine], run: Runner) -> list[str]:
    """What fails, as text."""
    return ["\n".join([str(line), *wrong]) for line, wrong in failures(lines, run)]


@pytest.mark.parametrize("tool", TOOLS)
def test_a_sample(shared: Path, tool: str) -> None:
    lines = random.Random(2013).sample(command_lines(tool=tool), 60)
    assert report(lines, in_this_process) == []


@pytest.mark.parametrize("tool", TOOLS)
def test_installed_commands(shared: Path, tool: str) -> None:
    lines = random.Random(2013).sample(command_lines(tool=tool), 4)
    assert report(lines, as_executable) == []


@pytest.mark.acceptance
@pytest.mark.parametrize("run", [in_this_process, as_executable])
@pytest.mark.parametrize("tool", TOOLS)
def test_all(shared: Path, tool: str, run: Runner) -> None:
    lines = command_lines(tool=tool)
    assert len(lines) > 200
    assert report(lines, run) == []


def test_texts_are_compared_as_diff_b_does(tmp_path: Path) -> None:
    assert comparable("a  b \n\tc\n") == ["a b", " c"]
    (tmp_path / "exp").write_text("psb\ntsc 1\n")
    line = CommandLine("case", tmp_path, "ptdump", ("x.pt",), "exp", 0)
    assert difference(line, lambda _: (b"psb \ntsc   1\n", 0)) == []
    assert difference(line, lambda _: (b"psb\ntsc1\n", 0))[-2:] == ["-tsc 1", "+tsc1"]
    assert difference(line, lambda _: (b"psb\n", 0))[-1] == "-tsc 1"
    assert difference(line, lambda _: (b"psb\ntsc 1\n", 1)) == ["exit code 1, not 0"]
    assert difference(line)[0] == "exit code 1, not 0"
