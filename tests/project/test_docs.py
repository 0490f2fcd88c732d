"""The examples in README and docs run, and what they show of the command line is true."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from odograph.cli.group import COMMANDS, odograph
from support.paths import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
EXAMPLE = re.compile(r"(<!-- needs a recording -->\n)?```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_run(page: Path) -> None:
    names: dict[str, object] = {}
    for needs_recording, example in EXAMPLE.findall(page.read_text()):
        code = compile(example, f"{page.name}: {example.strip().splitlines()[0]}", "exec")
        if not needs_recording:
            exec(code, names)


def test_the_guide_has_examples_that_run() -> None:
    found = EXAMPLE.findall((ROOT / "docs" / "guide.md").read_text())
    assert len([example for marker, example in found if not marker]) >= 4


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the first command of README makes."""
    folder = tmp_path_factory.mktemp("recorded")
    (command,) = re.findall(
        r"^\$ odograph (run -o ls\.data .*)$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    words = [sys.executable, "-m", "odograph", *command.split()]
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    if result.returncode == 125:
        pytest.skip(f"nothing can be recorded here: {result.stderr}")
    assert result.returncode == 0, result.stderr
    return folder


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda script: script.name)
def test_example_scripts_run(script: Path, recorded: Path) -> None:
    words = [sys.executable, script]
    result = subprocess.run(words, cwd=recorded, check=True, capture_output=True, text=True)
    assert result.stdout


def test_the_last_call_of_a_function_is_found(recorded: Path) -> None:
    script = ROOT / "examples" / "break_on_history.py"
    words = [sys.executable, script, "ls.data", "exit"]
    result = subprocess.run(words, cwd=recorded, check=True, capture_output=True, text=True)
    stop, *frames = result.stdout.splitlines()
    assert stop.startswith("break at ")
    assert "exit" in frames[0]
    assert any("__libc_start" in frame for frame in frames[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_command_is_described() -> None:
    reference = (ROOT / "docs" / "cli.md").read_text()
    for name in COMMANDS:
        assert f"## odograph {name}" in reference


@pytest.mark.parametrize("command", COMMANDS)
def test_options_that_the_reference_names_exist(command: str) -> None:
    reference = (ROOT / "docs" / "cli.md").read_text()
    section = reference.split(f"## odograph {command}")[1].split("\n## ")[0]
    shown = subprocess.run(
        [sys.executable, "-m", "odograph", command, "--help"], check=True, capture_output=True, text=True
    ).stdout
    for option in set(re.findall(r"--[a-z][a-z-]+", section)):
        assert option in shown


def test_the_reference_says_which_commands_have_which_options() -> None:
    reference = (ROOT / "docs" / "cli.md").read_text()
    section = reference.partition("## Options of commands that read a trace")[2].partition("\n## ")[0]
    described = set(re.findall(r"^\| `(--[\w-]+)", section, re.MULTILINE)) | {"--no-index"}
    everything = described - {"--tid", "--max-gaps"}
    lacking = {"index": {"--no-index"}, "verify": {"--index", "--no-index"}}
    lacking["packets"] = everything - {"--max-expanded"}
    readers = ("info", "steps", "break", "gdb", "dap", "stack", "functions", "coverage", *lacking)
    for name in readers:
        parameters = odograph.get_command(click.Context(odograph), name).params  # type: ignore[union-attr]
        options = {text for parameter in parameters for text in parameter.opts}
        assert options & everything == everything - lacking.get(name, set()), name
        assert ("--tid" in options) == (name not in ("packets", "index")), name
        assert ("--max-gaps" in options) == (name in ("info", "steps")), name


def masked(line: str) -> str:
    """A line without what differs from machine to machine."""
    return re.sub(r"\d[\d,.]*", "N", line.strip())


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs" / "tutorials").glob("*.md")), ids=lambda page: page.name
)
def test_a_tutorial_works_from_its_first_to_its_last_line(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files are written, commands (`$`) are run, Python runs, in the order of the page."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"^```(\w+)(?: title=\"([\w.]+)\")?\n(.*?)^```", page.read_text(), re.M | re.S)
    assert len(blocks) >= 3
    for kind, title, text in blocks:
        if title:
            Path(title).write_text(text)
        elif kind == "python":
            exec(compile(text, page.name, "exec"), names)
        elif kind == "console":
            for command in re.findall(r"^\$ (.*)$", text, re.M):
                words = (
                    [sys.executable, "-m", *command.split()]
                    if command.startswith("odograph")
                    else command.split()
                )
                run = subprocess.run(words, capture_output=True, text=True)
                if run.returncode == 125:
                    pytest.skip(f"nothing can be recorded here: {run.stderr}")
                assert run.returncode == 0, (command, run.stderr)


def test_the_slow_request_of_the_tutorial_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = ROOT / "docs" / "tutorials" / "slow-request.md"
    test_a_tutorial_works_from_its_first_to_its_last_line(page, tmp_path, monkeypatch, capsys)
    printed = capsys.readouterr().out
    assert "601 requests" in printed
    assert "the slow one is request 400" in printed
    assert "instructions in find" in printed
    assert " in handle" in printed
