"""``odograph functions`` and ``odograph coverage``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import odograph
from odograph import Packet, PacketEncoder
from odograph.recorder import qemu
from support.commands import CODE, Run
from support.paths import CORPUS

#: 401000 call 401008; 401005 ret; 401006 nop; 401007 nop; 401008 dec eax; 40100a jne 401008; 40100c ret
CALLING = bytes.fromhex("e803000000c39090ffc875fcc3")


@pytest.fixture
def calling(tmp_path: Path) -> tuple[Path, str]:
    """A trace of two calls, and the option that gives its code."""
    encoder = PacketEncoder()
    encoder.add(Packet("psb"))
    encoder.add(Packet("mode.exec", csl=True, csd=False, iflag=False))
    encoder.add(Packet("fup", compression=3, ip=CODE)).add(Packet("psbend"))
    data = bytes(encoder)
    # Three laps, back, to the call again; one lap, back, and away.
    data += bytes([0b11101 << 1]) + b"\xcd" + CODE.to_bytes(8, "little")
    data += bytes([0b101 << 1]) + b"\x01"
    trace, code = tmp_path / "calls.pt", tmp_path / "code.bin"
    trace.write_bytes(data)
    code.write_bytes(CALLING)
    return trace, f"{code}:{CODE:#x}"


def test_what_functions_cost(run_json: Callable[..., Any], calling: tuple[Path, str]) -> None:
    trace, option = calling
    document = run_json("functions", trace, "--map", option)
    rows = {row["address"]: row for row in document["functions"]}
    total = document["instructions"]
    called, outside = rows[CODE + 8], rows[0]
    assert called["calls"] == 2
    assert outside["inclusive"] == total
    assert outside["own"] + called["own"] == total
    assert called["own"] == called["inclusive"]
    assert outside["own_time"] is None


def test_the_order_of_functions(run: Run, calling: tuple[Path, str]) -> None:
    trace, option = calling
    own = run("functions", trace, "--map", option).stdout.splitlines()
    inclusive = run("functions", trace, "--map", option, "--sort", "inclusive").stdout.splitlines()
    assert own[0].split()[-1] == "function"
    assert own[1].endswith("  code.bin+0x8")
    assert inclusive[1].endswith("(outside any call)")
    shown = run("functions", trace, "--map", option, "--functions", "1").stdout.splitlines()
    assert shown == [*own[:2], "and 1 more"]


def test_run_says_the_same_of_each_function(run: Run, tmp_path: Path) -> None:
    """Stubs and thunks belong to what they lead to, in both."""
    if qemu.unavailable() is not None:
        pytest.skip("needs qemu-user")
    path = tmp_path / "ls.data"
    page = json.loads(run("run", "--json", "-o", path, "--", "true").stdout)
    costs = json.loads(run("functions", path, "--json", "--functions", "100000").stdout)

    def rows(found: list[Any], own: str) -> set[tuple[Any, ...]]:
        return {(row["module"], row["name"], row["offset"], row[own], row["calls"]) for row in found}

    shown = rows(page["functions"], "instructions")
    assert len(shown) > 50
    assert shown == {row for row in rows(costs["functions"], "own") if row[3] or row[4]}


@pytest.mark.parametrize("recorder", ["qemu", "ptrace"])
def test_recorders_without_a_processor_clock_give_no_times(
    run: Run, run_json: Callable[..., Any], recorder: str
) -> None:
    (path,) = CORPUS.glob(f"static.{recorder}.data")
    document = run_json("functions", path)
    assert {row["own_time"] for row in document["functions"]} == {None}
    assert {row["inclusive_time"] for row in document["functions"]} == {None}
    assert "ms" not in run("functions", path).stdout.split("\n")[0]
    entry = odograph.open(path, index=False).history()[0].ip
    (hit,) = run_json("break", path, hex(entry), "--limit", "1")["hits"]
    assert hit["time"] is None
    threads = run_json("info", path)["threads"]
    assert {thread[what] for thread in threads for what in ("start", "end")} == {None}
    for arguments in (
        ["functions", path, "--sort", "own-time"],
        ["functions", path, "--sort", "inclusive-time"],
        ["stack", path, "--time", "1"],
    ):
        refused = run(*arguments)
        assert refused.returncode != 0
        assert "no processor clock" in refused.stderr


def test_coverage_counts_what_was_executed(run_json: Callable[..., Any], calling: tuple[Path, str]) -> None:
    trace, option = calling
    (process,) = run_json("coverage", trace, "--map", option)["processes"]
    assert process["instructions"] == 5
    assert sum(row["blocks"] for row in process["functions"]) == process["blocks"]
    assert sum(row["edges"] for row in process["functions"]) == process["edges"]
    assert {row["address"] for row in process["functions"]} == {CODE, CODE + 8}


def test_coverage_as_text(run: Run, calling: tuple[Path, str]) -> None:
    trace, option = calling
    result = run("coverage", trace, "--map", option)
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert "5 instructions" in lines[0]
    assert lines[2].split() == ["blocks", "edges", "instructions", "function"]
