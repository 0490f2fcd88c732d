"""Listings of unwind information, judged by readelf and by what readelf once said."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from odograph.cli import main
from odograph.unwind.ia64.dump import dump, dump_lines
from odograph.unwind.ia64.elf import ElfFile
from support.ia64elf import Code, executable
from support.sharedtraces import no_shared, shared_paths
from support.uwxprocess import uleb

READELF = shutil.which("readelf")
KINDS = [
    {},
    {"big": True, "hpux": True},
    {"wide": False, "big": True, "hpux": True, "base": 0x4000000},
    {"wide": False, "base": 0x40000000},
]


def all_descriptors() -> bytes:
    """Every descriptor there is, each field with more than one value."""
    parts = [b"\x08\x9f\x81\xa2\x23\xb8\x1b\xe4\xb9\x12\x00\x81\xc5\xd7\xd1"]
    for kind in range(12):
        register = 7 if kind == 6 else 35
        parts.append(bytes([0xB0 | kind >> 1, (kind & 1) << 7 | register]))
    parts += [b"\xe0\x03" + uleb(200), b"\xe1\x03", b"\xe2\x05", b"\xe3\x06"]
    parts += [bytes([0xE0 | kind]) + uleb(300) for kind in range(4, 16)]
    parts += [bytes([0xF0, kind, 9]) for kind in range(1, 20)]
    parts += [bytes([0xF1, mask, 36]) for mask in (1, 5, 15)]
    parts += [b"\xff\x01\x01", b"\xff\x00\x09", b"\xff\x02\x10", b"\xff\x03s"]
    parts += [b"\x60\x14", b"\x61\x14", b"\x46\xa2\x07", b"\x42\x22\x07", b"\x47\xa0" + uleb(400)]
    parts += [b"\x60\x03\xb8\x6c", b"\x61" + uleb(2000)]
    parts += [b"\x83", b"\xa3", b"\xc2\x04", b"\xe0\x04" + uleb(77), b"\xf0\x2c", b"\xf8" + uleb(300)]
    saved = [4, 7, 0x22, 0x25, 0x30, 0x3F, 0x41, 0x45, *range(0x60, 0x6B)]
    for register in saved:
        parts += [bytes([0xF9, register, 5, 6]), bytes([0xF9, 0x80 | register, 5]) + uleb(600)]
        parts += [bytes([0xFB, 5, register, 5, 6]), bytes([0xFB, 0x80 | 6, register, 5, 6])]
        for left, right in [(0, 0), (0, 2), (0, 35), (0, 66), (0, 0x80 | 6), (0x80, 0), (0x80, 7)]:
            parts.append(bytes([0xFA, left | register, right, 5]))
            parts.append(bytes([0xFC, 3, left | register, right, 5]))
    return b"".join(parts)


def listing(path: Path) -> list[str]:
    """What we list."""
    lines = []
    for table in dump(ElfFile(path)):
        lines += ["", *dump_lines(table)]
    return lines


def comparable(lines: list[str]) -> list[str]:
    """Without names, which readelf has only of linked files, and with targets modulo 32.

    readelf 2.40 prints the general and floating-point targets of X2 and X4 so.
    """

    def target(match: re.Match[str]) -> str:
        return f"treg={match[1]}{int(match[2]) % 32})"

    return [re.sub(r"treg=([rf])(\d+)\)", target, re.sub("^<.*?>", "<>", line)) for line in lines]


def readelf(path: Path) -> list[str]:
    """What readelf lists."""
    assert READELF is not None
    result = subprocess.run([READELF, "-u", path], capture_output=True, text=True, check=True)
    assert not result.stderr
    return tables_of(result.stdout)


def tables_of(text: str) -> list[str]:
    """The part of readelf's output that is about unwinding."""
    lines = text.rstrip("\n").split("\n")
    starts = [at for at, line in enumerate(lines) if line.startswith("Unwind section")]
    return lines[starts[0] - 1 :] if starts else []


@pytest.mark.skipif(READELF is None, reason="readelf is not installed")
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_descriptor_is_listed_as_readelf_does(tmp_path: Path, kind: dict[str, int]) -> None:
    path = tmp_path / "program"
    codes = [Code("all", 4, all_descriptors()), Code("none", 3, None), Code("two", 2, b"\x04\x22", 3)]
    path.write_bytes(executable(codes, **kind).data)
    ours = listing(path)
    assert len(ours) > 350
    assert comparable(ours) == comparable(readelf(path))
    assert "\tX2:spill_reg(t=5,reg=r4,treg=r66)" in ours


@pytest.mark.skipif(READELF is None, reason="readelf is not installed")
def test_a_program_of_thousands_of_functions_is_listed_as_readelf_does(tmp_path: Path) -> None:
    """Each with another piece of all descriptors, and names."""
    path = tmp_path / "program"
    prologue = b"\x60\x14"
    pieces = [
        b"\xe4" + uleb(time) + bytes([0xF0, kind]) + uleb(7 * time)
        for time in range(150)
        for kind in range(1, 20)
    ]
    codes = [Code(f"f{number}", 8, prologue + piece + b"\x21") for number, piece in enumerate(pieces)]
    path.write_bytes(executable(codes).data)
    ours = listing(path)
    assert len(ours) > 20_000
    assert ours == readelf(path)


@pytest.mark.parametrize(
    "path",
    [*shared_paths("ia64/descriptors/*/*.o"), *shared_paths("ia64/descriptors/*/*.elf")]
    or [pytest.param(None, marks=pytest.mark.skip(reason=no_shared("ia64")))],
    ids=lambda path: path and f"{path.parent.name}/{path.name}",
)
def test_assembled_cases_are_listed_as_readelf_did(path: Path) -> None:
    said = tables_of(path.with_name(path.name + ".readelf-u.txt").read_text())
    ours = comparable(listing(path))
    assert ours == comparable(said)
    if READELF is not None:
        assert ours == comparable(readelf(path))
    # Cases 01 have no unwind directives at all.
    assert bool(ours) == bool(said)


@pytest.mark.skipif(READELF is None, reason="readelf is not installed")
@pytest.mark.parametrize(
    "path",
    shared_paths("ia64/vectors/*.elf")
    or [pytest.param(None, marks=pytest.mark.skip(reason=no_shared("ia64")))],
    ids=lambda path: path and path.name,
)
def test_executed_programs_are_listed_as_readelf_does(path: Path) -> None:
    ours = listing(path)
    assert len(ours) > 30
    theirs = readelf(path)
    assert comparable(ours) == comparable(theirs)
    # Names too, where readelf finds a function.
    names = [(our, their) for our, their in zip(ours, theirs, strict=True) if our.startswith("<")]
    assert all(our == their for our, their in names if not their.startswith(("<>", "<.")))


def test_the_command_lists_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "program"
    spills = b"\x04\xb8\x6c\xe4\x01\xb0\xa2\x23\xc1\x02"
    path.write_bytes(executable([Code("first", 2, spills), Code("second", 1, b"\x21")]).data)
    assert main(["unwind", "--dump", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Unwind section '.IA_64.unwind' at offset 0x108 contains 2 entries:",
        "",
        "<first>: [0x40000000000000b0-0x40000000000000d0], info at +0xe0",
        "  v1, flags=0x0 (), len=16 bytes",
        "    R1:prologue(rlen=4)",
        "\tP4:spill_mask(imask=[frb,-])",
        "\tP7:rp_when(t=1)",
        "\tP3:rp_gr(reg=r34)",
        "    R1:body(rlen=3)",
        "\tB2:epilogue(t=2,ecount=1)",
        *["    R1:prologue(rlen=0)"] * 6,
        "",
        "<second>: [0x40000000000000d0-0x40000000000000e0], info at +0xf8",
        "  v1, flags=0x0 (), len=8 bytes",
        "    R1:body(rlen=1)",
        *["    R1:prologue(rlen=0)"] * 7,
    ]


def test_the_command_gives_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "program"
    path.write_bytes(executable([Code("first", 2, b"\x04\xb8\x6c\xfa\x05\x22\x03")], big=True).data)
    assert main(["unwind", "--json", "--dump", str(path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["path"] == str(path)
    (entry,) = document["entries"]
    assert entry["table"] == ".IA_64.unwind"
    assert entry["function"] == "first"
    assert (entry["version"], entry["flags"], entry["length"], entry["error"]) == (1, 0, 8, None)
    assert entry["descriptors"][:3] == [
        {"offset": 0, "format": "R1", "name": "prologue", "rlen": 4},
        {"offset": 1, "format": "P4", "name": "spill_mask", "imask": "frb-"},
        {"offset": 3, "format": "X2", "name": "spill_reg", "t": 3, "reg": "gr5", "treg": "gr34"},
    ]


def test_damage_is_listed_and_makes_the_command_end_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "program"
    program = executable([Code("bad", 2, b"\x04\xf0\x7f"), Code("far", 2, b""), Code("good", 2, b"\x22")])
    data = bytearray(program.data)
    row = program.table[0] - 0x4000000000000000 + 24
    data[row + 16 : row + 24] = (1 << 40).to_bytes(8, "little")
    path.write_bytes(data)
    assert main(["unwind", "--dump", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    bad, far, good = (lines.index(line) for line in lines if line.startswith("<"))
    assert "descriptor" in lines[bad + 1]
    assert lines[far + 1] == "  the information block does not lie in the file"
    assert lines[good + 2] == "    R1:body(rlen=2)"
    assert main(["unwind", "--json", "--dump", str(path)]) == 1
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert [entry["error"] is None for entry in entries] == [False, False, True]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--dump", "/nowhere/at/all"], "cannot read /nowhere/at/all"),
        (["--dump", sys.executable], "not for IA-64"),
        (["--dump", __file__], "not an ELF file"),
        ([], "--dump"),
    ],
)
def test_files_that_cannot_be_read_are_refused(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["unwind", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_a_file_without_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "object"
    data = bytearray(executable([Code("first", 1, None)]).data)
    data[16] = 1
    data[64 + 56 : 64 + 60] = bytes(4)
    (sections,) = (int.from_bytes(data[40:48], "little"),)
    for index in range(1, 4):
        data[sections + 64 * index + 4 : sections + 64 * index + 8] = b"\1\0\0\0"
    path.write_bytes(data)
    assert main(["unwind", "--dump", str(path)]) == 0
    assert capsys.readouterr().out == "There are no unwind tables in this file.\n"
