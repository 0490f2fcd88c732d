"""lldb over a recording: it speaks gdb's protocol with an accent."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable

import pytest

from odograph.debug import Target
from support.debugruns import Recorded, serving

#: Before version 21 there was no way back.
LLDB = next((name for name in ("lldb-22", "lldb-21") if shutil.which(name)), None)

pytestmark = pytest.mark.skipif(LLDB is None, reason="needs lldb 21 or newer")


@pytest.fixture
def lldb(recorded: Recorded, target: Target) -> Callable[..., list[str]]:
    """Runs lldb against a server; gives what each command printed."""

    def run(*commands: str) -> list[str]:
        with serving(target) as server:
            host, port = server.address
            before = [
                "settings set target.process.disable-memory-cache true",
                f"target create {recorded.program}",
                f"gdb-remote {host}:{port}",
            ]
            words = [word for command in [*before, *commands] for word in ("-o", command)]
            result = subprocess.run(
                [str(LLDB), "--no-lldbinit", "--batch", *words, "-o", "detach"],
                capture_output=True,
                text=True,
                timeout=60,
                stdin=subprocess.DEVNULL,
            )
        # lldb repeats each command behind its prompt.
        return re.split(r"^\(lldb\) .*\n", result.stdout, flags=re.M)[4:]

    return run


def test_lldb_breakpoints_in_both_directions(lldb: Callable[..., list[str]], target: Target) -> None:
    address = target.symbols.resolve("fact")
    expected = target.processor.breakpoints.hits(address, address).tolist()
    where = "process plugin packet monitor where"
    stop = f"breakpoint set --address {address:#x}"

    def steps(said: list[str]) -> list[int]:
        return [int(number) for text in said for number in re.findall(r"step (\d+) of", text)]

    # At the ends, lldb takes no more commands from a script.
    said = lldb(stop, *["process continue", where] * 7)
    assert steps(said) == expected
    assert sum("stop reason = breakpoint" in text for text in said) == 6
    assert "history boundary" in said[-1]
    assert target.step == target.last
    said = lldb(stop, *["process continue --reverse", where] * 7)
    assert steps(said) == expected[::-1]
    assert "history boundary" in said[-1]
    assert target.step == 0


def test_lldb_stacks_symbols_and_steps(lldb: Callable[..., list[str]], target: Target) -> None:
    said = lldb(
        "breakpoint set --name fact",
        "process continue",
        "process continue",
        "thread backtrace",
        "breakpoint delete --force",
        "thread step-over",
        "thread step-over",
        "thread step-out",
        "register read",
        "image list",
    )
    names = re.findall(r"frame #\d+: \S+ [^`]+`(\w+)", said[3])
    assert names[:3] == ["fact", "fact", "main"]
    assert names[-1] == "_start"
    assert "turns.c" in said[6]
    assert "fact" in said[7]
    assert re.search(r"rip = 0x[0-9a-f]+", said[8])
    # What is not known is not shown as a number.
    assert "cccc" not in said[8]
    assert "libc.so.6" in said[9]
