"""Programs whose names hold what the kernel's lists of mappings write in another way."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import odograph
from odograph.recorder import ptrace, qemu
from odograph.recorder.record import record

EXITS = 'void _start(void) { __asm__("mov $60, %eax; xor %edi, %edi; syscall"); }'
RECORDERS = [
    name for name, recorder in (("qemu", qemu), ("ptrace", ptrace)) if recorder.unavailable() is None
]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("recorder", RECORDERS)
@pytest.mark.parametrize("name", ["new\nline", "prog (deleted)", "a\\012b", "tab\there", "quo'te\""])
def test_a_program_with_an_odd_name_is_found_again(name: str, recorder: str, tmp_path: Path) -> None:
    program = tmp_path / name
    line = ["gcc", "-x", "c", "-static", "-nostdlib", "-o", program, "-"]
    subprocess.run(line, input=EXITS, text=True, check=True)
    path = tmp_path / "odd.data"
    record([str(program)], path, backend=recorder)
    recording = odograph.open(path)
    modules = {module["name"]: module for module in recording.source.modules(recording.threads[0].pid)}
    assert modules[str(program)]["path"] == str(program)
    assert "missing" not in modules[str(program)]
    history = recording.history()
    assert history.find("_start").tolist() == [0]
    assert recording.missing() == []
