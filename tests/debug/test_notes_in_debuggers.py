"""Notes say that the trace leaves something open. Debuggers do not count them as lost execution."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import odograph
from odograph import Packet, PacketEncoder
from odograph.debug import Target
from odograph.debug.derivedstack import DerivedStack
from odograph.debug.remote.monitor import command
from odograph.debug.remote.session import Session
from odograph.debug.remote.table import HANDLERS
from odograph.views.gaps import GapGroup, gap_lines

#: jz +0; loop: jmp loop
CODE, LOOP = 0x401000, bytes.fromhex("7400 ebfe")


def trace_with_a_note() -> bytes:
    """An interrupt in a loop of direct jumps: how often it went round is not known."""
    encoder = PacketEncoder()
    encoder.add(Packet("psb")).add(Packet("psbend"))
    encoder.add(Packet("mode.exec", csl=True, csd=False, iflag=False))
    encoder.add(Packet("tip.pge", compression=3, ip=CODE))
    encoder.add(Packet("tnt8", size=1, bits=0))
    encoder.add(Packet("fup", compression=3, ip=CODE + 2))
    encoder.add(Packet("tip.pgd", compression=0, ip=0))
    return bytes(encoder)


def image() -> odograph.Image:
    made = odograph.Image()
    made.add_bytes(LOOP, CODE)
    return made


def test_a_note_breaks_no_stack() -> None:
    history = odograph.decode(trace_with_a_note(), image())
    assert [gap.is_note for gap in history.gaps()] == [True]
    events = sorted(history.events()["step"].tolist())
    assert DerivedStack(history)._breaks.tolist() == events


def test_a_note_does_not_count_as_lost_execution(tmp_path: Path) -> None:
    (tmp_path / "trace").write_bytes(trace_with_a_note())
    target = Target(odograph.open(tmp_path / "trace", image=image()))
    said: list[str] = []
    session = Session(target, lambda data: said.append(bytes.fromhex(data[1:].decode()).decode()), HANDLERS)
    for name in ("gaps", "size"):
        command(session, name.encode().hex())
    assert said[0].startswith("nothing was lost\nwhere nothing is known to be lost:\nambiguous at 0x401002")
    assert said[1].endswith("no gaps\n")


def test_one_byte_is_no_bytes() -> None:
    gap = replace(odograph.decode(trace_with_a_note(), image()).gaps()[0], cause="lost")
    assert str(replace(gap, bytes_lost=1)).endswith("1 byte lost")
    assert str(replace(gap, bytes_lost=2)).endswith("2 bytes lost")


def test_more_reasons_than_are_shown_count_notes_apart() -> None:
    notes = [GapGroup("ambiguous", None, "why", "help", 2, 0, 0, 0, None, is_note=True)]
    gaps = [GapGroup("lost", None, "why", "help", 1, 1, 0, 0, None)]
    assert gap_lines(notes * 9)[-1] == "and 2 notes for 1 other reason"
    assert gap_lines(notes * 9 + gaps)[-1] == "and 1 gap and 2 notes for 2 other reasons"
    assert gap_lines(notes * 8 + gaps)[-1] == "and 1 gap for 1 other reason"
    assert "1 byte of trace unused" in gap_lines(gaps)[0]
