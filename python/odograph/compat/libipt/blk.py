"""``pt_blk_*``: the block decoder with libipt's argument order and return values."""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_uint8, c_uint16, c_uint32, c_uint64
from typing import Any

from odograph._native import RawBlockDecoder
from odograph.compat.libipt.asid import pt_asid
from odograph.compat.libipt.config import pt_config
from odograph.compat.libipt.decoder import (
    allocated,
    config_of,
    freed,
    live,
    offset_of,
    returns_values,
    sync_offset_of,
)
from odograph.compat.libipt.errors import pte_nosync, returns_status
from odograph.compat.libipt.event import pt_event, sizeof_pt_event
from odograph.compat.libipt.flow import FlowDecoder
from odograph.compat.libipt.image import pt_image
from odograph.compat.libipt.insn import pt_max_insn_size
from odograph.compat.libipt.structure import BITS, Structure, copied
from odograph.errors import InvalidArgument


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


def pt_blk_alloc_decoder(config: pt_config | None) -> pt_block_decoder | None:
    """A new decoder with an image of its own; None if the configuration is None or names no trace."""
    return allocated(pt_block_decoder, config)


def pt_blk_free_decoder(decoder: pt_block_decoder | None) -> None:
    """Give the decoder up."""
    freed(decoder)


@returns_status
def pt_blk_sync_forward(decoder: pt_block_decoder | None) -> int:
    """Go to the next PSB; return the status. ``-pte_eos``: there is none; or the error inside its PSB+."""
    return live(decoder, pt_block_decoder).sync_forward()


@returns_status
def pt_blk_sync_backward(decoder: pt_block_decoder | None) -> int:
    """Go to the PSB before; return 0. ``-pte_eos``: there is none; or the error inside its PSB+."""
    return live(decoder, pt_block_decoder).sync_backward()


@returns_status
def pt_blk_sync_set(decoder: pt_block_decoder | None, offset: int) -> int:
    """Go to the PSB at an offset; return the status.

    ``-pte_nosync``: there is none; ``-pte_eos``: the offset lies beyond the end.
    """
    return live(decoder, pt_block_decoder).sync_set(offset)


@returns_status
def pt_blk_resync(decoder: pt_block_decoder | None) -> int:
    """After an error go on where the trace next says where that is; return the status.

    ``-pte_event_ignored``: a PTWRITE without place comes first; take it and call again. ``-pte_eos``: the
    trace ends first.
    """
    return live(decoder, pt_block_decoder).resync()


@returns_values(None)
def pt_blk_get_offset(decoder: pt_block_decoder | None) -> tuple[int, int | None]:
    """``(status, offset)`` of the next packet. ``-pte_nosync``: not synchronised."""
    return offset_of(live(decoder, pt_block_decoder))


@returns_values(None)
def pt_blk_get_sync_offset(decoder: pt_block_decoder | None) -> tuple[int, int | None]:
    """``(status, offset)`` of the last PSB. ``-pte_nosync``: not synchronised."""
    return sync_offset_of(live(decoder, pt_block_decoder))


def pt_blk_get_config(decoder: pt_block_decoder | None) -> pt_config | None:
    """The configuration of the decoder."""
    return config_of(decoder, pt_block_decoder)


def pt_blk_get_image(decoder: pt_block_decoder | None) -> pt_image | None:
    """The image that the decoder reads code from."""
    try:
        return live(decoder, pt_block_decoder).image
    except InvalidArgument:
        return None


@returns_status
def pt_blk_set_image(decoder: pt_block_decoder | None, image: pt_image | None) -> int:
    """Read code from another image; with None, from the decoder's own again."""
    return live(decoder, pt_block_decoder).set_image(image)


@returns_values(None, None, None)
def pt_blk_time(decoder: pt_block_decoder | None) -> tuple[int, int | None, int | None, int | None]:
    """``(status, time, lost_mtc, lost_cyc)`` of the last event that was used.

    ``-pte_no_time``: there has been no TSC; the time is relative to the start.
    """
    return live(decoder, pt_block_decoder).time()


@returns_values(None)
def pt_blk_core_bus_ratio(decoder: pt_block_decoder | None) -> tuple[int, int | None]:
    """``(status, cbr)``: the last core:bus ratio. ``-pte_no_cbr``: there has been none."""
    return live(decoder, pt_block_decoder).core_bus_ratio()


@returns_values(None)
def pt_blk_asid(decoder: pt_block_decoder | None, size: int = 24) -> tuple[int, pt_asid | None]:
    """``(status, asid)``: the present address space. ``size`` is that of the caller's ``pt_asid``."""
    return live(decoder, pt_block_decoder).asid(size)


@returns_values(None)
def pt_blk_next(decoder: pt_block_decoder | None, size: int = sizeof_pt_block) -> tuple[int, pt_block | None]:
    """``(status, block)``: the next block, which may be empty.

    ``size`` is that of the caller's ``pt_block``. On an error it holds the instructions before
    that. ``-pte_eos``: the end; ``-pte_nosync``: not synchronised.
    """
    status, raw = live(decoder, pt_block_decoder).next()
    return status, None if status == -pte_nosync else copied(_block(raw), size)


@returns_values(None)
def pt_blk_event(
    decoder: pt_block_decoder | None, size: int = sizeof_pt_event
) -> tuple[int, pt_event | None]:
    """``(status, event)``: the next event. ``size`` is that of the caller's ``pt_event``.

    ``-pte_bad_query``: no event belongs here; or the error that comes next.
    """
    return live(decoder, pt_block_decoder).event(size)
