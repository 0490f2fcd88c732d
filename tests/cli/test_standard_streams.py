"""Standard streams that are full, closed or not read: one sentence, the command's own exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from odograph.recorder import ptrace
from support.paths import CORPUS

RECORDING = CORPUS / "static.qemu.data"
ODOGRAPH = [sys.executable, "-m", "odograph"]
PTDUMP = [sys.executable, "-c", "import sys; from odograph.dropins.ptdump import main; sys.exit(main())"]
READERS = [
    pytest.param([*ODOGRAPH, "info", str(RECORDING)], 2, id="a short text"),
    pytest.param([*ODOGRAPH, "steps", str(RECORDING), "--tail", "2000"], 2, id="a long text"),
    pytest.param([*ODOGRAPH, "info", str(RECORDING), "--json"], 2, id="JSON"),
    pytest.param([*ODOGRAPH, "packets", str(RECORDING)], 2, id="packets"),
    pytest.param([*ODOGRAPH, "--version"], 2, id="the version"),
    pytest.param([*ODOGRAPH, "steps", "--help"], 2, id="help"),
    pytest.param([*PTDUMP, "--help"], 1, id="a drop-in"),
]
needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
needs_ptrace = pytest.mark.skipif(ptrace.unavailable() is not None, reason="no ptrace")


def run(words: list[str], redirected: str) -> tuple[int, str]:
    """The exit code, and what was said on standard error."""
    done = subprocess.run(
        ["sh", "-c", f'"$@" {redirected}', "sh", *words], stderr=subprocess.PIPE, text=True, check=False
    )
    return done.returncode, done.stderr


@needs_full
@pytest.mark.parametrize(("words", "status"), READERS)
def test_a_full_standard_output_is_said_once(words: list[str], status: int) -> None:
    returned, said = run(words, ">/dev/full")
    assert returned == status
    assert said.count("\n") == 1
    assert said.endswith(": standard output: No space left on device\n")


def test_a_closed_standard_output_is_said() -> None:
    assert run(READERS[0].values[0], ">&-") == (2, "odograph: standard output: Bad file descriptor\n")


@pytest.mark.parametrize("redirected", [pytest.param("2>/dev/full", marks=needs_full), "2>&-"])
def test_a_standard_error_that_cannot_be_written_changes_no_exit_code(redirected: str) -> None:
    assert run([*ODOGRAPH, "info", "nowhere"], redirected) == (2, "")
    assert run(ODOGRAPH, redirected) == (2, "")
    assert run([*PTDUMP, "nowhere"], redirected) == (1, "")
    assert run([*ODOGRAPH, "info", str(RECORDING)], f">/dev/null {redirected}") == (0, "")


@pytest.mark.parametrize("words", [[*ODOGRAPH, "steps", str(RECORDING)], [*PTDUMP, "--help"]])
def test_closed_output_ends_a_command_quietly(words: list[str]) -> None:
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, said = process.communicate()
    assert (process.returncode, said) == (0, "")


@needs_full
@needs_ptrace
def test_what_run_cannot_write_is_its_own_failure(tmp_path: Path) -> None:
    # JSON of a short program is less than what is buffered; a program's own status would be 1.
    words = [*ODOGRAPH, "run", "--with", "ptrace", "-o", str(tmp_path / "x"), "--json", "--", "/bin/false"]
    assert run(words, ">/dev/full") == (125, "odograph: standard output: No space left on device\n")
    assert (tmp_path / "x").exists()
