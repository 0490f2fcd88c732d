"""A thread that executes another program: gdb shows the names of the one that runs where it stands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import odograph
from odograph.debug import Target
from support.debugruns import Client, Recorded, compiled, record, serving

AFTER = """\
__attribute__((noinline)) int only_after(int n) { return n + 2; }
int main(void) { return only_after(3) - 5; }
"""
BEFORE = """\
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noinline)) int only_before(int n) { return n + 1; }
int main(int count, char **words) {
    int status;
    if (fork() == 0) {
        only_before(count);
        execv(words[1], words + 1);
        _exit(1);
    }
    wait(&status);
    return status;
}
"""

Gdb = Callable[..., list[str]]


@pytest.fixture(scope="module")
def executed(recorder: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recorded, int]:
    """A child that executes another program, and its thread."""
    directory = tmp_path_factory.mktemp("executed")
    after = compiled(directory, "after", AFTER)
    before = compiled(directory, "before", BEFORE)
    recorded = record(before, directory / "exec.data", recorder, str(after))
    tids = [thread.tid for thread in odograph.open(recorded.path).threads if thread.comm == "after"]
    assert len(tids) == 1
    return recorded, tids[0]


@pytest.fixture
def in_gdb(executed: tuple[Recorded, int], gdb: Gdb) -> Gdb:
    """Runs gdb at that thread."""
    recorded, tid = executed
    return lambda *commands: gdb(recorded, *commands, options=("--tid", str(tid)))


def _border(executed: tuple[Recorded, int]) -> int:
    recorded, tid = executed
    spans = [span for span in odograph.open(recorded.path).history(tid).spans if span.is_program]
    return spans[-1].start


def test_goto_shows_the_names_of_the_program_that_runs_there(in_gdb: Gdb) -> None:
    said = in_gdb("goto end", "info symbol $pc", "info address only_after", "goto begin", "info symbol $pc")
    assert "is executing new program" in said[0]
    assert "_exit" in said[1]
    assert 'Symbol "only_after" is' in said[2]
    assert "is executing new program" in said[3]
    assert "ork" in said[4]
    frames = in_gdb("goto end", "bt", "info address only_before")
    assert "only_before" not in frames[1]
    assert 'No symbol "only_before"' in frames[2]


def test_goto_stays_where_it_went_when_gdb_learns_the_program(
    executed: tuple[Recorded, int], in_gdb: Gdb
) -> None:
    step = _border(executed) + 100
    said = in_gdb(f"goto {step}", "monitor where", "goto -200", "monitor where")
    assert said[1].startswith(f"step {step} of")
    assert said[3].startswith(f"step {step - 200} of")


def test_a_step_across_the_exec_ends_there_in_both_directions(
    executed: tuple[Recorded, int], in_gdb: Gdb
) -> None:
    border = _border(executed)
    said = in_gdb(
        f"goto {border - 1}", "stepi", "monitor where", "info symbol $pc", "reverse-stepi", "monitor where"
    )
    assert "is executing new program" in said[1]
    assert said[2].startswith(f"step {border} of")
    assert "_start" in said[3]
    assert "is executing new program" in said[4]
    assert said[5].startswith(f"step {border - 1} of")


def test_breakpoints_are_met_in_the_program_that_has_them(in_gdb: Gdb) -> None:
    """Forward over the exec, and back: a breakpoint of one program does not stop the other one.

    gdb disables a breakpoint whose function the new program does not have, also when a program runs.
    """
    said = in_gdb(
        "set breakpoint pending on",
        "break only_after",
        "break only_before",
        "continue",
        "bt 2",
        "continue",
        "bt 2",
        "continue",
        "info symbol $pc",
        "reverse-continue",
        "enable",
        "reverse-continue",
        "bt 2",
    )
    assert "only_before" in said[3]
    assert "SIGTRAP" not in "".join(said)
    assert "only_before" in said[4]
    assert "only_after" in said[6]
    assert "main" in said[6]
    assert "No more reverse-execution history" in said[7]
    assert "exit" in said[8]
    assert "only_after" in said[9]
    assert "only_before" in said[12]


def test_monitor_goto_says_that_gdb_has_the_names_of_another_program(in_gdb: Gdb) -> None:
    said = in_gdb("monitor goto end", "monitor goto begin")
    assert "another program runs here" in said[0]
    assert "after: goto makes gdb read it" in said[0]
    assert "another program" not in said[1]


def test_a_debugger_that_cannot_be_told_of_an_exec_gets_a_line(executed: tuple[Recorded, int]) -> None:
    recorded, tid = executed
    target = Target(odograph.open(recorded.path), tid)
    with serving(target) as server:
        client = Client(server.address)
        client.ask("qSupported:multiprocess-")
        client.ask("?")
        texts = []
        client.send(b"$c#63")
        while True:
            answer = client.next()
            client.send(b"+")
            if not isinstance(answer, bytes):
                continue
            if answer[:1] == b"T":
                break
            texts.append(bytes.fromhex(answer[1:].decode()).decode())
        client.close()
    assert "exec:" not in answer.decode()
    assert "another program runs here" in "".join(texts)
    assert "connect again" in "".join(texts)


def test_a_program_that_is_gone_is_not_shown_by_the_names_of_the_one_before(
    executed: tuple[Recorded, int], gdb: Gdb, tmp_path: Path
) -> None:
    """The file of the new program is not at hand: gdb has no name, and not a wrong one."""
    recorded, tid = executed
    after = recorded.program.with_name("after")
    hidden = tmp_path / "after"
    shutil.move(after, hidden)
    try:
        options = ("--tid", str(tid))
        said = gdb(recorded, "goto end", "goto 50%", "bt", "info address only_before", options=options)
    finally:
        shutil.move(hidden, after)
    assert "only_before" not in said[2]
    assert 'No symbol "only_before"' in said[3] or "No symbol table" in said[3]
    assert "is not at hand" in said[0]


def test_an_address_of_the_file_is_offered_as_it_is_to_be_written(
    executed: tuple[Recorded, int], gdb: Gdb
) -> None:
    recorded, tid = executed
    offset = compiled_address(recorded.program, "only_before")
    line = [sys.executable, "-m", "odograph", "break", str(recorded.path), f"{offset:#x}"]
    result = subprocess.run(line, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert f"{offset:#x} lies in no module; for this address of a file write before+{offset:#x}" in (
        result.stderr
    )
    said = gdb(
        recorded,
        f"monitor hits {offset:#x}",
        f"monitor hits before+{offset:#x}",
        f"monitor break {offset:#x}",
        options=("--tid", str(tid)),
    )
    assert f"write before+{offset:#x}" in said[0]
    assert said[1].startswith("1 hit: ")
    assert f"write before+{offset:#x}" in said[2]


def compiled_address(program: Path, name: str) -> int:
    """The address of a function as ``nm`` lists it."""
    text = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    return next(int(line.split()[0], 16) for line in text.splitlines() if line.endswith(f" T {name}"))
