"""Recording under QEMU user mode, with our plugin writing the packets."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from odograph._native import qemu_command
from odograph.errors import RecordingError

__all__ = ["command_line", "plugin_path", "qemu_path", "unavailable"]

_QEMU = "qemu-x86_64"
_OLDEST = (7, 2)


def qemu_path() -> str | None:
    """The user-mode QEMU for x86-64 programs on the search path."""
    return shutil.which(_QEMU)


def plugin_path() -> Path | None:
    """The shared library beside this file that QEMU loads."""
    return next(iter(sorted(Path(__file__).parent.glob("_recorder*.so"))), None)


def version(qemu: str) -> tuple[int, int] | None:
    """Major and minor version of a QEMU."""
    try:
        run = subprocess.run([qemu, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"version (\d+)\.(\d+)", run.stdout)
    return None if found is None else (int(found[1]), int(found[2]))


def unavailable() -> str | None:
    """Why QEMU cannot record here and what to do about it, None if it can."""
    qemu = qemu_path()
    if qemu is None:
        return f"there is no {_QEMU}; install the package qemu-user (Debian: apt install qemu-user)"
    if plugin_path() is None:
        return "this installation of Odograph lacks its QEMU plugin; build it again"
    found = version(qemu)
    if found is None:
        return f"{qemu} does not tell its version"
    if found < _OLDEST:
        return f"{qemu} has version {found[0]}.{found[1]}; 7.2 or newer is needed"
    return None


def command_line(
    program: Path, arguments: Sequence[bytes], environment: Mapping[bytes, bytes], spool: Path
) -> tuple[list[bytes], dict[bytes, bytes]]:
    """Command line and environment that run an ELF file with ``arguments`` (the zeroth included)."""
    qemu, plugin = qemu_path(), plugin_path()
    if qemu is None or plugin is None:
        raise RecordingError(f"cannot record with qemu: {unavailable()}")
    variables = [name + b"=" + value for name, value in environment.items()]
    line, kept = qemu_command(
        Path(qemu), plugin, spool, program, list(arguments), [os.fsencode(one) for one in variables]
    )
    pairs = (bytes(one).partition(b"=") for one in kept)
    return [bytes(word) for word in line], {name: value for name, _, value in pairs}
