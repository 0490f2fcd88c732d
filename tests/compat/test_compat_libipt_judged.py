"""Our packets and libipt's own: the same bytes of a structure, the same structure of the bytes.

The structures are laid out as in C, so the library fills and reads ours. Debian's libipt is 2.0.5: what came
later is left out.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from ctypes import POINTER, byref, c_int, c_size_t, c_uint64, c_void_p
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odograph.compat.libipt import (
    ppt_cfe,
    ppt_mode,
    ppt_ptw,
    ppt_tnt_8,
    ppt_tnt_64,
    pt_alloc_encoder,
    pt_config,
    pt_enc_get_offset,
    pt_enc_next,
    pt_mol_exec,
    pt_packet,
    pt_packet_type,
    pt_pkt_alloc_decoder,
    pt_pkt_get_offset,
    pt_pkt_next,
    pt_pkt_sync_set,
    pte_bad_opc,
    sizeof_pt_config,
    sizeof_pt_packet,
)

ROOM = 64
KNOWN = [kind for kind in pt_packet_type if kind < ppt_cfe]


@cache
def libipt() -> ctypes.CDLL:
    """The library; skips where there is none."""
    name = ctypes.util.find_library("ipt")
    if name is None:
        pytest.skip("judge libipt: the library is not installed")
    library = ctypes.CDLL(name)
    for function, result, arguments in (
        ("pt_alloc_encoder", c_void_p, [c_void_p]),
        ("pt_free_encoder", None, [c_void_p]),
        ("pt_enc_sync_set", c_int, [c_void_p, c_uint64]),
        ("pt_enc_next", c_int, [c_void_p, POINTER(pt_packet)]),
        ("pt_pkt_alloc_decoder", c_void_p, [c_void_p]),
        ("pt_pkt_free_decoder", None, [c_void_p]),
        ("pt_pkt_sync_set", c_int, [c_void_p, c_uint64]),
        ("pt_pkt_get_offset", c_int, [c_void_p, POINTER(c_uint64)]),
        ("pt_pkt_next", c_int, [c_void_p, POINTER(pt_packet), c_size_t]),
    ):
        found = getattr(library, function)
        found.restype, found.argtypes = result, arguments
    return library


class Theirs:
    """libipt's decoder and encoder on a buffer."""

    def __init__(self, data: bytes) -> None:
        self.buffer = ctypes.create_string_buffer(data, len(data))
        begin = ctypes.addressof(self.buffer)
        self.config = (c_uint64 * (sizeof_pt_config // 8))(sizeof_pt_config, begin, begin + len(data))

    def packets(self) -> list[tuple[int, int, pt_packet | None]]:
        library = libipt()
        decoder = library.pt_pkt_alloc_decoder(byref(self.config))
        library.pt_pkt_sync_set(decoder, 0)
        found: list[tuple[int, int, pt_packet | None]] = []
        status = 0
        while status >= 0:
            packet, offset = pt_packet(), c_uint64()
            status = library.pt_pkt_next(decoder, byref(packet), sizeof_pt_packet)
            library.pt_pkt_get_offset(decoder, byref(offset))
            found.append((status, offset.value, packet if status >= 0 else None))
        library.pt_pkt_free_decoder(decoder)
        return found

    def encoded(self, packet: pt_packet) -> tuple[int, bytes]:
        library = libipt()
        encoder = library.pt_alloc_encoder(byref(self.config))
        library.pt_enc_sync_set(encoder, 0)
        size = library.pt_enc_next(encoder, byref(packet))
        library.pt_free_encoder(encoder)
        return size, self.buffer.raw


def ours(data: bytes) -> list[tuple[int, int, pt_packet | None]]:
    config = pt_config()
    config.begin = data
    decoder = pt_pkt_alloc_decoder(config)
    pt_pkt_sync_set(decoder, 0)
    found = []
    status = 0
    while status >= 0:
        status, packet = pt_pkt_next(decoder)
        found.append((status, pt_pkt_get_offset(decoder)[1], packet))
    return found


def newer(data: bytes, at: int) -> bool:
    """What stands there was no packet yet in 2.0.5."""
    return data[at : at + 1] == b"\xd9" or data[at : at + 2] in (b"\x02\x13", b"\x02\x53")


@settings(max_examples=400)
@given(st.data())
def test_every_structure_gives_the_same_bytes(data: st.DataObject) -> None:
    packet = pt_packet(type=data.draw(st.sampled_from([*KNOWN, ppt_cfe + 99])))
    payload = data.draw(st.binary(min_size=16, max_size=16))
    ctypes.memmove(ctypes.addressof(packet) + pt_packet.payload.offset, payload, len(payload))
    if packet.type in (ppt_tnt_8, ppt_tnt_64):
        packet.payload.tnt.bit_size &= 63
        packet.payload.tnt.payload &= data.draw(
            st.sampled_from([(1 << packet.payload.tnt.bit_size) - 1, 0x3F])
        )
    elif packet.type == ppt_mode:
        packet.payload.mode.leaf = data.draw(st.sampled_from([0, 0x20, 0x40]))
        if packet.payload.mode.leaf == pt_mol_exec:
            packet.payload.mode.bits.exec.iflag = 0
    elif packet.type == ppt_ptw:
        packet.payload.ptw.plc &= 3
    elif data.draw(st.booleans()):
        packet.payload.ip.ipc &= 7
    room = data.draw(st.sampled_from([ROOM, ROOM, ROOM, 8]))
    config = pt_config()
    config.begin = buffer = bytearray(room)
    encoder = pt_alloc_encoder(config)
    size = pt_enc_next(encoder, packet)
    assert (size, bytes(buffer)) == Theirs(bytes(room)).encoded(packet)
    assert pt_enc_get_offset(encoder) == (0, max(size, 0))


@settings(max_examples=400)
@given(
    st.lists(st.one_of(st.binary(max_size=8), st.sampled_from([b"\x02", b"\x82" * 3, bytes(9)])), max_size=12)
)
def test_every_byte_gives_the_same_packets(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    expected, found = Theirs(data).packets(), ours(data)
    last = expected[-1]
    if last[0] == -pte_bad_opc and newer(data, last[1]):
        found = found[: len(expected) - 1]
        expected = expected[:-1]
    for _, _, packet in found:
        if packet is not None and packet.type == ppt_mode and packet.payload.mode.leaf == pt_mol_exec:
            packet.payload.mode.bits.exec.iflag = 0
    assert found == expected
