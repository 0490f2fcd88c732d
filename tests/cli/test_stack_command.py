"""``odograph stack`` of recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import CODE, Run
from odograph import Packet, PacketEncoder

#: 401000 call 401008; 401005 ret; 401006 nop; 401007 nop; 401008 dec eax; 40100a jne 401008; 40100c ret
CALLING = bytes.fromhex("e803000000c39090ffc875fcc3")


@pytest.fixture
def calling(tmp_path: Path) -> tuple[Path, str, str]:
    """A call of a loop of three turns, and the return from it: arguments for the command line."""
    encoder = PacketEncoder()
    encoder.add(Packet("psb"))
    encoder.add(Packet("mode.exec", csl=True, csd=False, iflag=False))
    encoder.add(Packet("fup", compression=3, ip=CODE)).add(Packet("psbend"))
    trace, code = tmp_path / "calls.pt", tmp_path / "code.bin"
    trace.write_bytes(bytes(encoder) + bytes([0b11101 << 1]) + b"\x01")
    code.write_bytes(CALLING)
    return trace, "--map", f"{code}:{CODE:#x}"


def test_the_stack_before_a_step(run: Run, run_json: Callable[..., Any], calling: tuple[Any, ...]) -> None:
    result = run("stack", *calling, "--step", "2")
    head, inner, outer, end = result.stdout.splitlines()
    assert head.startswith("thread ")
    assert head.endswith("step 2")
    assert inner.split()[:2] == ["#0", "0x000000000040100a"]
    assert outer.split()[:2] == ["#1", "0x0000000000401005"]
    assert end.strip() == "(the recording begins here)"
    assert result.returncode == 1
    (thread,) = run_json("stack", *calling, "--step", "-1")["threads"]
    assert (thread["step"], [frame["address"] for frame in thread["frames"]]) == (8, [0x401005])
    (thread,) = run_json("stack", *calling, "--step", "1")["threads"]
    assert [(frame["address"], frame["step"], frame["found"]) for frame in thread["frames"]] == [
        (0x401008, 1, "start"),
        (0x401005, 0, "call"),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--step", "99"], "step 99 is not among the"),
        (["--step", "1", "--time", "2"], "exclude each other"),
        (["--time", "soon"], "--time takes seconds"),
        (["--pid", "1"], "name a recording"),
        (["--time", "3"], "no clock"),
    ],
)
def test_what_cannot_be(run: Run, calling: tuple[Any, ...], arguments: list[str], said: str) -> None:
    result = run("stack", *calling, *arguments)
    assert result.returncode in (1, 2)
    assert said in result.stderr


def test_steps_are_those_of_a_recording(run: Run) -> None:
    result = run("stack", "--pid", "1", "--step", "3")
    assert (result.returncode, "are for recordings" in result.stderr) == (2, True)
