"""libipt's block decoder, as its manual pages have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from odograph.compat.libipt import (
    ppt_cbr,
    ppt_fup,
    ppt_tip,
    ppt_tip_pgd,
    pt_asid,
    pt_blk_alloc_decoder,
    pt_blk_asid,
    pt_blk_core_bus_ratio,
    pt_blk_event,
    pt_blk_free_decoder,
    pt_blk_get_config,
    pt_blk_get_image,
    pt_blk_get_offset,
    pt_blk_get_sync_offset,
    pt_blk_next,
    pt_blk_resync,
    pt_blk_set_image,
    pt_blk_sync_backward,
    pt_blk_sync_forward,
    pt_blk_sync_set,
    pt_blk_time,
    pt_block_decoder,
    pt_errstr,
    pt_event_type,
    pt_image,
    pt_image_add_file,
    pt_image_alloc,
    pte_bad_query,
    pte_eos,
    pte_invalid,
    pte_no_time,
    pte_nomap,
    pte_nosync,
    ptem_64bit,
    ptic_call,
    ptic_cond_jump,
    ptic_jump,
    ptic_return,
    pts_eos,
    pts_event_pending,
    pts_ip_suppressed,
    sizeof_pt_block,
    sizeof_pt_event,
)
from support.libipttrace import config_for, ip, packet, psb_plus, tnt, trace

ORG = 0x1000

# 1000: call 1008   1005: jz 100e   1007: hlt   1008: call 100d   100d: ret   100e: jmp 1010   1010: nop
# 1011: hlt
CODE = bytes.fromhex("e803000000 7407 f4 e800000000 c3 eb00 90 f4")
START = ["enabled", "exec_mode"]


@pytest.fixture
def image(tmp_path: Path) -> pt_image:
    file = tmp_path / "program"
    file.write_bytes(CODE)
    made = pt_image_alloc("program")
    assert pt_image_add_file(made, str(file), 0, len(CODE), None, ORG) == 0
    return made


def decoder_for(data: bytes, image: pt_image | None, **flags: int) -> pt_block_decoder:
    config = config_for(data)
    for name, value in flags.items():
        setattr(config.flags.variant.block, name, value)
    decoder = pt_blk_alloc_decoder(config)
    assert decoder is not None
    assert pt_blk_set_image(decoder, image) == 0
    return decoder


def walk(decoder: pt_block_decoder) -> list[str]:
    """The loop of the manual: blocks, events, and going on after errors."""
    seen = []
    status = pt_blk_sync_forward(decoder)
    while status >= 0:
        while status >= 0:
            while status & pts_event_pending:
                status, event = pt_blk_event(decoder, sizeof_pt_event)
                if status < 0:
                    break
                seen.append(pt_event_type(event.type).name.removeprefix("ptev_"))
            if status < 0 or status & pts_eos:
                break
            status, block = pt_blk_next(decoder, sizeof_pt_block)
            if block.ninsn > 0:
                seen.append(f"{block.ip:x}-{block.end_ip:x} {block.ninsn}")
        if status >= 0:
            break
        seen.append(pt_errstr(-status))
        status = pt_blk_resync(decoder)
        if status < 0:
            status = pt_blk_sync_forward(decoder)
    return seen


def test_the_block_loop(image: pt_image) -> None:
    data = trace(*psb_plus(ORG), tnt("!!"), ip(ppt_fup, ORG + 0x10), ip(ppt_tip_pgd, None))
    expected = [*START, "1000-100d 3", "1005-1005 1", "100e-100e 1", "async_disabled"]
    assert walk(decoder_for(data, image)) == expected


def test_blocks_end_where_the_flags_say(image: pt_image) -> None:
    data = trace(*psb_plus(ORG), tnt("!!"), ip(ppt_fup, ORG + 0x11), ip(ppt_tip_pgd, None))
    whole = ["1000-100d 3", "1005-1005 1", "100e-1010 2"]
    calls = ["1000-1000 1", "1008-1008 1", "100d-100d 1", "1005-1005 1", "100e-1010 2"]
    jumps = ["1000-100d 3", "1005-1005 1", "100e-100e 1", "1010-1010 1"]
    for flags, expected in [({}, whole), ({"end_on_call": 1}, calls), ({"end_on_jump": 1}, jumps)]:
        assert walk(decoder_for(data, image, **flags)) == [*START, *expected, "async_disabled"]


def test_a_block_has_its_fields(image: pt_image) -> None:
    decoder = decoder_for(trace(*psb_plus(ORG), tnt("!!")), image, end_on_call=1, end_on_jump=1)
    status = pt_blk_sync_forward(decoder)
    while status & pts_event_pending:
        status, _ = pt_blk_event(decoder)
    classes = []
    while not status & pts_eos:
        status, block = pt_blk_next(decoder)
        assert (block.isid, block.mode, block.speculative, block.truncated) == (0, ptem_64bit, 0, 0)
        classes.append(block.iclass)
    assert classes == [ptic_call, ptic_call, ptic_return, ptic_cond_jump]
    status, block = pt_blk_next(decoder)
    assert (block.ip, block.iclass) == (ORG + 0xE, ptic_jump)


def test_an_error_comes_with_the_instructions_before_it(image: pt_image) -> None:
    decoder = decoder_for(trace(*psb_plus(ORG + 0xE)), image)
    status = pt_blk_sync_forward(decoder)
    while status & pts_event_pending:
        status, _ = pt_blk_event(decoder)
    status, block = pt_blk_next(decoder)
    assert (status, block.ip, block.end_ip, block.ninsn) == (-pte_nomap, ORG + 0xE, ORG + 0x11, 3)
    status, block = pt_blk_next(decoder)
    assert (status, block.ninsn) == (-pte_nomap, 0)


def test_resync_goes_on_where_the_trace_says_where_that_is(image: pt_image) -> None:
    data = trace(*psb_plus(ORG + 5), ip(ppt_tip, ORG + 0x10), ip(ppt_fup, ORG + 0x11), ip(ppt_tip_pgd, None))
    assert walk(decoder_for(data, image)) == [
        *START,
        "1005-1005 1",
        pt_errstr(pte_bad_query),
        "1010-1010 1",
        "async_disabled",
    ]


def test_an_instruction_may_go_on_in_another_section(tmp_path: Path) -> None:
    image = pt_image_alloc(None)
    for number, (data, address) in enumerate([(CODE[:3], ORG), (CODE[3:], ORG + 3)]):
        file = tmp_path / str(number)
        file.write_bytes(data)
        assert pt_image_add_file(image, str(file), 0, len(data), None, address) == 0
    decoder = decoder_for(trace(*psb_plus(ORG), tnt("!")), image)
    status = pt_blk_sync_forward(decoder)
    while status & pts_event_pending:
        status, _ = pt_blk_event(decoder)
    status, block = pt_blk_next(decoder)
    assert (block.ip, block.ninsn, block.truncated) == (ORG, 1, 1)
    assert bytes(block.raw[: block.size]) == CODE[:5]


def test_synchronisation_and_offsets(image: pt_image) -> None:
    on, off = trace(*psb_plus(ORG)), trace(*psb_plus(None))
    decoder = decoder_for(on + off, image)
    assert pt_blk_get_offset(decoder) == (-pte_nosync, None)
    assert pt_blk_get_sync_offset(decoder) == (-pte_nosync, None)
    assert pt_blk_next(decoder) == (-pte_nosync, None)
    assert pt_blk_event(decoder) == (-pte_bad_query, None)
    assert pt_blk_sync_forward(decoder) == pts_event_pending
    assert pt_blk_sync_forward(decoder) == pts_event_pending | pts_ip_suppressed
    assert pt_blk_get_sync_offset(decoder) == (0, len(on))
    assert pt_blk_get_offset(decoder)[0] == 0
    assert pt_blk_sync_forward(decoder) == -pte_eos
    assert [pt_blk_sync_backward(decoder), pt_blk_sync_backward(decoder)] == [0, -pte_eos]
    assert pt_blk_sync_set(decoder, 1) == -pte_nosync
    assert pt_blk_sync_set(decoder, 1000) == -pte_eos


def test_time_ratio_and_asid(image: pt_image) -> None:
    begin = psb_plus(ORG)
    decoder = decoder_for(trace(*begin[:-1], packet(ppt_cbr, cbr__ratio=9), begin[-1]), image)
    assert walk(decoder) == [*START, "cbr"]
    assert pt_blk_time(decoder) == (-pte_no_time, 0, 0, 0)
    assert pt_blk_core_bus_ratio(decoder) == (0, 9)
    assert pt_blk_asid(decoder) == (0, pt_asid())


def test_none_is_invalid() -> None:
    assert pt_blk_alloc_decoder(None) is None
    decoder = pt_blk_alloc_decoder(config_for(b""))
    assert pt_blk_get_config(decoder) is not None
    pt_blk_free_decoder(decoder)
    pt_blk_free_decoder(None)
    for gone in (None, decoder):
        assert pt_blk_sync_forward(gone) == -pte_invalid
        assert pt_blk_sync_backward(gone) == -pte_invalid
        assert pt_blk_sync_set(gone, 0) == -pte_invalid
        assert pt_blk_resync(gone) == -pte_invalid
        assert pt_blk_set_image(gone, None) == -pte_invalid
        assert pt_blk_time(gone) == (-pte_invalid, None, None, None)
        for function in (
            pt_blk_get_offset,
            pt_blk_get_sync_offset,
            pt_blk_core_bus_ratio,
            pt_blk_asid,
            pt_blk_next,
            pt_blk_event,
        ):
            assert function(gone) == (-pte_invalid, None)
        assert pt_blk_get_config(gone) is None
        assert pt_blk_get_image(gone) is None
