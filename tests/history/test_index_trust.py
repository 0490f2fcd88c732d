"""An index can say anything of a trace, so it is used only if nobody but its user can have written it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import odograph
from odograph.cli import main
from odograph.perfdata.writer import PerfDataWriter
from odograph.recording.decoding import Decoding
from support.hostilenames import CODE, calling_trace, elf_file, recorded

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
needs_root = pytest.mark.skipif(
    getattr(os, "geteuid", lambda: 1)() != 0, reason="only root can give files away"
)
SOMEBODY = 12345


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A recording with an index beside it."""
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o755)
    program = elf_file(folder / "program", {"f": CODE})
    path = recorded(folder / "recording", program)
    odograph.open(path).save_index()
    return path


def index_of(path: Path) -> Path:
    return Path(f"{path}.odx")


def use(path: Path, index: Path | None = None) -> tuple[bool, str]:
    opened = odograph.open(path, index=True if index is None else index)
    assert len(opened.history()) == 4
    assert opened.index_use is not None
    return opened.index_use.used, opened.index_use.reason or ""


def test_an_index_of_mine_in_a_directory_of_mine_is_used(recording: Path) -> None:
    assert use(recording) == (True, "")
    for mode in (0o600, 0o444, 0o644):
        index_of(recording).chmod(mode)
        assert use(recording) == (True, "")


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o622, 0o602])
def test_an_index_that_others_may_write_is_not_used(recording: Path, mode: int) -> None:
    index_of(recording).chmod(mode)
    used, reason = use(recording)
    assert not used
    assert "others may write it" in reason
    assert "chmod go-w" in reason


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777, 0o2775, 0o733])
def test_an_index_in_a_directory_that_others_may_write_is_not_used(recording: Path, mode: int) -> None:
    """Also in one with the sticky bit: nobody can replace a file there, but anybody can make one first."""
    recording.parent.chmod(mode)
    used, reason = use(recording)
    assert not used
    assert "others may write its directory" in reason


@needs_root
def test_an_index_of_another_user_is_not_used(recording: Path) -> None:
    os.chown(index_of(recording), SOMEBODY, SOMEBODY)
    assert "belongs to another user" in use(recording)[1]
    os.chown(index_of(recording), 0, 0)
    os.chown(recording.parent, SOMEBODY, SOMEBODY)
    used, reason = use(recording)
    assert not used
    assert "its directory belongs to another user" in reason


def test_an_index_behind_a_symbolic_link_is_not_used(recording: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    index_of(recording).rename(elsewhere)
    index_of(recording).symlink_to(elsewhere)
    used, reason = use(recording)
    assert not used
    assert "symbolic link" in reason
    # By its own name it is as good as any.
    assert use(recording, elsewhere) == (True, "")


def test_a_directory_is_judged_not_the_way_to_it(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(recording.parent)
    assert use(tmp_path / "way" / recording.name) == (True, "")
    recording.parent.chmod(0o777)
    assert not use(tmp_path / "way" / recording.name)[0]


def test_another_name_of_the_same_file_grants_nothing(recording: Path, tmp_path: Path) -> None:
    os.link(index_of(recording), tmp_path / "other name")
    assert use(recording) == (True, "")
    (tmp_path / "other name").chmod(0o666)
    assert not use(recording)[0]


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o000, 0o077])
def test_a_saved_index_can_be_used_with_any_umask(recording: Path, mask: int) -> None:
    index_of(recording).unlink()
    before = os.umask(mask)
    try:
        odograph.open(recording).save_index()
    finally:
        os.umask(before)
    assert use(recording) == (True, "")


def test_info_and_index_say_why(recording: Path, capfd: pytest.CaptureFixture[str]) -> None:
    index_of(recording).chmod(0o666)
    assert main(["info", str(recording)]) == 0
    assert "not used: others may write it" in capfd.readouterr().out
    assert main(["index", "--check", str(recording)]) == 1
    assert "others may write it" in capfd.readouterr().out
    # A new one is sound again, unless its place is none.
    assert main(["index", str(recording)]) == 0
    assert capfd.readouterr().err == ""
    recording.parent.chmod(0o777)
    assert main(["index", str(recording)]) == 0
    assert "this index will not be used: others may write its directory" in capfd.readouterr().err


# verify --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verify",
    [
        lambda path: main(["verify", str(path)]),
        lambda path: odograph.open(path).verify(),
        lambda path: odograph.open(path, index=index_of(path)).verify(),
    ],
    ids=["command", "library", "library with index"],
)
def test_verify_decodes(
    verify: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = elf_file(tmp_path / "program", {"f": CODE})
    with PerfDataWriter(tmp_path / "recording", recorder="test") as writer:
        writer.add_comm(42, 42, "program", exec=True)
        writer.add_mmap2(42, 42, CODE, 0x1000, 0x1000, str(program))
        writer.add_trace(42, 42, calling_trace())
        writer.set_truth(42, 4, 1)
    path = tmp_path / "recording"
    odograph.open(path).save_index()
    decoded: list[str] = []
    real = Decoding._decode

    def decode(self: Decoding, *arguments: object) -> object:
        decoded.append("index" if self.index is not None else "trace")
        return real(self, *arguments)  # type: ignore[arg-type]

    def never(*arguments: object, **how: object) -> None:
        raise AssertionError("the index was asked")

    monkeypatch.setattr(Decoding, "_decode", decode)
    with monkeypatch.context() as patched:
        patched.setattr("odograph.history.index.load_history", never)
        verify(path)
    assert set(decoded) == {"trace"}
    # Others take it.
    assert use(path) == (True, "")


def test_an_index_is_not_written_through_a_link_beside_the_recording(recording: Path) -> None:
    victim = recording.parent / "victim"
    victim.write_text("kept")
    index_of(recording).unlink()
    index_of(recording).symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        odograph.open(recording).save_index()
    assert victim.read_text() == "kept"
