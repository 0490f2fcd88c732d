"""Programs with debug information, recorded once, and the debuggers that look at them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

import odograph
from odograph.debug import Target
from odograph.recorder import ptrace, qemu
from support.debugruns import PROGRAM, THREADS, Recorded, compiled, record


@pytest.fixture(scope="session")
def recorder() -> str:
    """A way of recording that needs no hardware."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    if qemu.unavailable() is None:
        return "qemu"
    if ptrace.unavailable() is None:
        return "ptrace"
    pytest.skip("needs qemu-user or ptrace")


@pytest.fixture(scope="session")
def recorded(recorder: str, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A program with recursion, callbacks and library calls; position independent, with shared libraries."""
    directory = tmp_path_factory.mktemp("recorded")
    program = compiled(directory, "turns", PROGRAM)
    return record(program, directory / "turns.data", recorder)


@pytest.fixture(scope="session")
def elsewhere(recorder: str, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The same, but the program is no longer where it was: only the server knows where its file is."""
    directory = tmp_path_factory.mktemp("elsewhere")
    program = compiled(directory, "away", PROGRAM)
    path = record(program, directory / "away.data", recorder).path
    (directory / "root").mkdir()
    program.rename(directory / "root" / "away")
    return Recorded(path, directory / "root" / "away", ("--sysroot", str(directory / "root")))


@pytest.fixture(scope="session")
def threaded(recorder: str, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Two threads that do different things."""
    directory = tmp_path_factory.mktemp("threaded")
    program = compiled(directory, "two", THREADS, "-pthread")
    return record(program, directory / "two.data", recorder)


@pytest.fixture
def target(recorded: Recorded) -> Target:
    """The program at its first step."""
    return Target(odograph.open(recorded.path))


@pytest.fixture(scope="session")
def gdb() -> Callable[..., list[str]]:
    """Runs gdb through ``odograph gdb --run``; gives what each command printed."""
    if shutil.which("gdb") is None:
        pytest.skip("needs gdb")

    def run(recorded: Recorded, *commands: str, options: tuple[str, ...] = ()) -> list[str]:
        words = [word for command in commands for word in ("-ex", r"echo \n@@\n", "-ex", command)]
        line = [sys.executable, "-m", "odograph", "gdb", str(recorded.path), *recorded.options, *options]
        line += ["--run", "--", "-nx", "-batch", "-ex", "set width 0", *words, "-ex", r"echo \n@@\n"]
        result = subprocess.run(
            line,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
            cwd="/",
        )
        return [part.strip() for part in result.stdout.split("@@")[1:-1]]

    return run
