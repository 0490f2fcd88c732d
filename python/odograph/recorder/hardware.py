"""Recording on a processor with Intel PT, through the perf tool."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from odograph.recorder.probe import tried

__all__ = ["command_line", "unavailable"]

#: Where the kernel shows the event source of Intel PT.
PMU = Path("/sys/bus/event_source/devices/intel_pt")
#: What unprivileged users may measure; 2 and less allow their own programs.
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")


def unavailable(pmu: Path = PMU, paranoid: Path = PARANOID) -> str | None:
    """Why the processor cannot record here and what to do about it, None if it can."""
    if not pmu.is_dir():
        return "the kernel shows no Intel PT (no intel_pt event source; virtual machines rarely have one)"
    if shutil.which("perf") is None:
        return "there is no perf tool; install it (Debian: apt install linux-perf)"
    try:
        level = int(paranoid.read_text())
    except (OSError, ValueError):
        level = 0
    if level > 2 and os.geteuid() != 0:
        return (
            f"perf_event_paranoid is {level}; allow tracing of your own programs with "
            "sysctl kernel.perf_event_paranoid=2"
        )
    said = tried(
        lambda program, directory: (command_line([os.fspath(program)], directory / "perf.data"), None),
        lambda directory: (directory / "perf.data").exists(),
    )
    return None if said is None else f"perf cannot record Intel PT here: {said}"


def command_line(arguments: Sequence[str], output: str | os.PathLike[str]) -> list[str]:
    """The perf command that records user code of a program and all its threads and children."""
    return ["perf", "record", "--quiet", "-e", "intel_pt//u", "-o", os.fspath(output), "--", *arguments]
