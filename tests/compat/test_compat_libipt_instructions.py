"""libipt's instruction decoder, as its manual pages have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from odograph.compat.libipt import (
    ppt_cbr,
    ppt_fup,
    ppt_pip,
    ppt_ptw,
    ppt_tip,
    ppt_tip_pgd,
    ppt_tip_pge,
    ppt_tsc,
    pt_asid,
    pt_asid_no_vmcs,
    pt_config,
    pt_errstr,
    pt_event_type,
    pt_image,
    pt_image_add_cached,
    pt_image_add_file,
    pt_image_alloc,
    pt_image_set_callback,
    pt_insn,
    pt_insn_alloc_decoder,
    pt_insn_asid,
    pt_insn_core_bus_ratio,
    pt_insn_decoder,
    pt_insn_event,
    pt_insn_free_decoder,
    pt_insn_get_config,
    pt_insn_get_image,
    pt_insn_get_offset,
    pt_insn_get_sync_offset,
    pt_insn_next,
    pt_insn_resync,
    pt_insn_set_image,
    pt_insn_sync_backward,
    pt_insn_sync_forward,
    pt_insn_sync_set,
    pt_insn_time,
    pt_iscache_add_file,
    pt_iscache_alloc,
    pte_bad_context,
    pte_bad_query,
    pte_eos,
    pte_event_ignored,
    pte_internal,
    pte_invalid,
    pte_no_cbr,
    pte_no_time,
    pte_nomap,
    pte_nosync,
    ptem_64bit,
    ptev_enabled,
    ptic_call,
    ptic_cond_jump,
    ptic_other,
    ptic_return,
    ptic_unknown,
    pts_eos,
    pts_event_pending,
    pts_ip_suppressed,
    sizeof_pt_event,
    sizeof_pt_insn,
)
from support.libipttrace import config_for, ip, packet, psb_plus, tnt, trace

ORG = 0x1000

#   1000: call 1008   1005: jz 100e   1007: hlt   1008: call 100d   100d: ret   100e: nop   100f: hlt
CODE = bytes.fromhex("e803000000 7407 f4 e800000000 c3 90 f4")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "program"
    file.write_bytes(CODE)
    return file


@pytest.fixture
def image(program: Path) -> pt_image:
    made = pt_image_alloc("program")
    assert pt_image_add_file(made, str(program), 0, len(CODE), None, ORG) == 0
    return made


def decoder_for(data: bytes, image: pt_image | None) -> pt_insn_decoder:
    decoder = pt_insn_alloc_decoder(config_for(data))
    assert decoder is not None
    assert pt_insn_set_image(decoder, image) == 0
    return decoder


def walk(decoder: pt_insn_decoder) -> list[str]:
    """The loop of the manual: instructions, events, and going on after errors."""
    seen = []
    status = pt_insn_sync_forward(decoder)
    while status >= 0:
        while status >= 0:
            while status & pts_event_pending:
                status, event = pt_insn_event(decoder, sizeof_pt_event)
                if status < 0:
                    break
                seen.append(pt_event_type(event.type).name.removeprefix("ptev_"))
            if status < 0 or status & pts_eos:
                break
            status, insn = pt_insn_next(decoder, sizeof_pt_insn)
            if status < 0:
                break
            seen.append(f"{insn.ip:x}")
        if status >= 0:
            break
        seen.append(pt_errstr(-status))
        status = pt_insn_resync(decoder)
        if status == -pte_event_ignored:
            status = pts_event_pending
        elif status < 0:
            status = pt_insn_sync_forward(decoder)
    return seen


START = ["enabled", "exec_mode"]


def test_the_instruction_loop(image: pt_image) -> None:
    data = trace(*psb_plus(ORG), tnt("!!"), ip(ppt_fup, ORG + 0xE), ip(ppt_tip_pgd, None))
    # The call to the next instruction pushes nothing, so the return goes back behind the first call.
    assert walk(decoder_for(data, image)) == [*START, "1000", "1008", "100d", "1005", "async_disabled"]


def test_an_instruction_has_its_fields(program: Path) -> None:
    cache = pt_iscache_alloc(None)
    isid = pt_iscache_add_file(cache, str(program), 0, len(CODE), ORG)
    image = pt_image_alloc(None)
    assert pt_image_add_cached(image, cache, isid, None) == 0
    decoder = decoder_for(trace(*psb_plus(ORG), tnt("!!")), image)
    status = pt_insn_sync_forward(decoder)
    while status & pts_event_pending:
        status, _ = pt_insn_event(decoder)
    instructions: list[pt_insn] = []
    while not status & pts_eos:
        status, insn = pt_insn_next(decoder)
        instructions.append(insn)
    call = instructions[0]
    assert (call.ip, call.isid, call.mode, call.iclass) == (ORG, isid, ptem_64bit, ptic_call)
    assert bytes(call.raw[: call.size]) == CODE[:5]
    assert (call.speculative, call.truncated) == (0, 0)
    classes = [ptic_call, ptic_call, ptic_return, ptic_cond_jump]
    assert [insn.iclass for insn in instructions] == classes


def test_linear_code_goes_on_behind_the_end(image: pt_image) -> None:
    decoder = decoder_for(trace(*psb_plus(ORG + 0xE)), image)
    status = pt_insn_sync_forward(decoder)
    while status & pts_event_pending:
        status, _ = pt_insn_event(decoder)
    assert status == pts_eos
    found = [pt_insn_next(decoder) for _ in range(3)]
    assert [(status, insn.ip) for status, insn in found] == [
        (0, ORG + 0xE),
        (0, ORG + 0xF),
        (-pte_nomap, ORG + 0x10),
    ]
    assert found[0][1].iclass == ptic_other
    assert (found[2][1].iclass, found[2][1].mode, found[2][1].size) == (ptic_unknown, ptem_64bit, 0)


def test_an_event_must_be_taken_before_the_next_instruction(image: pt_image) -> None:
    decoder = decoder_for(trace(*psb_plus(ORG)), image)
    assert pt_insn_sync_forward(decoder) == pts_event_pending
    assert pt_insn_next(decoder)[0] == -pte_event_ignored
    status, event = pt_insn_event(decoder)
    assert (status, event.type) == (pts_event_pending, ptev_enabled)
    status, event = pt_insn_event(decoder)
    assert status == pts_eos
    assert pt_insn_event(decoder)[0] == -pte_bad_query


def test_resync_goes_on_where_the_trace_says_where_that_is(image: pt_image) -> None:
    # A TIP where the flow needs a bit: it is where execution went on.
    data = trace(*psb_plus(ORG + 5), ip(ppt_tip, ORG + 0xE), ip(ppt_fup, ORG + 0xF), ip(ppt_tip_pgd, None))
    needs = pt_errstr(pte_bad_query)
    assert walk(decoder_for(data, image)) == [*START, "1005", needs, "100e", "async_disabled"]
    # A PTWRITE without a place is told, and is no place to go on.
    ptwrite = packet(ppt_ptw, ptw__payload=1)
    goes_on = (ip(ppt_tip, ORG + 0xE), ip(ppt_fup, ORG + 0xF), ip(ppt_tip_pgd, None))
    data = trace(*psb_plus(0x5000), ptwrite, *goes_on)
    expected = [*START, pt_errstr(pte_nomap), "ptwrite"]
    assert walk(decoder_for(data, image))[:4] == expected
    # Where nothing comes any more only the next PSB helps.
    data = trace(*psb_plus(0x5000), *psb_plus(ORG + 0xE))
    assert walk(decoder_for(data, image))[-2:] == START


def test_tracing_off(image: pt_image) -> None:
    decoder = decoder_for(trace(*psb_plus(None), ip(ppt_tip_pge, ORG + 5)), image)
    assert pt_insn_sync_forward(decoder) == pts_event_pending | pts_ip_suppressed
    assert walk(decoder_for(trace(*psb_plus(None), ip(ppt_tip_pge, ORG + 5)), image)) == [
        "disabled",
        "exec_mode",
        "enabled",
    ]


def test_the_decoder_has_an_image_of_its_own(program: Path, image: pt_image) -> None:
    data = trace(*psb_plus(ORG + 0xE))
    decoder = pt_insn_alloc_decoder(config_for(data))
    own = pt_insn_get_image(decoder)
    assert own is not None
    assert pt_image_add_file(own, str(program), 0, len(CODE), None, ORG) == 0
    assert walk(decoder) == START
    assert pt_insn_next(decoder)[1].ip == ORG + 0xE
    assert pt_insn_set_image(decoder, pt_image_alloc("empty")) == 0
    assert pt_insn_get_image(decoder) is not own
    assert pt_insn_sync_set(decoder, 0) == pts_event_pending
    pt_insn_event(decoder)
    pt_insn_event(decoder)
    assert pt_insn_next(decoder)[0] == -pte_nomap
    assert pt_insn_set_image(decoder, None) == 0
    assert pt_insn_get_image(decoder) is own
    assert pt_insn_next(decoder)[1].ip == ORG + 0xE


@pytest.mark.parametrize("answer", [-pte_nomap, -pte_internal, -99])
def test_what_a_memory_callback_returns_is_what_the_decoder_returns(answer: int) -> None:
    image = pt_image_alloc(None)
    assert pt_image_set_callback(image, lambda *_: answer, None) == 0
    decoder = decoder_for(trace(*psb_plus(ORG)), image)
    assert pt_insn_sync_forward(decoder) == pts_event_pending
    pt_insn_event(decoder)
    pt_insn_event(decoder)
    assert [pt_insn_next(decoder)[0] for _ in range(2)] == [answer, answer]


def test_a_memory_callback_gives_code() -> None:
    asked = []

    def read_memory(buffer: memoryview, size: int, asid: pt_asid, address: int, context: Any) -> int:
        asked.append((asid.cr3, context))
        code = CODE[address - ORG :][:size]
        buffer[: len(code)] = code
        return len(code)

    image = pt_image_alloc(None)
    assert pt_image_set_callback(image, read_memory, "context") == 0
    pip = packet(ppt_pip, pip__cr3=0xA000)
    begin = psb_plus(ORG + 0xE)
    data = trace(*begin[:-1], pip, begin[-1], ip(ppt_fup, ORG + 0xF), ip(ppt_tip_pgd, None))
    decoder = decoder_for(data, image)
    assert walk(decoder) == [*START, "async_paging", "100e", "async_disabled"]
    assert set(asked) == {(0xA000, "context")}
    status, asid = pt_insn_asid(decoder, 24)
    assert (status, asid) == (0, pt_asid(cr3=0xA000, vmcs=pt_asid_no_vmcs))
    assert pt_insn_asid(decoder, 8) == (0, pt_asid(size=8))
    assert pt_insn_asid(decoder, 7) == (-pte_invalid, None)


def test_an_exception_in_a_memory_callback_comes_out() -> None:
    def read_memory(*_: Any) -> int:
        raise KeyError("memory")

    image = pt_image_alloc(None)
    pt_image_set_callback(image, read_memory, None)
    decoder = decoder_for(trace(*psb_plus(ORG)), image)
    pt_insn_sync_forward(decoder)
    pt_insn_event(decoder)
    pt_insn_event(decoder)
    with pytest.raises(KeyError, match="memory"):
        pt_insn_next(decoder)


@pytest.mark.parametrize("answer", [2, -pte_bad_context, -99])
def test_a_callback_for_unknown_packets_serves_here_too(image: pt_image, answer: int) -> None:
    data = trace(*psb_plus(ORG + 5)) + b"\xc9\x01" + trace(tnt("!"))
    config = config_for(data)
    config.decode.callback = lambda unknown, config, pos, context: answer
    decoder = pt_insn_alloc_decoder(config)
    pt_insn_set_image(decoder, image)
    assert pt_insn_sync_forward(decoder) == pts_event_pending
    pt_insn_event(decoder)
    status, _ = pt_insn_event(decoder)
    if answer > 0:
        assert status == 0
        assert pt_insn_next(decoder)[0] == pts_eos
    else:
        assert pt_insn_event(decoder) == (answer, None)


def test_ticks(image: pt_image) -> None:
    tsc = [packet(ppt_tsc, tsc__tsc=value) for value in (0x10, 0x20)]
    begin = psb_plus(ORG + 5)
    data = trace(*begin[:-1], tsc[0], begin[-1], tsc[1], tnt("!"))
    config = config_for(data)
    for enabled, expected in [(0, [*START, "1005"]), (1, [*START, "1005", "tick"])]:
        config.flags.variant.insn.enable_tick_events = enabled
        decoder = pt_insn_alloc_decoder(config)
        pt_insn_set_image(decoder, image)
        assert walk(decoder) == expected


def test_time_and_ratio(image: pt_image) -> None:
    begin = psb_plus(ORG)
    cbr, tsc = packet(ppt_cbr, cbr__ratio=9), packet(ppt_tsc, tsc__tsc=0x20)
    decoder = decoder_for(trace(*begin[:-1], cbr, tsc, begin[-1]), image)
    assert pt_insn_time(decoder)[0] == -pte_no_time
    assert pt_insn_core_bus_ratio(decoder) == (-pte_no_cbr, None)
    assert walk(decoder) == [*START, "cbr"]
    assert pt_insn_time(decoder) == (0, 0x20, 0, 0)
    assert pt_insn_core_bus_ratio(decoder) == (0, 9)


def test_synchronisation_and_offsets(image: pt_image) -> None:
    on, off = trace(*psb_plus(ORG)), trace(*psb_plus(None))
    decoder = decoder_for(on + off, image)
    assert pt_insn_get_offset(decoder) == (-pte_nosync, None)
    assert pt_insn_get_sync_offset(decoder) == (-pte_nosync, None)
    assert pt_insn_next(decoder) == (-pte_nosync, None)
    assert pt_insn_event(decoder) == (-pte_bad_query, None)
    assert pt_insn_sync_forward(decoder) == pts_event_pending
    assert pt_insn_sync_forward(decoder) == pts_event_pending | pts_ip_suppressed
    assert pt_insn_get_sync_offset(decoder) == (0, len(on))
    assert pt_insn_get_offset(decoder)[0] == 0
    assert pt_insn_sync_forward(decoder) == -pte_eos
    assert [pt_insn_sync_backward(decoder), pt_insn_sync_backward(decoder)] == [0, -pte_eos]
    assert pt_insn_sync_set(decoder, 1) == -pte_nosync
    assert pt_insn_sync_set(decoder, 1000) == -pte_eos


def test_a_smaller_instruction_gets_what_it_has_room_for(image: pt_image) -> None:
    decoder = decoder_for(trace(*psb_plus(ORG)), image)
    for size, (address, iclass, raw) in {0: (0, 0, 0), 8: (ORG, 0, 0), 21: (ORG, ptic_call, CODE[0])}.items():
        status = pt_insn_sync_set(decoder, 0)
        while status & pts_event_pending:
            status, _ = pt_insn_event(decoder)
        status, insn = pt_insn_next(decoder, size)
        assert (insn.ip, insn.iclass, insn.raw[0], insn.raw[1]) == (address, iclass, raw, 0)


def test_none_is_invalid() -> None:
    assert pt_insn_alloc_decoder(None) is None
    assert pt_insn_alloc_decoder(pt_config()) is None
    decoder = pt_insn_alloc_decoder(config_for(b""))
    assert pt_insn_get_config(decoder) is not None
    pt_insn_free_decoder(decoder)
    pt_insn_free_decoder(None)
    for gone in (None, decoder):
        assert pt_insn_sync_forward(gone) == -pte_invalid
        assert pt_insn_sync_backward(gone) == -pte_invalid
        assert pt_insn_sync_set(gone, 0) == -pte_invalid
        assert pt_insn_set_image(gone, None) == -pte_invalid
        assert pt_insn_time(gone) == (-pte_invalid, None, None, None)
        for function in (
            pt_insn_get_offset,
            pt_insn_get_sync_offset,
            pt_insn_core_bus_ratio,
            pt_insn_asid,
            pt_insn_next,
            pt_insn_event,
        ):
            assert function(gone) == (-pte_invalid, None)
        assert pt_insn_get_config(gone) is None
        assert pt_insn_get_image(gone) is None
    assert pt_insn_resync(decoder) == -pte_invalid
    # Here libipt differs from itself.
    assert pt_insn_resync(None) == -pte_internal
