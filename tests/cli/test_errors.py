"""Errors are one sentence that helps, and an exit code that scripts can use."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from support.commands import CODE_BYTES, Run, loop_trace

COMMANDS = ("info", "steps", "packets", "verify")


def sentence(result: object) -> str:
    """The one line on standard error; nothing else was written."""
    assert getattr(result, "stdout") == ""  # noqa: B009
    text: str = getattr(result, "stderr")  # noqa: B009
    assert "Traceback" not in text
    first, *rest = text.splitlines()
    assert all(line.startswith("Try ") for line in rest)
    assert first.startswith("odograph: ")
    return first


@pytest.mark.parametrize("command", COMMANDS)
def test_no_such_file(run: Run, command: str) -> None:
    result = run(command, "/nowhere/perf.data")
    assert result.returncode == 2
    assert sentence(result) == "odograph: no such file: /nowhere/perf.data"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"Hello, world. This is no trace.\n" * 9, "is a text file, not a recording"),
        (bytes(range(256)) * 4, "contains no PSB packet"),
        (gzip.compress(b"trace", mtime=0), "unpack it first: gzip -dk"),
        (b"\x7fELF\2\1\1" + bytes(99), "is an ELF file"),
        (b"PERFIL", "ends after 6 bytes, inside the header"),
        (b"PERFILE2" + b"\xff" * 96, ""),
    ],
    ids=["empty", "text", "bytes", "gzip", "elf", "cut", "damaged"],
)
def test_not_a_trace(run: Run, tmp_path: Path, command: str, content: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    result = run(command, path)
    assert result.returncode == 2
    assert says in sentence(result)


def test_a_trace_cut_inside_a_packet(run: Run, tmp_path: Path, code: Path) -> None:
    path = tmp_path / "cut.pt"
    # Cut inside the TIP.PGE: everything after PSB+ is lost.
    path.write_bytes(loop_trace()[:23])
    result = run("packets", path)
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1].endswith("[the trace ends inside a packet]")
    assert run("steps", path, "--map", f"{code}:0x401000").returncode == 0


def test_the_wrong_code(run: Run, trace: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(b"\xeb\xfe" + CODE_BYTES)
    result = run("info", trace, "--map", f"{wrong}:0x401000")
    assert result.returncode == 0
    assert "try: " in result.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--map", "nofile:0x1000"), "no such file: nofile (given with --map)"),
        (("--map", "file"), "'file' is not FILE:ADDRESS"),
        (("--map", "file:0x1:zzz"), "is not FILE:ADDRESS"),
        (("--map", "file:5-5:0x1000"), "does not describe a part of a file"),
        (("--elf", "nofile:0x1000"), "no such file: nofile (given with --elf)"),
        (("--elf", __file__), "is not an ELF file with code"),
        (("--cpu", "intel"), "'intel' is not FAMILY/MODEL"),
        (("--resync", "never"), "'never' is not one of"),
        (("--tid", "77"), "thread 77 has no trace in this recording"),
        (("--nonsense",), "No such option"),
    ],
)
def test_options_that_make_no_sense(run: Run, trace: Path, options: tuple[str, ...], says: str) -> None:
    result = run("info", trace, *options)
    assert result.returncode == 2
    assert says in sentence(result)


@pytest.mark.parametrize(
    "arguments",
    [
        ("packets", "FILE", "--elf", "x"),
        ("packets", "FILE", "--cpu", "6/158"),
        ("index", "FILE", "--no-index"),
        ("verify", "FILE", "--index", "x"),
        ("info", "FILE", "--no-decode", "--no-index"),
        ("info", "FILE", "--no-decode", "--max-gaps", "1"),
        ("steps", "FILE", "--follow", "--sysroot", "/"),
        ("steps", "FILE", "--index", "x", "--no-index"),
        ("stack", "FILE", "--program", "x"),
        ("stack", "--pid", "1", "--elf", "x"),
        ("stack", "--pid", "1", "--sysroot", "/"),
        ("stack", "--core", "x", "--no-index"),
        ("gdb", "FILE", "--", "-batch"),
    ],
    ids=" ".join,
)
def test_an_option_without_effect_is_refused(run: Run, trace: Path, arguments: tuple[str, ...]) -> None:
    result = run(*(trace if word == "FILE" else word for word in arguments))
    assert result.returncode == 2
    said = sentence(result)
    assert any(word in said for word in ("No such option", "leave", "need")), said


def test_an_unknown_command_names_the_one_meant(run: Run, trace: Path) -> None:
    assert "did you mean 'steps'?" in sentence(run("stesp", trace))
    assert f"try 'odograph info {trace}'" in sentence(run(trace))
    assert "odograph run -- ls" in sentence(run("ls"))


def test_an_unknown_packet_kind_names_them_all(run: Run, trace: Path) -> None:
    assert "there are pad, psb" in sentence(run("packets", trace, "--kind", "tipp"))


def test_nothing_to_verify(run: Run, trace: Path) -> None:
    result = run("verify", trace)
    assert result.returncode == 2
    assert "holds nothing to compare with" in sentence(result)


@pytest.mark.parametrize("verb", ["run", "record"])
class TestOfRecorders:
    def test_command_not_found(self, run: Run, verb: str, tmp_path: Path) -> None:
        result = run(verb, "-o", tmp_path / "out", "--with", "ptrace", "--", "no-such-command-anywhere")
        assert result.returncode == 127
        assert "no-such-command-anywhere: command not found" in result.stderr.splitlines()[-1]

    def test_not_executable(self, run: Run, verb: str, tmp_path: Path) -> None:
        plain = tmp_path / "plain"
        plain.write_text("text")
        plain.chmod(0o644)
        result = run(verb, "-o", tmp_path / "out", "--", plain)
        assert result.returncode == 126
        assert "chmod +x" in result.stderr.splitlines()[-1]

    def test_nowhere_to_write(self, run: Run, verb: str) -> None:
        result = run(verb, "-o", "/nowhere/out", "--", "true")
        assert result.returncode == 125
        assert "there is no directory /nowhere" in result.stderr.splitlines()[-1]

    def test_usage(self, run: Run, verb: str) -> None:
        assert run(verb).returncode == 125
        assert f"odograph {verb} -- ls -l" in run(verb).stderr
        assert run(verb, "--nonsense", "--", "true").returncode == 125
        assert run(verb, "--with", "magic", "--", "true").returncode == 125


@pytest.mark.skipif(shutil.which("true") is None, reason="needs true")
def test_a_recorder_that_does_not_work_here_says_why(run: Run, tmp_path: Path) -> None:
    from odograph.recorder import hardware

    if hardware.unavailable() is None:
        pytest.skip("this machine has Intel PT")
    result = run("record", "-o", tmp_path / "out", "--with", "perf", "--", "true")
    assert result.returncode == 125
    assert "cannot record with perf" in sentence(result)
