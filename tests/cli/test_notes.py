"""Where code may have gone round in a loop that writes no packets, notes say so, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import odograph
from odograph import Image, InstructionDecoder, Packet, PacketEncoder, decode
from odograph.processor import ReplayProcessor, StopReason
from support.commands import CODE, Run

#: jz +0; jmp itself
ROUND = bytes.fromhex("74 00 eb fe")
#: jz +0; nop; nop; hlt
STRAIGHT = bytes.fromhex("74 00 90 90 f4")


def interrupted_at(ip: int, psbs: int = 0) -> bytes:
    """The branch, then code without packets up to an interrupt at ``ip``, with PSBs there before."""
    encoder = PacketEncoder()
    encoder.add(Packet("psb")).add(Packet("psbend"))
    encoder.add(Packet("mode.exec", csl=True, csd=False, iflag=False))
    encoder.add(Packet("tip.pge", compression=3, ip=CODE))
    encoder.add(Packet("tnt8", size=1, bits=0))
    for _ in range(psbs):
        encoder.add(Packet("psb")).add(Packet("fup", compression=3, ip=ip)).add(Packet("psbend"))
    encoder.add(Packet("fup", compression=3, ip=ip))
    encoder.add(Packet("tip.pgd", compression=0, ip=0))
    return bytes(encoder)


def image(code: bytes) -> Image:
    made = Image()
    made.add_bytes(code, CODE)
    return made


@pytest.fixture
def spin(tmp_path: Path) -> tuple[Path, Path]:
    """A trace of a jump to itself, and its code."""
    trace, code = tmp_path / "spin.pt", tmp_path / "spin.bin"
    trace.write_bytes(interrupted_at(CODE + 2))
    code.write_bytes(ROUND)
    return trace, code


def test_a_note_is_no_gap() -> None:
    history = decode(interrupted_at(CODE + 2), image(ROUND))
    [note] = history.gaps()
    assert (note.cause, note.is_note, note.code, note.bytes_lost) == ("ambiguous", True, None, 0)
    assert (note.step, note.ip, len(history)) == (1, CODE + 2, 1)
    assert "0 gaps" in repr(history)
    assert "ambiguous at 0x401002, step 1" in str(note)


def test_json_tells_notes_from_gaps(run_json: Callable[..., Any], spin: tuple[Path, Path]) -> None:
    trace, code = spin
    for command in ("steps", "info"):
        document = run_json(command, trace, "--map", f"{code}:{CODE:#x}")
        rows = document["gaps"] if command == "steps" else document["threads"][0]["gaps"]
        assert [(row["cause"], row["is_note"]) for row in rows] == [("ambiguous", True)]
        gaps = run_json(command, trace)
        rows = gaps["gaps"] if command == "steps" else gaps["threads"][0]["gaps"]
        assert {row["is_note"] for row in rows} == {False}


def test_code_that_does_not_lead_back_is_certain() -> None:
    assert decode(interrupted_at(CODE + 3), image(STRAIGHT)).gaps() == []
    # From the conditional jump a way leads back, but a packet tells when it is gone.
    back = bytes.fromhex("74 00 90 eb fd")
    assert decode(interrupted_at(CODE + 2), image(back)).gaps() != []
    assert decode(interrupted_at(CODE + 2), image(bytes.fromhex("74 00 90 74 fd"))).gaps() == []


def test_each_psb_in_a_loop_is_a_place_of_its_own() -> None:
    gaps = decode(interrupted_at(CODE + 2, psbs=2), image(ROUND)).gaps()
    assert [gap.cause for gap in gaps] == ["ambiguous"] * 3
    assert len({gap.offset for gap in gaps}) == 3


def test_notes_do_not_stop_decoding_that_stops_at_gaps() -> None:
    trace = interrupted_at(CODE + 2, psbs=2)
    assert decode(trace, image(ROUND), on_error="raise").hash() == decode(trace, image(ROUND)).hash()
    stream = odograph.LiveTrace(image(ROUND), on_error="raise")
    stream.feed(trace)
    assert len(stream.close()) == 1


def test_a_replay_does_not_stop_at_notes() -> None:
    history = decode(interrupted_at(CODE + 2), image(ROUND))
    assert ReplayProcessor(history).run().reason is StopReason.END


def test_layers_that_step_know_nothing_of_notes() -> None:
    decoder = InstructionDecoder(interrupted_at(CODE + 2), image(ROUND))
    decoder.sync_forward()
    assert [instruction.ip for instruction in decoder] == [CODE]


def test_info_and_steps_say_it_and_end_with_0(run: Run, spin: tuple[Path, Path]) -> None:
    trace, code = spin
    options = ["--map", f"{code}:{CODE:#x}", "--max-gaps", "0"]
    told = run("info", trace, *options)
    assert (told.returncode, told.stderr) == (0, "")
    assert "1 instruction, no gaps, 1 note" in told.stdout
    assert "1 note (ambiguous; step 1, trace offset " in told.stdout
    assert "may have gone round more often" in told.stdout
    told = run("steps", trace, *options)
    assert told.returncode == 0
    assert "[note: ambiguous at 0x401002, step 1" in told.stdout
    assert "[gap" not in told.stdout
