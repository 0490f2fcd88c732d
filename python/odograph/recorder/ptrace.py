"""Recording by single steps: needs nothing but the permission to trace one's own programs."""

from __future__ import annotations

import functools
import json
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from odograph._native import step_program
from odograph.recorder.probe import no_room, says_no_room, tried_spool

__all__ = ["SIGNALS", "command_line", "exit_status", "forbidden", "unavailable"]

#: Yama's setting: who may be traced; 3: no process.
PTRACE_SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")
#: What the stepping process leaves to the program. It is started with these blocked, so that none is lost.
SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
_COMMAND = "command.json"
_STATUS = "status"
#: Room for the status, so that a disk that the program fills has it.
_NO_STATUS = " " * 16


def unavailable(scope: Path = PTRACE_SCOPE) -> str | None:
    """Why single steps cannot record here and what to do about it, None if they can.

    Found out by recording a tiny program, which takes a fraction of a second.
    """
    reason = forbidden(scope)
    if reason is not None:
        return reason
    if (reason := no_room()) is not None:
        return reason
    said = _tried()
    if said is not None and says_no_room(said):
        return f"there was no room for recording a tiny program: {said}"
    return None if said is None else f"single steps do not work here (a container may forbid ptrace): {said}"


def forbidden(scope: Path = PTRACE_SCOPE) -> str | None:
    """Why single steps cannot record here, as far as the system tells without trying."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "single steps record only x86-64 programs on x86-64 Linux"
    try:
        if scope.read_text().strip() == "3":
            return "yama forbids tracing; boot with sysctl kernel.yama.ptrace_scope=0, 1 or 2"
    except OSError:
        pass
    return None


@functools.cache
def _tried() -> str | None:
    return tried_spool(command_line)


def command_line(
    program: Path, arguments: Sequence[bytes], environment: Mapping[bytes, bytes], spool: Path
) -> tuple[list[bytes], dict[bytes, bytes]]:
    """Command line and environment of the process that steps an ELF file."""
    document = {
        "program": os.fsdecode(program),
        "arguments": [os.fsdecode(one) for one in arguments],
        "environment": [os.fsdecode(name + b"=" + value) for name, value in environment.items()],
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
    }
    (spool / _COMMAND).write_text(json.dumps(document))
    (spool / _STATUS).write_text(_NO_STATUS)
    # A process of its own, because it waits for all of its children.
    line = [sys.executable, "-m", "odograph.recorder.ptrace", os.fspath(spool)]
    return [os.fsencode(word) for word in line], dict(os.environb)


def exit_status(spool: Path, status: int) -> int:
    """The program's status, which the stepping process leaves in the spool; its own if it could not."""
    try:
        return int((spool / _STATUS).read_text())
    except (OSError, ValueError):
        return status


def _step(spool: Path) -> None:
    document = json.loads((spool / _COMMAND).read_text())
    arguments = [os.fsencode(word) for word in document["arguments"]]
    environment = [os.fsencode(word) for word in document["environment"]]
    status = step_program(spool, Path(document["program"]), arguments, environment, document["blocked"])
    with open(spool / _STATUS, "r+") as file:
        file.write(str(status))


if __name__ == "__main__":
    _step(Path(sys.argv[1]))
