"""A PSB+ in the middle of code that cannot be followed: the error belongs to its PSBEND, for both decoders.

The PSBEND is the last packet that was used when memory was missed: what PSB+ says is known, and the decoder
was on its way to the place where it holds.
"""

from __future__ import annotations

import random
import re

import pytest

from odograph import Packet, PacketEncoder, PtError
from support.themes import assemble, packets
from support.toolrun import List, by_both

#: Packets of PSB+ that name a state, which holds at the address of its FUP.
PLACED = ["mode:64", "pip:a00", "tsx.begin", "vmcs:b000"]
#: Packets that hold wherever they stand.
ELSEWHERE = ["cbr:5", "mnt:7", "tsc:1000", "mtc:3", "cyc:9", "pad"]
CODE = {"nomap": "jmpnear:200 nop", "bad_query": "jz:2 nop nop hlt"}


def offset_of_psbend(words: list[str]) -> int:
    """Where the last PSBEND of some packets lies."""
    encoder, found = PacketEncoder(), 0
    for packet in packets(" ".join(words)):
        kind, fields = (packet, {}) if isinstance(packet, str) else packet
        if kind == "psbend":
            found = encoder.offset
        encoder.add(Packet(kind, **fields))
    return found


@pytest.mark.parametrize("error", CODE)
def test_the_error_belongs_to_the_psbend_for_any_psb_plus(listed: List, error: str) -> None:
    dice = random.Random(error)
    where = {"nomap": "1200", "bad_query": "1000"}[error]
    for _ in range(25):
        status = ["fup:210", *dice.sample(PLACED, dice.randint(1, len(PLACED)))]
        status += dice.sample(ELSEWHERE, dice.randint(0, 3))
        dice.shuffle(status)
        words = ["+0", *dice.sample(["mnt:3", "cbr:7"], dice.randint(0, 1)), "psb", *status, "psbend"]
        behind = dice.choice([["tnt:!."], ["fup:6", "pgd"], []])
        out = by_both(listed, assemble(CODE[error]), packets(" ".join([*words, *behind])))
        found = re.search(r"^\[([0-9a-f]+), ([0-9a-f]+): error: (.*)\]$", out, re.MULTILINE)
        assert found, words
        assert found.groups() == (f"{offset_of_psbend(words):x}", where, PtError[error].message), words
