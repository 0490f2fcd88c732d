"""Code that changes while a program runs: other files at an address, and other bytes in a page."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

import odograph
from odograph.recorder import ptrace, qemu
from odograph.recorder.record import record

Build = Callable[..., str]

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
needs_qemu = pytest.mark.skipif(qemu.unavailable() is not None, reason="no QEMU")
needs_ptrace = pytest.mark.skipif(ptrace.unavailable() is not None, reason="no ptrace")
needs_perf = pytest.mark.skipif(shutil.which("perf") is None, reason="no perf")
recorders = pytest.mark.parametrize(
    "backend", [pytest.param("qemu", marks=needs_qemu), pytest.param("ptrace", marks=needs_ptrace)]
)

#: What each case of remaps.c calls, one after the other; 7 is the same code in both files, 3 is in no file.
REMAPS = {
    "unmap": "1 2 1 2",
    "over": "1 2 1 2",
    "part": "1 1 1 1 2 1 1 1 1",
    "same-bytes": "7 7 7 7",
    "move": "1 2 2 1 2",
    "protect": "1 2 1 2",
    "anonymous": "1 3 2",
    "thread": "2 1 2 1",
    "fork": "1 1 2 1",
}
#: The files those calls were in, where that is not what they returned.
FILES = {"same-bytes": "1 2 1 2", "anonymous": "1 2", "fork": "1 2 1"}
PLACE = 0x7E0000000000


@pytest.fixture
def two_files(tmp_path: Path) -> tuple[Path, Path]:
    """Files of code as remaps.c wants them."""
    paths = (tmp_path / "one", tmp_path / "two")
    for number, path in enumerate(paths, 1):
        page = bytearray(4096)
        page[:6] = b"\xb8" + bytes([number, 0, 0, 0]) + b"\xc3"
        page[64:70] = b"\xb8\x07\0\0\0\xc3"
        path.write_bytes(page * 3)
    return paths


def perf_objects(path: Path, pattern: str) -> list[tuple[int, str]]:
    """(tid, file) of runs of instructions in files whose names match, in perf's order of time."""
    line = ["perf", "script", "-i", str(path), "--itrace=i1i", "-F", "tid,ip,sym,dso"]
    text = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    found = re.findall(rf"^\s*(\d+)\s+[0-9a-f]+ .*\(\S*/({pattern})\)$", text, re.MULTILINE)
    return [(int(tid), name) for (tid, name), _ in groupby(found)]


def maps_over_time(path: Path) -> list[str]:
    """Names of the files that the recording says were mapped at ``PLACE`` in the first process, in order."""
    source = odograph.open(path).source
    first = source.threads[0].pid
    mappings = [
        change.mapping.filename
        for _, changes in source.image_timeline(first)
        for change in changes
        if change.kind == "add"
        and change.mapping is not None
        and change.mapping.code is None
        and change.mapping.address <= PLACE < change.mapping.end
    ]
    return [Path(name).name for name in mappings]


def assert_equal_to_the_recorder(path: Path) -> None:
    verdicts = odograph.open(path).verify()
    assert verdicts
    assert [verdict for verdict in verdicts if not verdict.ok] == []


@recorders
def test_another_file_at_an_address_is_another_map(
    build: Build,
    backend: str,
    two_files: tuple[Path, Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    program = build("remaps", "-static")
    result = record([program, *map(str, two_files), *REMAPS], tmp_path / "x", backend=backend, env={})
    assert [line.strip() for line in capfd.readouterr().out.splitlines()] == list(REMAPS.values())
    assert result.status == 0
    assert_equal_to_the_recorder(result.path)
    assert odograph.open(result.path).source.executed.gaps == []


@needs_perf
@recorders
@pytest.mark.parametrize("case", ["over", "same-bytes", "thread"])
def test_perf_finds_the_file_that_was_mapped_at_each_time(
    build: Build, backend: str, case: str, two_files: tuple[Path, Path], tmp_path: Path
) -> None:
    if backend == "ptrace" and case != "same-bytes":
        pytest.skip("too slow for every case")
    program = build("remaps", "-static")
    result = record([program, *map(str, two_files), case], tmp_path / "x", backend=backend, env={})
    expected = FILES.get(case, REMAPS[case]).replace("1", "one").replace("2", "two").split()
    assert [name for _, name in perf_objects(result.path, "one|two")] == expected
    assert maps_over_time(result.path) == expected


@needs_perf
@recorders
@pytest.mark.acceptance
@pytest.mark.parametrize("case", [*REMAPS, "libraries"])
def test_perf_finds_the_file_in_every_case(
    build: Build, backend: str, case: str, two_files: tuple[Path, Path], tmp_path: Path
) -> None:
    files = two_files
    if case == "libraries":
        files = (tmp_path / "one.so", tmp_path / "two.so")
        for number, path in enumerate(files, 1):
            source = path.with_suffix(".c")
            source.write_text(f"static int part{number}(void) {{ return {number}; }}\n")
            source.write_text(source.read_text() + f"int answer(void) {{ return part{number}() + 0; }}\n")
            subprocess.run(["cc", "-O0", "-shared", "-fPIC", "-o", path, source], check=True)
    program = build("remaps", *(["-static"] if case != "libraries" else []))
    result = record([program, *map(str, files), case], tmp_path / "x", backend=backend, env={})
    assert_equal_to_the_recorder(result.path)
    expected = FILES.get(case, REMAPS.get(case, "1 2 1 2")).replace("1", "one").replace("2", "two").split()
    found = [name.removesuffix(".so") for _, name in perf_objects(result.path, r"(?:one|two)(?:\.so)?")]
    assert [name for name, _ in groupby(found)] == [name for name, _ in groupby(expected)]


@recorders
def test_old_code_that_qemu_runs_is_told(
    build: Build, backend: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = record([build("stale", "-static")], tmp_path / "x", backend=backend, env={})
    assert result.status == 0
    lines = [line.rsplit(" ", 2) for line in capfd.readouterr().out.splitlines()]
    old = {address for _, address, code in lines if code == "old"}
    gaps = odograph.open(result.path).source.executed.gaps
    told = {
        found for gap in gaps for found in re.findall(r"code at (0x[0-9a-f]+) was changed", gap["message"])
    }
    assert len(lines) == 19
    assert {gap["cause"] for gap in gaps} <= {"stale"}
    assert told == old
    assert backend == "qemu" or not old
    assert_equal_to_the_recorder(result.path)
