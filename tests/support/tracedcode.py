"""Packets and instructions for traces of a few instructions."""

from __future__ import annotations

from typing import Any

Packet = str | tuple[str, dict[str, Any]] | bytes

ORG = 0x1000

NOP, HLT, RET, SYSCALL = b"\x90", b"\xf4", b"\xc3", b"\x0f\x05"
CALL_RAX, JMP_RAX = b"\xff\xd0", b"\xff\xe0"
PTWRITE = b"\xf3\x0f\xae\xe0"


def jz(displacement: int) -> bytes:
    return b"\x74" + displacement.to_bytes(1, "little", signed=True)


def jmp(displacement: int) -> bytes:
    return b"\xeb" + displacement.to_bytes(1, "little", signed=True)


def call(displacement: int) -> bytes:
    return b"\xe8" + displacement.to_bytes(4, "little", signed=True)


def _ip(kind: str, ip: int | None) -> Packet:
    return kind, {"compression": 0 if ip is None else 6, "ip": ip or 0}


def fup(ip: int) -> Packet:
    return _ip("fup", ip)


def tip(ip: int | None) -> Packet:
    return _ip("tip", ip)


def pge(ip: int) -> Packet:
    return _ip("tip.pge", ip)


def pgd(ip: int | None = None) -> Packet:
    return _ip("tip.pgd", ip)


def tnt(bits: str) -> Packet:
    """``!`` taken, ``.`` not taken."""
    return "tnt8", {"size": len(bits), "bits": int(bits.replace("!", "1").replace(".", "0"), 2)}


def tsc(ticks: int) -> Packet:
    return "tsc", {"tsc": ticks}


def tsx(*, intx: bool, abrt: bool = False) -> Packet:
    return "mode.tsx", {"intx": intx, "abrt": abrt}


def mode(bits: int = 64) -> Packet:
    return "mode.exec", {"csl": bits == 64, "csd": bits == 32, "iflag": False}


def start(ip: int | None = ORG, *more: Packet, bits: int = 64) -> list[Packet]:
    """A PSB+ of 28 bytes, and those of ``more``, that begins at ``ip``; at None tracing is off."""
    return ["psb", *([] if ip is None else [fup(ip)]), mode(bits), *more, "psbend"]


def lines(*addresses: int) -> str:
    """The lines of instructions without anything else."""
    return "".join(f"{address:016x}\n" for address in addresses)
