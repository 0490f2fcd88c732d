"""Traces of a few instructions in short words: code, packets and listing.

Code lies at ``ORG``; all numbers are hexadecimal, and addresses count from there. ``nop jz:5 ret`` are
instructions, those with a target as ``NAME:TARGET``. ``+0 tnt:!. pgd`` are packets: ``+0`` is a PSB+ that
begins there, ``+-`` one where tracing is off; an address may be preceded by the IP compression
(``fup:1/3``), ``-`` is a suppressed one. In a listing ``0 1 ?3`` are instructions, the last one
speculative, and ``[event, ip: @3]`` is a line with an address; ``#a00`` is a number of 16 digits, and
``{nomap}`` is what libipt says for that error.

A case is a paragraph: a name, options of ptxed beside ``--event:ip``, a colon and the code; the packets;
and from a ``=`` on the listing, which is that of both decoders.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from odograph import PtError
from support.toolrun import List, by_both
from support.tracedcode import ORG, Packet

PLAIN = {
    "nop": "90",
    "hlt": "f4",
    "ret": "c3",
    "jmp*": "ffe0",
    "call*": "ffd0",
    "jmpfar*": "ff28",
    "callfar*": "ff18",
    "retfar": "cb",
    "iret": "48cf",
    "syscall": "0f05",
    "sysret": "480f07",
    "sysenter": "0f34",
    "sysexit": "480f35",
    "int": "cd80",
    "int3": "cc",
    "movcr3": "0f22d8",
    "vmptrld": "0fc730",
    "vmcall": "0f01c1",
    "vmlaunch": "0f01c2",
    "vmresume": "0f01c3",
    "erets": "f20f01ca",
    "eretu": "f30f01ca",
    "uiret": "f30f01ec",
    "ptwrite": "f30faee0",
    "mwait": "0f01c9",
    "jmpabs": "d500a1efbeadde00000000",
    "xend": "0f01d5",
}
DIRECT = {"jz": ("74", 1), "jmp": ("eb", 1), "call": ("e8", 4), "jmpnear": ("e9", 4), "xbegin": ("c7f8", 4)}


def assemble(text: str) -> bytes:
    """The bytes of such code."""
    code = b""
    for word in text.split():
        name, _, target = word.partition(":")
        if name in DIRECT:
            opcode, size = DIRECT[name]
            code += bytes.fromhex(opcode)
            code += (int(target, 16) - len(code) - size).to_bytes(size, "little", signed=True)
        else:
            code += bytes.fromhex(PLAIN[name])
    return code


ADDRESSED = {"fup": "fup", "tip": "tip", "pge": "tip.pge", "pgd": "tip.pgd"}
#: Fields of packets in the order of their numbers; a suffix ``.NAME`` sets a field that is a flag.
FIELDS: dict[str, tuple[str, ...]] = {
    "cbr": ("ratio",),
    "tsc": ("tsc",),
    "mtc": ("ctc",),
    "cyc": ("value",),
    "tma": ("ctc", "fc"),
    "mnt": ("payload",),
    "mwait": ("hints", "ext"),
    "pwre": ("state", "sub_state"),
    "pwrx": ("last", "deepest"),
    "ptw": ("payload",),
    "cfe": ("type", "vector"),
    "evd": ("type", "payload"),
    "trig": ("trbv", "icnt"),
    "exstop": (),
    "pip": ("cr3",),
    "vmcs": ("base",),
}
FLAGS = {
    "pwre": ("hw",),
    "pwrx": ("interrupt", "store", "autonomous"),
    "ptw": ("ip",),
    "cfe": ("ip",),
    "trig": ("ip", "mult"),
    "exstop": ("ip",),
    "pip": ("nr",),
}


def _one(word: str) -> Iterable[Packet]:
    if word.startswith("+"):
        fup = () if word == "+-" else _one("fup:" + word[1:])
        return ["psb", *fup, *_one("mode:64"), "psbend"]
    if word.startswith("raw:"):
        return [bytes.fromhex(word[4:])]
    name, _, rest = word.partition(":")
    name, *flags = name.split(".")
    if name in ADDRESSED:
        compression, _, address = rest.rpartition("/")
        if address in ("", "-"):
            return [(ADDRESSED[name], {"compression": 0, "ip": 0})]
        ip = ORG + int(address, 16)
        kind = int(compression or "6")
        mask = {1: 0xFFFF, 2: 0xFFFFFFFF, 3: 0xFFFFFFFFFFFF, 4: 0xFFFFFFFFFFFF, 6: 2**64 - 1}[kind]
        return [(ADDRESSED[name], {"compression": kind, "ip": ip & mask})]
    if name == "tnt":
        bits = int(rest.replace("!", "1").replace(".", "0"), 2)
        return [("tnt8" if len(rest) < 7 else "tnt64", {"size": len(rest), "bits": bits})]
    if name == "mode":
        fields = {"csl": rest == "64", "csd": rest == "32", "iflag": "if" in flags}
        return [("mode.exec", fields)]
    if name == "tsx":
        return [("mode.tsx", {"intx": "begin" in flags, "abrt": "abort" in flags})]
    if name in FIELDS:
        numbers = [int(number, 16) for number in rest.split(",") if number]
        values: dict[str, int | bool] = {flag: flag in flags for flag in FLAGS.get(name, ())}
        values.update(zip(FIELDS[name], numbers, strict=False))
        values.update({field: 0 for field in FIELDS[name] if field not in values})
        if name == "ptw":
            values["plc"] = 1
        if name == "trig":
            values["icntv"] = len(numbers) > 1
        return [(name, values)]
    return [{"pad": "pad", "psb": "psb", "psbend": "psbend", "ovf": "ovf", "stop": "stop"}[name]]


def packets(text: str) -> list[Packet]:
    """The packets of such a line."""
    return [packet for word in text.split() for packet in _one(word)]


def _filled(line: str) -> str:
    line = re.sub(r"@([0-9a-f]+)", lambda found: f"{ORG + int(found[1], 16):016x}", line)
    line = re.sub(r"#([0-9a-f]+)", lambda found: f"{int(found[1], 16):016x}", line)
    return re.sub(r"\{(\w+)\}", lambda found: PtError[found[1]].message, line)


def listing(text: str) -> str:
    """The output that such a line stands for."""
    lines = []
    for word in re.findall(r"\[[^]]*\]|\S+", text):
        if word.startswith("["):
            lines.append(_filled(word))
        else:
            lines.append("? " * word.startswith("?") + f"{ORG + int(word.lstrip('?'), 16):016x}")
    return "".join(line + "\n" for line in lines)


class Case(NamedTuple):
    """One trace and what is listed for it."""

    name: str
    options: list[str]
    code: bytes
    packets: list[Packet]
    listing: str

    def check(self, listed: List) -> None:
        """Both decoders list what they should."""
        out = by_both(listed, self.code, self.packets, "--check", "--event:ip", *self.options)
        assert out == self.listing


def cases(text: str) -> list[Case]:
    """The cases of a text."""
    found = []
    for paragraph in text.strip().split("\n\n"):
        titles, rest = re.split(r":\s+", paragraph, maxsplit=1)
        code, _, rest = rest.partition("\n")
        given, _, expected = rest.partition("=")
        name, *options = titles.split()
        found.append(
            Case(name, options, assemble(code), packets(given), listing(" ".join(expected.splitlines())))
        )
    return found
