"""``pt_pkt_*``: the packet decoder with libipt's argument order and return values."""

from __future__ import annotations

from typing import Any

from odograph._native import RawPacketDecoder
from odograph.compat.libipt.decoder import Decoder, live, returns_values, uint64
from odograph.compat.libipt.enums import ppt_unknown
from odograph.compat.libipt.errors import pte_eos, returns_status
from odograph.compat.libipt.functions import Functions
from odograph.compat.libipt.packet import packet_of, pt_packet, sizeof_pt_packet
from odograph.compat.libipt.structure import copied


class pt_packet_decoder(Decoder):
    """A packet decoder."""

    __slots__ = ()

    def make(self, trace: memoryview, values: dict[str, Any]) -> RawPacketDecoder:
        """The decoder of the native module."""
        return RawPacketDecoder(trace, values)


_functions = Functions(pt_packet_decoder, "pt_pkt_")
pt_pkt_alloc_decoder = _functions.named(_functions.alloc_decoder)
pt_pkt_free_decoder = _functions.named(_functions.free_decoder)
pt_pkt_get_offset = _functions.named(_functions.get_offset)
pt_pkt_get_sync_offset = _functions.named(_functions.get_sync_offset)
pt_pkt_get_config = _functions.named(_functions.get_config)


@returns_status
def pt_pkt_sync_forward(decoder: pt_packet_decoder | None) -> int:
    """Go to the next PSB. ``-pte_eos``: there is none."""
    return 0 if live(decoder, pt_packet_decoder).raw.sync_forward() else -pte_eos


@returns_status
def pt_pkt_sync_backward(decoder: pt_packet_decoder | None) -> int:
    """Go to the PSB before. ``-pte_eos``: there is none."""
    return 0 if live(decoder, pt_packet_decoder).raw.sync_backward() else -pte_eos


@returns_status
def pt_pkt_sync_set(decoder: pt_packet_decoder | None, offset: int) -> int:
    """Go to an offset; any byte may be there. ``-pte_eos``: it lies beyond the end."""
    return 0 if live(decoder, pt_packet_decoder).raw.sync_set(uint64(offset)) else -pte_eos


@returns_values(None)
def pt_pkt_next(
    decoder: pt_packet_decoder | None, size: int = sizeof_pt_packet
) -> tuple[int, pt_packet | None]:
    """``(status, packet)``: the next packet and, as the status, its size in bytes.

    ``size`` is that of the caller's ``pt_packet``. ``-pte_eos``: the end, or a packet that is cut off;
    ``-pte_bad_opc``, ``-pte_bad_packet``: it cannot be decoded, and the decoder stays where it is;
    ``-pte_nosync``: not synchronised.
    """
    handle = live(decoder, pt_packet_decoder)
    found = handle.raw.next()
    if found is None:
        return -pte_eos, None
    offset, length, (kind, fields) = found
    packet = copied(packet_of(kind, fields, length), size)
    if packet.type == ppt_unknown and offset in handle.unknown:
        packet._unknown = handle.unknown[offset]
    return length, packet
