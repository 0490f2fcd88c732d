"""Where recordings go: what stands at the place stays what it is, and no finished recording is lost."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import odograph
from odograph.errors import OutputError, RecordingError
from odograph.recorder import ptrace, qemu
from odograph.recorder.record import finish, record

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None or ptrace.unavailable() is not None, reason="needs a C compiler and ptrace"
)
needs_qemu = pytest.mark.skipif(qemu.unavailable() is not None, reason="no QEMU")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="not root")


PROGRAMS = {
    # Makes a file named "ran", and ends with 7.
    "short": """
        .globl _start
        _start: mov $85, %eax; lea name(%rip), %rdi; mov $0644, %esi; syscall
        mov $60, %eax; mov $7, %edi; syscall
        name: .asciz "ran"
    """,
    # Makes a trace of some 80 KB in 80,005 instructions, and ends with 7.
    "long": """
        .globl _start
        _start: lea leaf(%rip), %rax; mov $20000, %ecx
        again: call *%rax; dec %ecx; jnz again
        mov $60, %eax; mov $7, %edi; syscall
        leaf: ret
    """,
    # Makes a trace of some 300 KB, then writes zeros to a file until the disk is full.
    "fill": """
        .globl _start
        _start: lea leaf(%rip), %rax; mov $75000, %ecx
        again: call *%rax; dec %ecx; jnz again
        mov $85, %eax; lea name(%rip), %rdi; mov $0644, %esi; syscall
        mov %eax, %r8d; sub $65536, %rsp; mov $65536, %r9d
        more: mov $1, %eax; mov %r8d, %edi; mov %rsp, %rsi; mov %r9d, %edx; syscall
        test %rax, %rax; jg more
        shr $4, %r9d; cmp $4096, %r9d; je more
        mov $60, %eax; mov $7, %edi; syscall
        leaf: ret
        name: .asciz "filler"
    """,
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Programs of a few instructions."""
    directory = tmp_path_factory.mktemp("short")
    for name, text in PROGRAMS.items():
        source = directory / f"{name}.S"
        source.write_text(text)
        subprocess.run(["cc", "-nostdlib", "-static", "-o", directory / name, source], check=True)
    return {name: directory / name for name in PROGRAMS}


@pytest.fixture
def program(programs: dict[str, Path]) -> Path:
    return programs["short"]


def odograph_command(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "odograph", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run(line, text=True, timeout=60, **{**pipes, **options})


def assert_is_a_recording(path: Path) -> None:
    (verdict,) = odograph.open(path).verify()
    assert verdict.ok
    assert verdict.recorded_instructions > 4


def kept_in(message: str) -> Path:
    found = re.search(r"kept in (\S+)", message)
    assert found is not None, message
    return Path(found[1].rstrip(";"))


@pytest.mark.parametrize(
    ("command", "place", "sentence"),
    [
        ("record", "-", "cannot go to standard output"),
        ("run", "/dev/stdout", "is standard output"),
        ("run", "no/such", "there is no directory"),
        ("record", "directory", "is a directory"),
        ("record", "PROGRAM", "is the program that is to be recorded"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_the_program_runs(
    command: str, place: str, sentence: str, program: Path, tmp_path: Path
) -> None:
    (tmp_path / "directory").mkdir()
    place = str(program) if place == "PROGRAM" else place
    result = odograph_command(command, "--with", "ptrace", "-o", place, "--", program, cwd=tmp_path)
    assert result.returncode == 125
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert os.listdir(tmp_path) == ["directory"]


@pytest.mark.parametrize("command", ["record", "run"])
def test_a_recording_is_streamed_to_who_reads_it(command: str, program: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    result = odograph_command(command, "--with", "ptrace", "-o", fifo, "--", program, cwd=tmp_path)
    reader.join(timeout=30)
    assert result.returncode == 7, result.stderr
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    (tmp_path / "copy").write_bytes(got[0])
    assert_is_a_recording(tmp_path / "copy")


def test_a_symbolic_link_leads_to_the_recording(program: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("target")
    for _ in range(2):
        odograph_command("record", "--with", "ptrace", "-o", link, "--", program, cwd=tmp_path)
        assert link.is_symlink()
        assert_is_a_recording(tmp_path / "target")
    assert sorted(os.listdir(tmp_path)) == ["link", "ran", "target"]


@needs_root
def test_the_null_device_stays(program: Path, tmp_path: Path) -> None:
    null = tmp_path / "null"
    try:
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        null.write_bytes(b"")
    except OSError as error:
        pytest.skip(f"no devices here: {error}")
    for command in ("record", "run"):
        result = odograph_command(command, "--with", "ptrace", "-o", null, "--", program, cwd=tmp_path)
        assert result.returncode == 7, result.stderr
        assert stat.S_ISCHR(null.stat().st_mode)


def test_a_recording_whose_reader_left_is_kept(program: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: os.close(os.open(fifo, os.O_RDONLY)))
    reader.start()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    words = ("record", "--with", "ptrace", "-o", fifo, "--", program)
    result = odograph_command(*words, cwd=tmp_path, env=environment)
    reader.join()
    assert result.returncode == 125
    assert "Broken pipe" in result.stderr
    assert_is_a_recording(kept_in(result.stderr))


@needs_root
@needs_qemu
def test_a_disk_that_fills_up_costs_no_recording(
    programs: dict[str, Path], tmp_path: Path, private_mount: Callable[[Path, str], list[str]]
) -> None:
    disk, temporary = tmp_path / "disk", tmp_path / "temporary"
    disk.mkdir()
    temporary.mkdir()
    # The old file is not lost either: it is shown while the disk still exists.
    script = 'cd "$0" && echo old > out && { "$@"; echo "status $?"; cat out; ls -A; }'
    command = [sys.executable, "-m", "odograph", "record", "--with", "qemu", "-o", "out", "--"]
    line = [*private_mount(disk, "2m"), "sh", "-c", script, disk, *command, programs["fill"]]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    run = subprocess.run(line, capture_output=True, text=True, timeout=60, env=environment)
    assert run.stdout.splitlines() == ["status 125", "old", "filler", "out"]
    assert "No space left on device" in run.stderr
    assert_is_a_recording(kept_in(run.stderr))


def test_what_was_recorded_can_be_finished_when_there_is_room(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("odograph.recorder.record._write", full)
        with pytest.raises(OutputError, match="when there is room") as caught:
            record([str(program)], tmp_path / "x", backend="ptrace")
    directory = kept_in(str(caught.value))
    assert not (tmp_path / "x").exists()
    finish(directory, tmp_path / "x")
    assert_is_a_recording(tmp_path / "x")
    shutil.rmtree(directory)
    with pytest.raises(RecordingError, match="holds nothing that a recorder left"):
        finish(directory, tmp_path / "x")


@pytest.mark.parametrize(
    "recorder",
    [
        "ptrace",
        pytest.param("qemu", marks=needs_qemu),
    ],
)
def test_trace_without_room_is_a_gap_and_its_instructions_are_counted(
    recorder: str, programs: dict[str, Path], tmp_path: Path
) -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    words = ("record", "--with", recorder, "-o", "x", "--", programs["long"])
    result = odograph_command(*words, cwd=tmp_path, preexec_fn=little_room)
    assert result.returncode == 125, result.stderr
    assert "Traceback" not in result.stderr
    assert "the program ended with status 7" in result.stderr
    recording = odograph.open(tmp_path / "x")
    (verdict,) = recording.verify()
    assert verdict.recorded_instructions == 2 + 4 * 20_000 + 3
    assert not verdict.ok
    history = recording.history()
    assert len(history) == verdict.decoded_instructions > 30_000
    assert [(gap.cause, gap.step) for gap in history.gaps()] == [("lost", len(history))]
    said = odograph_command("verify", "x", cwd=tmp_path)
    assert said.returncode == 1
    assert "DIFFERENT: recorded 80,005 instructions" in said.stdout
    assert "are recorded" in odograph_command("info", "x", cwd=tmp_path).stdout
