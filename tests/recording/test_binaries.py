"""The search for the file that was mapped; files with another build id are not used."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from odograph.code.binaries import Binaries, CodeSource, Missing
from odograph.code.mappings import Mapping
from odograph.code.objects import build_id, object_file
from odograph.perfdata.writer import PerfDataWriter
from odograph.recording.opening import open_recording

ID = bytes(range(20))
OTHER = bytes(range(20, 40))


def elf_file(path: Path, build_id: bytes, address: int = 0x400000, code: bytes = b"\x90" * 64) -> Path:
    """A tiny ELF file: one loaded segment with ``code`` and one note."""
    note = struct.pack("<III4s", 4, len(build_id), 3, b"GNU\0") + build_id
    note_at = 64 + 2 * 56
    code_at = note_at + len(note)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, address, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, code_at, address, address, len(code), len(code), 1)
    notes = struct.pack("<IIQQQQQQ", 4, 4, note_at, 0, 0, len(note), len(note), 4)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + load + notes + note + code)
    return path


def mapping(name: str | Path, build_id: bytes | None = None, pgoff: int = 0) -> Mapping:
    return Mapping(0x400000, 0x1000, pgoff, str(name), build_id, pid=1)


@pytest.fixture(autouse=True)
def _empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_the_path_itself(tmp_path: Path) -> None:
    file = elf_file(tmp_path / "prog", ID)
    size = file.stat().st_size
    assert Binaries().find(mapping(file, ID)) == CodeSource(str(file), 0, size, 0x400000)
    assert Binaries().find(mapping(file)) == CodeSource(str(file), 0, size, 0x400000)


def test_another_build_id_is_reported_and_not_used(tmp_path: Path) -> None:
    file = elf_file(tmp_path / "prog", OTHER)
    found = Binaries().find(mapping(file, ID))
    assert isinstance(found, Missing)
    assert (found.wanted, found.found) == (ID.hex(), OTHER.hex())
    assert OTHER.hex() in found.reason
    assert "--sysroot" in found.hint


def test_sysroot_comes_before_the_path(tmp_path: Path) -> None:
    elf_file(tmp_path / "prog", OTHER)
    good = elf_file(tmp_path / "root" / str(tmp_path / "prog").lstrip("/"), ID)
    found = Binaries(sysroot=tmp_path / "root").find(mapping(tmp_path / "prog", ID))
    assert isinstance(found, CodeSource)
    assert found.path == str(good)


def test_sysroot_may_be_flat(tmp_path: Path) -> None:
    good = elf_file(tmp_path / "flat" / "prog", ID)
    found = Binaries(sysroot=[tmp_path / "none", tmp_path / "flat"]).find(mapping("/usr/bin/prog", ID))
    assert isinstance(found, CodeSource)
    assert found.path == str(good)


@pytest.mark.parametrize("form", ["link to a directory", "directory", "file"])
def test_build_id_directory(tmp_path: Path, form: str) -> None:
    cache = tmp_path / "cache"
    entry = cache / ".build-id" / ID.hex()[:2] / ID.hex()[2:]
    entry.parent.mkdir(parents=True)
    if form == "file":
        elf_file(entry, ID)
    elif form == "directory":
        elf_file(entry / "elf", ID)
    else:
        elf_file(cache / "usr" / "prog" / ID.hex() / "elf", ID)
        entry.symlink_to(cache / "usr" / "prog" / ID.hex())
    found = Binaries(buildid_dirs=[cache]).find(mapping("/gone/prog", ID))
    assert isinstance(found, CodeSource)
    assert isinstance(Binaries(buildid_dirs=[cache]).find(mapping("/gone/prog", OTHER)), Missing)


def test_vdso_from_the_build_id_directory(tmp_path: Path) -> None:
    cache = tmp_path / "home" / ".debug"
    elf_file(cache / ".build-id" / ID.hex()[:2] / ID.hex()[2:] / "vdso", ID)
    assert isinstance(Binaries().find(mapping("[vdso]", ID)), CodeSource)
    missing = Binaries().find(mapping("[vdso]"))
    assert isinstance(missing, Missing)
    assert "memory of the recorded machine" in missing.reason


def test_vdso_of_an_installed_kernel(tmp_path: Path) -> None:
    installed = tmp_path / "root/lib/modules"
    x64 = elf_file(installed / "6.1.0/vdso/vdso64.so", ID)
    ia32 = elf_file(installed / "6.1.0/vdso/vdso32.so", b"\1" * 20)
    other = elf_file(installed / "5.9.0/vdso/vdso64.so", OTHER)
    files = Binaries(tmp_path / "root", release="6.1.0")

    def path(build_id: bytes | None, process_class: str | None, files: Binaries = files) -> str | None:
        found = files.find(mapping("[vdso]", build_id), process_class)
        return found.path if isinstance(found, CodeSource) else None

    assert path(None, "x64") == str(x64)
    assert path(None, "ia32") == str(ia32)
    assert path(None, "x32") is None
    # Without a class only a build id tells which one it was, and that may be one of another kernel.
    assert path(None, None) is None
    assert path(b"\1" * 20, None) == str(ia32)
    assert path(OTHER, "x64") == str(other)
    assert path(b"\2" * 20, "x64") is None
    assert path(None, "x64", Binaries(tmp_path / "root", release="../modules/6.1.0")) is None


def test_deleted_file_is_used_only_with_its_build_id(tmp_path: Path) -> None:
    file = elf_file(tmp_path / "prog", ID)
    assert isinstance(Binaries().find(mapping(f"{file} (deleted)", ID)), CodeSource)
    assert isinstance(Binaries().find(mapping(f"{file} (deleted)")), Missing)


def test_map_past_the_end_of_the_file(tmp_path: Path) -> None:
    found = Binaries().find(mapping(elf_file(tmp_path / "prog", ID), ID, pgoff=0x10000))
    assert isinstance(found, Missing)
    assert "ends at" in found.reason


def test_code_made_at_run_time() -> None:
    found = Binaries().find(mapping("//anon"))
    assert isinstance(found, Missing)
    assert "while it ran" in found.reason


def test_kernel_from_a_copy_of_its_memory(tmp_path: Path) -> None:
    elf_file(tmp_path / "kcore_dir" / "kcore", b"", 0xFFFFFFFF81000000, b"\xf4" * 0x2000)
    kernel = Mapping(0xFFFFFFFF81000800, 0x1000, 0, "[kernel.kallsyms]_text", kernel=True)
    found = Binaries(kcore=tmp_path / "kcore_dir" / "kcore").find(kernel)
    assert isinstance(found, CodeSource)
    with open(found.path, "rb") as file:
        file.seek(found.offset)
        assert file.read(found.size) == b"\xf4" * 0x1000
    assert isinstance(Binaries().find(kernel), Missing)


def test_not_an_elf_file(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("#!/bin/sh\n" * 99)
    assert build_id(text) is None
    assert object_file(text) is None
    assert build_id(tmp_path / "missing") is None


def test_damaged_elf_files_answer_none_or_what_is_left(tmp_path: Path) -> None:
    good = elf_file(tmp_path / "prog", ID).read_bytes()
    path = tmp_path / "bad"
    for at in range(len(good)):
        for value in (0, 0xFF):
            path.write_bytes(good[:at] + bytes([value]) + good[at + 1 :])
            file = object_file(path)
            if file is not None:
                assert file.value_of("_text") is None
                assert (file.interpreter, file.has_symbol_table) == (None, False)
                file.notes()
            found = build_id(path)
            assert found is None or len(found) <= len(good)


@pytest.mark.parametrize(("recorder", "needs_bytes"), [("qemu", False), ("ptrace", False), ("another", True)])
def test_the_vdso_needs_no_file_where_its_executed_bytes_are_kept(
    recorder: str, needs_bytes: bool, tmp_path: Path
) -> None:
    with PerfDataWriter(tmp_path / "x", timed=True, recorder=recorder) as writer:
        writer.add_comm(1, 1, "one", exec=True)
        writer.add_mmap2(1, 1, 0x7000, 0x2000, 0, "[vdso]", build_id=bytes(range(20)))
        writer.add_mmap2(1, 1, 0x400000, 0x1000, 0, "/no/such/file")
        writer.add_code(1, 0, 0x7100, b"\xc3")
        writer.add_trace(1, 1, bytes.fromhex("0282") * 8)
    rows = {row["name"]: row for row in open_recording(tmp_path / "x").modules(1)}
    assert ("missing" in rows["[vdso]"]) == needs_bytes
    # A file also has names.
    assert "missing" in rows["/no/such/file"]
