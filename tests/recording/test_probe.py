"""Recorders are tried before one is chosen: what is installed may not work."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import odograph
from odograph.errors import RecordingError
from odograph.recorder import hardware, probe, ptrace, qemu
from odograph.recorder.doctor import doctor
from odograph.recorder.record import choose, record

needs_ptrace = pytest.mark.skipif(ptrace.unavailable() is not None, reason="no ptrace")

NO_PLUGINS = """
[ "$1" = --version ] && { echo "qemu-x86_64 version 10.0.2 (Debian 1:10.0.2+ds-2)"; exit 0; }
echo "qemu-x86_64: unknown option 'plugin'" >&2
exit 1
"""
#: Runs the program and records nothing, as a QEMU without an effect of the plugin would.
IGNORES_PLUGINS = """
[ "$1" = --version ] && { echo "qemu-x86_64 version 8.1.0"; exit 0; }
exit 0
"""
OLD = """
[ "$1" = --version ] && { echo "qemu-x86_64 version 5.2.0"; exit 0; }
echo "qemu-x86_64: cannot load plugin: wrong version" >&2
exit 1
"""

Install = Callable[[str], Path]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a QEMU of the given shell commands on a search path that has no other; a cache of its own."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def install(commands: str) -> Path:
        path = programs / "qemu-x86_64"
        path.write_text(f"#!/bin/sh\n{commands}")
        path.chmod(0o755)
        return path

    return install


def test_the_tiny_program_is_one(tmp_path: Path) -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("needs x86-64 Linux")
    path = tmp_path / "tiny"
    path.write_bytes(probe.TINY_PROGRAM)
    path.chmod(0o755)
    assert subprocess.run([path], check=False).returncode == 0


@pytest.mark.parametrize("backend", ["qemu", "ptrace"])
def test_the_tiny_program_is_recorded(tmp_path: Path, backend: str) -> None:
    if (qemu if backend == "qemu" else ptrace).unavailable() is not None:
        pytest.skip(f"no {backend}")
    path = tmp_path / "tiny"
    path.write_bytes(probe.TINY_PROGRAM)
    path.chmod(0o755)
    record([str(path)], tmp_path / "x", backend=backend)
    assert len(odograph.open(tmp_path / "x").history()) == 14


@needs_ptrace
def test_a_qemu_without_plugins_is_not_chosen(elsewhere: Install) -> None:
    path = elsewhere(NO_PLUGINS)
    advice = qemu.unavailable()
    assert advice is not None
    assert f"{path} (version 10.0) was built without plugins, as Debian 13's is" in advice
    assert "odograph doctor --build-qemu" in advice
    report = doctor()
    finding = next(one for one in report.findings if one.backend == "qemu")
    assert (finding.available, finding.advice) == (False, advice)
    assert report.best == "ptrace"
    assert advice in str(report)
    backend, why = choose()
    assert backend == "ptrace"
    assert advice in why
    with pytest.raises(RecordingError, match="--build-qemu"):
        choose("qemu")


def test_what_a_qemu_says_is_passed_on(elsewhere: Install) -> None:
    elsewhere(IGNORES_PLUGINS)
    assert "nothing was recorded" in str(qemu.unavailable())
    elsewhere(OLD)
    assert "version 5.2) is too old: 7.2 or newer is needed" in str(qemu.unavailable())
    elsewhere("exit 9")
    assert "does not tell its version" in str(qemu.unavailable())
    elsewhere(NO_PLUGINS).unlink()
    assert "apt install qemu-user" in str(qemu.unavailable())


def test_the_qemu_that_was_built_comes_first(elsewhere: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    working = shutil.which("qemu-x86_64", path=os.defpath)
    on_path = elsewhere(NO_PLUGINS)
    assert qemu.qemu_path() == str(on_path)
    built = qemu.built_path()
    built.parent.mkdir(parents=True)
    built.write_text(f"#!/bin/sh\n{NO_PLUGINS}")
    built.chmod(0o755)
    # None of both works, and the first is named.
    assert qemu.qemu_path() == str(built)
    if working is None or qemu.fault(working) is not None:
        pytest.skip("needs QEMU user mode with plugins")
    on_path.unlink()
    on_path.symlink_to(working)
    assert qemu.qemu_path() == str(on_path)
    on_path.unlink()
    built.unlink()
    built.symlink_to(working)
    assert qemu.qemu_path() == str(built)
    assert qemu.unavailable() is None
    # A relative directory is ignored, as the specification says.
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    assert qemu.cache_directory() == Path.home() / ".cache" / "odograph"


def forbid_ptrace() -> None:
    """For this process and its children ptrace is not permitted, as in some containers."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Load the number of the system call; if it is 101 (ptrace) give EPERM, else allow.
    steps = [(0x20, 0, 0, 0), (0x15, 0, 1, 101), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(steps), ctypes.addressof(code)))
    libc.prctl(38, 1, 0, 0, 0)
    if libc.prctl(22, 2, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


@needs_ptrace
def test_where_ptrace_is_forbidden_doctor_knows(elsewhere: Install, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "odograph"]
    run = subprocess.run([*line, "doctor"], capture_output=True, text=True, preexec_fn=forbid_ptrace)
    if "prctl" in run.stderr:
        pytest.skip("needs seccomp filters")
    assert run.returncode == 1
    assert "no   ptrace" in run.stdout
    assert "a container may forbid ptrace" in run.stdout
    assert "nothing can record here" in run.stdout
    # The program exists; only recording it fails.
    command = [*line, "record", "--with", "ptrace", "-o", tmp_path / "x", "--", sys.executable, "-c", ""]
    run = subprocess.run(command, capture_output=True, text=True, preexec_fn=forbid_ptrace)
    assert run.returncode == 125
    assert "a container may forbid ptrace" in run.stderr


def test_a_perf_that_cannot_record_is_not_chosen(
    elsewhere: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel has Intel PT here, but the installed perf is for another kernel."""
    pmu, paranoid = tmp_path / "pmu", tmp_path / "paranoid"
    pmu.mkdir()
    paranoid.write_text("1")
    perf = elsewhere("").with_name("perf")
    perf.write_text('#!/bin/sh\necho "WARNING: perf not found for kernel 6.1" >&2\nexit 2\n')
    perf.chmod(0o755)
    assert hardware.unavailable(pmu, paranoid) == (
        "perf cannot record Intel PT here: WARNING: perf not found for kernel 6.1"
    )
    # perf record --quiet -e EVENT -o OUTPUT -- PROGRAM
    perf.write_text('#!/bin/sh\n: >"$6"\nexec "$8"\n')
    assert hardware.unavailable(pmu, paranoid) is None


@pytest.mark.skipif(qemu.qemu_path() is None or qemu.plugin_path() is None, reason="no QEMU")
def test_a_limit_of_file_size_is_reported_as_such_and_not_as_qemus_fault() -> None:
    """Building another QEMU would not help."""
    script = "from odograph.recorder import qemu; print(qemu.unavailable())"
    line = ["sh", "-c", 'ulimit -f 10; exec "$@"', "sh", sys.executable, "-c", script]
    said = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "there was no room for recording a tiny program" in said
    assert "--build-qemu" not in said


def test_a_full_disk_for_temporary_files_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage("/")._replace(total=1 << 30, free=0)
    monkeypatch.setattr("odograph.recorder.probe.shutil.disk_usage", lambda _: full)
    for reason in (qemu.fault(sys.executable), ptrace.unavailable()):
        assert reason is not None
        assert "set TMPDIR to another directory" in reason
