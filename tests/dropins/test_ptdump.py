"""odograph-ptdump: options and packets in, text and exit codes out. crates/listing/tests has the rest."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from support.toolrun import MakeTrace, Run

PSB_PSBEND = "0000000000000000  psb\n0000000000000010  psbend\n"
PAD = ("pad", {})
FUP = ("fup", {"compression": 3, "ip": 0x1000})
TSC = ("tsc", {"tsc": 0x1000})
CBR = ("cbr", {"ratio": 2})
CYC = ("cyc", {"value": 0x80})


# Section 1: what both tools share.


def test_version_and_help(run: Run) -> None:
    assert run("ptdump", "--version") == ("ptdump-2.3.0-devel / libipt-2.3.0-devel\n", "", 0)
    for option in ("-h", "--help"):
        out, err, status = run("ptdump", option)
        assert out.startswith("usage: ptdump [<options>] ")
        assert (err, status) == ("", 0)


def test_help_acts_at_its_position(run: Run) -> None:
    assert run("ptdump", "--bad", "--help").err == "ptdump: unknown option: --bad.\n"
    assert run("ptdump", "--help", "--bad").status == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bad"], "unknown option: --bad."),
        (["-"], "unknown option: -."),
        (["--"], "unknown option: --."),
        (["--sb:switch"], "unknown option: --sb:switch."),
        ([], "No processor trace file specified."),
        (["--no-pad"], "No processor trace file specified."),
        (["a.pt", "b.pt"], "[<options>] <ptfile>.  Use --help or -h for help."),
        (["a.pt", "--no-pad"], "[<options>] <ptfile>.  Use --help or -h for help."),
        (["--time", "--tcal"], "specify either --time or --tcal."),
        (["--tcal", "--no-pad", "--time"], "specify either --time or --tcal."),
        (["--mtc-freq"], "--mtc-freq: missing argument."),
        (["--mtc-freq", "--time"], "--mtc-freq: missing argument."),
        (["--mtc-freq", "256"], "--mtc-freq: value too big: 256."),
        (["--nom-freq", "-1"], "--nom-freq: value too big: -1."),
        (["--cpuid-0x15.eax", "0x100000000"], "--cpuid-0x15.eax: value too big: 0x100000000."),
        (["--cpuid-0x15.ebx", "1x"], "--cpuid-0x15.ebx: bad argument: 1x."),
        (["--cpu"], "--cpu: missing argument."),
        (["--cpu", "6"], "cpu must be specified as f/m[/s]"),
        (["--pevent:time-shift", "65536"], "--pevent:time-shift: value too big: 65536."),
        (["--pevent:sysroot"], "--pevent:sysroot: missing argument."),
        (["--pevent", "missing.sb"], "error loading missing.sb: bad file."),
        (["--pevent:sample-config", "1:4"], "bad sample config --pevent:sample-config: invalid argument."),
    ],
)
def test_complaints(run: Run, words: list[str], message: str) -> None:
    assert run("ptdump", *words) == ("", f"ptdump: {message}\n", 1)


def test_file_ranges(run: Run, trace: MakeTrace) -> None:
    file = trace("psb", "psbend", "psb", "psbend")
    assert run("ptdump", file).out == PSB_PSBEND + PSB_PSBEND.replace("00000  psb\n", "00012  psb\n").replace(
        "00010", "00022"
    )
    # Offsets count from the beginning of the range.
    assert run("ptdump", f"{file}:18").out == PSB_PSBEND
    assert run("ptdump", f"{file}:0x12-0x24").out == PSB_PSBEND
    assert run("ptdump", f"{file}:0-16").out == "0000000000000000  psb\n"


@pytest.mark.parametrize(
    ("part", "message", "status"),
    [
        (":2-2", "bad file {file}:2-2: invalid argument.", 2),
        (":2-", "bad file {file}:2-: invalid argument.", 2),
        (":18", "bad offset 0x12 into {file}.", 1),
        (":0-19", "bad range 0x13 in {file}.", 1),
        (":zz", "failed to open {file}:zz: 2.", 1),
        (":", "failed to open {file}:: 2.", 1),
        ("x", "failed to open {file}x: 2.", 1),
    ],
)
def test_bad_files(run: Run, trace: MakeTrace, part: str, message: str, status: int) -> None:
    file = trace("psb", "psbend")
    assert run("ptdump", file + part) == ("", f"ptdump: {message.format(file=file)}\n", status)


def test_an_empty_file(run: Run, trace: MakeTrace) -> None:
    file = trace()
    assert run("ptdump", file) == ("", f"ptdump: bad offset 0x0 into {file}.\n", 1)


def test_an_unknown_processor(run: Run, trace: MakeTrace) -> None:
    complaint = "[0: failed to determine errata: unknown cpu]\n"
    file = trace("psb", "psbend")
    assert run("ptdump", "--cpu", "0/0", file) == (complaint + PSB_PSBEND, "", 0)
    assert run("ptdump", "--cpu", "0/0", "--quiet", file).out == complaint
    assert run("ptdump", "--cpu", "0/0", "--cpu", "none", file).out == PSB_PSBEND
    assert run("ptdump", "--cpu", "6/0x5e", file).out == PSB_PSBEND


# Section 2: ptdump's own.


def test_what_comes_before_the_first_psb_is_skipped(run: Run, trace: MakeTrace) -> None:
    file = trace("ovf", "psb")
    assert run("ptdump", file).out == "0000000000000002  psb\n"
    assert run("ptdump", "--no-sync", file).out == "0000000000000000  ovf\n0000000000000002  psb\n"
    assert run("ptdump", trace("ovf")) == ("", "", 0)


def test_columns(run: Run, trace: MakeTrace) -> None:
    file = trace("psb", FUP)
    fup = "fup        3: 0000000000001000"
    assert run("ptdump", "--no-offset", file).out == f"psb\n{fup}\n"
    assert run("ptdump", "--no-offset", "--raw", file).out == (
        f"{'0282' * 8}  psb\n{'7d001000000000':34}{fup}\n"
    )
    assert run("ptdump", "--raw", "--lastip", file).out == (
        f"0000000000000000  {'0282' * 8}  psb\n"
        f"0000000000000010  {'7d001000000000':34}{fup}       ip   0000000000001000\n"
    )
    mode = trace(("mode.exec", {"csl": True, "csd": False, "iflag": False}))
    assert run("ptdump", "--no-sync", "--no-offset", "--exec-mode", mode).out == (
        f"mode.exec  {'cs.l':25} em   64-bit\n"
    )


def test_packets_that_are_left_out(run: Run, trace: MakeTrace) -> None:
    file = trace("psb", PAD, TSC, CBR, CYC, "stop")

    def names(*options: str) -> str:
        out = run("ptdump", "--no-offset", *options, file).out
        return " ".join(line.split()[0] for line in out.splitlines())

    assert names() == "psb pad tsc cbr cyc stop"
    assert names("--no-pad") == "psb tsc cbr cyc stop"
    assert names("--no-timing") == "psb pad stop"
    assert names("--no-cyc") == "psb pad tsc cbr stop"
    assert names("--quiet") == ""
    # What is hidden is still followed, and what goes wrong is said.
    assert names("--no-timing", "--no-pad", "--time") == "psb [1d: [1d: stop"
    assert names("--quiet", "--time") == "[1d: [1d:"
    assert names("--quiet", "--time", "--no-cyc") == ""


def test_time(run: Run, trace: MakeTrace) -> None:
    file = trace("psb", TSC, CBR, CYC)

    def values(*options: str) -> list[str]:
        out = run("ptdump", "--no-offset", "--nom-freq", "4", *options, file).out
        return [line.split()[-1] for line in out.splitlines()[1:]]

    assert values() == ["1000", "2", "80"]
    assert values("--time") == ["0000000000001000", "2", "0000000000001100"]
    assert values("--time", "--time-delta") == ["+1000", "2", "+100"]
    assert values("--tcal") == ["information]", "<unavailable>", "2.000", "80"]
    assert values("--time", "--no-tcal") == ["0000000000001000", "2", "calibration]", "0000000000001000"]


def test_time_without_a_tsc(run: Run, trace: MakeTrace) -> None:
    file = trace("psb", CBR, CYC)
    options = ("--no-offset", "--nom-freq", "4", "--time", file)
    cyc = f"cyc        {'80':25} tsc  "
    assert run("ptdump", *options).out == (
        f"psb\ncbr        2\n[14: error printing time: no timing information]\n{cyc}<unavailable>\n"
    )
    assert run("ptdump", "--no-wall-clock", *options).out == f"psb\ncbr        2\n{cyc}0000000000000100\n"


def test_mtc(run: Run, trace: MakeTrace) -> None:
    mtcs = [("mtc", {"ctc": ctc}) for ctc in (0xC1, 0xC2, 0xC4)]
    ratio = ("--mtc-freq", "8", "--cpuid-0x15.eax", "1", "--cpuid-0x15.ebx", "4")
    options = ("--no-offset", "--time", "--time-delta", "--no-wall-clock")
    out = run("ptdump", *options, *ratio, trace("psb", *mtcs)).out
    assert [line.split()[-1] for line in out.splitlines()] == ["psb", "+0", "+400", "+800"]


def test_calibration_over_an_overflow(run: Run, trace: MakeTrace) -> None:
    file = trace("psb", TSC, CBR, "ovf", CYC)
    options = ("--nom-freq", "4", "--time", "--no-offset", file)
    assert run("ptdump", *options).out.splitlines()[-3:-1] == [
        "[1e: calibration error: no timing information]",
        "[1e: error updating time: no calibration]",
    ]
    assert run("ptdump", "--keep-tcal-on-ovf", *options).out.endswith(" tsc  0000000000001100\n")


def test_errors_go_on_at_the_next_psb(run: Run, trace: MakeTrace) -> None:
    bad = b"\x02\xff"
    file = trace("psb", bad, bad, "psb", bad, "psb", "psbend")
    psb = "0000000000000000  psb\n"
    assert run("ptdump", file) == (
        f"{psb}[10: error decoding packet: unknown opcode]\n"
        "0000000000000014  psb\n[24: error decoding packet: unknown opcode]\n"
        "0000000000000026  psb\n0000000000000036  psbend\n",
        "",
        0,
    )
    # The end of the trace inside a packet is just the end.
    assert run("ptdump", trace("psb", b"\x19\x00\x10")).out == psb
    # An IP compression that is not defined, and reserved bits that are set.
    for wrong in (b"\xbd\x00\x00", b"\x02\x73\x01\x00\x01\x00\x00"):
        assert run("ptdump", trace("psb", wrong)).out == f"{psb}[10: error decoding packet: unknown packet]\n"


# Section 5: sideband records.


def comm(time: int, name: bytes = b"abcdefg\0") -> bytes:
    body = struct.pack("<ii", 1, 2) + name + struct.pack("<Q", time)
    return struct.pack("<IHH", 3, 0, 8 + len(body)) + body


@pytest.fixture
def sideband(tmp_path: Path) -> str:
    file = tmp_path / "records.sb"
    file.write_bytes(comm(3) + comm(5) + comm(9))
    return str(file)


def record(time: int) -> str:
    return f"PERF_RECORD_COMM 1/2, abcdefg  {{ {time:x} }}\n"


def test_records_stand_before_the_packet_that_reaches_their_time(
    run: Run, trace: MakeTrace, sideband: str
) -> None:
    file = trace("psb", ("tsc", {"tsc": 5}), PAD, ("tsc", {"tsc": 6}))
    stream = ("--pevent:sample-type", "4", "--pevent", sideband)
    tsc = "tsc        {}\n".format
    expected = f"psb\n{record(3)}{record(5)}{tsc(5)}pad\n{tsc(6)}{record(9)}"
    for option in ("--sb", "--sb:compact"):
        assert run("ptdump", "--no-offset", option, *stream, file).out == expected
    # Also before packets that are not shown.
    hidden = run("ptdump", "--no-offset", "--no-timing", "--sb", *stream, file).out
    assert hidden == expected.replace(tsc(5), "").replace(tsc(6), "")
    # And without any option that says how, not at all.
    assert run("ptdump", "--no-offset", *stream, file).out == f"psb\n{tsc(5)}pad\n{tsc(6)}"


def test_forms_and_prefixes_of_records(run: Run, trace: MakeTrace, sideband: str) -> None:
    file = trace("psb")
    stream = ("--pevent:sample-type", "4", "--pevent:secondary", f"{sideband}:0x20-0x40")

    def printed(*options: str) -> str:
        return run("ptdump", "--quiet", *options, *stream, file).out

    verbose = "PERF_RECORD_COMM\n  pid: 1\n  tid: 2\n  comm: abcdefg\n  time: 5\n"
    assert printed() == ""
    assert printed("--sb:verbose", "--sb") == record(5)
    assert printed("--sb", "--sb:verbose") == verbose
    assert printed("--sb", "--sb:offset") == f"{0:016x}  {record(5)}"
    assert printed("--sb", "--sb:offset", "--sb:filename", "--sb:time") == (
        f"{sideband}:{0:016x}  {5:016x}  {record(5)}"
    )
    assert printed("--sb:time") == f"{5:016x}  \n"


def test_quiet_hides_records_unless_they_are_asked_for_behind_it(
    run: Run, trace: MakeTrace, sideband: str
) -> None:
    file = trace("psb")
    stream = ("--pevent:sample-type", "4", "--pevent", f"{sideband}:0-0x20", file)
    assert run("ptdump", "--sb", "--sb:offset", "--quiet", *stream).out == ""
    assert run("ptdump", "--sb:offset", "--quiet", "--sb", *stream).out == record(3)


def test_settings_hold_for_the_streams_behind_them(run: Run, trace: MakeTrace, sideband: str) -> None:
    file = trace("psb")
    first = f"{sideband}:0-0x20"
    options = ("--quiet", "--sb", "--pevent:sample-type", "4", "--pevent:time-mult", "2", "--pevent", first)
    ignored = ("--pevent:sysroot", "/nowhere", "--pevent:kcore", "/nowhere", "--pevent:vdso-x64", "/nowhere")
    time = ("--sb:time", "--pevent:time-mult", "1")
    out = run("ptdump", *options, *ignored, *time, "--pevent:primary", first, file).out
    assert out == f"{1:016x}  {record(3)}{3:016x}  {record(3)}"


def test_a_record_that_does_not_fit_ends_its_stream(run: Run, trace: MakeTrace, sideband: str) -> None:
    out = run("ptdump", "--sb", "--pevent", sideband, trace("psb")).out
    assert out == f"[{sideband}:{0:016x} sideband error: decoder out of sync]\n0000000000000000  psb\n"


def test_bad_parts_of_sideband_files(run: Run, trace: MakeTrace, sideband: str) -> None:
    part = f"{sideband}:3-3"
    message = f"ptdump: bad file {part}: invalid argument.\n"
    assert run("ptdump", "--pevent", part, trace("psb")) == ("", message, 2)


# As a process.

PROGRAM = Path(sysconfig.get_path("scripts")) / "odograph-ptdump"


def test_the_program_is_called_as_it_was_called(trace: MakeTrace) -> None:
    result = subprocess.run([PROGRAM, "--bad"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, f"{PROGRAM}: unknown option: --bad.\n")
    listed = subprocess.run([PROGRAM, trace("psb", "psbend")], capture_output=True, text=True, check=True)
    assert listed.stdout == PSB_PSBEND


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are POSIX's")
def test_a_reader_may_go_away(trace: MakeTrace) -> None:
    file = trace("psb", *["stop"] * 200_000)
    read, write = os.pipe()
    with subprocess.Popen([PROGRAM, file], stdout=write, stderr=subprocess.PIPE) as process:
        os.close(write)
        assert os.read(read, 21)
        os.close(read)
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait() == 0
