"""Does a recorder work? Only a recording tells, so a tiny program is recorded.

Versions and permissions do not tell: QEMU may be built without plugins, a container may forbid tracing.
"""

from __future__ import annotations

import errno
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["TINY_PROGRAM", "no_room", "says_no_room", "tried", "tried_spool"]

#: Seconds after which a recorder of the tiny program counts as hung.
_TIMEOUT = 20
#: What recording the tiny program takes of a disk at most, in bytes.
_ROOM = 256 << 10
#: How our recorders end such a sentence.
_FULL = re.compile(rf"os error ({errno.ENOSPC}|{errno.EFBIG}|{errno.EDQUOT})\)")

_BASE = 0x40_0000
#: mov ecx, 5; loop: dec ecx; jne loop; mov eax, 60 (exit); xor edi, edi; syscall
_CODE = bytes.fromhex("b905000000 ffc9 75fc b83c000000 31ff 0f05")


def _program() -> bytes:
    """An ELF file for x86-64 Linux with one segment, no library and no data."""
    size = 64 + 56 + len(_CODE)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, _BASE + 64 + 56, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000) + _CODE


#: It executes 14 instructions and ends with status 0.
TINY_PROGRAM = _program()

Line = Callable[[Path, Path], tuple[Sequence[str] | Sequence[bytes], Mapping[bytes, bytes] | None]]
"""Makes a command line and its environment, from the program and a directory for what is recorded."""


def no_room() -> str | None:
    """That temporary files have no room for a tiny recording, and what helps; None if they have."""
    try:
        directory = tempfile.gettempdir()
        usage = shutil.disk_usage(directory)
    except OSError as error:
        return f"there is no directory for temporary files: {error}; set TMPDIR"
    # Some file systems do not say how large they are.
    if usage.total and usage.free < _ROOM:
        return f"no room is left for temporary files in {directory}; set TMPDIR to another directory"
    return None


def says_no_room(said: str) -> bool:
    """True if these words of a recorder say that a disk, a file or a quota is full."""
    return _FULL.search(said) is not None


def tried(line: Line, done: Callable[[Path], bool]) -> str | None:
    """Record the tiny program; what went wrong, in the recorder's words, None if nothing did.

    ``done`` says whether the directory holds a recording afterwards.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="odograph-probe-") as name:
            directory = Path(name) / "recorded"
            directory.mkdir()
            program = Path(name) / "tiny"
            program.write_bytes(TINY_PROGRAM)
            program.chmod(0o700)
            words, environment = line(program, directory)
            run = subprocess.run(
                words,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_TIMEOUT,
                check=False,
            )
            recorded = done(directory)
    except subprocess.TimeoutExpired:
        return f"a tiny program had not ended after {_TIMEOUT} s"
    except OSError as error:
        return f"a tiny program could not be recorded: {error}"
    if run.returncode == 0 and recorded:
        return None
    said = [text.strip() for text in run.stderr.decode(errors="replace").splitlines() if text.strip()]
    if said:
        # What our plugin says is the reason for what QEMU says after it.
        return next((text for text in said if text.startswith("odograph: ")), said[-1])
    ended = f"status {run.returncode}" if run.returncode >= 0 else f"signal {-run.returncode}"
    return f"a tiny program ended with {ended}" + ("" if recorded else " and nothing was recorded")


def tried_spool(
    command_line: Callable[
        [Path, Sequence[bytes], Mapping[bytes, bytes], Path], tuple[list[bytes], dict[bytes, bytes]]
    ],
) -> str | None:
    """The same for a recorder that fills a spool directory."""
    return tried(
        lambda program, directory: command_line(program, [b"tiny"], {}, directory),
        lambda directory: any(path.stat().st_size for path in directory.glob("*.stream")),
    )
