"""``odograph steps``."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from odograph import Packet, PacketEncoder
from support.commands import CODE, Run, loop_trace
from support.sharedtraces import SHARED

LISTING = """\
      [enabled at 0x401000]
      [exec mode at 0x401000: 64-bit]
   0  0000000000401000  dec eax
   1  0000000000401002  jne short 0x401000
   2  0000000000401000  dec eax
   3  0000000000401002  jne short 0x401000
   4  0000000000401000  dec eax
   5  0000000000401002  jne short 0x401000
   6  0000000000401004  ret
      [disabled]
"""


def test_a_listing(run: Run, trace: Path, code: Path) -> None:
    result = run("steps", trace, "--map", f"{code}:0x401000")
    assert (result.returncode, result.stdout, result.stderr) == (0, LISTING, "")


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        (("--from", 2, "--to", 4), [2, 3]),
        (("--tail", 2), [5, 6]),
        (("--tail", 99), list(range(7))),
        (("--from", -3), [4, 5, 6]),
        (("--from", 5, "--to", 2), []),
        (("--from", 100), []),
    ],
)
def test_which_steps(
    run_json: Callable[..., Any], trace: Path, code: Path, options: tuple[Any, ...], steps: list[int]
) -> None:
    document = run_json("steps", trace, "--map", f"{code}:0x401000", *options)
    assert [row["step"] for row in document["steps"]] == steps
    assert document["instructions"] == 7


@pytest.mark.parametrize("options", [["--from", "99999999"], ["--from", "5", "--to", "3"], ["--to", "0"]])
def test_a_range_without_steps_is_told(run: Run, trace: Path, code: Path, options: list[str]) -> None:
    result = run("steps", trace, "--map", f"{code}:{CODE:#x}", *options)
    assert f"odograph: {' '.join(options)} selects none of the " in result.stderr
    assert result.returncode == 0


def test_code_may_be_a_part_of_a_file(run: Run, trace: Path, code: Path, tmp_path: Path) -> None:
    packed = tmp_path / "a:b.bin"
    packed.write_bytes(b"\xcc" * 16 + code.read_bytes() + b"\xcc")
    for option in (f"{packed}:16:0x401000", f"{packed}:0x10-0x15:0x401000"):
        assert run("steps", trace, "--map", option).stdout == LISTING


def test_tail_and_from_are_too_much(run: Run, trace: Path) -> None:
    result = run("steps", trace, "--tail", 1, "--from", 1)
    assert result.returncode == 2
    assert "--tail already says which steps" in result.stderr


def test_gaps_appear_where_they_are(run: Run, trace: Path) -> None:
    result = run("steps", trace)
    assert "[gap: memory (nomap) at 0x401000" in result.stdout


def test_json_says_how_many_gaps_are_left_out(
    run_json: Callable[..., Any], tmp_path: Path, code: Path
) -> None:
    path = tmp_path / "overflows.pt"
    resumed = bytes(PacketEncoder().add(Packet("ovf")).add(Packet("fup", compression=3, ip=CODE)))
    path.write_bytes(loop_trace() + 20_010 * resumed)
    document = run_json("steps", path, "--map", f"{code}:{CODE:#x}")
    assert len(document["gaps"]) + document["gaps_left_out"] == document["gap_count"] == 20_010
    assert len(document["gaps"]) == 20_000
    document = run_json("steps", path, "--map", f"{code}:{CODE:#x}", "--to", 3)
    assert (document["gaps"], document["gaps_left_out"]) == ([], 0)


def test_a_reader_that_stops_early_causes_no_error(bench: Callable[[str], Path]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "odograph", "steps", str(bench("gzip-s-def.perf.data"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_bench_traces_by_their_maps(run_json: Callable[..., Any], bench: Callable[[str], Path]) -> None:
    image = bench("gzip.img")
    options = []
    for line in (SHARED / "bench" / "gzip.map").read_text().splitlines():
        vaddr, size, offset = (int(field, 16) for field in line.split()[:3])
        options += ["--map", f"{image}:{offset:#x}-{offset + size:#x}:{vaddr:#x}"]
    document = run_json("steps", bench("gzip-s-def.pt"), *options, "--tail", 3)
    assert document["instructions"] == 29985056
    assert document["gaps"] == []


def test_colour_only_on_terminals_that_want_it(run: Run, trace: Path) -> None:
    assert "\x1b" not in run("info", trace, env={**os.environ, "FORCE_COLOR": "1"}).stdout


def test_following_a_pipe_lists_the_same_while_it_arrives(run: Run, tmp_path: Path, code: Path) -> None:
    whole = tmp_path / "long.pt"
    whole.write_bytes(loop_trace(50) * 3000)
    options = ["--map", f"{code}:0x401000"]
    listed = threading.Event()

    def write(file: IO[bytes]) -> None:
        with file:
            file.write(whole.read_bytes()[:150_000])
            file.flush()
            listed.wait(60)
            file.write(whole.read_bytes()[150_000:])

    with subprocess.Popen(
        [sys.executable, "-m", "odograph", "steps", "-", "--follow", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        writer = threading.Thread(target=write, args=(process.stdin,))
        writer.start()
        # Nothing of the trace's end has arrived.
        lines = [process.stdout.readline() for _ in range(10_000)]
        assert not listed.is_set()
        listed.set()
        lines += process.stdout.readlines()
        writer.join()
        assert process.wait() == 0
    expected = run("steps", whole, *options).stdout.splitlines()
    assert [line.decode().split() for line in lines] == [line.split() for line in expected]


def test_following_counts_gaps_in_the_whole_trace(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "long.pt"
    path.write_bytes(loop_trace() * 5000)
    # Nothing is executed, and of what happens at one step a listing shows gaps last.
    expected = sorted(line.split() for line in run("steps", path).stdout.splitlines())
    assert len(expected) > 10_000
    assert sorted(line.split() for line in run("steps", path, "--follow").stdout.splitlines()) == expected
    assert run("steps", path, "--follow", "--max-gaps", 4999).returncode == 1
    assert run("steps", path, "--follow", "--max-gaps", 5000).returncode == 0


def test_what_cannot_be_followed(run: Run, trace: Path, tmp_path: Path) -> None:
    recording = tmp_path / "perf.data"
    recording.write_bytes(b"PERFILE2" + bytes(200))
    result = run("steps", recording, "--follow")
    assert result.returncode == 2
    assert "leave out --follow" in result.stderr
    result = run("steps", trace, "--follow", "--tail", 3)
    assert (result.returncode, "leave out --from, --to, --tail" in result.stderr) == (2, True)
