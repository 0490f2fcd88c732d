"""``pt_asid``: address-space identifiers as libipt has them, all ones for unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from odograph.code.image import Asid

pt_asid_no_cr3: Final = (1 << 64) - 1
pt_asid_no_vmcs: Final = (1 << 64) - 1

_SIZE: Final = 24  # size_t size; uint64_t cr3; uint64_t vmcs
_CR3_END: Final = 16
_VMCS_END: Final = 24


@dataclass(slots=True)
class pt_asid:
    """An address-space identifier. A field that ``size`` does not cover counts as unknown."""

    size: int = _SIZE
    cr3: int = pt_asid_no_cr3
    vmcs: int = pt_asid_no_vmcs


def pt_asid_init(asid: pt_asid) -> None:
    """Set the size, and both fields to unknown."""
    asid.size, asid.cr3, asid.vmcs = _SIZE, pt_asid_no_cr3, pt_asid_no_vmcs


def from_c(asid: pt_asid | None) -> Asid | None:
    """Our asid for one of libipt; None stays None, which matches all."""
    if asid is None:
        return None
    if not isinstance(asid, pt_asid):
        raise TypeError(f"asid must be a pt_asid or None, not {type(asid).__name__}")
    cr3 = asid.cr3 if asid.size >= _CR3_END and asid.cr3 != pt_asid_no_cr3 else None
    vmcs = asid.vmcs if asid.size >= _VMCS_END and asid.vmcs != pt_asid_no_vmcs else None
    return Asid(cr3, vmcs)


def to_c(asid: Asid) -> pt_asid:
    """libipt's asid for one of ours."""
    cr3 = pt_asid_no_cr3 if asid.cr3 is None else asid.cr3
    vmcs = pt_asid_no_vmcs if asid.vmcs is None else asid.vmcs
    return pt_asid(cr3=cr3, vmcs=vmcs)
