"""Recordings made by earlier versions open and say what they said; ``tests/corpus/make.py`` made them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import odograph
from odograph.cli.group import call
from support.opened import describe
from support.paths import CORPUS

EXPECTED = json.loads((CORPUS / "expected.json").read_text())
READING = ("info", "packets", "steps", "functions", "coverage", "stack", "verify")


@pytest.fixture
def recording(request: pytest.FixtureRequest) -> Path:
    """A recording of the corpus by name."""
    if "compressed" in request.param:
        pytest.importorskip("zstandard")
    return CORPUS / request.param


@pytest.mark.parametrize("recording", EXPECTED, indirect=True)
def test_a_kept_recording_says_what_it_said_when_it_was_made(recording: Path) -> None:
    assert describe(recording) == EXPECTED[recording.name]


@pytest.mark.parametrize("recording", EXPECTED, indirect=True)
def test_every_command_reads_a_kept_recording(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in READING:
        # Only the forms with executed bytes hold what verify compares.
        nothing_to_compare = command == "verify" and not EXPECTED[recording.name]["verified"]
        # Packets need no files.
        files = [] if command == "packets" else ["--sysroot", str(CORPUS / "files")]
        for options in ([], ["--json"]):
            status = call([command, *files, str(recording), *options])
            output = capsys.readouterr().out
            if nothing_to_compare:
                assert status == 2
            else:
                # A stack says with 1 that no frame before it is known.
                assert status == 0 or (command == "stack" and status == 1)
                assert output


def test_an_index_by_another_version_changes_nothing_and_says_why(tmp_path: Path) -> None:
    for name in ("signal.indexed.data", "signal.indexed.data.odx"):
        shutil.copy(CORPUS / name, tmp_path)
    opened = odograph.open(tmp_path / "signal.indexed.data")
    histories = opened.histories()
    use = opened.index_use
    assert use is not None
    assert use.used or use.reason
    expected = EXPECTED["signal.indexed.data"]["threads"]
    assert {str(tid): len(history) for tid, history in histories.items()} == {
        tid: thread["instructions"] for tid, thread in expected.items()
    }


def test_the_corpus_has_recordings_of_every_kind_and_names_no_machine() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 400_000
    for kind in ("static", "dynamic", "threads", "children", "selfwritten", "signal", "crash"):
        assert {f"{kind}.qemu.data", f"{kind}.ptrace.data"} <= set(EXPECTED)
    for form in ("pipe", "directory", "compressed"):
        assert f"static.{form}.data" in EXPECTED
    for path in files:
        if ".data" in str(path.relative_to(CORPUS)):
            assert not any(name in path.read_bytes() for name in (b"/home/", b"/root/", b"/work"))
