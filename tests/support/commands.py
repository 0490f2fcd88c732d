"""What the tests of the command line share: a small program and its trace, and how commands are run."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from odograph import Packet, PacketEncoder

__all__ = ["CODE", "CODE_BYTES", "Run", "loop_trace"]

Run = Callable[..., subprocess.CompletedProcess[str]]
"""Runs ``odograph`` with some words, as a user does."""

CODE = 0x401000
#: loop: dec eax; jne loop; ret
CODE_BYTES = bytes.fromhex("ff c8 75 fc c3")


def loop_trace(turns: int = 3) -> bytes:
    """A trace of the code above: the loop taken some times, then a return to nowhere."""
    encoder = PacketEncoder()
    encoder.add(Packet("psb")).add(Packet("psbend"))
    encoder.add(Packet("mode.exec", csl=True, csd=False, iflag=False))
    encoder.add(Packet("tip.pge", compression=3, ip=CODE))
    for _ in range(turns - 1):
        encoder.add(Packet("tnt8", size=1, bits=1))
    encoder.add(Packet("tnt8", size=1, bits=0))
    encoder.add(Packet("tip.pgd", compression=0, ip=0))
    return bytes(encoder)
