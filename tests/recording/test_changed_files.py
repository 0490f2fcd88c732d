"""A file that changed after the recording gives no names, lines, bytes or unwind information for old code."""

from __future__ import annotations

import os
import shutil
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import odograph
from odograph.cli import main
from odograph.code.evidence import identify
from odograph.debug.modules import programs
from odograph.errors import ImageError
from odograph.perfdata.writer import PerfDataWriter
from odograph.recorder import qemu
from odograph.recorder.record import record
from odograph.symbols.perfmap import find_perf_map
from odograph.unwind import open_core
from support.elfcore import core
from support.hostilenames import CODE, CODE_BYTES, calling_trace, elf_file, recorded

NAMES = {"one": CODE, "two": CODE + 16}
#: g is ret; nop now.
OTHER_CODE = CODE_BYTES[:16] + bytes.fromhex("c390")


def rewrite(path: Path, **how: object) -> None:
    """Another file at this path, which looks as old as the one before."""
    status = path.stat()
    path.unlink()
    elf_file(path, **{"symbols": NAMES, **how})  # type: ignore[arg-type]
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "same": lambda path: None,
    "touched": lambda path: newer(path),
    "other code, as old": lambda path: rewrite(path, code=OTHER_CODE),
    "other names, as old": lambda path: rewrite(path, symbols={"uno": CODE, "dos": CODE + 16}),
    "longer, as old": lambda path: rewrite(path, symbols=NAMES | {"three": CODE + 8}),
    "other code, newer": lambda path: (rewrite(path, code=OTHER_CODE), newer(path)),
    "other names, newer": lambda path: (
        rewrite(path, symbols={"uno": CODE, "dos": CODE + 16}),
        newer(path),
    ),
    "gone": lambda path: path.unlink(),
    "not ELF, as old": lambda path: (
        path.write_bytes(bytes(0x2000)),
        os.utime(path, ns=(0, 0)),
    ),
}


def newer(path: Path) -> None:
    later = time.time_ns() + 10_000_000_000
    os.utime(path, ns=(later, later))


@dataclass
class Kind:
    """A kind of recording, and the changes that it can notice where the file was, and in a --sysroot."""

    notices: set[str]
    notices_brought: set[str]
    keeps_code: bool = False
    keeps_facts: bool = False
    has_build_id: bool = False


NEWER = {"touched", "other code, newer", "other names, newer"}
CODE_CHANGED = {"other code, as old", "other code, newer", "not ELF, as old"}
CONTENT_CHANGED = CODE_CHANGED | {"other names, as old", "longer, as old", "other names, newer"}
KINDS = {
    # Size and digest: exactly what changed.
    "ours": Kind(CONTENT_CHANGED, CONTENT_CHANGED, keeps_code=True, keeps_facts=True),
    # What was executed, and when it was recorded.
    "ours, older": Kind(CODE_CHANGED | NEWER, CODE_CHANGED, keeps_code=True),
    # Only when it was recorded.
    "perf's": Kind(NEWER, set()),
    # The id that the other file has is another one.
    "with build id": Kind({"other id"}, {"other id"}, has_build_id=True),
}
CASES = [
    (kind, change)
    for kind, facts in KINDS.items()
    for change in (["same", "other id", "touched"] if facts.has_build_id else CHANGES)
]


def recording_of(path: Path, program: Path, kind: Kind) -> Path:
    build_id = bytes(range(20)) if kind.has_build_id else None
    with PerfDataWriter(path, command_line=["one"], recorder="test") as writer:
        writer.add_comm(42, 42, "program", exec=True)
        named = "file" if kind.keeps_facts else build_id
        writer.add_mmap2(42, 42, CODE, 0x1000, 0x1000, str(program), build_id=named)
        writer.add_itrace_start(42, 42)
        writer.add_trace(42, 42, calling_trace())
        if kind.keeps_code:
            writer.add_code(42, 0, CODE, CODE_BYTES[:6])
            writer.add_code(42, 0, CODE + 16, CODE_BYTES[16:])
    return path


def change(path: Path, how: str) -> None:
    if how == "other id":
        rewrite(path, build_id=bytes(20))
    else:
        CHANGES[how](path)


@pytest.mark.parametrize("brought", [False, True], ids=["where it was", "brought by the user"])
@pytest.mark.parametrize(("kind", "how"), CASES)
def test_nothing_of_another_file_is_used(kind: str, how: str, brought: bool, tmp_path: Path) -> None:
    facts = KINDS[kind]
    program = elf_file(tmp_path / "program", NAMES, build_id=bytes(range(20)) if facts.has_build_id else None)
    path = recording_of(tmp_path / "recording", program, facts)
    os.utime(path, ns=(time.time_ns(), time.time_ns()))
    sysroot: tuple[Path, ...] = ()
    if brought:
        sysroot = (tmp_path / "root",)
        sysroot[0].mkdir()
        shutil.copy2(program, sysroot[0] / "program")
        program.unlink()
        program = sysroot[0] / "program"
    change(program, how)
    recording = odograph.open(path, sysroot=sysroot)
    noticed = how in (facts.notices_brought if brought else facts.notices)
    usable = not noticed and how != "gone"

    symbols = recording.symbols()
    place = symbols.name_of(CODE + 17)
    # Names, lines, unwind information, files for debuggers and bytes: all or nothing.
    assert place is not None
    assert (place.name is not None) == (usable and how != "not ELF, as old")
    assert (symbols.modules[0].path is not None) == usable
    loaded = programs(recording, 42)[0].files[0]
    assert (loaded.path is not None) == usable
    frames = recording.history().stack(1) if usable or facts.keeps_code else []
    # What was called is a function without the file, too.
    assert all(frame.function is None or frame.known_by == "call" for frame in frames) or usable
    if not usable:
        assert symbols.source_of(CODE) is None
        assert symbols.unwind_tables([CODE])[2] == []
        assert not symbols.modules[0].table.has_symbols
        with pytest.raises(ImageError):
            # Code that was never executed is known from the file alone.
            recording.image().read(CODE + 8, 4)
    else:
        assert recording.image().read(CODE + 8, 4) == program.read_bytes()[0x1008:0x100C]
    # What was executed is known to recordings of ours, whatever became of the file.
    assert not facts.keeps_code or len(recording.history()) == 4
    assert bool(recording.source.binaries.refused) == noticed
    missing = recording.missing()
    assert bool(missing) == (not usable)
    assert all("--sysroot" in one.hint for one in missing)


def said_by(capfd: pytest.CaptureFixture[str], *words: str | Path) -> tuple[str, str]:
    """What a command writes to standard output and standard error."""
    main([str(word) for word in words])
    return capfd.readouterr()


@pytest.mark.parametrize("words", [("functions",), ("steps", "--symbols"), ("stack", "--step", "1")])
def test_that_is_said_once(words: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = elf_file(tmp_path / "program", NAMES)
    path = recorded(tmp_path / "recording", program, keeps_code=True)
    out, err = said_by(capfd, *words, path)
    assert "two" in out
    assert err == ""
    CHANGES["other names, as old"](program)
    out, err = said_by(capfd, *words, path)
    (line,) = err.splitlines()
    assert f"{program} changed after it was recorded; none of its names, lines and bytes are used" in line
    assert "dos" not in out


def test_info_says_it_among_the_modules_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = elf_file(tmp_path / "program", NAMES)
    path = recorded(tmp_path / "recording", program, keeps_code=True)
    CHANGES["other code, as old"](program)
    out, err = said_by(capfd, "info", path)
    assert err == ""
    assert out.count("changed after it was recorded") == 1


# While it is recorded ------------------------------------------------------------------------------------


def test_a_file_that_changed_while_it_was_recorded_is_not_looked_into(tmp_path: Path) -> None:
    program = elf_file(tmp_path / "program", NAMES)
    inode = program.stat().st_ino
    mapped = time.time_ns()
    assert identify(str(program), inode=inode, since=mapped).facts is not None
    os.chmod(program, 0o700)
    # Other permissions are no other content.
    assert identify(str(program), inode=inode, since=mapped).facts is not None
    newer(program)
    assert identify(str(program), inode=inode, since=mapped).changed
    other = elf_file(tmp_path / "other", NAMES, code=OTHER_CODE)
    os.utime(other, ns=(0, 0))
    time.sleep(0.05)
    other.rename(program)
    # It looks older than the recording, but has another number and came after it was mapped.
    assert identify(str(program), inode=inode, since=mapped - 10**9).changed
    assert not identify(str(tmp_path / "nothing"), since=mapped).changed


@pytest.mark.skipif(qemu.unavailable() is not None, reason="needs qemu-user")
def test_a_program_that_is_rewritten_behind_its_run(tmp_path: Path) -> None:
    exit_code = bytes.fromhex("b83c00000031ff0f05")
    program = elf_file(tmp_path / "program", {"one": CODE}, code=exit_code)
    other = elf_file(tmp_path / "other", {"two": CODE}, code=exit_code)
    program.chmod(0o755)
    path = tmp_path / "recording"
    record(["sh", "-c", '"$0"; cat "$1" > "$0"', str(program), str(other)], path, backend="qemu")
    assert program.read_bytes() == other.read_bytes()
    recording = odograph.open(path)
    names = {
        str(place)
        for thread in recording.threads
        for ip in recording.history(thread.tid).ips()[-1:]
        if (place := recording.symbols(thread.tid).name_of(int(ip)))
    }
    assert "program+0x1007" in names
    assert "changed while it was recorded" in recording.source.binaries.refused[str(program)].reason


# Cores ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["same", "longer, as old", "not ELF, as old", "touched"])
def test_a_core_uses_no_file_that_changed(how: str, tmp_path: Path) -> None:
    """A core has the header of the files that were mapped, and a time."""
    program = elf_file(tmp_path / "program", NAMES)
    page = 0x1000
    rows = [(CODE - page, CODE, 0), (CODE, CODE + page, 1)]
    data = struct.pack("<QQ", len(rows), page) + b"".join(struct.pack("<QQQ", *row) for row in rows)
    data += 2 * (os.fsencode(program) + b"\0")
    note = struct.pack("<III8s", 5, len(data), 0x46494C45, b"CORE") + data
    path = tmp_path / "core"
    path.write_bytes(core([(CODE - page, program.read_bytes()[:page], page)], note=note))
    change(program, how)
    target = open_core(path)
    place = target.symbols.name_of(CODE + 17)
    assert place is not None
    assert (place.name == "two") == (how == "same")
    assert bool(target.missing) == (how != "same")
    assert (target.memory.read(CODE, 4) == CODE_BYTES[:4]) == (how == "same")


# Others' files -------------------------------------------------------------------------------------------


def test_a_perf_map_of_another_time_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setattr("odograph.symbols.perfmap._SHARED", str(shared))
    path = recorded(tmp_path / "recording", "/nowhere")
    written = shared / "perf-42.map"
    written.write_text("700000 10 compiled\n")
    now = time.time_ns()

    def found(age: int, began: int | None = None) -> tuple[int, str]:
        os.utime(written, ns=(now + age, now + age))
        answer = find_perf_map(42, str(path), began=began, finished=now)
        return len(answer.entries), answer.refused or ""

    assert found(-5) == (1, "")
    assert "written after the recording" in found(5)[1]
    assert "written before the program began" in found(-50, now - 10)[1]
    assert found(-5, now - 10) == (1, "")
    # Who puts one beside the recording says that it is the right one.
    shutil.copy(written, tmp_path / "perf-42.map")
    assert found(5) == (1, "")
    (tmp_path / "perf-42.map").unlink()
    if os.geteuid() == 0:
        os.utime(written, ns=(now - 5, now - 5))
        os.chown(written, 12345, 12345)
        assert "belongs to another user" in (find_perf_map(42, str(path), finished=now).refused or "")


def test_a_refused_perf_map_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odograph.symbols.perfmap._SHARED", str(tmp_path / "shared"))
    (tmp_path / "shared").mkdir()
    path = recorded(tmp_path / "recording", "/nowhere")
    written = tmp_path / "shared" / "perf-42.map"
    written.write_text("700000 10 compiled\n")
    newer(written)
    recording = odograph.open(path)
    assert recording.symbols().name_of(0x700000) is None
    assert str(written) in recording.source.binaries.refused


def test_facts_of_files_are_kept_and_older_trailers_lack_them(tmp_path: Path) -> None:
    program = elf_file(tmp_path / "program", NAMES)
    recording = odograph.open(recorded(tmp_path / "new", program))
    assert recording.source.executed is not None
    (known,) = recording.source.executed.files.values()
    assert known is not None
    assert known.size == program.stat().st_size
    old = odograph.open(recording_of(tmp_path / "old", program, KINDS["ours, older"]))
    assert old.source.executed is not None
    assert old.source.executed.files == {}
