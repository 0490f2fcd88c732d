"""Stacks from executed code, judged by the unwind information that compilers wrote."""

from __future__ import annotations

import bisect
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import odograph
from odograph.debug import Target
from support.debugruns import Recorded, compiled, record
from support.landmarks import landmarks
from support.paths import PROGRAMS

_RBP = 5

Row = tuple[int, str, int]


def rows_of(path: str) -> list[Row]:
    """(address, rule of the CFA, end of the function) as binutils reads them."""
    text = subprocess.run(["readelf", "-wF", path], capture_output=True, text=True).stdout
    rows: list[Row] = []
    end = 0
    for line in text.splitlines():
        found = re.search(r"FDE .*pc=([0-9a-f]+)\.\.([0-9a-f]+)", line)
        if found is not None:
            end = int(found[2], 16)
        words = line.split()
        if end and len(words) > 1 and re.fullmatch(r"[0-9a-f]{16}", words[0]):
            rows.append((int(words[0], 16), words[1], end))
    return sorted(rows)


class Judge:
    """Compares the frames of a target with the rules for its CFAs."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._rows = {
            file.path: rows_of(file.path) for file in target.files if file.path is not None and file.headers
        }
        self.seen: Counter[str] = Counter()

    def rule(self, pc: int) -> tuple[str, int] | None:
        """Which register and how far the CFA lies from it, where the rule is as simple as that."""
        for file in self.target.files:
            rows = self._rows.get(file.path or "", [])
            at = bisect.bisect(rows, (pc - file.bias, "~", 0)) - 1
            if at >= 0 and pc - file.bias < rows[at][2]:
                found = re.fullmatch(r"(rsp|rbp)\+(\d+)", rows[at][1])
                return None if found is None else (found[1], int(found[2]))
        return None

    def look(self, step: int) -> None:
        """Compares all frames at a step."""
        self.target.goto(step)
        stack = self.target.stack
        assert stack is not None
        for frame in stack.frames:
            rule = self.rule(frame.pc)
            if rule is None:
                self.seen["no rule"] += 1
                continue
            register, distance = rule
            value = frame.rsp if register == "rsp" else frame.registers.get(_RBP)
            assert value is not None, (step, hex(frame.pc))
            assert frame.cfa - value == distance, (step, hex(frame.pc), frame)
            self.seen[register] += 1


def judged(path: Path, count: int) -> Counter[str]:
    target = Target(odograph.open(path))
    judge = Judge(target)
    symbols = target.history.symbols
    assert symbols is not None
    for step in landmarks(target.history, count, {module.name for module in symbols.modules}):
        judge.look(step)
    return judge.seen


@pytest.fixture(scope="module")
def readelf() -> None:
    if shutil.which("readelf") is None:
        pytest.skip("needs readelf")


def test_stacks_are_those_of_the_unwind_information(readelf: None, recorded: Recorded) -> None:
    seen = judged(recorded.path, 300)
    assert seen["rsp"] > 300
    assert seen["rbp"] > 100


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(
            ["bash", "-c", "for i in 1 2 3; do echo $((i * 2)); done"], marks=pytest.mark.acceptance
        ),
        ["ls", "-l", "/usr"],
    ],
)
def test_stacks_of_other_peoples_programs(
    readelf: None, recorder: str, tmp_path: Path, command: list[str]
) -> None:
    program = shutil.which(command[0])
    if program is None:
        pytest.skip(f"needs {command[0]}")
    path = tmp_path / "program.data"
    record(Path(program), path, recorder, *command[1:])
    assert judged(path, 100)["rsp"] > 100


@pytest.mark.acceptance
def test_stacks_of_an_interpreter(readelf: None, recorder: str, tmp_path: Path) -> None:
    path = tmp_path / "program.data"
    record(Path("/usr/bin/python3"), path, recorder, "-c", "import json; print(json.dumps([1, {'a': 2}]))")
    assert judged(path, 1000)["rsp"] > 10_000


@pytest.mark.parametrize("steps", [100, pytest.param(400, marks=pytest.mark.acceptance)])
def test_the_way_to_a_step_makes_no_difference(recorded: Recorded, steps: int) -> None:
    recording = odograph.open(recorded.path)
    walking = Target(recording)
    main = walking.symbols.resolve("main")
    walking.goto(int(walking.history.find(main)[0]))
    seen = []
    for _ in range(steps):
        walking.step_insn()
        stack = walking.stack
        assert stack is not None
        seen.append((walking.step, stack.frames))
    for _ in range(steps):
        step, frames = seen.pop()
        assert walking.step == step
        assert walking.stack is not None
        assert walking.stack.frames == frames
        if step % 7 == 0:
            jumping = Target(recording)
            jumping.goto(step)
            assert jumping.stack is not None
            assert jumping.stack.frames == frames
        walking.step_insn(reverse=True)


@pytest.fixture(scope="module")
def signalled(recorder: str, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    directory = tmp_path_factory.mktemp("signalled")
    program = compiled(directory, "signals", (PROGRAMS / "signals.c").read_text())
    return record(program, directory / "signals.data", recorder)


def test_handlers_lie_on_what_they_interrupted(gdb: Callable[..., list[str]], signalled: Recorded) -> None:
    said = gdb(
        signalled, "break jump_out", "continue", "bt -past-main", "delete", "break count", "continue", "bt"
    )
    assert re.findall(r"#\d+ +(?:0x\w+ in )?(<signal handler called>|\w+)", said[2])[:3] == [
        "jump_out",
        "<signal handler called>",
        "main",
    ]
    names = re.findall(r"#\d+ +(?:0x\w+ in )?(<signal handler called>|\w+)", said[6])
    assert names[:2] == ["count", "<signal handler called>"]
    assert "raise" in " ".join(names)
    assert names[-1] == "main"


def test_a_crash_is_shown_where_it_happened(
    gdb: Callable[..., list[str]], recorder: str, tmp_path: Path
) -> None:
    program = compiled(tmp_path, "crash", (PROGRAMS / "crash.c").read_text())
    crashed = record(program, tmp_path / "crash.data", recorder)
    said = gdb(crashed, "continue", "bt", "info line *$pc", "reverse-stepi", "stepi", "stepi")
    assert "No more reverse-execution history" in said[0]
    assert "main (" in said[1]
    assert "No more reverse-execution history" not in said[4]
    assert "No more reverse-execution history" in said[5]
