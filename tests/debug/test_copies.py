"""A library that was loaded twice at different addresses: its names and lines mean both copies."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import odograph
from odograph.debug import Target
from odograph.debug.dap.places import Places
from odograph.errors import InvalidArgument
from odograph.history.history import History
from odograph.processor import ReplayProcessor
from odograph.recorder import qemu
from odograph.recorder.record import record
from support.debugruns import compiled
from support.paths import PROGRAMS

pytestmark = [
    pytest.mark.skipif(qemu.unavailable() is not None, reason="no QEMU"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
]


# Two functions begin on line 2.
LIBRARY = """\
#define APART __attribute__((noinline))
APART static int {0}_part(int x) {{ return x * 3; }} int {0}(int x) {{ return {0}_part(x) + 1; }}


int {0}_never(int x) {{ return x; }}
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copies")
    libraries = []
    for name in ("first", "second"):
        (folder / f"{name}.c").write_text(LIBRARY.format(name))
        libraries.append(str(folder / f"lib{name}.so"))
        words = ["gcc", "-g", "-O1", "-shared", "-fPIC", str(folder / f"{name}.c"), "-o", libraries[-1]]
        subprocess.run(words, check=True)
    program = compiled(folder, "reloaded", (PROGRAMS / "reloaded.c").read_text(), "-ldl")
    path = folder / "reloaded.data"
    record([str(program), *libraries], str(path), backend="qemu")
    return path


@pytest.fixture(scope="module")
def history(path: Path) -> History:
    return odograph.open(path).history()


def called(history: History, name: str) -> list[int]:
    """The steps at which a function begins, by the names of each step."""
    found = []
    for span in history.spans:
        assert span.symbols is not None
        names = np.array(span.symbols.names_of(history.ips(span.start, span.stop)))
        found += (np.flatnonzero(names == name) + span.start).tolist()
    return found


def test_a_name_means_its_function_in_each_copy(history: History) -> None:
    for name in ("first", "second"):
        truth = called(history, f"lib{name}.so!{name}")
        assert len(truth) == 2
        assert history.find(name).tolist() == truth
        assert history.find(f"lib{name}.so!{name}").tolist() == truth
        assert history.symbols is not None
        inside = history.symbols.modules
        offset = next(one.inside(history[truth[0]].ip) for one in inside if one.name == f"lib{name}.so")
        assert set(truth) <= set(history.find(f"lib{name}.so+{offset:#x}").tolist())


def test_break_tells_the_hits_in_each_copy(path: Path, history: History) -> None:
    words = [sys.executable, "-m", "odograph", "break", str(path)]
    lines = subprocess.run([*words, "first", "second"], capture_output=True, text=True, check=True)
    truth = sorted(called(history, "libfirst.so!first") + called(history, "libsecond.so!second"))
    assert [int(line.split()[0]) for line in lines.stdout.splitlines()] == truth


def test_a_line_means_all_functions_that_begin_there_in_each_copy(path: Path, history: History) -> None:
    truth = sorted(called(history, "libfirst.so!first") + called(history, "libfirst.so!first_part"))
    assert len(truth) == 4
    assert history.find("first.c:2").tolist() == truth
    found = Places(Target(odograph.open(path))).addresses_of("first.c", 2)
    assert found == (2, history.addresses("first.c:2"))


def test_break_says_which_line_it_takes_for_one_without_code(path: Path) -> None:
    words = [sys.executable, "-m", "odograph", "break", str(path)]
    asked = subprocess.run([*words, "first.c:1"], capture_output=True, text=True, check=True)
    assert "no code begins at first.c:1; the next line that has code is 2" in asked.stderr
    assert len(asked.stdout.splitlines()) == 4
    asked = subprocess.run([*words, "first.c:2"], capture_output=True, text=True, check=True)
    assert asked.stderr == ""


def test_a_processor_has_breakpoints_in_each_copy(history: History) -> None:
    processor = ReplayProcessor(history)
    steps = []
    for first, last in processor.breakpoints.places("first"):
        processor.breakpoints.add_instruction(
            first, last, callback=lambda cpu, address, size: steps.append(cpu.step)
        )
    processor.run(across_gaps=True)
    assert steps == called(history, "libfirst.so!first")
    if len(processor.breakpoints) > 1:
        with pytest.raises(InvalidArgument, match=r"'first' means 2 places: .* places\('first'\)"):
            processor.breakpoints.at("first")


@pytest.mark.skipif(shutil.which("gdb") is None, reason="needs gdb")
def test_gdb_breaks_in_each_copy(path: Path, history: History) -> None:
    commands = ["set breakpoint pending on", "break first", "continue", "monitor where", "continue"]
    commands += ["monitor where", "continue"]
    words = [sys.executable, "-m", "odograph", "gdb", str(path), "--run", "--", "-batch", "-nx"]
    for command in commands:
        words += ["-ex", command]
    said = subprocess.run(words, capture_output=True, text=True, timeout=120)
    # Since version 13 gdb tells which location was met.
    met = re.findall(r"Breakpoint 1(?:\.\d)?, first ", said.stdout)
    assert len(met) == 2, said.stdout + said.stderr
