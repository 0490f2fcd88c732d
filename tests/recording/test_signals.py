"""Signals for a process group, as a terminal or a shell sends them, and for the recorder alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import odograph
from odograph.recorder import ptrace, qemu
from odograph.recorder.groupsignals import GroupSignals

Build = Callable[..., str]

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
recorders = pytest.mark.parametrize(
    "backend",
    [
        pytest.param("qemu", marks=pytest.mark.skipif(qemu.unavailable() is not None, reason="no QEMU")),
        pytest.param(
            "ptrace", marks=pytest.mark.skipif(ptrace.unavailable() is not None, reason="no ptrace")
        ),
    ],
)
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


@contextmanager
def started(
    command: list[str], *, ignored: Collection[int] = (), blocked: Collection[int] = ()
) -> Iterator[subprocess.Popen[str]]:
    """A command in a process group of its own, with pipes. It ignores and blocks these signals and no others,
    whatever the tests were started with (a shell in the background has it ignore SIGINT and SIGQUIT)."""

    def prepare() -> None:
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, start_new_session=True, preexec_fn=prepare, **pipes) as process:
        # A signal that never comes must not be waited for without end.
        patience = threading.Timer(60, os.killpg, (process.pid, signal.SIGKILL))
        patience.start()
        try:
            yield process
        finally:
            patience.cancel()
            process.kill()


def recording(backend: str, path: Path, *command: str) -> list[str]:
    return [sys.executable, "-m", "odograph", "record", "--with", backend, "-o", str(path), "--", *command]


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


def wait_until_idle(pid: int) -> None:
    """Until the recorder has handled the signals that it got, and waits for its program again (in wait4, 61).
    A second signal of one number that comes earlier would be one with the first."""
    until = time.monotonic() + 20
    while time.monotonic() < until and not Path(f"/proc/{pid}/syscall").read_text().startswith("61 "):
        time.sleep(0.01)


def assert_complete(path: Path) -> None:
    recorded = odograph.open(path)
    assert [verdict for verdict in recorded.verify() if not verdict.ok] == []
    assert recorded.source.executed.gaps == []


@recorders
@pytest.mark.parametrize(
    ("ignored", "says"),
    [
        pytest.param((), "ready", id="as in the foreground"),
        pytest.param(
            SIGNALS, "ignored 1 ignored 2 ignored 3 ignored 15 ready", id="all ignored at the start"
        ),
    ],
)
def test_a_program_that_handles_signals_gets_each_once_and_goes_on(
    build: Build, backend: str, ignored: tuple[int, ...], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    with started(recording(backend, path, build("told", "-static")), ignored=ignored) as process:
        assert next_line(process) == says
        for number in SIGNALS:
            os.killpg(process.pid, number)
            assert next_line(process) == f"{number:02}"
        wait_until_idle(process.pid)
        # These are for the recorder alone, which passes them on.
        for number in SIGNALS[:2]:
            process.send_signal(number)
            assert next_line(process) == f"{number:02}"
        rest, said = process.communicate()
    assert rest == ""
    assert "Traceback" not in said
    assert process.returncode == 7
    assert_complete(path)


@recorders
def test_a_program_that_handles_no_signals_is_killed_and_recorded(
    build: Build, backend: str, tmp_path: Path
) -> None:
    path, number = tmp_path / "x", signal.SIGINT if backend == "ptrace" else signal.SIGTERM
    with started(recording(backend, path, build("told", "-static"), "unhandled")) as process:
        assert next_line(process) == "ready"
        os.killpg(process.pid, number)
        _, said = process.communicate()
    assert "Traceback" not in said
    assert process.returncode == 128 + number
    assert_complete(path)


@recorders
def test_a_program_goes_on_after_signals_that_it_was_started_to_ignore(
    build: Build, backend: str, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    command = recording(backend, path, build("told", "-static"), "unhandled")
    with started(command, ignored=SIGNALS) as process:
        assert next_line(process).endswith("ready")
        for number in SIGNALS:
            os.killpg(process.pid, number)
        wait_until_idle(process.pid)
        for number in SIGNALS[:2]:
            process.send_signal(number)
        _, said = process.communicate()
    assert "Traceback" not in said
    assert process.returncode == 7
    assert_complete(path)


@recorders
def test_a_program_starts_with_the_dispositions_that_the_recorder_was_started_with(
    build: Build, backend: str, tmp_path: Path
) -> None:
    ignored, blocked = (signal.SIGHUP, signal.SIGINT), (signal.SIGTERM, signal.SIGUSR1)
    program = build("told", "-static")
    lines = []
    for command in ([program], recording(backend, tmp_path / "x", program)):
        with started(command, ignored=ignored, blocked=blocked) as process:
            lines.append(process.communicate()[0])
    assert lines == ["ignored 1 ignored 2 blocked 10 blocked 15 ready\n"] * 2


def test_what_was_for_the_group_is_told_from_what_was_for_one_process() -> None:
    script = """
import os, signal, sys
from odograph.recorder.groupsignals import GroupSignals
came = []
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, lambda number, _: came.append(number))
with GroupSignals() as group:
    for number in (signal.SIGTERM, signal.SIGHUP) * 2:
        os.killpg(0, signal.SIGINT)
        os.killpg(0, number)
        print(group.was_for_group(number), end=" ")
        os.kill(os.getpid(), number)
        print(group.was_for_group(number), end=" ")
"""
    with started([sys.executable, "-c", script]) as process:
        said, errors = process.communicate()
    assert (said, errors) == ("True False " * 4, "")


def test_a_report_that_the_handler_of_another_signal_reads_is_not_lost() -> None:
    script = """
import os, signal, threading, time
from odograph.recorder import groupsignals
groupsignals._PATIENCE = 2
said = {}
def ask(number, _):
    said[number] = group.was_for_group(number)
def later():
    # The handler of SIGHUP waits for its report. The reports of both come while that of SIGTERM waits.
    time.sleep(0.2)
    os.killpg(0, signal.SIGTERM)
    time.sleep(0.2)
    os.kill(group._witness.pid, signal.SIGCONT)
with groupsignals.GroupSignals() as group:
    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGHUP, ask)
    os.kill(group._witness.pid, signal.SIGSTOP)
    threading.Thread(target=later).start()
    os.killpg(0, signal.SIGHUP)
    while len(said) < 2:
        time.sleep(0.01)
print(said[signal.SIGHUP], said[signal.SIGTERM])
"""
    with started([sys.executable, "-c", script]) as process:
        assert process.communicate() == ("True True\n", "")


def test_without_another_process_no_signal_is_for_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with GroupSignals() as group:
        assert not group.was_for_group(signal.SIGTERM)
