"""``odograph packets``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.commands import Run

LISTING = """\
00000000  psb
00000010  psbend
00000012  mode.exec csl
00000014  tip.pge   3: 0000000000401000
0000001b  tnt8      !
0000001c  tnt8      !
0000001d  tnt8      .
0000001e  tip.pgd   -
"""


def test_a_listing(run: Run, trace: Path) -> None:
    result = run("packets", trace)
    assert (result.returncode, result.stdout, result.stderr) == (0, LISTING, "")


def test_a_part_of_it(run: Run, trace: Path) -> None:
    lines = LISTING.splitlines(keepends=True)
    assert run("packets", trace, "--from", "0x12", "--to", "0x1c").stdout == "".join(lines[2:5])
    assert run("packets", trace, "--from", "0x13", "--to", "28").stdout == "".join(lines[3:5])
    assert run("packets", trace, "--kind", "tnt").stdout == "".join(lines[4:7])
    assert run("packets", trace, "--kind", "psb", "--kind", "TIP.PGD").stdout == lines[0] + lines[7]
    assert run("packets", trace, "--from", 1000).stdout == ""


def test_json(run_json: Callable[..., Any], trace: Path) -> None:
    document = run_json("packets", trace, "--kind", "tip.pge")
    assert document["packets"] == [
        {"stream": 0, "offset": 0x14, "size": 7, "kind": "tip.pge", "compression": 3, "ip": 0x401000}
    ]


def test_damage_is_listed_and_skipped(run: Run, tmp_path: Path, trace: Path) -> None:
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(trace.read_bytes()[:0x14] + b"\x02\xff" + trace.read_bytes())
    lines = run("packets", damaged).stdout.splitlines()
    assert lines[3].startswith("00000014  [")
    assert lines[4] == "00000016  psb"
    assert len(lines) == 4 + len(LISTING.splitlines())


def test_two_traces_in_one_pipe_are_one_stream(run: Run, trace: Path) -> None:
    with trace.open("rb") as stream:
        assert run("packets", "-", stdin=stream).stdout == LISTING
