"""Names of a recording reach a terminal as text, whatever they hold, and JSON holds them exactly."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from odograph.cli import main
from odograph.cli.group import COMMANDS
from odograph.cli.group import odograph as group
from odograph.recorder import ptrace
from odograph.text.printable import printable
from support.hostilenames import CALLED, CODE, COMM, EVIL, SYMBOL, elf_file, hostile_recording

#: Commands that want something else than a recording; every other one is run on it.
ARGUMENTS: dict[str, list[str]] = {
    "run": ["--with", "ptrace", "--", "PROGRAM"],
    "record": ["--with", "ptrace", "-o", "OUTPUT", "--", "PROGRAM"],
    "steps": ["RECORDING", "--symbols"],
    "break": ["RECORDING", SYMBOL],
    "gdb": ["RECORDING", "--run"],
    "stack": ["RECORDING", "--step", "1"],
    "unwind": ["--dump", "IA64"],
    "doctor": [],
}
#: What JSON has to hold exactly, for commands that show names. The mapped file is found by its recorded name.
EXACT: dict[str, set[str]] = {
    "info": {"RECORDING", "PROGRAM OF IT", COMM, f"/nowhere/{EVIL}", f"ran without being recorded: {EVIL}"},
    "index": {"RECORDING.odx"},
    "packets": {"RECORDING"},
    "break": {"RECORDING"},
    "steps": {"RECORDING", f"p{EVIL}.so!{SYMBOL}"},
    "stack": {SYMBOL, CALLED},
    "functions": {CALLED},
    "coverage": {SYMBOL, CALLED},
    "verify": {"RECORDING", COMM},
    "unwind": {"IA64"},
    "run": {"PROGRAM"},
}
#: mov eax, 60; xor edi, edi; syscall
EXIT = bytes.fromhex("b83c00000031ff0f05")
NO_JSON = ("gdb", "dap", "record")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("hostile")
    program = elf_file(folder / f"x{EVIL}", {SYMBOL: CODE}, code=EXIT)
    program.chmod(0o755)
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patched:
        patched.syspath_prepend(str(Path(__file__).parents[1] / "unwind"))
        from support.ia64elf import Code, executable
    ia64 = folder / f"i{EVIL}"
    ia64.write_bytes(executable([Code(f"f{EVIL[:4]}", 1, b"\x01")]).data)
    recording = hostile_recording(folder)
    return {
        "RECORDING": str(recording),
        "RECORDING.odx": f"{recording}.odx",
        "PROGRAM OF IT": str(folder / f"p{EVIL}.so"),
        "PROGRAM": str(program),
        "OUTPUT": str(folder / f"o{EVIL}"),
        "IA64": str(ia64),
    }


def call(arguments: list[str], capfdbinary: pytest.CaptureFixture[bytes]) -> tuple[str, str]:
    """Runs a command in this process; its output must be UTF-8."""
    main(arguments)
    sys.stdout.flush()
    out, err = capfdbinary.readouterr()
    return out.decode(), err.decode()


def assert_plain(text: str, own: str = "\n") -> None:
    """No character of it does anything but show itself, but for line ends of our own."""
    bad = {character for character in text if printable(character) != character} - set(own)
    assert not bad


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    # odograph gdb --run says that there is none, which is all that is wanted of it here.
    monkeypatch.setattr("odograph.cli.commands.gdb.shutil", SimpleNamespace(which=lambda name: None))


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("command", group.list_commands(None))  # type: ignore[arg-type]
def test_no_command_lets_names_command_the_terminal(
    command: str, as_json: bool, places: dict[str, str], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    if command in ("run", "record") and ptrace.unavailable() is not None:
        pytest.skip("needs ptrace")
    words = [places.get(word, word) for word in ARGUMENTS.get(command, ["RECORDING"])]
    if as_json and command in NO_JSON:
        pytest.skip("has no --json")
    out, err = call([command, *(["--json"] if as_json else []), *words], capfdbinary)
    assert out or err or command == "dap"
    assert_plain(err)
    assert_plain(out, own="\n\t" if command == "unwind" and not as_json else "\n")
    if as_json:
        strings = {*strings_of(json.loads(out))}
        assert {places.get(name, name) for name in EXACT.get(command, set())} <= strings
    elif command in ("info", "verify"):
        # One line for a thread, whatever its name says.
        assert f"42 {printable(COMM)}" in out


def strings_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, one in value.items() for text in (key, *strings_of(one))]
    if isinstance(value, list):
        return [text for one in value for text in strings_of(one)]
    return [value] if isinstance(value, str) else []


def test_all_commands_are_known(places: dict[str, str]) -> None:
    assert set(group.list_commands(None)) == set(COMMANDS)  # type: ignore[arg-type]
    assert set(ARGUMENTS) <= set(COMMANDS)
    assert set(EXACT) <= set(COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", f"/nowhere/{EVIL}"],
        ["info", "FOLDER"],
        ["steps", "RECORDING", "--tid", "7"],
        ["break", "RECORDING", "f\x1b[31m"],
        ["break", "RECORDING", f"x{EVIL}"],
        ["packets", "RECORDING", f"k{EVIL}"],
        ["steps", "RECORDING", "--map", f"{EVIL}"],
        ["steps", "RECORDING", "--elf", f"/nowhere/{EVIL}"],
        ["unwind", "--dump", "RECORDING"],
        ["stack", "--core", "RECORDING"],
        ["functions", "RECORDING", f"/nowhere/{EVIL}"],
        [f"{EVIL}"],
        ["run", "--with", "ptrace", "--", f"/nowhere/{EVIL}"],
        ["record", "-o", f"/nowhere/{EVIL}/x", "--", "true"],
        ["info", "RECORDING", "--index", f"/nowhere/{EVIL}"],
    ],
    ids=lambda arguments: f"{arguments[0][:8]!a}-{len(arguments)}",
)
def test_errors_are_lines_as_well(
    arguments: list[str], places: dict[str, str], capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    folder = tmp_path / EVIL
    folder.mkdir()
    places = {**places, "FOLDER": str(folder)}
    out, err = call([places.get(word, word) for word in arguments], capfdbinary)
    assert_plain(out)
    # What is wrong with the user's own words is said in several lines by click.
    assert_plain(err, own="\n\t" if "Try 'odograph" in err else "\n")


def test_on_a_terminal_the_only_commands_are_ours(places: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "odograph", "info", places["RECORDING"]]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        data = b""
        try:
            while chunk := os.read(ours, 1 << 16):
                data += chunk
        except OSError:
            pass  # nobody has the other end open any more
        os.close(ours)
    assert process.returncode == 0
    text = data.decode().replace("\r\n", "\n")
    styled = re.findall(r"\x1b\[[01]m", text)
    assert len(styled) >= 6
    assert_plain(re.sub(r"\x1b\[[01]m", "", text))


def test_what_other_code_prints_is_escaped_too(
    places: dict[str, str], capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def describe(*arguments: object, **options: object) -> dict[str, Any]:
        print(EVIL)
        print(EVIL, file=sys.stderr)
        sys.stdout.writelines([EVIL])
        raise MemoryError

    monkeypatch.setattr("odograph.cli.commands.info.describe", describe)
    out, err = call(["info", places["RECORDING"]], capfdbinary)
    assert_plain(out, own="\n\t")
    assert_plain(err, own="\n\t")
    assert "owned" in out
    assert "owned" in err
