"""``pt_event``: one event as libipt has it."""

from __future__ import annotations

import ctypes
from ctypes import c_uint8, c_uint16, c_uint32, c_uint64
from typing import TYPE_CHECKING, Any

from odograph.compat.libipt.enums import pt_event_type
from odograph.compat.libipt.structure import BITS, Structure, structure, union

if TYPE_CHECKING:
    from odograph._native import _RawEventFields


def _with_ip(name: str, **fields: Any) -> tuple[str, Any]:
    return name, structure(f"pt_event_{name}", **fields, ip=c_uint64)


_async_branch = structure("pt_event_async_branch", **{"from": c_uint64, "to": c_uint64})
_async_branch.from_ = property(lambda self: getattr(self, "from"), doc="The field ``from``.")

_pt_event_variant = union(
    "pt_event_variant",
    enabled=structure("pt_event_enabled", ip=c_uint64, resumed=1),
    disabled=structure("pt_event_disabled", ip=c_uint64),
    async_disabled=structure("pt_event_async_disabled", at=c_uint64, ip=c_uint64),
    async_branch=_async_branch,
    paging=structure("pt_event_paging", cr3=c_uint64, non_root=1),
    async_paging=structure("pt_event_async_paging", cr3=c_uint64, non_root=1, ip=c_uint64),
    overflow=structure("pt_event_overflow", ip=c_uint64),
    exec_mode=structure("pt_event_exec_mode", mode=c_uint32, ip=c_uint64),
    tsx=structure("pt_event_tsx", ip=c_uint64, speculative=1, aborted=1),
    vmcs=structure("pt_event_vmcs", base=c_uint64),
    async_vmcs=structure("pt_event_async_vmcs", base=c_uint64, ip=c_uint64),
    exstop=structure("pt_event_exstop", ip=c_uint64),
    mwait=structure("pt_event_mwait", ip=c_uint64, hints=c_uint32, ext=c_uint32),
    pwre=structure("pt_event_pwre", state=c_uint8, sub_state=c_uint8, hw=1),
    pwrx=structure("pt_event_pwrx", last=c_uint8, deepest=c_uint8, interrupt=1, store=1, autonomous=1),
    ptwrite=structure("pt_event_ptwrite", ip=c_uint64, size=c_uint8, payload=c_uint64),
    tick=structure("pt_event_tick", ip=c_uint64),
    cbr=structure("pt_event_cbr", ratio=c_uint16),
    mnt=structure("pt_event_mnt", payload=c_uint64),
    tip=structure("pt_event_tip", ip=c_uint64),
    tnt=structure("pt_event_tnt", bits=c_uint64, size=c_uint8),
    iflags=structure("pt_event_iflags", iflag=1, ip=c_uint64),
    interrupt=structure("pt_event_interrupt", has_cr2=1, vector=c_uint8, cr2=c_uint64, ip=c_uint64),
    sipi=structure("pt_event_sipi", vector=c_uint8),
    vmexit=structure(
        "pt_event_vmexit",
        has_vector=1,
        has_vmxr=1,
        has_vmxq=1,
        vector=c_uint8,
        vmxr=c_uint64,
        vmxq=c_uint64,
        ip=c_uint64,
    ),
    uintr=structure("pt_event_uintr", vector=c_uint8, ip=c_uint64),
    trig=structure("pt_event_trig", trbv=c_uint8, icnt=c_uint16, ip=c_uint64, mult=1),
    swintr=structure("pt_event_swintr", vector=c_uint8, ip=c_uint64),
    **dict(
        _with_ip(name) for name in ("iret", "smi", "rsm", "init", "vmentry", "shutdown", "uiret", "syscall")
    ),
)


class pt_event(Structure):
    """One event. ``type`` decides which field of ``variant`` holds.

    ``variant.async_branch.from`` can be written ``from_`` in Python.
    """

    type: int
    ip_suppressed: int
    status_update: int
    has_tsc: int
    tsc: int
    lost_mtc: int
    lost_cyc: int
    reserved: Any
    variant: Any
    _fields_ = (
        ("type", c_uint32),
        ("ip_suppressed", BITS, 1),
        ("status_update", BITS, 1),
        ("has_tsc", BITS, 1),
        ("tsc", c_uint64),
        ("lost_mtc", c_uint32),
        ("lost_cyc", c_uint32),
        ("reserved", c_uint64 * 2),
        ("variant", _pt_event_variant),
    )

    def __repr__(self) -> str:
        try:
            kind = pt_event_type(self.type).name
        except ValueError:
            return f"pt_event(type={self.type})"
        flags = [name for name in ("ip_suppressed", "status_update", "has_tsc") if getattr(self, name)]
        name = kind.removeprefix("ptev_")
        variant = "" if name == "stop" else f", variant.{name}={getattr(self.variant, name)!r}"
        return f"pt_event({', '.join([kind, *flags])}, tsc={self.tsc:#x}{variant})"


sizeof_pt_event = ctypes.sizeof(pt_event)
HEADER = pt_event.variant.offset
"""Size of what all events have in common."""


def event_of(raw: _RawEventFields) -> pt_event:
    """libipt's event for one of the native module."""
    kind, fields, ip_suppressed, status_update, has_tsc, tsc, lost_mtc, lost_cyc, _ = raw
    event = pt_event(
        type=pt_event_type[f"ptev_{kind}"],
        ip_suppressed=ip_suppressed,
        status_update=status_update,
        has_tsc=has_tsc,
        tsc=tsc,
        lost_mtc=lost_mtc,
        lost_cyc=lost_cyc,
    )
    if kind != "stop":
        variant = getattr(event.variant, kind)
        optional = [name.removeprefix("has_") for name, *_ in variant._fields_ if name.startswith("has_")]
        for name, value in fields.items():
            if value is not None:
                setattr(variant, "from" if name == "from_" else name, value)
                if name in optional:
                    setattr(variant, f"has_{name}", 1)
    return event
