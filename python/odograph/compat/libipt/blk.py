"""``pt_blk_*``: the block decoder with libipt's argument order and return values."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_uint8, c_uint16, c_uint32, c_uint64
from typing import Any

from odograph._native import RawBlockDecoder
from odograph.compat.libipt.decoder import live, returns_values
from odograph.compat.libipt.errors import pte_nosync
from odograph.compat.libipt.flow import FlowDecoder
from odograph.compat.libipt.functions import FlowFunctions
from odograph.compat.libipt.insn import pt_max_insn_size
from odograph.compat.libipt.structure import BITS, Structure, copied


class pt_block(Structure):
    """Instructions executed one after the other.

    ``iclass`` is the class of the last one, at ``end_ip``; ``size`` bytes of ``raw`` are its code if it is
    ``truncated``, that is, goes on in another section.
    """

    ip: int
    end_ip: int
    isid: int
    mode: int
    iclass: int
    ninsn: int
    raw: Any
    size: int
    speculative: int
    truncated: int
    _fields_ = (
        ("ip", c_uint64),
        ("end_ip", c_uint64),
        ("isid", c_int32),
        ("mode", c_uint32),
        ("iclass", c_uint32),
        ("ninsn", c_uint16),
        ("raw", c_uint8 * pt_max_insn_size),
        ("size", c_uint8),
        ("speculative", BITS, 1),
        ("truncated", BITS, 1),
    )


sizeof_pt_block = ctypes.sizeof(pt_block)


def _block(fields: tuple[int, int, int, int, int, int, bytes, bool, bool]) -> pt_block:
    ip, end_ip, isid, mode, iclass, ninsn, raw, speculative, truncated = fields
    return pt_block(ip, end_ip, isid, mode, iclass, ninsn, tuple(raw), len(raw), speculative, truncated)


class pt_block_decoder(FlowDecoder):
    """A block decoder."""

    __slots__ = ()
    layer = "block"
    native = RawBlockDecoder


_functions = FlowFunctions(pt_block_decoder, "pt_blk_")
pt_blk_alloc_decoder = _functions.named(_functions.alloc_decoder)
pt_blk_free_decoder = _functions.named(_functions.free_decoder)
pt_blk_sync_forward = _functions.named(_functions.sync_forward)
pt_blk_sync_backward = _functions.named(_functions.sync_backward)
pt_blk_sync_set = _functions.named(_functions.sync_set)
pt_blk_resync = _functions.named(_functions.resync)
pt_blk_get_offset = _functions.named(_functions.get_offset)
pt_blk_get_sync_offset = _functions.named(_functions.get_sync_offset)
pt_blk_get_config = _functions.named(_functions.get_config)
pt_blk_get_image = _functions.named(_functions.get_image)
pt_blk_set_image = _functions.named(_functions.set_image)
pt_blk_time = _functions.named(_functions.time)
pt_blk_core_bus_ratio = _functions.named(_functions.core_bus_ratio)
pt_blk_asid = _functions.named(_functions.asid)
pt_blk_event = _functions.named(_functions.event)


@returns_values(None)
def pt_blk_next(decoder: pt_block_decoder | None, size: int = sizeof_pt_block) -> tuple[int, pt_block | None]:
    """``(status, block)``: the next block, which may be empty.

    ``size`` is that of the caller's ``pt_block``. On an error it holds the instructions before
    that. ``-pte_eos``: the end; ``-pte_nosync``: not synchronised.
    """
    status, raw = live(decoder, pt_block_decoder).next()
    return status, None if status == -pte_nosync else copied(_block(raw), size)
