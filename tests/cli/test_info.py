"""``odograph info``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.commands import Run
from support.paths import CORPUS


def test_a_raw_trace_with_its_code(run: Run, trace: Path, code: Path) -> None:
    result = run("info", trace, "--map", f"{code}:0x401000")
    assert result.returncode == 0
    assert "raw Intel PT" in result.stdout
    assert "7 instructions, no gaps" in result.stdout
    assert "tnt8 3" in result.stdout


def test_missing_code_is_a_gap_that_says_what_to_give(run: Run, trace: Path) -> None:
    result = run("info", trace)
    assert result.returncode == 0
    assert "no code was given for this trace" in result.stdout
    assert "--map FILE:ADDRESS or --elf FILE:BASE" in result.stdout


def test_damage_above_what_was_asked_for_exits_with_1(run: Run, trace: Path, code: Path) -> None:
    assert run("info", trace, "--max-gaps", 0).returncode == 1
    assert run("info", trace, "--max-gaps", 1000).returncode == 0
    assert run("info", trace, "--max-gaps", 0, "--map", f"{code}:0x401000").returncode == 0


def test_json(run_json: Callable[..., Any], trace: Path, code: Path) -> None:
    document = run_json("info", trace, "--map", f"{code}:0x401000")
    assert document["kind"] == "raw"
    assert document["instructions"] == 7
    assert document["packets"]["tnt8"] == 3
    assert document["threads"][0]["gaps"] == []


def test_without_decoding(run_json: Callable[..., Any], trace: Path) -> None:
    document = run_json("info", trace, "--no-decode")
    assert document["instructions"] is None
    assert "gaps" not in document["threads"][0]


def test_a_recording_from_standard_input(run: Run, trace: Path) -> None:
    with trace.open("rb") as stream:
        result = run("info", "-", stdin=stream)
    assert result.returncode == 0
    assert "raw Intel PT" in result.stdout


def test_a_whole_recording(run_json: Callable[..., Any], bench: Callable[[str], Path]) -> None:
    document = run_json("info", bench("gzip-s-def.perf.data"), "--no-decode")
    assert document["threads"][0]["comm"] == "bench"
    assert {module["name"].rpartition("/")[2] for module in document["modules"]} == {
        "gzip",
        "ld-linux-x86-64.so.2",
        "libc.so.6",
    }
    assert document["packets"]["psb"] == 243


def test_it_is_quick_and_needs_no_numpy(run: Run, trace: Path, code: Path) -> None:
    run("info", trace)
    before = os.times()
    run("info", trace, "--map", f"{code}:0x401000")
    after = os.times()
    # A third of a second of processor time by itself; tests may share the machine.
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used < 3
    program = (
        "import sys; from odograph.cli import main; main(sys.argv[1:]); "
        "assert 'numpy' not in sys.modules, 'info imports numpy'"
    )
    subprocess.run([sys.executable, "-c", program, "info", str(trace)], check=True, capture_output=True)


def test_modules_of_several_processes_name_theirs(run: Run, run_json: Callable[..., Any]) -> None:
    path = CORPUS / "children.qemu.data"
    text = run("info", path, "--no-index").stdout
    modules = run_json("info", path, "--no-index")["modules"]
    assert len({module["pid"] for module in modules}) > 1
    for module in modules:
        assert f"  {module['name']} of process {module['pid']}\n" in text
    alone = run("info", path.parent / "static.qemu.data", "--no-index").stdout
    assert " of process " not in alone
