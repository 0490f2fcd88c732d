"""The decoder conformance cases: the tools' text must be what the case expects. ``make conformance``.

A case is a folder with a ``case.json``, whose command lines run in that folder. Standard output is compared
as ``diff -b`` does: runs of blanks are equal to one blank, and blanks at the end of a line do not count.

``python tests/conformance.py [--only PATTERN] [--tool ptdump|ptxed] [--executables]``; the exit status is 1
if a command line fails.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import fnmatch
import importlib
import io
import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from support.sharedtraces import SHARED

CASES = SHARED / "conformance"
TOOLS = ("ptdump", "ptxed")

#: Runs a command line in its folder and gives its standard output and exit code.
Runner = Callable[["CommandLine"], tuple[bytes, int]]


@dataclass(frozen=True)
class CommandLine:
    """One command line of a case."""

    case: str
    folder: Path
    tool: str
    arguments: tuple[str, ...]
    expected: str
    status: int

    def __str__(self) -> str:
        return f"{self.case}: {self.tool} {' '.join(self.arguments)}"


def command_lines(only: str = "*", tool: str | None = None) -> list[CommandLine]:
    """The command lines of all cases whose name matches, in order; none where there are no cases."""
    found = []
    for file in sorted(CASES.rglob("case.json")):
        name = file.parent.relative_to(CASES).as_posix()
        if not fnmatch.fnmatch(name, only) and not fnmatch.fnmatch(name.partition("/")[0], only):
            continue
        for command in json.loads(file.read_text())["commands"]:
            if tool in (None, command["tool"]):
                line = (command["tool"], tuple(command["args"]), command["exp"], command["exit"])
                found.append(CommandLine(name, file.parent, *line))
    return found


def in_process(line: CommandLine) -> tuple[bytes, int]:
    """Runs the tool in this process."""
    main = importlib.import_module(f"odograph.dropins.{line.tool}").main
    output = io.BytesIO()
    with contextlib.chdir(line.folder):
        status = main([line.tool, *line.arguments], output)
    return output.getvalue(), status


def as_executable(line: CommandLine) -> tuple[bytes, int]:
    """Runs the installed command."""
    program = Path(sysconfig.get_path("scripts")) / f"odograph-{line.tool}"
    run = subprocess.run([program, *line.arguments], cwd=line.folder, stdout=subprocess.PIPE, check=False)
    return run.stdout, run.returncode


def comparable(text: str) -> list[str]:
    """The lines as ``diff -b`` compares them."""
    return [re.sub(r"[ \t]+", " ", line).rstrip() for line in text.splitlines()]


def difference(line: CommandLine, run: Runner = in_process) -> list[str]:
    """What differs from what is expected; nothing if the command line passes."""
    try:
        output, status = run(line)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    wrong = [] if status == line.status else [f"exit code {status}, not {line.status}"]
    actual = comparable(output.decode("utf-8", "replace"))
    expected = comparable((line.folder / line.expected).read_text())
    diff = difflib.unified_diff(expected, actual, "expected", "printed", lineterm="", n=1)
    return [*wrong, *diff]


def failures(lines: Iterable[CommandLine], run: Runner) -> Iterator[tuple[CommandLine, list[str]]]:
    """The command lines that fail, with what differs."""
    for line in lines:
        wrong = difference(line, run)
        if wrong:
            yield line, wrong


def main() -> int:
    """Everything."""
    parser = argparse.ArgumentParser(description="Run the decoder conformance cases.")
    parser.add_argument(
        "--only", default="*", metavar="PATTERN", help="cases whose name matches, such as 'ptw*'"
    )
    parser.add_argument("--tool", choices=TOOLS, help="this tool only")
    parser.add_argument("--executables", action="store_true", help="run the installed commands")
    parser.add_argument("--diff", action="store_true", help="show what differs")
    options = parser.parse_args()
    lines = command_lines(options.only, options.tool)
    if not lines:
        print(f"no case matches {options.only!r} in {CASES}")
        return 2
    failed: dict[str, int] = {}
    for line, wrong in failures(lines, as_executable if options.executables else in_process):
        failed[line.case] = failed.get(line.case, 0) + 1
        print(line)
        if options.diff:
            print("\n".join(f"    {text}" for text in wrong))
    cases = {line.case.partition("/")[0] for line in lines}
    failed_cases = {name.partition("/")[0] for name in failed}
    passed = len(lines) - sum(failed.values())
    print(f"{passed} of {len(lines)} command lines, {len(cases - failed_cases)} of {len(cases)} cases")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
