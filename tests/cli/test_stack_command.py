"""``odograph stack`` of recordings."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from odograph import Packet, PacketEncoder
from support.commands import CODE, Run
from support.paths import CORPUS, PROGRAMS

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
        (["--time", "3"], "no processor clock"),
    ],
)
def test_what_cannot_be(run: Run, calling: tuple[Any, ...], arguments: list[str], said: str) -> None:
    result = run("stack", *calling, *arguments)
    assert result.returncode in (1, 2)
    assert said in result.stderr


def test_steps_are_those_of_a_recording(run: Run) -> None:
    result = run("stack", "--pid", "1", "--step", "3")
    assert (result.returncode, "are for recordings" in result.stderr) == (2, True)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recording of a program without symbols that crashes, and its core."""
    folder = tmp_path_factory.mktemp("crash")
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if "/" in pattern or "|" in pattern or hard == 0 or shutil.which("gcc") is None:
        pytest.skip("cores are not written beside the program here, or there is no gcc")
    subprocess.run(
        ["gcc", "-O1", "-s", "-static", "-o", "crash", PROGRAMS / "crash.c"], cwd=folder, check=True
    )
    command = ["record", "--with", "ptrace", "-o", "crash.data", "--", "./crash"]
    done = subprocess.run(
        [sys.executable, "-m", "odograph", *command],
        cwd=folder,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)),
        capture_output=True,
        check=False,
    )
    if done.returncode == 125:
        pytest.skip("programs cannot be stepped here")
    assert done.returncode == 128 + signal.SIGSEGV
    (core,) = folder.glob("core*")
    return folder / "crash.data", core


def test_a_recording_from_the_beginning_needs_no_core(
    run: Run, run_json: Callable[..., Any], crashed: tuple[Path, Path], calling: tuple[Any, ...]
) -> None:
    recording, core = crashed
    alone = run("stack", recording)
    assert (alone.returncode, alone.stderr) == (0, "")
    both = run("stack", recording, "--core", core)
    assert (both.returncode, both.stderr, both.stdout) == (0, "", alone.stdout)
    (thread,) = run_json("stack", recording, "--core", core)["threads"]
    (unwound,) = run_json("stack", "--core", core)["threads"]
    addresses = [[frame["address"] for frame in stack["frames"]] for stack in (thread, unwound)]
    assert addresses[0] == addresses[1]
    assert thread["end"] == "bottom"
    other = run("stack", *calling, "--core", core)
    assert other.returncode == 2
    assert f"has the threads {thread['tid']}, and the recording has others" in other.stderr


def test_a_limit_of_frames_does_not_make_the_end_unknown(run: Run) -> None:
    corpus = CORPUS
    words = ["stack", corpus / "static.qemu.data", "--sysroot", corpus / "files", "--step", "1500"]
    whole = run(*words)
    assert whole.returncode == 0
    assert "_start" in whole.stdout
    limited = run(*words, "--limit", "2")
    assert limited.returncode == 0
    assert "(4 more frames are known)" in limited.stdout
    unknown = run("stack", corpus / "static.qemu.data", "--step", "1500", "--limit", "2")
    assert unknown.returncode == 1
