"""``pt_packet``: one packet as libipt has it."""

from __future__ import annotations

import ctypes
from ctypes import c_uint8, c_uint16, c_uint32, c_uint64, c_void_p
from typing import Any

from odograph.compat.libipt.enums import (
    ppt_cbr,
    ppt_cfe,
    ppt_cyc,
    ppt_evd,
    ppt_exstop,
    ppt_fup,
    ppt_mnt,
    ppt_mode,
    ppt_mtc,
    ppt_mwait,
    ppt_pip,
    ppt_ptw,
    ppt_pwre,
    ppt_pwrx,
    ppt_tip,
    ppt_tip_pgd,
    ppt_tip_pge,
    ppt_tma,
    ppt_tnt_8,
    ppt_tnt_64,
    ppt_trig,
    ppt_tsc,
    ppt_unknown,
    ppt_vmcs,
    pt_mol_exec,
    pt_mol_tsx,
    pt_packet_type,
)
from odograph.compat.libipt.errors import pte_bad_packet
from odograph.compat.libipt.structure import Structure, Union, structure, union

pt_packet_tnt = structure("pt_packet_tnt", bit_size=c_uint8, payload=c_uint64)
pt_packet_ip = structure("pt_packet_ip", ipc=c_uint32, ip=c_uint64)
pt_packet_mode_exec = structure("pt_packet_mode_exec", csl=1, csd=1, iflag=1)
pt_packet_mode_tsx = structure("pt_packet_mode_tsx", intx=1, abrt=1)
pt_packet_mode = structure(
    "pt_packet_mode",
    leaf=c_uint32,
    bits=union("pt_packet_mode_bits", exec=pt_packet_mode_exec, tsx=pt_packet_mode_tsx),
)
pt_packet_pip = structure("pt_packet_pip", cr3=c_uint64, nr=1)
pt_packet_tsc = structure("pt_packet_tsc", tsc=c_uint64)
pt_packet_cbr = structure("pt_packet_cbr", ratio=c_uint8)
pt_packet_tma = structure("pt_packet_tma", ctc=c_uint16, fc=c_uint16)
pt_packet_mtc = structure("pt_packet_mtc", ctc=c_uint8)
pt_packet_cyc = structure("pt_packet_cyc", value=c_uint64)
pt_packet_vmcs = structure("pt_packet_vmcs", base=c_uint64)
pt_packet_mnt = structure("pt_packet_mnt", payload=c_uint64)
pt_packet_exstop = structure("pt_packet_exstop", ip=1)
pt_packet_mwait = structure("pt_packet_mwait", hints=c_uint32, ext=c_uint32)
pt_packet_pwre = structure("pt_packet_pwre", state=c_uint8, sub_state=c_uint8, hw=1)
pt_packet_pwrx = structure(
    "pt_packet_pwrx", last=c_uint8, deepest=c_uint8, interrupt=1, store=1, autonomous=1
)
pt_packet_ptw = structure("pt_packet_ptw", payload=c_uint64, plc=c_uint8, ip=1)
pt_packet_cfe = structure("pt_packet_cfe", type=c_uint32, vector=c_uint8, ip=1)
pt_packet_evd = structure("pt_packet_evd", type=c_uint32, payload=c_uint64)
pt_packet_trig = structure("pt_packet_trig", trbv=c_uint8, icnt=c_uint16, ip=1, icntv=1, mult=1)


class pt_packet_unknown:
    """A packet that only the callback of the configuration knows.

    ``packet``: the trace from the packet on, as a memoryview; ``priv``: what the callback puts there.
    """

    __slots__ = ("packet", "priv")

    def __init__(self, packet: memoryview | None = None, priv: Any = None) -> None:
        self.packet = packet
        self.priv = priv


class _pt_packet_payload(Union):
    _fields_ = (
        ("tnt", pt_packet_tnt),
        ("ip", pt_packet_ip),
        ("mode", pt_packet_mode),
        ("pip", pt_packet_pip),
        ("tsc", pt_packet_tsc),
        ("cbr", pt_packet_cbr),
        ("tma", pt_packet_tma),
        ("mtc", pt_packet_mtc),
        ("cyc", pt_packet_cyc),
        ("vmcs", pt_packet_vmcs),
        ("mnt", pt_packet_mnt),
        ("exstop", pt_packet_exstop),
        ("mwait", pt_packet_mwait),
        ("pwre", pt_packet_pwre),
        ("pwrx", pt_packet_pwrx),
        ("ptw", pt_packet_ptw),
        ("cfe", pt_packet_cfe),
        ("evd", pt_packet_evd),
        ("trig", pt_packet_trig),
        ("_pointers", c_void_p * 2),
    )

    @property
    def unknown(self) -> pt_packet_unknown:
        """Python objects have no place in C memory: they hang on the packet."""
        packet: pt_packet = self._b_base_  # type: ignore[assignment]
        return packet._unknown


class pt_packet(Structure):
    """One packet. ``type`` decides which field of ``payload`` holds."""

    type: int
    size: int
    payload: Any
    _fields_ = (("type", c_uint32), ("size", c_uint8), ("payload", _pt_packet_payload))

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self._unknown = pt_packet_unknown()

    def __repr__(self) -> str:
        try:
            kind = pt_packet_type(self.type).name
        except ValueError:
            return f"pt_packet(type={self.type}, size={self.size})"
        field = FIELDS.get(self.type)
        payload = "" if field is None else f", payload.{field}={getattr(self.payload, field)!r}"
        return f"pt_packet(type={kind}, size={self.size}{payload})"


FIELDS: dict[int, str] = {
    ppt_tnt_8: "tnt",
    ppt_tnt_64: "tnt",
    ppt_fup: "ip",
    ppt_tip: "ip",
    ppt_tip_pge: "ip",
    ppt_tip_pgd: "ip",
    ppt_mode: "mode",
    ppt_pip: "pip",
    ppt_tsc: "tsc",
    ppt_cbr: "cbr",
    ppt_tma: "tma",
    ppt_mtc: "mtc",
    ppt_cyc: "cyc",
    ppt_vmcs: "vmcs",
    ppt_mnt: "mnt",
    ppt_exstop: "exstop",
    ppt_mwait: "mwait",
    ppt_pwre: "pwre",
    ppt_pwrx: "pwrx",
    ppt_ptw: "ptw",
    ppt_cfe: "cfe",
    ppt_evd: "evd",
    ppt_trig: "trig",
    ppt_unknown: "unknown",
}
"""The field of the payload that a type of packet has."""

_KINDS = {
    "tip.pge": ppt_tip_pge,
    "tip.pgd": ppt_tip_pgd,
    "tnt8": ppt_tnt_8,
    "tnt64": ppt_tnt_64,
    "mode.exec": ppt_mode,
    "mode.tsx": ppt_mode,
}
_RENAMED = {"compression": "ipc", "size": "bit_size", "bits": "payload"}

_PTW_SIZES = {0: 4, 1: 8}


def pt_ptw_size(plc: int) -> int:
    """The size in bytes of the payload of a PTW packet. ``-pte_bad_packet``: there is no such code."""
    return _PTW_SIZES.get(plc, -pte_bad_packet)


sizeof_pt_packet = ctypes.sizeof(pt_packet)


def packet_of(kind: str, fields: dict[str, Any], size: int) -> pt_packet:
    """libipt's packet for one of the native module."""
    packet = pt_packet()
    packet.type = _KINDS[kind] if kind in _KINDS else pt_packet_type[f"ppt_{kind}"]
    packet.size = size
    if packet.type == ppt_mode:
        leaf = kind.removeprefix("mode.")
        packet.payload.mode.leaf = pt_mol_exec if leaf == "exec" else pt_mol_tsx
        payload = getattr(packet.payload.mode.bits, leaf)
    elif fields:
        payload = getattr(packet.payload, FIELDS[packet.type])
    for name, value in fields.items():
        setattr(payload, _RENAMED.get(name, name), value)
    return packet
