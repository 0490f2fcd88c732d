"""``odograph run``, ``record``, ``verify`` and ``doctor`` on real programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from odograph.recorder import ptrace
from support.commands import Run

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or ptrace.unavailable() is not None, reason="needs gcc and ptrace"
)

PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
__attribute__((noinline)) int road(int turns) { int sum = 0; while (turns--) sum += turns; return sum; }
int main(int argc, char **argv) {
    volatile int sum = 0;
    for (int at = 0; at < 5; at++) sum += road(20 + at);
    if (argc > 1 && argv[1][0] == '-') return puts(argv[1]) < 0 || puts(argv[2]) < 0;
    if (write(1, "here\\n", 5) != 5) return 9;
    if (argc > 1) abort();
    return 3;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("program")
    source = directory / "road.c"
    source.write_text(PROGRAM)
    subprocess.run(["gcc", "-O1", "-static", "-o", directory / "road", source], check=True)
    return directory / "road"


def test_run_shows_what_the_program_did(run: Run, program: Path) -> None:
    result = run("run", "--with", "ptrace", "--min-share", 0.1, "--functions", 99, "--", program)
    assert result.returncode == 3
    assert result.stdout.startswith("here\n")
    assert "ended with status 3, recorded with ptrace" in result.stdout
    assert "no gaps" in result.stdout
    assert [line for line in result.stdout.splitlines() if line.endswith("  road  road")]
    assert [line for line in result.stdout.splitlines() if line.split()[-1:] == ["main"]]


def test_run_as_json(run: Run, program: Path) -> None:
    result = run("run", "--with", "ptrace", "--min-share", 0, "--json", "--", program)
    document = json.loads(result.stdout.removeprefix("here\n"))
    (road,) = [row for row in document["functions"] if row["name"] == "road"]
    assert road["calls"] == 5
    assert road["instructions"] == document_instructions_of(document, "road")
    assert document["status"] == 3
    assert document["threads"][0]["instructions"] == document["instructions"]
    assert document["gaps"] == []


def document_instructions_of(document: dict[str, object], name: str) -> int:
    """The same number from the call tree."""
    total = 0
    nodes = [thread["tree"] for thread in document["threads"]]  # type: ignore[attr-defined,index]
    while nodes:
        node = nodes.pop()
        nodes += node["children"]
        total += node["own"] if node["name"] == name else 0
    return total


def test_a_program_that_dies_is_said_to(run: Run, program: Path, tmp_path: Path) -> None:
    result = run("run", "--with", "ptrace", "-o", tmp_path / "dies", "--", program, "die")
    assert result.returncode == 128 + 6
    assert "the program ended with SIGABRT (status 134)" in run("info", tmp_path / "dies").stdout
    assert "ended with SIGABRT (status 134), recorded" in result.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_standard_output_is_not_blamed_on_the_recording(program: Path, tmp_path: Path) -> None:
    output = tmp_path / "x"
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-m", "odograph", "run", "--with", "ptrace", "-o", output, "--", program]
        result = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 125
    assert result.stderr.splitlines()[-1] == "odograph: standard output: No space left on device"
    assert output.exists()


def test_record_info_steps_verify(run: Run, program: Path, tmp_path: Path) -> None:
    output = tmp_path / "road.data"
    recorded = run("record", "--with", "ptrace", "-o", output, "--", program)
    assert (recorded.returncode, recorded.stdout) == (3, "here\n")
    assert "recording with ptrace" in recorded.stderr
    assert f"odograph info {output}" in recorded.stderr
    assert "recorded by odograph with ptrace; the program ended with status 3" in run("info", output).stdout
    assert "road!road" in run("steps", output, "--symbols").stdout
    verified = run("verify", output, "--json")
    assert verified.returncode == 0
    document = json.loads(verified.stdout)
    assert document["ok"]
    assert document["threads"][0]["recorded_hash"] == document["threads"][0]["decoded_hash"]


def test_options_behind_the_command_belong_to_it(run: Run, program: Path, tmp_path: Path) -> None:
    result = run("record", "--with", "ptrace", "-o", tmp_path / "out", program, "--json", "-o")
    assert (result.returncode, result.stdout) == (0, "--json\n-o\n")


def test_doctor(run: Run) -> None:
    result = run("doctor", "--json")
    document = json.loads(result.stdout)
    assert result.returncode == 0
    assert {recorder["name"] for recorder in document["recorders"]} == {"perf", "qemu", "ptrace"}
    assert document["best"] in {"perf", "qemu", "ptrace"}
    assert f"record uses {document['best']}" in run("doctor").stdout


def test_programs_that_a_process_runs_one_after_the_other(run: Run, program: Path, tmp_path: Path) -> None:
    from odograph.recorder import qemu

    if qemu.unavailable() is not None:
        pytest.skip("needs QEMU user mode")
    result = run("run", "--with", "qemu", "--json", "--", "sh", "-c", f"exec {program}")
    document = json.loads(result.stdout.removeprefix("here\n"))
    (thread,) = document["threads"]
    first, second = thread["tree"]["children"]
    assert second["name"] == "road"
    assert first["instructions"] + second["instructions"] == document["instructions"]
    (road,) = [row for row in document["functions"] if row["name"] == "road"]
    assert road["calls"] == 5
