"""``pt_cpu``, ``pt_errata`` and ``pt_cpu_errata``: processors and what is wrong with them."""

from __future__ import annotations

import ctypes
from ctypes import c_uint8, c_uint16, c_uint32
from typing import Any

from odograph._native import cpu_errata
from odograph.compat.libipt.enums import pcv_intel
from odograph.compat.libipt.errors import pte_bad_cpu, pte_invalid
from odograph.compat.libipt.structure import BITS, Structure

ERRATA = ("bdm70", "bdm64", "skd007", "skd022", "skd010", "skl014", "apl12", "apl11", "skl168", "skz84")


class pt_cpu(Structure):
    """A processor by its vendor (``pcv_*``), family, model and stepping."""

    vendor: int
    family: int
    model: int
    stepping: int
    _fields_ = (("vendor", c_uint32), ("family", c_uint16), ("model", c_uint8), ("stepping", c_uint8))


class pt_errata(Structure):
    """Errata to work around, a bit each."""

    bdm70: int
    bdm64: int
    skd007: int
    skd022: int
    skd010: int
    skl014: int
    apl12: int
    apl11: int
    skl168: int
    skz84: int
    reserved: Any
    _fields_ = (*((name, BITS, 1) for name in ERRATA), ("reserved", c_uint32 * 15))


def pt_cpu_errata(errata: pt_errata | None, cpu: pt_cpu | None) -> int:
    """Set the errata of a processor and clear all others.

    ``-pte_invalid``: one of the two is None; ``-pte_bad_cpu``: the vendor is not Intel, or nothing is known
    about the processor, and then none is set.
    """
    if errata is None or cpu is None:
        return -pte_invalid
    ctypes.memset(ctypes.byref(errata), 0, ctypes.sizeof(errata))
    names = cpu_errata(cpu.family, cpu.model, cpu.stepping) if cpu.vendor == pcv_intel else None
    if names is None:
        return -pte_bad_cpu
    for name in names:
        setattr(errata, name, 1)
    return 0
