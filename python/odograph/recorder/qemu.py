"""Recording under QEMU user mode, with our plugin writing the packets."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from odograph._native import qemu_command
from odograph.errors import RecordingError
from odograph.recorder.probe import no_room, says_no_room, tried_spool

__all__ = [
    "NAME",
    "built_path",
    "cache_directory",
    "command_line",
    "fault",
    "plugin_path",
    "qemu_path",
    "unavailable",
]

#: The program that runs x86-64 programs.
NAME = "qemu-x86_64"
_OLDEST = (7, 2)


def cache_directory() -> Path:
    """Where Odograph keeps what it builds for this user: XDG_CACHE_HOME/odograph, or ~/.cache/odograph."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification ignores relative paths.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "odograph"


def built_path() -> Path:
    """Where ``odograph doctor --build-qemu`` puts QEMU."""
    return cache_directory() / "qemu-7.2" / "bin" / NAME


def qemu_path() -> str | None:
    """The QEMU to record with: the one that was built for this user, else the one on the search path.

    Where the first cannot record and the second can, the second. None if there is neither.
    """
    found = [path for path in (shutil.which(os.fspath(built_path())), shutil.which(NAME)) if path is not None]
    return next((path for path in found if fault(path) is None), found[0] if found else None)


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
        return (
            f"there is no {NAME}; install the package qemu-user (Debian 12: apt install qemu-user), "
            "or let odograph doctor --build-qemu build it"
        )
    if plugin_path() is None:
        return "this installation of Odograph lacks its QEMU plugin; build it again"
    return fault(qemu)


def fault(qemu: str) -> str | None:
    """Why this QEMU cannot record, None if it can: found out by recording a tiny program."""
    if (reason := no_room()) is not None:
        return reason
    plugin = plugin_path()
    try:
        one, other = os.stat(qemu), os.stat(plugin or qemu)
    except OSError as error:
        return f"{qemu} cannot be read: {error.strerror}"
    return _tried(qemu, plugin, (one.st_size, one.st_mtime_ns), (other.st_size, other.st_mtime_ns))


@functools.cache
def _tried(qemu: str, plugin: Path | None, _one: tuple[int, int], _other: tuple[int, int]) -> str | None:
    if plugin is None:
        return None
    said = tried_spool(functools.partial(_command_line, qemu, plugin))
    if said is None:
        return None
    if says_no_room(said):
        return f"there was no room for recording a tiny program: {said}"
    found = version(qemu)
    if found is None:
        return f"{qemu} does not tell its version, and recording a tiny program failed: {said}"
    text = f"{qemu} (version {found[0]}.{found[1]})"
    if found < _OLDEST:
        return f"{text} is too old: 7.2 or newer is needed; odograph doctor --build-qemu builds it"
    if "'plugin'" in said or "-plugin" in said:
        text += " was built without plugins, as Debian 13's is"
    return f"{text} cannot record: {said}; odograph doctor --build-qemu builds one that can"


def command_line(
    program: Path, arguments: Sequence[bytes], environment: Mapping[bytes, bytes], spool: Path
) -> tuple[list[bytes], dict[bytes, bytes]]:
    """Command line and environment that run an ELF file with ``arguments`` (the zeroth included)."""
    qemu, plugin = qemu_path(), plugin_path()
    if qemu is None or plugin is None:
        raise RecordingError(f"cannot record with qemu: {unavailable()}")
    return _command_line(qemu, plugin, program, arguments, environment, spool)


def _command_line(
    qemu: str,
    plugin: Path,
    program: Path,
    arguments: Sequence[bytes],
    environment: Mapping[bytes, bytes],
    spool: Path,
) -> tuple[list[bytes], dict[bytes, bytes]]:
    variables = [name + b"=" + value for name, value in environment.items()]
    line, kept = qemu_command(
        Path(qemu), plugin, spool, program, list(arguments), [os.fsencode(one) for one in variables]
    )
    pairs = (bytes(one).partition(b"=") for one in kept)
    return [bytes(word) for word in line], {name: value for name, _, value in pairs}
