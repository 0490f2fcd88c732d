"""``pt_insn_*``: the instruction decoder with libipt's argument order and return values."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_uint8, c_uint32, c_uint64
from typing import Any

from odograph._native import RawInstructionDecoder
from odograph.compat.libipt.decoder import live, returns_values
from odograph.compat.libipt.errors import pte_internal, pte_nosync
from odograph.compat.libipt.flow import FlowDecoder
from odograph.compat.libipt.functions import FlowFunctions
from odograph.compat.libipt.structure import BITS, Structure, copied

pt_max_insn_size = 15


class pt_insn(Structure):
    """One executed instruction; ``size`` bytes of ``raw`` are its code."""

    ip: int
    isid: int
    mode: int
    iclass: int
    raw: Any
    size: int
    speculative: int
    truncated: int
    _fields_ = (
        ("ip", c_uint64),
        ("isid", c_int32),
        ("mode", c_uint32),
        ("iclass", c_uint32),
        ("raw", c_uint8 * pt_max_insn_size),
        ("size", c_uint8),
        ("speculative", BITS, 1),
        ("truncated", BITS, 1),
    )


sizeof_pt_insn = ctypes.sizeof(pt_insn)


def _insn(fields: tuple[int, int, int, int, bytes, bool, bool]) -> pt_insn:
    ip, isid, mode, iclass, raw, speculative, truncated = fields
    return pt_insn(ip, isid, mode, iclass, tuple(raw), len(raw), speculative, truncated)


class pt_insn_decoder(FlowDecoder):
    """An instruction decoder."""

    __slots__ = ()
    layer = "insn"
    native = RawInstructionDecoder
    resync_without = pte_internal


_functions = FlowFunctions(pt_insn_decoder, "pt_insn_")
pt_insn_alloc_decoder = _functions.named(_functions.alloc_decoder)
pt_insn_free_decoder = _functions.named(_functions.free_decoder)
pt_insn_sync_forward = _functions.named(_functions.sync_forward)
pt_insn_sync_backward = _functions.named(_functions.sync_backward)
pt_insn_sync_set = _functions.named(_functions.sync_set)
pt_insn_resync = _functions.named(_functions.resync)
pt_insn_get_offset = _functions.named(_functions.get_offset)
pt_insn_get_sync_offset = _functions.named(_functions.get_sync_offset)
pt_insn_get_config = _functions.named(_functions.get_config)
pt_insn_get_image = _functions.named(_functions.get_image)
pt_insn_set_image = _functions.named(_functions.set_image)
pt_insn_time = _functions.named(_functions.time)
pt_insn_core_bus_ratio = _functions.named(_functions.core_bus_ratio)
pt_insn_asid = _functions.named(_functions.asid)
pt_insn_event = _functions.named(_functions.event)


@returns_values(None)
def pt_insn_next(decoder: pt_insn_decoder | None, size: int = sizeof_pt_insn) -> tuple[int, pt_insn | None]:
    """``(status, insn)``: the next instruction.

    ``size`` is that of the caller's ``pt_insn``. On an error ``ip``, ``mode``, ``isid`` and
    ``speculative`` say where it is. ``-pte_event_ignored``: an event has to be taken first; ``-pte_eos``: the
    end; ``-pte_nosync``: not synchronised.
    """
    status, raw = live(decoder, pt_insn_decoder).next()
    return status, None if status == -pte_nosync else copied(_insn(raw), size)
