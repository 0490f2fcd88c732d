"""gdb in functions that others jumped to, and behind thunks, shows what ``History.stack`` lists."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import odograph
from odograph.frame import Found
from support.debugruns import record
from support.paths import PROGRAMS

SOURCE = PROGRAMS / "jumps.c"


@pytest.mark.parametrize(
    "options",
    [
        ("-O2",),
        ("-O0", "-mindirect-branch=thunk"),
        ("-O0", "-mfunction-return=thunk"),
        ("-O1", "-mindirect-branch=thunk-inline"),
    ],
)
def test_gdb_shows_the_frames_of_the_stack(
    gdb: Callable[..., list[str]], recorder: str, tmp_path: Path, options: Sequence[str]
) -> None:
    program = tmp_path / "jumps"
    subprocess.run(["gcc", "-g", *options, "-fcf-protection=none", "-o", program, SOURCE], check=True)
    recording = record(program, tmp_path / "jumps.data", recorder)
    history = odograph.open(recording.path).history()
    firsts = history.find("last")
    steps = sorted(
        {int(first) + more for first in firsts[:: max(1, len(firsts) // 6)] for more in (0, 1, 4, 7)}
    )
    flush = "maintenance flush register-cache"
    said = gdb(recording, *(word for step in steps for word in (f"monitor goto {step}", flush, "bt")))
    for step, text in zip(steps, said[2::3], strict=True):
        shown = re.findall(r"^#\d+ +(?:0x[0-9a-f]+ in )?(\w+) ", text, re.M)
        stack = history.stack(step)
        expected = [frame.function for frame in stack]
        # Where several ways led here, debug information does not tell which: gdb shows no frame, then.
        known = [frame.function for frame in stack if frame.found is not Found.TAIL_CALL]
        main = known.index("main") + 1
        assert shown[: shown.index("main") + 1] in (known[:main], expected[: expected.index("main") + 1]), (
            step
        )
