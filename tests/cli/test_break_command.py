"""``odograph break``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import odograph
from odograph import Packet, PacketEncoder
from odograph.recorder import ptrace
from support.commands import CODE, Run
from support.paths import PROGRAMS

#: 401000 call 401008; 401005 ret; 401006 nop; 401007 nop; 401008 dec eax; 40100a jne 401008; 40100c ret
CALLING = bytes.fromhex("e803000000c39090ffc875fcc3")
IPS = [0x401000, *3 * [0x401008, 0x40100A], 0x40100C, 0x401005]


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, str, str]:
    """A call of a loop of three turns, and the return from it: arguments for the command line."""
    encoder = PacketEncoder()
    encoder.add(Packet("psb"))
    encoder.add(Packet("mode.exec", csl=True, csd=False, iflag=False))
    encoder.add(Packet("fup", compression=3, ip=CODE)).add(Packet("psbend"))
    # Twice round, out of the loop, back.
    data = bytes(encoder) + bytes([0b11101 << 1]) + b"\x01"
    trace, code = tmp_path / "calls.pt", tmp_path / "code.bin"
    trace.write_bytes(data)
    code.write_bytes(CALLING)
    return trace, "--map", f"{code}:{CODE:#x}"


def test_every_execution_is_a_line(run: Run, recorded: tuple[Any, ...]) -> None:
    result = run("break", *recorded, "0x401008")
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        [str(step), "0000000000401008"] for step in (1, 3, 5)
    ]
    assert result.returncode == 0


def test_the_last_hits_first(run_json: Callable[..., Any], recorded: tuple[Any, ...]) -> None:
    hits = run_json("break", *recorded, "0x401008-0x40100b", "--reverse", "--limit", "3")["hits"]
    assert [(hit["step"], hit["address"]) for hit in hits] == [
        (6, 0x40100A),
        (5, 0x401008),
        (4, 0x40100A),
    ]


def test_a_limit_says_how_many_hits_there_are(
    run: Run, run_json: Callable[..., Any], recorded: tuple[Any, ...]
) -> None:
    cut = run("break", *recorded, "0x401008", "--limit", "2")
    assert len(cut.stdout.splitlines()) == 2
    assert cut.stderr == "odograph: 2 of 3 hits; a higher --limit shows more\n"
    assert run("break", *recorded, "0x401008", "--limit", "3").stderr == ""
    found = run_json("break", *recorded, "0x401008", "--limit", "1")
    assert (found["count"], len(found["hits"])) == (3, 1)


def test_hits_that_come_in_pieces_have_the_times_and_addresses_of_their_steps(
    run_json: Callable[..., Any], tmp_path: Path
) -> None:
    """A history of its own is the judge: each hit is asked for alone."""
    if shutil.which("cc") is None or ptrace.unavailable() is not None:
        pytest.skip("needs a C compiler and ptrace")
    (tmp_path / "loop.c").write_text(
        "__attribute__((noinline)) int tick(int n) { return n * 3 + 1; }\n"
        "int main(void) { volatile int s = 0; for (int i = 0; i < 300; i++) s = tick(s); return 0; }\n"
    )
    program, path = tmp_path / "loop", tmp_path / "loop.data"
    subprocess.run(["cc", "-O1", "-o", program, tmp_path / "loop.c"], check=True)
    subprocess.run(
        [sys.executable, "-m", "odograph", "record", "--with", "ptrace", "-o", path, "--", program],
        check=True,
        capture_output=True,
    )
    hits = run_json("break", path, "tick", "main")["hits"]
    history = odograph.open(path, index=False).history()
    assert [hit["step"] for hit in hits] == history.find(["tick", "main"]).tolist()
    assert len(hits) == 301
    for hit in hits[::10]:
        here = history[hit["step"]]
        assert (hit["address"], hit["time"]) == (here.ip, here.time)
        assert hit["function"] == str(history.symbols_at(hit["step"]).name_of(here.ip))


def test_a_hundred_thousand_hits_take_seconds(run: Run, tmp_path: Path) -> None:
    """Nothing is worked out anew for each hit, which took milliseconds each."""
    encoder = PacketEncoder()
    encoder.add(Packet("psb"))
    encoder.add(Packet("mode.exec", csl=True, csd=False, iflag=False))
    encoder.add(Packet("fup", compression=3, ip=CODE)).add(Packet("psbend"))
    trace, code = tmp_path / "many.pt", tmp_path / "code.bin"
    # Six turns a byte, after the call, which is direct.
    trace.write_bytes(bytes(encoder) + b"\xfe" * 20_000)
    code.write_bytes(CALLING)
    began = time.monotonic()
    result = run("break", trace, "--map", f"{code}:{CODE:#x}", "0x401008")
    assert len(result.stdout.splitlines()) >= 120_000
    assert time.monotonic() - began < 20


def test_filters(run_json: Callable[..., Any], recorded: tuple[Any, ...]) -> None:
    def steps(*filters: str) -> list[int]:
        options = [word for each in filters for word in ("--filter", each)]
        return [hit["step"] for hit in run_json("break", *recorded, "0-0xffffffffffffffff", *options)["hits"]]

    assert steps("prefix=ret") == [step for step, ip in enumerate(IPS) if ip in (0x40100C, 0x401005)]
    assert steps("opcode=ffc8") == [1, 3, 5]
    assert steps("opcode=75", "text=0x401008") == [2, 4, 6]


def test_the_stack_and_the_way(run: Run, recorded: tuple[Any, ...]) -> None:
    lines = run("break", *recorded, "0x40100c", "-c", "stack", "-c", "steps -2", "-c", "step * 10").stdout
    hit, inner, outer, _, before, last, value = lines.splitlines()
    assert hit.split()[0] == "7"
    assert inner.split()[:2] == ["#0", "0x000000000040100c"]
    assert outer.split()[:2] == ["#1", "0x0000000000401005"]
    assert before.split()[2:] == ["dec", "eax"]
    assert last.split()[2] == "jne"
    assert value.strip() == "70"


def test_hits_have_their_stacks(run_json: Callable[..., Any], recorded: tuple[Any, ...]) -> None:
    (hit,) = run_json("break", *recorded, "0x40100c")["hits"]
    assert [(frame["address"], frame["step"]) for frame in hit["stack"]] == [(0x40100C, 7), (0x401005, 0)]


def test_no_hits_are_not_success(run: Run, recorded: tuple[Any, ...]) -> None:
    result = run("break", *recorded, "0x401006", "0x401007")
    said = "odograph: no hit of 2 breakpoints in 9 steps\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", said)
    assert run("break", *recorded, "0x401006", "--json").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["5-4"], "not an interval"),
        (["nobody"], "nobody"),
        (["0", "--filter", "x"], "prefix=TEXT"),
        (["0", "--filter", "opcode=zz"], "opcode=zz"),
        (["0", "-c", "1 +"], "is not an action: write stack, steps N"),
        (["0", "-c", "[x + nobody for x in [step]]"], "names nobody, which is not known here"),
        (["0", "-c", "foo"], "a Python expression of address, cpu, history, step, symbols"),
        (["0x401008", "-c", "1 / 0"], "'1 / 0' at step 1: ZeroDivisionError"),
        ([], "WHERE"),
    ],
)
def test_what_is_wrong_is_said(run: Run, recorded: tuple[Any, ...], arguments: list[str], said: str) -> None:
    result = run("break", *recorded, *arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(
    shutil.which("cc") is None or ptrace.unavailable() is not None, reason="needs a C compiler and ptrace"
)
def test_threads_are_told_in_the_order_of_time(
    run: Run, run_json: Callable[..., Any], tmp_path: Path
) -> None:
    program, path = tmp_path / "threads", tmp_path / "threads.data"
    source = PROGRAMS / "threads.c"
    subprocess.run(["cc", "-O1", "-w", "-pthread", "-o", program, source], check=True)
    assert run("record", "-o", path, "--", program).returncode == 0
    hits = run_json("break", path, "main", "work")["hits"]
    histories = odograph.open(path, index=False).histories()
    stamps = [histories[hit["tid"]].tsc(hit["step"]) for hit in hits]
    assert len({hit["tid"] for hit in hits}) > 2
    assert stamps == sorted(stamps)
    back = run_json("break", path, "main", "work", "--reverse", "--limit", "3")["hits"]
    assert back == hits[:-4:-1]
    # A symbol need not be met in all threads.
    (last,) = run_json("break", path, "work", "--tid", hits[-1]["tid"], "--reverse", "--limit", "1")["hits"]
    assert last == hits[-1]
