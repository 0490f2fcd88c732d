"""Programs recorded by QEMU and by single steps: decoding must give what the recorder counted itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

import odograph
from odograph.errors import CommandError, InvalidArgument, RecordingError
from odograph.recorder import hardware, ptrace, qemu
from odograph.recorder.doctor import doctor
from odograph.recorder.record import choose, record
from odograph.recorder.spool import Spool

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
needs_qemu = pytest.mark.skipif(qemu.unavailable() is not None, reason="no QEMU")
needs_ptrace = pytest.mark.skipif(ptrace.unavailable() is not None, reason="no ptrace")
recorders = pytest.mark.parametrize(
    "backend", [pytest.param("qemu", marks=needs_qemu), pytest.param("ptrace", marks=needs_ptrace)]
)


def assert_verified(path: Path, threads: int) -> None:
    """Each thread's history has the count and hash that the recorder kept."""
    verdicts = odograph.open(path).verify()
    assert len(verdicts) == threads
    assert [verdict for verdict in verdicts if not verdict.ok] == []
    assert all(verdict.recorded_instructions > 0 for verdict in verdicts)


@needs_cc
@recorders
def test_a_static_program(build, backend, tmp_path, capfd) -> None:
    result = record([build("fib", "-static")], tmp_path / "x", backend=backend)
    assert (result.status, result.backend) == (3, backend)
    assert capfd.readouterr().out == "144\n"
    assert_verified(result.path, 1)


DIFFICULT = pytest.mark.parametrize(("name", "threads"), [("threads", 5), ("signals", 1), ("selfwritten", 1)])


def without_loader(backend: str) -> list[str]:
    """Options for the compiler: stepping through the dynamic linker takes longer than the program itself."""
    return ["-static"] if backend == "ptrace" else []


@needs_cc
@recorders
@DIFFICULT
def test_difficult_programs(build, backend, name, threads, tmp_path) -> None:
    check_program(build(name, *without_loader(backend)), backend, threads, tmp_path / "x")


@needs_cc
@needs_ptrace
@pytest.mark.acceptance
@DIFFICULT
def test_difficult_programs_with_their_loader(build, name, threads, tmp_path) -> None:
    check_program(build(name), "ptrace", threads, tmp_path / "x")


def check_program(program: str, backend: str, threads: int, path: Path) -> None:
    result = record([program], path, backend=backend)
    assert result.status == 0
    assert_verified(result.path, threads)
    assert odograph.open(result.path).source.executed.gaps == []


@needs_cc
@needs_qemu
def test_children_and_their_programs(build, tmp_path, capfd) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh -e\nexit 5\n")
    script.chmod(0o755)
    commands = [build("fib"), str(script), "/no/such/program"]
    result = record([build("children"), *commands], tmp_path / "x", backend="qemu")
    assert result.status == 0
    assert capfd.readouterr().out == "144\n3\n5\n77\n"
    assert_verified(result.path, 4)
    assert odograph.open(result.path).source.executed.gaps == []


@needs_cc
@needs_qemu
def test_a_program_that_cannot_be_followed_is_a_named_gap(build, tmp_path, capfd) -> None:
    foreign = Path(build("fib")).with_name("foreign")
    data = bytearray(Path(build("fib")).read_bytes())
    data[18] = 183
    foreign.write_bytes(data)
    foreign.chmod(0o755)
    result = record([build("children"), str(foreign)], tmp_path / "x", backend="qemu")
    out = capfd.readouterr().out
    gaps = odograph.open(result.path).source.executed.gaps
    if out == "77\n":
        assert gaps == []
    else:
        assert [gap["cause"] for gap in gaps] == ["native"]
        assert "another architecture" in gaps[0]["message"]


@needs_cc
@recorders
def test_a_crash_is_the_end_of_the_history(build, backend, tmp_path, capfd) -> None:
    result = record([build("crash", *without_loader(backend))], tmp_path / "x", backend=backend)
    assert result.status == 128 + signal.SIGSEGV
    assert capfd.readouterr() == ("", "")
    assert_verified(result.path, 1)
    (thread,) = odograph.open(result.path).threads
    last = list(odograph.open(result.path).history(thread.tid).events())[-1]
    assert last["ip"] is not None


@needs_qemu
def test_system_programs(tmp_path, capfd) -> None:
    result = record(["ls", "-l", "/usr"], tmp_path / "x", backend="qemu")
    assert result.status == 0
    assert_verified(result.path, 1)
    assert " bin\n" in capfd.readouterr().out


@needs_cc
@needs_qemu
@pytest.mark.skipif(shutil.which("perf") is None, reason="no perf")
def test_perf_decodes_our_recordings(build, tmp_path) -> None:
    result = record([build("fib", "-static")], tmp_path / "x", backend="qemu")
    (verdict,) = odograph.open(result.path).verify()
    line = ["perf", "script", "-i", result.path, "--itrace=i1ie", "-F", "ip", "--ns"]
    run = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "instruction trace error" not in run.stdout
    assert len(run.stdout.split()) == verdict.recorded_instructions


def test_commands_that_cannot_run_say_why(tmp_path) -> None:
    with pytest.raises(CommandError, match="command not found") as caught:
        record(["no-such-command-anywhere"], tmp_path / "x", backend="ptrace")
    assert caught.value.status == 127
    (tmp_path / "text").write_text("hello")
    with pytest.raises(CommandError, match="may not be executed") as caught:
        record([str(tmp_path / "text")], tmp_path / "x", backend="ptrace")
    assert caught.value.status == 126
    with pytest.raises(CommandError, match="is a directory"):
        record([str(tmp_path)], tmp_path / "x", backend="ptrace")
    with pytest.raises(InvalidArgument):
        record([], tmp_path / "x")
    with pytest.raises(InvalidArgument, match="there are perf, qemu, ptrace"):
        choose("tape")
    with pytest.raises(RecordingError, match="there is no directory"):
        record(["true"], tmp_path / "no" / "x", backend="ptrace")


def test_hardware_says_what_is_missing(tmp_path) -> None:
    assert "no intel_pt event source" in str(hardware.unavailable(tmp_path / "none"))
    assert hardware.command_line(["ls", "-l"], "out")[-3:] == ["--", "ls", "-l"]
    assert "intel_pt//u" in hardware.command_line(["ls"], "out")
    scope = tmp_path / "scope"
    scope.write_text("3\n")
    assert "ptrace_scope" in str(ptrace.unavailable(scope))


def test_the_doctor_names_every_recorder() -> None:
    report = doctor()
    assert [finding.backend for finding in report.findings] == ["perf", "qemu", "ptrace"]
    assert all(finding.available or finding.advice for finding in report.findings)
    assert report.to_dict()["best"] == report.best
    assert "perf" in str(report)


@needs_qemu
def test_nothing_is_left_behind(tmp_path) -> None:
    record(["true"], tmp_path / "x", backend="qemu")
    assert os.listdir(tmp_path) == ["x"]


@needs_qemu
def test_what_outlives_the_program_is_named(tmp_path, capfd) -> None:
    result = record(["sh", "-c", "sleep 5 & echo started"], tmp_path / "x", backend="qemu")
    assert result.status == 0
    assert capfd.readouterr().out == "started\n"
    (gap, *_) = odograph.open(result.path).source.executed.gaps
    assert gap["cause"] == "running"
    assert_verified(result.path, 2)


def test_a_child_that_has_no_files_yet_is_running(tmp_path) -> None:
    words = [f"plugin,spool={tmp_path},qemu=x", "60"]
    child = subprocess.Popen(words, executable=shutil.which("sleep"))
    try:
        # While a process begins to execute a program, it has no command line for a moment.
        until = time.monotonic() + 20
        while not Path(f"/proc/{child.pid}/cmdline").read_bytes() and time.monotonic() < until:
            time.sleep(0.01)
        assert Spool(tmp_path).running() == [child.pid]
        assert Spool(tmp_path / "another").running() == []
    finally:
        child.kill()
        child.wait()
    assert Spool(tmp_path).running() == []


@needs_qemu
def test_a_killed_child_loses_no_more_than_its_last_packets(tmp_path, capfd) -> None:
    script = "(while :; do :; done) & p=$!; sleep 0.2; kill -9 $p; wait $p; echo $?"
    result = record(["sh", "-c", script], tmp_path / "x", backend="qemu")
    assert capfd.readouterr().out == "137\n"
    assert_verified(result.path, 3)
