"""odograph-ptxed: command lines in, text and exit codes out."""

from __future__ import annotations

import errno
import os
import re
import struct
import subprocess
import sysconfig
from pathlib import Path

import pytest

from support.elfcore import core
from support.toolrun import MakeTrace, Printed, Run
from support.tracedcode import HLT, NOP, ORG, call, fup, lines, pgd, start

#: Three NOPs, traced up to the HLT behind them.
CODE = NOP * 3 + HLT
PACKETS = [*start(), fup(ORG + 3), pgd()]
LISTED = lines(ORG, ORG + 1, ORG + 2) + "[disabled]\n"


@pytest.fixture
def files(tmp_path: Path, trace: MakeTrace) -> tuple[str, str]:
    """``--pt`` and ``--raw`` of a small program: trace, code and its address."""
    code = tmp_path / "code.bin"
    code.write_bytes(CODE)
    return trace(*PACKETS), f"{code}:{ORG:#x}"


def test_version_and_help(run: Run) -> None:
    assert run("ptxed", "--version") == Printed("ptxed-2.3.0-devel / libipt-2.3.0-devel\n", "", 0)
    for option in ("-h", "--help"):
        out, err, status = run("ptxed", option)
        assert out.startswith("usage: ptxed [<options>]")
        assert (err, status) == ("", 0)


def test_options_act_in_their_order(run: Run) -> None:
    assert run("ptxed", "--bad", "--help") == Printed("", "ptxed: unknown option: --bad.\n", 1)
    assert run("ptxed", "--help", "--bad").status == 0


@pytest.mark.parametrize(
    ("words", "message", "status"),
    [
        ([], "no pt file.", 1),
        (["--quiet"], "no pt file.", 1),
        (["word"], "unknown option: word.", 1),
        (["-"], "unknown option: -.", 1),
        (["--tick"], "unknown option: --tick.", 1),
        (["--no-sync"], "unknown option: --no-sync.", 1),
        (["--lastip"], "unknown option: --lastip.", 1),
        (["--pevent"], "unknown option: --pevent.", 1),
        (["--filter:addr4_a", "1"], "unknown option: --filter:addr4_a.", 1),
        (["--pt"], "--pt: missing argument.", 0),
        (["--raw"], "--raw: missing argument.", 0),
        (["--elf"], "--elf: missing argument.", 0),
        (["--cpu"], "--cpu: missing argument.", 0),
        (["--mtc-freq"], "--mtc-freq: missing argument.", 1),
        (["--iscache-limit"], "--iscache-limit: missing argument.", 1),
        (["--iscache-limit", "x"], "--iscache-limit: bad argument: x.", 1),
        (["--mtc-freq", "256"], "--mtc-freq: value too big: 256.", 1),
        (["--cpu", "6"], "cpu must be specified as f/m[/s]", 1),
        (["--filter:addr0_cfg", "16"], "--filter:addr0_cfg: value too big: 16.", 1),
        (["--filter:addr0_cfg"], "--filter:addr0_cfg: internal error.", 1),
        (["--filter:addr0_cfg", "--pt"], "--filter:addr0_cfg: internal error.", 1),
        (["--filter:addr0_a"], "--filter:addr0_a: missing argument.", 1),
        (["--pevent:primary"], "--pevent:primary: missing argument.", 1),
        (["--pevent:primary", "/no/file"], "error loading /no/file: bad file.", 1),
        (["--pevent:kcore"], "--pevent:kcore: missing argument.", 1),
        (
            ["--pevent:kcore", "/no/file"],
            f"warning: failed to open /no/file: {os.strerror(errno.ENOENT)}.",
            1,
        ),
        (["--pevent:sample-config", "1:4"], "bad sample config 1:4: invalid argument.", 1),
        (["--pt", "/no/file"], "failed to open /no/file: 2.", 1),
        (["--pt", "/no/file:3-2"], "bad file /no/file:3-2: invalid argument.", 1),
    ],
)
def test_complaints(run: Run, words: list[str], message: str, status: int) -> None:
    assert run("ptxed", *words) == Printed("", f"ptxed: {message}\n", status)


def test_what_must_come_before_the_trace(run: Run, files: tuple[str, str]) -> None:
    pt, _ = files
    for option in ("--insn-decoder", "--block-decoder"):
        # The tool mixes up the names in this one.
        text = f"{option}: please specify ptxed before the pt source file.\n"
        assert run("ptxed", "--pt", pt, option) == Printed("", text, 1)
    after = run("ptxed", "--pt", pt, "--cpu", "none")
    assert after == Printed("", "ptxed: please specify cpu before the pt source file.\n", 1)
    after = run("ptxed", "--pt", pt, "--filter:addr1_a", "1")
    assert after == Printed("", "ptxed: please specify --filter:addr1_a before --pt.\n", 1)
    after = run("ptxed", "--pt", pt, "--pt", pt)
    assert after == Printed("", f"ptxed: duplicate pt sources: {pt}.\n", 1)


def test_code_may_come_before_or_behind_the_trace(run: Run, files: tuple[str, str]) -> None:
    pt, raw = files
    for decoder in ("--insn-decoder", "--block-decoder"):
        listed = Printed(LISTED, "", 0)
        assert run("ptxed", decoder, "--no-inst", "--raw", raw, "--pt", pt) == listed
        assert run("ptxed", decoder, "--pt", pt, "--no-inst", "--raw", raw) == listed
    assert run("ptxed", "--insn-decoder", "--block-decoder", "--no-inst", "--pt", pt, "--raw", raw) == listed


def test_an_unknown_processor_is_only_warned_about(run: Run, files: tuple[str, str]) -> None:
    pt, raw = files
    told = run("ptxed", "--cpu", "0/0", "--pt", pt, "--raw", raw, "--no-inst")
    assert told == Printed("[0, 0: config error: unknown cpu]\n" + LISTED, "", 0)
    again = run("ptxed", "--cpu", "0/0", "--cpu", "6/0x3d", "--pt", pt, "--raw", raw, "--no-inst")
    assert again.out == LISTED


def test_a_part_of_the_trace(run: Run, files: tuple[str, str], trace: MakeTrace) -> None:
    _, raw = files
    pt = trace("pad", *PACKETS, "pad", name="longer.pt")
    size = Path(pt).stat().st_size
    for part in (f"{pt}:1", f"{pt}:0x1-{size - 1}", f"{pt}:01-{size}"):
        assert run("ptxed", "--pt", part, "--raw", raw, "--no-inst").out == LISTED
    beyond = run("ptxed", "--pt", f"{pt}:{size}")
    assert beyond == Printed("", f"ptxed: bad offset {size:#x} into {pt}.\n", 1)
    beyond = run("ptxed", "--pt", f"{pt}:0-{size + 1}")
    assert beyond == Printed("", f"ptxed: bad range {size + 1:#x} in {pt}.\n", 1)


def test_a_part_of_a_file_of_code(run: Run, files: tuple[str, str], tmp_path: Path) -> None:
    pt, _ = files
    code = tmp_path / "padded.bin"
    code.write_bytes(HLT + CODE + b"\x06")
    listed = Printed(LISTED, "", 0)
    assert run("ptxed", "--pt", pt, "--no-inst", "--raw", f"{code}:1:0x1000") == listed
    assert run("ptxed", "--pt", pt, "--no-inst", "--raw", f"{code}:1-4:0x1000") == listed
    # What lies behind the end of the file is not there, and nothing is said about it.
    assert run("ptxed", "--pt", pt, "--no-inst", "--raw", f"{code}:1-0x100000:0x1000") == listed


def test_later_code_covers_earlier(
    run: Run, files: tuple[str, str], tmp_path: Path, trace: MakeTrace
) -> None:
    _, raw = files
    over = tmp_path / "over.bin"
    over.write_bytes(b"\x0f\x1f\x00")
    pt = trace(*start(), fup(ORG + 4), pgd(), name="covered.pt")
    out = run("ptxed", "--pt", pt, "--raw", raw, "--raw", f"{over}:0x1001", "--no-inst").out
    assert out == lines(ORG, ORG + 1) + "[disabled]\n"


def test_code_that_cannot_be_loaded(run: Run, files: tuple[str, str], tmp_path: Path) -> None:
    code = files[1].rpartition(":")[0]

    def told(word: str) -> list[str]:
        out, err, status = run("ptxed", "--raw", word)
        assert (out, status) == ("", 1)
        return err.splitlines()

    assert told(code) == [
        f"ptxed: failed to parse base addressfrom '{code}'.",
        f"ptxed: --raw: failed to load '{code}'.",
    ]
    missing = f"{tmp_path}/missing.bin"
    assert told(f"{missing}:0x20") == [
        f"ptxed: failed to add {missing} at 0x20: bad file.",
        f"ptxed: --raw: failed to load '{missing}:0x20'.",
    ]
    assert told(f"{code}:0x1000:0x20") == [
        f"ptxed: failed to add {code} at 0x20: invalid argument.",
        f"ptxed: --raw: failed to load '{code}:0x1000:0x20'.",
    ]


def test_elf_files(run: Run, files: tuple[str, str], tmp_path: Path) -> None:
    pt, _ = files
    elf = tmp_path / "program"
    elf.write_bytes(core([(0x400, CODE, 4), (0x3000, b"data", 4)], kind=2))
    offset = elf.read_bytes().index(CODE)
    told = run("ptxed", "-v", "--elf", f"{elf}:0x1000", "--pt", pt, "--no-inst")
    assert told == Printed(
        f"{elf}: offset=0x{offset:x} size=0x4 vaddr=0x400.\n"
        f"{elf}: offset=0x{offset + 4:x} size=0x4 vaddr=0x3000.\n" + LISTED,
        "",
        0,
    )
    assert run("ptxed", "--elf", f"{elf}:0x1000", "--verbose", "--pt", pt, "--no-inst").out == LISTED
    unmoved = run("ptxed", "--elf", elf, "--pt", pt, "--no-inst")
    assert unmoved.out == "[27, 1000: error: no memory mapped at this address]\n"


def test_files_that_are_not_elf_files_are_refused(run: Run, files: tuple[str, str], tmp_path: Path) -> None:
    pt, raw = files
    missing = f"{tmp_path}/missing:x"
    text = f"ptxed: warning: failed to open {missing}: {os.strerror(errno.ENOENT)}.\n"
    assert run("ptxed", "--elf", missing) == Printed("", text, 1)
    junk = tmp_path / "junk"
    junk.write_bytes(b"\x7fELG" + bytes(100))
    text = f"ptxed: warning: ignoring {junk}: not an ELF file.\n"
    assert run("ptxed", "--elf", junk) == Printed("", text, 1)
    # The others are warnings, and the tool goes on.
    empty = tmp_path / "empty"
    empty.write_bytes(core([], kind=2))
    text = f"ptxed: warning: {empty}: did not find any load sections.\n"
    assert run("ptxed", "--elf", empty, "--pt", pt, "--raw", raw, "--no-inst") == Printed(LISTED, text, 0)
    beyond = tmp_path / "beyond"
    image = bytearray(core([(0x400, CODE, 4)], kind=2))
    struct.pack_into("<Q", image, 64 + 56 + 8, 1 << 40)
    beyond.write_bytes(image)
    text = f"ptxed: warning: {beyond}: failed to create section for phdr 1: invalid argument.\n"
    assert run("ptxed", "--elf", beyond, "--pt", pt, "--raw", raw, "--no-inst") == Printed(LISTED, text, 0)


def test_options_of_decoders_mean_nothing_behind_the_trace(
    run: Run, tmp_path: Path, trace: MakeTrace
) -> None:
    code = tmp_path / "call.bin"
    code.write_bytes(call(1) + HLT + NOP + HLT)
    pt = trace(*start(), fup(ORG + 7), pgd())
    rest = ["--no-inst", "--block:show-blocks", "--raw", f"{code}:{ORG:#x}"]
    one = "[block]\n" + lines(ORG, ORG + 6) + "[disabled]\n"
    two = "[block]\n" + lines(ORG) + "[block]\n" + lines(ORG + 6) + "[disabled]\n"
    assert run("ptxed", *rest, "--pt", pt, "--block:end-on-call").out == one
    assert run("ptxed", *rest, "--block:end-on-call", "--pt", pt).out == two
    assert run("ptxed", *rest, "--insn-decoder", "--block:end-on-call", "--pt", pt).out == one.replace(
        "[block]\n", ""
    )


def test_statistics(run: Run, files: tuple[str, str]) -> None:
    pt, raw = files

    def counted(*options: str) -> str:
        out = run("ptxed", *options, "--pt", pt, "--raw", raw, "--quiet").out
        return re.sub(r"[ \t]+", " ", out)

    assert counted("--stat") == "insn: 3.\nblocks: 1.\n"
    assert counted("--insn-decoder", "--stat") == "insn: 3.\n"
    assert counted("--stat:insn", "--stat") == "insn: 3.\n"
    assert counted("--stat:blocks") == "blocks: 1.\n"
    assert counted("--insn-decoder", "--stat:blocks") == "blocks: 0.\n"
    assert counted("--stat:blocks", "--stat:insn") == "insn: 3.\nblocks: 1.\n"
    assert counted() == ""


def test_the_installed_tool(files: tuple[str, str]) -> None:
    pt, raw = files
    tool = Path(sysconfig.get_path("scripts")) / "odograph-ptxed"
    run = subprocess.run([tool, "--pt", pt, "--raw", raw, "--no-inst"], capture_output=True, check=True)
    assert run.stdout.decode() == LISTED
