"""Programs that handle, block, ignore and cause SIGTRAP themselves behave as they do without a recorder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import odograph
from odograph.recorder import ptrace, qemu
from odograph.recorder.record import record

Build = Callable[..., str]

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
needs_qemu = pytest.mark.skipif(qemu.unavailable() is not None, reason="no QEMU")
needs_ptrace = pytest.mark.skipif(ptrace.unavailable() is not None, reason="no ptrace")

CASES = [
    *(
        "int3",
        "int3-long",
        "raise",
        "kill",
        "nodefer",
        "reset",
        "no-handler",
        "blocked-raise",
        "blocked-int3",
    ),
    *("blocked-wait", "suspend", "ignored-raise", "ignored-int3", "ignored-exec", "blocked-fork", "thread"),
    *("killed-thread", "longjmp", "longjmp-blocked", "flags", "other-signal", "restart"),
]
#: QEMU knows no int1, and gives single steps another si_code.
NOT_IN_QEMU = ["int1", "trap-flag", "trap-flag-syscall", "trap-flag-long"]
#: What costs least and shows most.
SAMPLE = [
    *("int3", "int1", "blocked-int3", "ignored-raise", "thread", "longjmp"),
    *("trap-flag-syscall", "flags"),
]


def alone(program: str, *cases: str) -> tuple[str, int]:
    """What the program prints without a recorder, and its status."""
    run = subprocess.run([program, *cases], capture_output=True, text=True, check=False, env={})
    return run.stdout, run.returncode if run.returncode >= 0 else 128 - run.returncode


def recorded(
    program: str, cases: list[str], backend: str, path: Path, capfd: pytest.CaptureFixture[str]
) -> tuple[str, int]:
    result = record([program, *cases], path, backend=backend, env={})
    verdicts = odograph.open(path).verify()
    assert verdicts
    assert [verdict for verdict in verdicts if not verdict.ok] == []
    assert odograph.open(path).source.executed.gaps == []
    return capfd.readouterr().out, result.status


@needs_ptrace
def test_a_stepped_program_keeps_its_traps(
    build: Build, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = build("traps", "-static")
    assert recorded(program, SAMPLE, "ptrace", tmp_path / "x", capfd) == alone(program, *SAMPLE)


@needs_qemu
def test_an_emulated_program_keeps_its_traps(
    build: Build, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = build("traps", "-static")
    assert recorded(program, CASES, "qemu", tmp_path / "x", capfd) == alone(program, *CASES)


@needs_ptrace
@pytest.mark.acceptance
@pytest.mark.parametrize("case", [*CASES, *NOT_IN_QEMU])
def test_each_case_of_traps_when_stepped(
    build: Build, case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = build("traps", "-static")
    assert recorded(program, [case], "ptrace", tmp_path / "x", capfd) == alone(program, case)
