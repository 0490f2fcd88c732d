"""Files that a recording names: only plain ones are opened, and nobody waits for any."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import odograph
from odograph.code.binaries import Binaries, Missing
from odograph.code.mappings import Mapping
from odograph.code.objects import build_id, object_file
from odograph.errors import ImageError, RecordingError
from odograph.files.plainfile import is_plain, open_recorded
from odograph.symbols.perfmap import find_perf_map
from support.hostilenames import CODE, CODE_BYTES, elf_file, hostile_recording, recorded

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")

#: Names of things that are no plain files: what answers never, or endlessly, or with the kernel's secrets.
KINDS = [
    "pipe",
    "device",
    "endless",
    "procfs",
    "sysfs",
    "link to procfs",
    "nsfs",
    "directory",
    "missing",
    "devpts",
]


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The name of something that is no plain file."""
    folder = tmp_path / "named"
    folder.mkdir()
    match request.param:
        case "pipe":
            os.mkfifo(folder / "pipe")
            return str(folder / "pipe")
        case "link to procfs":
            (folder / "link").symlink_to("/proc/self/status")
            return str(folder / "link")
        case "directory":
            return str(folder)
    known = {
        "device": "/dev/null",
        "endless": "/dev/zero",
        "procfs": "/proc/self/status",
        "sysfs": "/sys/kernel/notes",
        "nsfs": "/proc/self/ns/mnt",
        "missing": "/nothing/here",
        "devpts": "/dev/pts/ptmx",
    }
    path = known[request.param]
    if request.param not in ("missing",) and not os.path.exists(path):
        pytest.skip(f"needs {path}")
    return path


def within(seconds: float, call: Callable[[], object]) -> object:
    started = time.monotonic()
    try:
        return call()
    finally:
        assert time.monotonic() - started < seconds


def test_files_that_are_not_plain_are_not_opened(name: str) -> None:
    with pytest.raises(OSError, match=r".") as raised:
        within(5, lambda: open_recorded(name))
    assert raised.value.errno
    assert not is_plain(name)
    for question in (build_id, object_file):
        assert within(5, lambda question=question: question(name)) is None  # type: ignore[misc]


def test_files_that_are_not_plain_give_no_code(name: str, tmp_path: Path) -> None:
    mapping = Mapping(CODE, 0x1000, 0, name, pid=1)
    assert isinstance(within(5, lambda: Binaries().find(mapping)), Missing)
    # The name is the recording's also below a directory that the user named.
    assert isinstance(within(5, lambda: Binaries(sysroot="/").find(mapping)), Missing)
    with pytest.raises(ImageError):
        within(5, lambda: odograph.Image().add_file(name, 0, 10, CODE, recorded=True))


@pytest.mark.parametrize("name", ["pipe", "endless", "link to procfs"], indirect=True)
def test_commands_go_on_without_it(name: str, tmp_path: Path) -> None:
    path = recorded(tmp_path / "recording", name)
    script = "import sys; from odograph.cli import main\nfor word in sys.argv[2:]: main([word, sys.argv[1]])"
    words = ["info", "steps", "functions", "stack", "coverage", "verify"]
    result = subprocess.run(
        [sys.executable, "-c", script, str(path), *words], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert "gap" in result.stdout


def test_the_user_may_name_files_of_the_kernel() -> None:
    image = odograph.Image()
    # It has no size, and so no bytes at offset 0; but that is all that is wrong with it.
    with pytest.raises(odograph.InvalidArgument, match="past the end"):
        image.add_file("/proc/self/status", 0, 10, CODE)
    with pytest.raises(ImageError, match="no recording may name"):
        image.add_file("/proc/self/status", 0, 10, CODE, recorded=True)
    if os.path.exists("/sys/kernel/notes") and os.access("/sys/kernel/notes", os.R_OK):
        image.add_file("/sys/kernel/notes", 0, 10, CODE)
        assert image.read(CODE, 4)
        with pytest.raises(ImageError):
            image.add_file("/sys/kernel/notes", 0, 10, CODE, recorded=True)


def test_a_file_that_becomes_a_pipe_does_not_block(tmp_path: Path) -> None:
    """What was checked is what is read; a file that was exchanged later is looked at anew."""
    program = elf_file(tmp_path / "program", {"f": CODE})
    recording = odograph.open(recorded(tmp_path / "recording", program))
    image = recording.image()
    symbols = recording.symbols()
    program.unlink()
    os.mkfifo(program)
    with pytest.raises(ImageError):
        within(5, lambda: image.read(CODE, 4))
    assert within(5, lambda: symbols.name_of(CODE)) is not None
    assert within(5, lambda: symbols.source_of(CODE)) is None


def test_what_was_opened_is_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    with open_recorded(path) as file:
        path.unlink()
        os.mkfifo(path)
        assert file.read() == b"first"


def test_names_with_zero_bytes_lead_nowhere() -> None:
    with pytest.raises(ValueError, match="zero"):
        open_recorded("a\0b")
    assert isinstance(Binaries(sysroot="/").find(Mapping(CODE, 16, 0, "/a\0b")), Missing)


@pytest.mark.parametrize("file", ["data", "data.0", "kcore_dir/kcore"])
def test_pipes_in_a_recording_directory_do_not_block(file: str, tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    (folder / "kcore_dir").mkdir(parents=True)
    recorded(folder / "data", "/nowhere")
    (folder / file).unlink(missing_ok=True)
    os.mkfifo(folder / file)
    if file.startswith("data"):
        with pytest.raises(RecordingError, match="not a regular file"):
            within(5, lambda: odograph.open(folder))
    else:
        assert within(5, lambda: odograph.open(folder).image()) is not None


def test_perf_maps_and_indexes_that_are_pipes_do_not_block(tmp_path: Path) -> None:
    path = recorded(tmp_path / "recording", "/nowhere")
    os.mkfifo(tmp_path / "perf-42.map")
    os.mkfifo(f"{path}.odx")
    assert within(5, lambda: find_perf_map(42, str(path)).entries) == []
    recording = odograph.open(path)
    within(10, recording.history)
    assert recording.index_use is not None
    assert not recording.index_use.used
    assert "not a regular file" in (recording.index_use.reason or "")


def test_debug_links_that_lead_to_pipes_do_not_block(tmp_path: Path) -> None:
    import shutil

    if shutil.which("objcopy") is None or shutil.which("gcc") is None:
        pytest.skip("needs gcc and objcopy")
    (tmp_path / "program.c").write_text("int main(void) { return 0; }")
    program, link = tmp_path / "program", tmp_path / "linked.debug"
    subprocess.run(["gcc", "-Wl,--build-id=none", "-o", program, tmp_path / "program.c"], check=True)
    link.write_bytes(b"x")
    subprocess.run(["objcopy", f"--add-gnu-debuglink={link}", program], check=True)
    link.unlink()
    os.mkfifo(link)
    from odograph.symbols import Lines

    assert not within(5, lambda: Lines(program))


def test_hostile_recordings_still_have_their_code(tmp_path: Path) -> None:
    history = odograph.open(hostile_recording(tmp_path)).history()
    assert [instruction.raw for instruction in history] == [
        CODE_BYTES[:5],
        CODE_BYTES[16:17],
        CODE_BYTES[17:18],
        CODE_BYTES[5:6],
    ]
