"""What `make` needs is checked first, and what is missing is said in one message."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.paths import ROOT

SCRIPT = ROOT / "tools" / "requirements.sh"
TOOLS = ("sh", "sed", "cut", "mktemp", "rm", "cat", "dirname")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A search path on which everything that is needed is present, as stand-ins."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    program(folder / "cc", "exit 0")
    program(folder / "cargo", "exit 0")
    program(folder / "rustc", 'echo "rustc 1.95.0 (59807616e 2026-04-14)"')
    program(folder / "python3", 'case "$2" in *version_info*) echo 3.11 ;; esac')
    return folder


def program(path: Path, commands: str) -> None:
    path.write_text(f"#!/bin/sh\n{commands}\n")
    path.chmod(0o755)


def check(path: Path, **variables: str) -> tuple[int, str]:
    environment = {"PATH": str(path), "HOME": str(path.parent), **variables}
    run = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert run.stdout == ""
    return run.returncode, run.stderr


def test_it_is_silent_where_nothing_is_missing(path: Path) -> None:
    assert check(path) == (0, "")


def test_everything_that_is_missing_is_named_at_once(path: Path) -> None:
    for name in ("cc", "cargo", "rustc", "python3"):
        (path / name).unlink()
    status, text = check(path)
    assert status == 1
    assert text.splitlines() == [
        "Odograph cannot be built yet. Missing:",
        "  Python 3.11 or newer: python3 was not found",
        "  a C compiler, which Rust links with: cc was not found",
        "  Rust 1.88 or newer: cargo or rustc was not found; install Rust as https://rustup.rs says",
        "On Debian or Ubuntu: apt install python3 python3-venv gcc libc6-dev",
    ]


def test_a_compiler_without_the_c_library_is_not_enough(path: Path) -> None:
    program(path / "cc", "echo 'cannot find crt1.o' >&2; exit 1")
    status, text = check(path)
    assert status == 1
    assert "cc cannot build a small program" in text
    assert text.endswith("apt install libc6-dev\n")


def test_a_python_without_venv_is_not_enough(path: Path) -> None:
    program(path / "python3", 'case "$2" in *version_info*) echo 3.13 ;; *) exit 1 ;; esac')
    status, text = check(path)
    assert status == 1
    assert "python3 lacks them" in text
    assert text.endswith("apt install python3-venv\n")


@pytest.mark.parametrize(
    ("version", "enough"), [("3.9", False), ("3.10", False), ("3.11", True), ("4.0", True)]
)
def test_versions_of_python_are_compared(path: Path, version: str, enough: bool) -> None:
    program(path / "python3", f'case "$2" in *version_info*) echo {version} ;; esac')
    status, text = check(path)
    assert (status == 0) == enough
    assert enough or f"python3 is {version}" in text
    program(path / "other", 'case "$2" in *version_info*) echo 3.12 ;; esac')
    assert check(path, PYTHON="other") == (0, "")


@pytest.mark.parametrize(
    ("version", "enough"), [("1.63.0", False), ("1.85.0", False), ("1.88.0", True), ("1.100.0-nightly", True)]
)
def test_versions_of_rust_are_compared(path: Path, version: str, enough: bool) -> None:
    program(path / "rustc", f'echo "rustc {version} (x)"')
    status, text = check(path)
    assert (status == 0) == enough
    assert enough or f"rustc is {version}; rustup update" in text


def test_a_rust_that_is_not_on_the_search_path_is_found(path: Path) -> None:
    (path / "cargo").unlink()
    (path.parent / ".cargo" / "bin").mkdir(parents=True)
    program(path.parent / ".cargo" / "bin" / "cargo", "exit 0")
    assert ". ~/.cargo/env" in check(path)[1]


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_stops_with_that_message(path: Path) -> None:
    (path / "cc").unlink()
    make = shutil.which("make")
    assert make is not None
    command = [make, "-C", str(SCRIPT.parents[1]), "VENV=.no-such-venv", "run"]
    for name in ("find", "echo"):
        found = shutil.which(name)
        assert found is not None
        (path / name).symlink_to(found)
    run = subprocess.run(
        command, env={**os.environ, "PATH": str(path)}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert "cc was not found" in run.stderr
    assert not (SCRIPT.parents[1] / ".no-such-venv").exists()
