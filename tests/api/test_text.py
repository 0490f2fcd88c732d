"""Instructions as text: one by one, and as the command prints them."""

from __future__ import annotations

import subprocess
import sys

import odograph
from support.paths import CORPUS


def test_an_instruction_has_its_text() -> None:
    history = odograph.open(CORPUS / "static.qemu.data", index=False).history()
    last = history[-1]
    assert last.text == "syscall"
    assert str(last) == f"{last.step:>10} {last.ip:016x}  syscall"


def test_lines_of_a_history_are_those_that_the_command_prints() -> None:
    path = CORPUS / "threads.qemu.data"
    history = odograph.open(path, index=False).history()
    for options, arguments, names in (
        (["--from", "10", "--to", "50"], (10, 50), False),
        (["--tail", "30"], (-30, None), False),
        (["--from", "100", "--to", "400", "--symbols"], (100, 400), True),
    ):
        words = [sys.executable, "-m", "odograph", "steps", str(path), "--no-index", *options]
        printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert list(history.lines(*arguments, symbols=names)) == printed.splitlines()
