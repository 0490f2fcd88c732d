"""Small files cannot claim much time or memory, wherever the claim stands; what is left out is said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from hostile import CORPUS, HOSTILE

import odograph
from fuzz_recordings import QUESTIONS, Asker, mutant, seeds
from odograph.cli.group import call
from odograph.recording import open_recording

pytest.importorskip("zstandard")


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    one = Asker()
    yield one
    one.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_read_in_little_time_and_memory(tmp_path: Path, asker: Asker, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name](tmp_path))
    assert asker.ask(path, QUESTIONS[:1]) == []


@pytest.mark.acceptance
@pytest.mark.parametrize("name", HOSTILE)
def test_all_questions_about_a_hostile_file_take_little_time_and_memory(
    tmp_path: Path, asker: Asker, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name](tmp_path))
    assert asker.ask(path, QUESTIONS[1:]) == []


@pytest.mark.parametrize(
    "numbers",
    [range(6), pytest.param(range(6, 24), marks=pytest.mark.acceptance)],
    ids=["sample", "others"],
)
def test_changed_recordings_are_read_in_little_time_and_memory(
    tmp_path: Path, asker: Asker, numbers: range
) -> None:
    """tests/fuzz_recordings.py makes as many as time allows."""
    found = seeds()
    for number in numbers:
        path = tmp_path / "mutant"
        path.write_bytes(mutant(found, 7, number))
        assert asker.ask(path) == [], f"python tests/fuzz_recordings.py --seed 7 --only {number}"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("a_byte_in_each_of_many_pages", "executed bytes kept with this recording are damaged and not used"),
        ("compressed_names", "the compressed records from here on are left out"),
    ],
)
def test_what_is_left_out_is_said(
    tmp_path: Path, name: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name](tmp_path))
    assert call(["info", "--no-decode", str(path)]) == 0
    said = capsys.readouterr().out
    assert what in said
    assert "--max-expanded" in said


def test_an_option_allows_more_and_less(tmp_path: Path) -> None:
    path = tmp_path / "code"
    path.write_bytes(HOSTILE["a_byte_in_each_of_many_pages"](tmp_path))
    recording = odograph.open(path, max_expanded=1 << 30)
    assert len(recording.source.code) > 100_000
    assert recording.source.problems == []
    assert open_recording(CORPUS / "static.qemu.data", max_expanded=1000).code == []
    assert open_recording(CORPUS / "static.compressed.data", max_expanded=300).problems
    assert not open_recording(CORPUS / "static.compressed.data", max_expanded=20_000).problems


def test_ids_that_overlap_are_not_used(tmp_path: Path) -> None:
    path = tmp_path / "attributes"
    data = HOSTILE["attributes_that_share_their_ids"](tmp_path)
    path.write_bytes(data)
    recording = open_recording(path)
    assert any("the ids of events overlap" in problem.message for problem in recording.problems)
    assert sum(len(event["ids"]) for event in recording.facts["events"]) <= len(data) // 8


def test_sizes_have_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = CORPUS / "static.qemu.data"
    for size, enough in (("1000", False), ("1K", False), ("64MiB", True), ("1g", True)):
        assert call(["info", "--no-decode", "--max-expanded", size, str(path)]) == 0
        assert ("--max-expanded" not in capsys.readouterr().out) == enough
    assert call(["info", "--max-expanded", "much", str(path)]) == 2
    assert "is not a size, such as" in capsys.readouterr().err
