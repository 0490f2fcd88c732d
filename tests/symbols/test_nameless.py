"""Code without names is explained: which module, why, and what brings the names."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from odograph.code.objects import build_id, debug_file
from odograph.recorder import ptrace
from odograph.symbols import Module, debugfiles
from odograph.views import nameless as view
from odograph.views.nameless import nameless, nameless_lines

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

PROGRAM = """
__attribute__((noinline)) int turn(int count) { int sum = 0; while (count--) sum += count; return sum; }
int main(void) { return turn(5000) & 1; }
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program that has all its symbols, and the same program stripped."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "turn.c").write_text(PROGRAM)
    command = ["gcc", "-O1", "-static", "-Wl,--build-id", "turn.c"]
    subprocess.run([*command, "-o", "whole"], cwd=folder, check=True)
    subprocess.run([*command, "-s", "-o", "stripped"], cwd=folder, check=True)
    return folder


def module(path: Path, name: str = "prog") -> Module:
    return Module(name, 0x400000, 0x500000, 0, str(path))


@needs_gcc
def test_a_stripped_file_is_named_with_the_remedy(built: Path) -> None:
    path = built / "stripped"
    (one,) = nameless([("prog", None, 60), ("prog", "main", 40)], [module(path)], 100)
    identity = build_id(path)
    assert identity is not None
    assert (one.module, one.path, one.instructions, one.share) == ("prog", str(path), 60, 0.6)
    assert "stripped" in one.reason
    assert one.debug_file == f"/usr/lib/debug/.build-id/{identity.hex()[:2]}/{identity.hex()[2:]}.debug"
    assert one.debug_file in one.help
    assert one.package is None
    text = "\n".join(nameless_lines([one]))
    assert text.count("prog") == 1
    assert " 60.0 %" in text


@needs_gcc
def test_nothing_is_said_where_nothing_would_help(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("prog", None, 60), ("", None, 20), ("[vdso]", None, 20)]
    # Code that a full symbol table does not name.
    assert nameless(rows, [module(built / "whole")], 100) == []
    # Too little of all to matter, or nothing at all.
    assert nameless([("prog", None, 4)], [module(built / "stripped")], 100) == []
    assert nameless([], [module(built / "stripped")], 0) == []
    assert nameless_lines([]) == []
    # No ELF file: bytes of code that the user named.
    (built / "code.bin").write_bytes(bytes(100))
    assert nameless(rows, [module(built / "code.bin")], 100) == []
    # The debug file is in its place.
    usual = debug_file(str(built / "stripped"))
    assert usual is not None
    place = usual.replace("/usr/lib/debug", str(built / "debug"))
    monkeypatch.setattr(view, "debug_file", lambda path: place)
    assert nameless(rows, [module(built / "stripped")], 100) != []
    Path(place).parent.mkdir(parents=True)
    shutil.copy(built / "whole", place)
    assert nameless(rows, [module(built / "stripped")], 100) == []


def test_a_file_that_is_not_here_is_named_too() -> None:
    missing = Module("prog", 0x400000, 0x500000, 0, None)
    (one,) = nameless([("prog", None, 100)], [missing], 100)
    assert one.path is None
    assert "--sysroot" in one.help


def test_of_many_modules_the_first_are_shown() -> None:
    modules = [Module(f"lib{number}", 0, 1, 0, None) for number in range(6)]
    rows = [(one.name, None, 10 + number) for number, one in enumerate(modules)]
    found = nameless(rows, modules, 75)
    assert [one.module for one in found] == ["lib5", "lib4", "lib3", "lib2", "lib1", "lib0"]
    assert nameless_lines(found)[-1] == "and 2 more modules"


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="needs dpkg")
def test_packages_are_those_that_own_the_files(tmp_path: Path) -> None:
    listed = subprocess.run(["dpkg-query", "--listfiles", "libc6"], capture_output=True, text=True).stdout
    libraries = [line for line in listed.splitlines() if line.endswith("/libc.so.6")]
    if not libraries:
        pytest.skip("the package libc6 is not installed")
    for path in (libraries[0], str(Path(libraries[0]).resolve())):
        assert debugfiles.debug_packages([path, str(tmp_path)]) == {path: "libc6-dbg"}
    assert debugfiles.debug_packages([str(Path("/bin/ls").resolve())]) == {
        str(Path("/bin/ls").resolve()): "coreutils-dbgsym"
    }
    assert debugfiles.debug_packages([]) == {}


@needs_gcc
@pytest.mark.skipif(ptrace.unavailable() is not None, reason="needs ptrace")
def test_commands_say_it_once(built: Path, tmp_path: Path) -> None:
    def odograph(*words: Any) -> str:
        line = [sys.executable, "-m", "odograph", *map(str, words)]
        return subprocess.run(line, capture_output=True, text=True, check=False).stdout

    recording = tmp_path / "x.data"
    run = odograph("run", "--with", "ptrace", "-o", recording, "--", built / "stripped")
    assert run.count("it was stripped of its symbols") == 1
    assert "stripped: it was stripped" in run
    for command in ("functions", "coverage"):
        assert odograph(command, recording).count("it was stripped of its symbols") == 1
        (one,) = json.loads(odograph(command, recording, "--json"))["nameless"]
        assert one["path"] == str(built / "stripped")
    whole = odograph("run", "--with", "ptrace", "--json", "--", built / "whole")
    assert json.loads(whole)["nameless"] == []
