"""libipt's packet decoder, as its manual page has it."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from odograph.compat.libipt import (
    ppt_cbr,
    ppt_fup,
    ppt_invalid,
    ppt_mode,
    ppt_pad,
    ppt_psb,
    ppt_psbend,
    ppt_pwre,
    ppt_tip,
    ppt_tnt_8,
    ppt_unknown,
    pt_conf_addr_filter,
    pt_conf_flags,
    pt_config,
    pt_errata,
    pt_get_exec_mode,
    pt_ipc_full,
    pt_mol_exec,
    pt_packet,
    pt_packet_unknown,
    pt_pkt_alloc_decoder,
    pt_pkt_free_decoder,
    pt_pkt_get_config,
    pt_pkt_get_offset,
    pt_pkt_get_sync_offset,
    pt_pkt_next,
    pt_pkt_sync_backward,
    pt_pkt_sync_forward,
    pt_pkt_sync_set,
    pt_set_exec_mode,
    pte_bad_opc,
    pte_bad_packet,
    pte_eos,
    pte_invalid,
    pte_nosync,
    ptem_16bit,
    ptem_32bit,
    ptem_64bit,
    ptem_unknown,
    sizeof_pt_packet,
)
from support.libipttrace import config_for, ip, packet, psb_plus, tnt, trace


def test_the_packet_loop() -> None:
    data = trace(*psb_plus(0x1000), ip(ppt_tip, 0x2000), tnt("!."))
    decoder = pt_pkt_alloc_decoder(config_for(data))
    assert decoder is not None
    packets = []
    status = pt_pkt_sync_forward(decoder)
    assert status == 0
    while True:
        size, found = pt_pkt_next(decoder, sizeof_pt_packet)
        if size < 0:
            break
        assert found.size == size
        packets.append(found)
    assert size == -pte_eos
    assert found is None
    pt_pkt_free_decoder(decoder)
    kinds = [ppt_psb, ppt_fup, ppt_mode, ppt_psbend, ppt_tip, ppt_tnt_8]
    assert [found.type for found in packets] == kinds
    assert sum(found.size for found in packets) == len(data)
    fup, mode, tip, bits = packets[1], packets[2], packets[4], packets[5]
    assert (fup.payload.ip.ipc, fup.payload.ip.ip) == (pt_ipc_full, 0x1000)
    assert (mode.payload.mode.leaf, mode.payload.mode.bits.exec.csl) == (pt_mol_exec, 1)
    assert pt_get_exec_mode(mode.payload.mode.bits.exec) == ptem_64bit
    assert tip.payload.ip.ip == 0x2000
    assert (bits.payload.tnt.bit_size, bits.payload.tnt.payload) == (2, 0b10)
    assert "ppt_tip" in repr(tip)
    assert "0x" not in repr(packets[0])


def test_synchronisation_and_offsets() -> None:
    part = trace(*psb_plus(0x1000), tnt("!"))
    decoder = pt_pkt_alloc_decoder(config_for(part + part))
    assert pt_pkt_next(decoder) == (-pte_nosync, None)
    assert pt_pkt_get_offset(decoder) == (-pte_nosync, None)
    assert pt_pkt_get_sync_offset(decoder) == (-pte_nosync, None)
    assert [pt_pkt_sync_forward(decoder) for _ in range(3)] == [0, 0, -pte_eos]
    assert pt_pkt_get_sync_offset(decoder) == (0, len(part))
    assert pt_pkt_sync_backward(decoder) == 0
    assert pt_pkt_sync_backward(decoder) == -pte_eos
    assert pt_pkt_get_offset(decoder) == (0, 0)
    # No PSB is needed where one says where to go; the very end is a place, too.
    assert pt_pkt_sync_set(decoder, len(part) - 1) == 0
    assert pt_pkt_next(decoder)[1].type == ppt_tnt_8
    assert pt_pkt_sync_set(decoder, 2 * len(part)) == 0
    assert pt_pkt_next(decoder) == (-pte_eos, None)
    assert pt_pkt_sync_set(decoder, 2 * len(part) + 1) == -pte_eos
    assert pt_pkt_sync_set(decoder, -1) == -pte_eos


def test_a_packet_that_cannot_be_decoded_stays() -> None:
    decoder = pt_pkt_alloc_decoder(config_for(b"\xc9\x99\x40"))
    for offset, code in [(0, pte_bad_opc), (1, pte_bad_packet), (2, 0), (3, pte_eos)]:
        assert pt_pkt_sync_set(decoder, offset) == 0
        for _ in range(1 if code == 0 else 2):
            status, found = pt_pkt_next(decoder)
            assert (status, found is None) == (-code or 1, code != 0)


def test_none_is_invalid() -> None:
    assert pt_pkt_alloc_decoder(None) is None
    decoder = pt_pkt_alloc_decoder(config_for(b""))
    pt_pkt_free_decoder(decoder)
    pt_pkt_free_decoder(None)
    for gone in (None, decoder):
        assert pt_pkt_sync_forward(gone) == -pte_invalid
        assert pt_pkt_sync_backward(gone) == -pte_invalid
        assert pt_pkt_sync_set(gone, 0) == -pte_invalid
        assert pt_pkt_get_offset(gone) == (-pte_invalid, None)
        assert pt_pkt_get_sync_offset(gone) == (-pte_invalid, None)
        assert pt_pkt_next(gone) == (-pte_invalid, None)
        assert pt_pkt_get_config(gone) is None
    with pytest.raises(TypeError, match="pt_packet_decoder"):
        pt_pkt_next("decoder")  # type: ignore[arg-type]


def test_a_configuration_that_names_no_trace_makes_no_decoder() -> None:
    config = pt_config()
    assert pt_pkt_alloc_decoder(config) is None
    config.begin = b"\x00\x00"
    assert config.end == 2
    for end, good in [(None, False), (-1, False), (3, False), (0, True), (1, True)]:
        config.end = end
        assert (pt_pkt_alloc_decoder(config) is not None) is good
    config.size = 23
    assert pt_pkt_alloc_decoder(config) is None
    config.size = 24
    assert pt_pkt_alloc_decoder(config) is not None


def test_a_decoder_keeps_a_copy_of_its_configuration() -> None:
    config = config_for(b"\x00")
    config.mtc_freq = 5
    config.errata.bdm70 = 1
    decoder = pt_pkt_alloc_decoder(config)
    config.mtc_freq = 6
    config.errata.bdm70 = 0
    kept = pt_pkt_get_config(decoder)
    assert kept is not None
    assert (kept.begin, kept.end, kept.mtc_freq, kept.errata.bdm70) == (b"\x00", 1, 5, 1)
    # What lies behind a smaller size is not looked at.
    config.size = 48
    config.errata.bdm70 = 1
    cut = pt_pkt_get_config(pt_pkt_alloc_decoder(config))
    assert cut is not None
    assert (cut.mtc_freq, cut.errata.bdm70) == (0, 0)


def test_a_smaller_packet_gets_what_it_has_room_for() -> None:
    data = trace(ip(ppt_tip, 0x1122334455667788))
    decoder = pt_pkt_alloc_decoder(config_for(data))
    for size, (kind, length, compression, address) in {
        0: (ppt_invalid, 0, 0, 0),
        4: (ppt_tip, 0, 0, 0),
        8: (ppt_tip, 9, 0, 0),
        20: (ppt_tip, 9, pt_ipc_full, 0x55667788),
        24: (ppt_tip, 9, pt_ipc_full, 0x1122334455667788),
        1000: (ppt_tip, 9, pt_ipc_full, 0x1122334455667788),
    }.items():
        assert pt_pkt_sync_set(decoder, 0) == 0
        status, found = pt_pkt_next(decoder, size)
        assert status == 9
        payload = found.payload.ip
        assert (found.type, found.size, payload.ipc, payload.ip) == (kind, length, compression, address)


def test_the_callback_knows_packets_that_libipt_does_not() -> None:
    calls = []

    def callback(unknown: pt_packet_unknown, config: pt_config, pos: memoryview, context: Any) -> int:
        calls.append((bytes(pos), config.mtc_freq, context))
        assert unknown.packet is not None
        assert unknown.packet[0] == 0xC9
        unknown.priv = "mine"
        return 3

    config = config_for(b"\xc9\x01\x02\x00")
    config.mtc_freq = 7
    config.decode.callback = callback
    config.decode.context = "context"
    decoder = pt_pkt_alloc_decoder(config)
    assert pt_pkt_sync_set(decoder, 0) == 0
    status, found = pt_pkt_next(decoder)
    assert (status, found.type, found.size) == (3, ppt_unknown, 3)
    assert (bytes(found.payload.unknown.packet[:3]), found.payload.unknown.priv) == (b"\xc9\x01\x02", "mine")
    assert calls == [(b"\xc9\x01\x02\x00", 7, "context")]
    assert pt_pkt_next(decoder)[1].type == ppt_pad


@pytest.mark.parametrize(
    ("answer", "status"),
    [(0, 0), (2, -pte_eos), (256, -pte_invalid), (-pte_bad_packet, -pte_bad_packet), (-99, -99)],
)
def test_what_the_callback_returns_counts(answer: int, status: int) -> None:
    config = config_for(b"\xc9")
    config.decode.callback = lambda unknown, config, pos, context: answer
    decoder = pt_pkt_alloc_decoder(config)
    assert pt_pkt_sync_set(decoder, 0) == 0
    assert pt_pkt_next(decoder)[0] == status


def test_an_exception_in_the_callback_comes_out() -> None:
    config = config_for(b"\xc9")

    def callback(*_: Any) -> int:
        raise KeyError("callback")

    config.decode.callback = callback
    decoder = pt_pkt_alloc_decoder(config)
    assert pt_pkt_sync_set(decoder, 0) == 0
    with pytest.raises(KeyError, match="callback"):
        pt_pkt_next(decoder)


def test_a_corrupt_tma_is_an_invalid_packet_with_its_erratum() -> None:
    config = config_for(bytes.fromhex("02730101010100ff 00"))
    decoder = pt_pkt_alloc_decoder(config)
    assert pt_pkt_sync_set(decoder, 0) == 0
    assert pt_pkt_next(decoder) == (-pte_bad_packet, None)
    config.errata = pt_errata(skz84=1)
    decoder = pt_pkt_alloc_decoder(config)
    assert pt_pkt_sync_set(decoder, 0) == 0
    status, found = pt_pkt_next(decoder)
    assert (status, found.type) == (8, ppt_invalid)
    assert pt_pkt_next(decoder)[1].type == ppt_pad


def test_libipt_looks_for_hw_elsewhere() -> None:
    decoder = pt_pkt_alloc_decoder(config_for(b"\x02\x22\x08\x00\x02\x22\x80\x00"))
    assert pt_pkt_sync_set(decoder, 0) == 0
    first, second = pt_pkt_next(decoder)[1], pt_pkt_next(decoder)[1]
    assert (first.type, first.payload.pwre.hw, second.payload.pwre.hw) == (ppt_pwre, 1, 0)


def test_structures_are_laid_out_as_in_c() -> None:
    assert (sizeof_pt_packet, pt_packet.payload.offset) == (24, 8)
    assert (ctypes.sizeof(pt_errata), ctypes.sizeof(pt_conf_flags), ctypes.sizeof(pt_conf_addr_filter)) == (
        64,
        16,
        136,
    )
    flags = pt_conf_flags()
    flags.variant.block.end_on_jump = 1
    assert (flags.variant.insn.enable_iflags_events, flags.variant.query.enable_iflags_events) == (1, 0)
    filters = pt_conf_addr_filter()
    filters.config.ctl.addr2_cfg = 2
    assert filters.config.addr_cfg == 0x200
    assert packet(ppt_cbr, cbr__ratio=3) == packet(ppt_cbr, cbr__ratio=3)
    assert packet(ppt_cbr, cbr__ratio=3) != packet(ppt_cbr, cbr__ratio=4)


def test_execution_modes_as_packets_have_them() -> None:
    for mode, bits in {
        ptem_64bit: (1, 0),
        ptem_32bit: (0, 1),
        ptem_16bit: (0, 0),
        ptem_unknown: (1, 1),
    }.items():
        packed = pt_set_exec_mode(mode)
        assert (packed.csl, packed.csd) == bits
        assert pt_get_exec_mode(packed) == mode
