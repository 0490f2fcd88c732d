"""What commands write with --json is what the schemas in docs/schemas say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from odograph.cli.group import COMMANDS
from odograph.cli.schemas import OUTPUTS
from support.commands import Run
from support.paths import CORPUS, ROOT

jsonschema = pytest.importorskip("jsonschema")
SCHEMAS = ROOT / "docs" / "schemas"
RECORDINGS = ["children.qemu.data", "crash.ptrace.data", "static.pipe.data", "threads.qemu.data"]


def check(name: str, value: Any) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(value)


def test_the_schemas_are_those_of_the_code() -> None:
    pytest.importorskip("msgspec")
    subprocess.run([sys.executable, ROOT / "tools" / "schemas.py", "--check"], check=True)


def test_every_command_with_json_has_a_schema() -> None:
    without = {"gdb", "dap", "unwind"}
    assert {name.removesuffix("-check") for name in OUTPUTS} == set(COMMANDS) - without


@pytest.mark.parametrize("recording", RECORDINGS)
@pytest.mark.parametrize(
    "words",
    [
        ("info",),
        ("info", "--no-decode"),
        ("packets",),
        ("steps", "--symbols", "--tail", "50"),
        ("stack", "--step", "100"),
        ("functions",),
        ("coverage",),
        ("verify",),
        ("break", "0"),
    ],
    ids=" ".join,
)
def test_answers_about_recordings_fit_their_schema(words: tuple[str, ...], recording: str, run: Run) -> None:
    command, *options = words
    places = ["0-0xffffffffffffffff", "--limit", "5"] if command == "break" else options
    result = run(command, CORPUS / recording, *places, "--json")
    if result.stdout:
        check(command, json.loads(result.stdout))
    assert result.stdout or result.returncode


def test_answers_without_a_recording_fit_their_schema(run: Run, tmp_path: Path) -> None:
    check("doctor", json.loads(run("doctor", "--json").stdout))
    path = tmp_path / "x.odx"
    static = CORPUS / "static.qemu.data"
    check("index", json.loads(run("index", static, "--index", path, "--json").stdout))
    check("index-check", json.loads(run("index", static, "--index", path, "--check", "--json").stdout))


def test_a_run_and_a_record_fit_their_schema(run: Run, tmp_path: Path) -> None:
    ran = run("run", "--json", "--", "true")
    if ran.returncode == 125:
        pytest.skip("nothing can be recorded here")
    check("run", json.loads(ran.stdout))
    recorded = run("record", "-o", tmp_path / "x.data", "--json", "--", "true")
    check("record", json.loads(recorded.stderr))


def test_another_field_does_not_fit() -> None:
    with pytest.raises(jsonschema.ValidationError, match="Additional properties"):
        check("index", {"path": "x", "bytes": 1, "trace_bytes": 1, "other": 1})
