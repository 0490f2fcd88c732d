"""A loop and its trace, made by hand."""

from __future__ import annotations

from support.recordings import PSB

#: loop: dec ecx; jnz loop; then mov eax, 60; syscall
LOOP = bytes.fromhex("ffc9 75fc b83c000000 0f05")
BASE = 0x401000


def loop_trace(rounds: int) -> bytes:
    """PT of LOOP: enabled at its start, one branch a round, the last not taken, disabled by the syscall."""
    start = BASE.to_bytes(8, "little")
    full_ip = 0xD1
    trace = PSB + bytes.fromhex("99 01") + bytes.fromhex("0223") + bytes([full_ip]) + start
    for _ in range(rounds - 1):
        trace += b"\x06"  # TNT, one branch taken
    return trace + b"\x04" + b"\x01"  # TNT, not taken; TIP.PGD without IP


def timed(trace: bytes, tsc: int) -> bytes:
    """The same with a TSC packet in its PSB+."""
    end = trace.index(b"\x02\x23")
    return trace[:end] + b"\x19" + tsc.to_bytes(7, "little") + trace[end:]
