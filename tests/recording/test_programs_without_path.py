"""Programs executed by a descriptor, from memory, or after they were deleted run as they do alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

import odograph
from odograph.recorder import ptrace, qemu
from odograph.recorder.record import record

Build = Callable[..., str]

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
needs_qemu = pytest.mark.skipif(qemu.unavailable() is not None, reason="no QEMU")
needs_ptrace = pytest.mark.skipif(ptrace.unavailable() is not None, reason="no ptrace")

WAYS = [way + ending for way in ("fexecve", "execveat", "proc", "dev") for ending in ("", "-cloexec")]
KINDS = ["file", "deleted", "memfd"]
PROGRAMS = list(product([*WAYS, "self", "self-cloexec"], KINDS))
#: An interpreter cannot open a script that was closed; the kernel then gives ENOENT, QEMU 7.2 ENOSYS.
SCRIPTS = list(product([way for way in WAYS if not way.startswith(("fexecve-", "execveat-"))], KINDS))
SAMPLE = [
    ("fexecve-cloexec", "memfd"),
    ("execveat-cloexec", "deleted"),
    ("dev-cloexec", "file"),
    ("self", "memfd"),
]


def script(directory: Path) -> Path:
    path = directory / "script"
    path.write_text('#!/bin/sh -e\necho "$0" "$@"\nexit 6\n')
    path.chmod(0o755)
    return path


def assert_runs_as_alone(
    backend: str, words: list[str], directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = subprocess.run(words, capture_output=True, text=True, check=False, cwd=directory, env={})
    before = os.getcwd()
    os.chdir(directory)
    try:
        result = record(words, directory / "x", backend=backend, env={})
    finally:
        os.chdir(before)
    assert capfd.readouterr() == (run.stdout, run.stderr)
    assert result.status == run.returncode
    recording = odograph.open(result.path)
    assert all(verdict.ok for verdict in recording.verify())
    assert recording.source.executed.gaps == []
    assert programs_run(recording) == 3 if words[1].startswith("self") else programs_run(recording) == 2


def programs_run(recording: odograph.Recording) -> int:
    """How many programs the process ran, one after the other."""
    pid = recording.source.threads[0].pid
    changes = [change for _, group in recording.source.image_timeline(pid) for change in group]
    return sum(change.kind == "clear" for change in changes)


@needs_qemu
@pytest.mark.parametrize(("way", "kind"), SAMPLE)
def test_a_program_without_a_path_is_followed(
    build: Build, way: str, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = build("byfile", "-static")
    assert_runs_as_alone("qemu", [program, way, kind, program, "hello"], tmp_path, capfd)


@needs_qemu
def test_a_script_without_a_path_is_followed(
    build: Build, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [build("byfile", "-static"), "fexecve", "memfd", str(script(tmp_path)), "hello"]
    assert_runs_as_alone("qemu", words, tmp_path, capfd)


@needs_ptrace
def test_a_stepped_program_may_have_no_path(
    build: Build, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = build("byfile", "-static")
    words = [program, "fexecve-cloexec", "memfd", program, "hello"]
    assert_runs_as_alone("ptrace", words, tmp_path, capfd)


@needs_qemu
@pytest.mark.acceptance
@pytest.mark.parametrize(("way", "kind"), PROGRAMS)
def test_every_way_to_a_program(
    build: Build, way: str, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = build("byfile", "-static")
    assert_runs_as_alone("qemu", [program, way, kind, program, "hello"], tmp_path, capfd)


@needs_qemu
@pytest.mark.acceptance
@pytest.mark.parametrize(("way", "kind"), SCRIPTS)
def test_every_way_to_a_script(
    build: Build, way: str, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [build("byfile", "-static"), way, kind, str(script(tmp_path)), "hello"]
    assert_runs_as_alone("qemu", words, tmp_path, capfd)
