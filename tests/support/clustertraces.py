"""Recordings with many synchronisation points, made by hand, for those who decode them in parts."""

from __future__ import annotations

import random
from pathlib import Path

from odograph.perfdata.writer import PerfDataWriter

PSB = bytes.fromhex("0282") * 8
PSBEND = b"\x02\x23"
MODE_64 = b"\x99\x01"

BASE = 0x401000
LOOP, FUNCTION = BASE + 0x20, BASE + 0x40

#: start: call loop; jmp rax. loop: call function; dec ecx; jnz loop; ret. function: je +1; nop; ret.
CODE = (
    bytes.fromhex("e81b000000 ffe0").ljust(0x20, b"\xcc")
    + bytes.fromhex("e81b000000 ffc9 75f7 c3").ljust(0x20, b"\xcc")
    + bytes.fromhex("7401 90 c3")
)


def full_ip(kind: int, ip: int) -> bytes:
    """A packet with all bytes of an IP: TIP 0x0d, TIP.PGE 0x11, TIP.PGD 0x01, FUP 0x1d."""
    return bytes([kind | 0xC0]) + ip.to_bytes(8, "little")


def run_trace(rounds: int, seed: int, *, tsc: int | None = None, every: int = 7) -> bytes:
    """PT of a run of CODE with so many rounds; about every ``every`` rounds a PSB, where a call is open."""
    dice = random.Random(seed)

    def status(ip: int | None, ticks: int | None) -> bytes:
        time = b"" if ticks is None else b"\x19" + ticks.to_bytes(7, "little")
        where = b"" if ip is None else full_ip(0x1D, ip)
        return PSB + time + where + MODE_64 + PSBEND

    trace = bytearray(status(None, tsc) + full_ip(0x11, BASE))
    for nth in range(rounds):
        if nth and dice.randrange(every) == 0:
            trace += status(LOOP, None if tsc is None else tsc + nth)
        # Taken or not in the function, its return, the end of the loop.
        bits = dice.randrange(2) << 2 | 1 << 1 | (nth < rounds - 1)
        trace.append(1 << 4 | bits << 1)
    # The outer return is not compressed behind a PSB: it is told either way.
    return bytes(trace + full_ip(0x0D, BASE + 5) + full_ip(0x01, BASE + 0x1000))


def recording(path: Path, *runs: int, seed: int = 0) -> Path:
    """A recording of one thread, 7, with runs of so many rounds."""
    with PerfDataWriter(path) as writer:
        writer.add_comm(7, 7, "runs", exec=True)
        writer.add_code(7, 0, BASE, CODE)
        for nth, rounds in enumerate(runs):
            writer.add_trace(7, 7, run_trace(rounds, seed + nth))
    return path


def turns(path: Path, *rounds: int) -> Path:
    """A recording of one processor on which threads 7 and 9, two processes, take turns, each turn a run."""
    with PerfDataWriter(path, timed=True, per_cpu=True) as writer:
        tids = [(7, 9)[nth % 2] for nth in range(len(rounds))]
        trace, before = b"", 0
        for nth, (tid, number) in enumerate(zip(tids, rounds, strict=True)):
            tsc = 10_000 * (nth + 1)
            writer.add_switch(0, tid, tid, tsc=tsc, previous=(before, before))
            trace += run_trace(number, nth, tsc=tsc + 100)
            before = tid
        writer.add_trace(-1, -1, trace, cpu=0, tsc=10_000 * (len(rounds) + 1))
        for tid in (7, 9):
            writer.add_code(tid, 0, BASE, CODE)
    return path
