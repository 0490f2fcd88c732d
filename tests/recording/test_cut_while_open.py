"""A recording that is cut or changed while it is open: every later question is an error, and nothing dies."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import odograph
from odograph import RecordingError
from odograph._native import RawMapping
from odograph.code.evidence import Evidence
from odograph.files.plainfile import mapped_recorded
from odograph.perfdata.source import map_file
from odograph.recording.opening import open_recording
from odograph.symbols.table import table_of_file, unwind_tables_of
from support.paths import CORPUS

QUESTIONS: dict[str, Callable[[odograph.Recording, odograph.History], object]] = {
    "hash": lambda _, history: history.hash(),
    "counts": lambda _, history: history.counts(),
    "instruction": lambda _, history: history[9_000],
    "addresses": lambda _, history: history.ips(5, 10),
    "stack": lambda _, history: history.stack(9_000),
    "functions": lambda _, history: history.functions(),
    "events": lambda _, history: history.events(),
    "find": lambda _, history: history.find(0x1234),
    "part": lambda _, history: history.part(5, 9_000).hash(),
    "time": lambda _, history: history.time(9_000),
    "at tsc": lambda _, history: history.at_tsc(0),
    "packets": lambda recording, _: recording.packets(),
    "verify": lambda recording, _: recording.verify(),
}


def cut(path: Path) -> None:
    os.truncate(path, 1500)


def rewrite(path: Path) -> None:
    # Its size stays; only its time tells.
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [cut, rewrite])
def test_questions_about_a_file_that_changed_are_errors(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = shutil.copy(CORPUS / "dynamic.qemu.data", tmp_path)
    recording = odograph.open(path)
    history = recording.history()
    change(path)
    for question in QUESTIONS.values():
        with pytest.raises(RecordingError, match="changed or cut while it was open"):
            question(recording, history)


def test_a_file_that_is_cut_before_it_is_decoded_is_an_error(tmp_path: Path) -> None:
    path = shutil.copy(CORPUS / "dynamic.qemu.data", tmp_path)
    recording = odograph.open(path)
    cut(path)
    with pytest.raises(RecordingError, match="changed or cut"):
        recording.history()
    recording = odograph.open(path)
    assert any("missing" in problem.message for problem in recording.source.problems)


def test_a_file_that_is_cut_while_it_is_decoded_is_an_error(tmp_path: Path) -> None:
    """In a process of its own, which a signal would kill."""
    script = """
import os, sys, odograph
from odograph import Packet, PacketEncoder
encoder = PacketEncoder()
for packet in (Packet("psb"), Packet("mode.exec", csl=True, csd=False, iflag=False),
               Packet("fup", compression=3, ip=0x401000), Packet("psbend")):
    encoder.add(packet)
psb = bytes(encoder)
path = sys.argv[1]
with open(path, "wb") as file:
    file.write((psb + bytes([0xfe]) * 4000) * 8000)
image = odograph.Image()
image.add_bytes(bytes.fromhex("75fe"), 0x401000)
recording = odograph.open(path, image=image)
calls = []
def progress(done, total):
    calls.append(done)
    os.truncate(path, 4096)
try:
    recording.history(progress=progress)
except odograph.RecordingError as error:
    print(len(calls) > 0, error)
"""
    words = [sys.executable, "-X", "faulthandler", "-c", script, str(tmp_path / "raw.pt")]
    run = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("True ")
    assert "changed or cut while it was open" in run.stdout


def test_pieces_that_are_put_together_are_checked(tmp_path: Path) -> None:
    shutil.copytree(CORPUS / "static.directory.data", tmp_path / "directory")
    recording = open_recording(tmp_path / "directory")
    (stream,) = recording.streams
    stream.extents = [extent for extent in stream.extents for _ in range(2)]
    os.truncate(tmp_path / "directory" / "data.0", 10)
    with pytest.raises(RecordingError, match="was changed or cut"):
        stream.read()


def test_a_mapping_is_read_like_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    (tmp_path / "file").write_bytes(content)
    mapped = map_file(tmp_path / "file")
    assert isinstance(mapped, RawMapping)
    for part in (slice(None), slice(3, 9), slice(-5, None), slice(9, 3), slice(10_000, 20_000)):
        assert mapped[part] == content[part]
    assert (mapped[0], mapped[-1], len(mapped)) == (0, 255, len(content))
    for sub in (b"", b"\x05\x06", b"\x06\x05", b"\xff\x00"):
        for start, end in ((0, None), (7, None), (7, 300), (300, 7), (10_240, None)):
            assert mapped.find(sub, start, end) == content.find(sub, start, end)
    assert bytes(memoryview(mapped)[5:8]) == b"\x05\x06\x07"
    with pytest.raises(IndexError):
        mapped[len(content)]
    with pytest.raises(TypeError):
        memoryview(mapped)[0] = 1
    cut(tmp_path / "file")
    with pytest.raises(RecordingError):
        mapped.check()
    with pytest.raises(RecordingError):
        mapped[9000:9010]


@pytest.fixture
def shrinking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ELF file that is cut to a page as soon as it is mapped."""
    path = tmp_path / "program"
    shutil.copy(sys.executable, path)

    def mapped_and_cut(name: str, descriptor: int) -> RawMapping:
        mapping = RawMapping(name, descriptor)
        os.truncate(path, 4096)
        return mapping

    monkeypatch.setattr("odograph.files.plainfile.RawMapping", mapped_and_cut)
    return path


def test_a_file_of_the_recording_that_is_cut_while_it_is_read_is_not_usable(shrinking: Path) -> None:
    """Reading behind its end would be SIGBUS, and kill the process."""
    size = shrinking.stat().st_size
    with mapped_recorded(sys.executable) as mapping:
        assert len(mapping) == size
    shutil.copy(sys.executable, shrinking)
    evidence = Evidence(bytes_of=lambda _: [(size - 64, bytes(64))])
    reason = evidence.against("name", shrinking, where_it_was=False)
    assert reason is not None
    assert "changed or cut while it was open" in reason


def test_an_object_file_that_is_cut_while_it_is_read_has_fewer_functions(tmp_path: Path) -> None:
    """Object files are read and never mapped: a process that reads one behind its end goes on."""
    whole = Path(sys.executable).resolve()
    path, stop = tmp_path / "program", threading.Event()
    known = len(table_of_file(str(whole)).functions())

    def cut_and_mend() -> None:
        sizes = itertools.cycle((4096, 1 << 16, whole.stat().st_size // 2))
        while not stop.is_set():
            shutil.copy(whole, path)
            os.truncate(path, next(sizes))

    shutil.copy(whole, path)
    cutting = threading.Thread(target=cut_and_mend)
    cutting.start()
    try:
        for _ in range(30):
            assert len(table_of_file(str(path)).functions()) <= known
            assert len(unwind_tables_of(str(path)).starts) <= len(unwind_tables_of(str(whole)).starts)
    finally:
        stop.set()
        cutting.join()
