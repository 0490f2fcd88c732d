"""Damage at the start of a stream, or of a piece of one, is a gap with its cause, place and bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import odograph
from odograph.cli.group import odograph as command
from odograph.perfdata.writer import PerfDataWriter
from support.loop import BASE, LOOP, loop_trace
from support.recordings import PSB, patched_info

ONE = loop_trace(9)
#: The mode's packet in its PSB+ is no packet any more.
BROKEN = ONE.replace(b"\x99\x01", b"\xc9\x01")
#: It does not begin with a PSB.
HEADLESS = b"\x03" * 8 + ONE[8:]


def record(path: Path, *buffers: tuple[bytes, bool]) -> odograph.Recording:
    """Buffers of one thread, and whether trace was lost behind each."""
    page = path.with_name("page")
    page.write_bytes(LOOP.ljust(0x1000, b"\xcc"))
    with PerfDataWriter(path) as writer:
        writer.add_mmap2(7, 7, BASE, 0x1000, 0, str(page), build_id=None)
        for nth, (buffer, lost) in enumerate(buffers):
            file = path.with_name(f"buffer-{nth}")
            file.write_bytes(buffer.ljust(-(-len(buffer) // 8) * 8, b"\0"))
            writer.add_trace(7, 7, file, truncated=lost)
    return odograph.open(path)


def gaps(recording: odograph.Recording) -> list[tuple[str, int, int, int]]:
    return [(gap.cause, gap.step, gap.offset, gap.bytes_lost) for gap in recording.history().gaps()]


@pytest.mark.parametrize("damaged", [BROKEN, HEADLESS], ids=["PSB+", "PSB"])
def test_a_stream_that_begins_with_damage_has_a_gap_there(tmp_path: Path, damaged: bytes) -> None:
    recording = record(tmp_path / "perf.data", (damaged + ONE + ONE, False))
    assert len(recording.history()) == 2 * 20
    cause = "undecodable" if damaged is BROKEN else "lost"
    assert gaps(recording) == [(cause, 0, 0, len(damaged))]
    assert recording.skipped_bytes() == 0


@pytest.mark.parametrize("damaged", [BROKEN, HEADLESS], ids=["PSB+", "PSB"])
def test_so_has_a_piece_behind_lost_trace(tmp_path: Path, damaged: bytes) -> None:
    recording = record(tmp_path / "perf.data", (ONE, True), (damaged + ONE, False))
    assert len(recording.history()) == 2 * 20
    edge = -(-len(ONE) // 8) * 8
    lost = ("lost", 20, edge, 0 if damaged is BROKEN else len(damaged))
    broken = ("undecodable", 20, edge, len(damaged))
    assert gaps(recording) == ([lost, broken] if damaged is BROKEN else [lost])


def test_a_snapshot_or_a_raw_trace_may_begin_anywhere_and_info_says_what_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    record(path, (HEADLESS + ONE, False))
    path.write_bytes(patched_info(path.read_bytes(), 8, 1))
    raw = tmp_path / "raw"
    raw.write_bytes(HEADLESS + ONE)
    for recording in (odograph.open(path), odograph.open(raw)):
        assert (gaps(recording)[:1] == [], recording.skipped_bytes()) == (
            recording.kind == "perf.data",
            len(HEADLESS),
        )
    out = CliRunner().invoke(command, ["info", str(path), "--json"]).stdout
    assert json.loads(out)["skipped_bytes"] == len(HEADLESS)
    out = CliRunner().invoke(command, ["info", str(path)]).stdout
    assert f"{len(HEADLESS)} bytes skipped before the first PSB" in out


def test_a_trace_without_a_whole_psb_plus_is_one_gap_from_the_damage_on() -> None:
    history = odograph.decode(PSB + b"\xc9" + bytes(9))
    (gap,) = history.gaps()
    assert (gap.cause, gap.code, gap.offset, gap.bytes_lost) == (
        "undecodable",
        odograph.PtError.bad_opc,
        0,
        26,
    )
    (gap,) = odograph.decode(b"\x03" * 30).gaps()
    assert (gap.cause, gap.code, gap.bytes_lost) == ("lost", odograph.PtError.nosync, 30)
    with pytest.raises(odograph.OdographError):
        odograph.decode(PSB + b"\xc9" + ONE, on_error="raise")
