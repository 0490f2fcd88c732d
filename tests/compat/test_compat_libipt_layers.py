"""All layers tell the same of any packets: the same events in the same order and time, the same errors.

Each layer is driven through libipt's names, from every PSB to the end or an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from odograph.compat.libipt import (
    ppt_cbr,
    ppt_cfe,
    ppt_cyc,
    ppt_evd,
    ppt_exstop,
    ppt_fup,
    ppt_mnt,
    ppt_mode,
    ppt_mtc,
    ppt_mwait,
    ppt_ovf,
    ppt_pad,
    ppt_pip,
    ppt_psb,
    ppt_psbend,
    ppt_ptw,
    ppt_pwre,
    ppt_pwrx,
    ppt_stop,
    ppt_tip,
    ppt_tip_pgd,
    ppt_tip_pge,
    ppt_tma,
    ppt_trig,
    ppt_tsc,
    ppt_vmcs,
    pt_blk_alloc_decoder,
    pt_blk_event,
    pt_blk_next,
    pt_blk_resync,
    pt_blk_set_image,
    pt_blk_sync_forward,
    pt_block,
    pt_config,
    pt_event,
    pt_evt_alloc_decoder,
    pt_evt_get_offset,
    pt_evt_next,
    pt_evt_sync_forward,
    pt_image,
    pt_image_add_file,
    pt_image_alloc,
    pt_insn,
    pt_insn_alloc_decoder,
    pt_insn_event,
    pt_insn_next,
    pt_insn_resync,
    pt_insn_set_image,
    pt_insn_sync_forward,
    pt_packet,
    pt_pkt_alloc_decoder,
    pt_pkt_get_offset,
    pt_pkt_next,
    pt_pkt_sync_set,
    pt_qry_alloc_decoder,
    pt_qry_cond_branch,
    pt_qry_event,
    pt_qry_indirect_branch,
    pt_qry_sync_forward,
    pte_bad_opc,
    pte_bad_query,
    pte_eos,
    pte_event_ignored,
    pte_internal,
    ptev_tip,
    ptev_tnt,
    pts_event_pending,
)
from support.libipttrace import ip, packet, psb_plus, tnt, trace

ORG = 0x1000

#   1000: nop   1001: jz 1005   1003: jmp rax   1005: call 1001   100a: ret   100b: ptwrite rax
#   1010: mov cr3, rax   1013: syscall   1015: int3   1016: hlt
CODE = bytes.fromhex("90 7402 ffe0 e8f7ffffff c3 f3480faee0 0f22d8 0f05 cc f4")
ADDRESSES = [ORG, ORG + 1, ORG + 3, ORG + 5, ORG + 0xA, ORG + 0xB, ORG + 0x10, ORG + 0x13, 0x5000]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> pt_image:
    file = tmp_path_factory.mktemp("layers") / "program"
    file.write_bytes(CODE)
    made = pt_image_alloc(None)
    assert pt_image_add_file(made, str(Path(file)), 0, len(CODE), None, ORG) == 0
    return made


def bits(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, (1 << count) - 1)


def made(kind: int, **fields: st.SearchStrategy[int]) -> st.SearchStrategy[pt_packet]:
    return st.builds(lambda **drawn: packet(kind, **drawn), **fields)


flag = bits(1)
address = st.one_of(st.none(), st.sampled_from(ADDRESSES))
flow = st.one_of(
    st.text("!.", min_size=1, max_size=6).map(tnt),
    st.builds(ip, st.sampled_from([ppt_tip, ppt_fup, ppt_fup, ppt_tip_pge, ppt_tip_pgd]), address),
    made(
        ppt_mode,
        mode__leaf=st.sampled_from([0, 0x20]),
        mode__bits__exec__csl=flag,
        mode__bits__exec__csd=flag,
    ),
    made(ppt_pip, pip__cr3=st.just(0xA000), pip__nr=flag),
    made(ppt_vmcs, vmcs__base=st.just(0xB000)),
)
rest = st.one_of(
    st.sampled_from([packet(kind) for kind in (ppt_pad, ppt_ovf, ppt_stop, ppt_psb, ppt_psbend)]),
    made(ppt_tsc, tsc__tsc=bits(16)),
    made(ppt_mtc, mtc__ctc=bits(8)),
    made(ppt_cyc, cyc__value=bits(10)),
    made(ppt_tma, tma__ctc=bits(16), tma__fc=bits(9)),
    made(ppt_cbr, cbr__ratio=bits(8)),
    made(ppt_mnt, mnt__payload=bits(64)),
    made(ppt_exstop, exstop__ip=flag),
    made(ppt_mwait, mwait__hints=bits(32)),
    made(ppt_pwre, pwre__state=bits(4)),
    made(ppt_pwrx, pwrx__last=bits(4)),
    made(ppt_ptw, ptw__payload=bits(32), ptw__ip=flag),
    made(ppt_cfe, cfe__type=bits(5), cfe__vector=bits(8), cfe__ip=flag),
    made(ppt_evd, evd__type=bits(2), evd__payload=bits(64)),
    made(ppt_trig, trig__trbv=bits(8), trig__icntv=flag, trig__icnt=bits(2), trig__ip=flag),
)
streams = st.lists(
    st.one_of(flow, flow, rest, st.sampled_from(ADDRESSES).map(psb_plus)).map(
        lambda drawn: drawn if isinstance(drawn, list) else [drawn]
    ),
    max_size=16,
).map(lambda parts: trace(*psb_plus(ORG), *(each for part in parts for each in part)))
cut = st.tuples(streams, st.binary(max_size=2)).map(b"".join)
OVF = trace(packet(ppt_ovf))


def configured(data: bytes) -> pt_config:
    config = pt_config()
    config.begin = data
    config.mtc_freq, config.cpuid_0x15_eax, config.cpuid_0x15_ebx, config.nom_freq = 3, 2, 100, 12
    return config


Told = list[pt_event | int]
"""Events, and the errors between them."""


def events(data: bytes) -> Iterator[Told]:
    """What the event layer tells, synchronisation by synchronisation; TNTs bit by bit."""
    decoder = pt_evt_alloc_decoder(configured(data))
    while (status := pt_evt_sync_forward(decoder)) != -pte_eos:
        told: Told = []
        while status >= 0:
            status, event = pt_evt_next(decoder)
            if event is not None:
                told += [event] if event.type != ptev_tnt else one_by_one(event)
        yield [*told, status]


def one_by_one(event: pt_event) -> Iterator[pt_event]:
    for bit in reversed(range(event.variant.tnt.size)):
        taken = event.variant.tnt.bits >> bit & 1
        yield branch(ptev_tnt, taken)


def branch(kind: int, value: int | None) -> pt_event:
    """A branch without what queries do not tell."""
    told = pt_event(type=kind, ip_suppressed=value is None)
    if kind == ptev_tip:
        told.variant.tip.ip = value or 0
    else:
        told.variant.tnt.bits, told.variant.tnt.size = value, 1
    return told


def queries(data: bytes) -> Iterator[Told]:
    """What the query layer tells to somebody who asks for what comes."""
    decoder = pt_qry_alloc_decoder(configured(data))
    while (status := pt_qry_sync_forward(decoder)[0]) != -pte_eos:
        told: Told = []
        while status >= 0:
            if status & pts_event_pending:
                status, event = pt_qry_event(decoder)
                told += [] if event is None else [event]
                continue
            status, taken = pt_qry_cond_branch(decoder)
            if status >= 0:
                told.append(branch(ptev_tnt, taken))
            elif status == -pte_bad_query:
                status, target = pt_qry_indirect_branch(decoder)
                if status >= 0:
                    told.append(branch(ptev_tip, target))
        yield [*told, status]


@settings(max_examples=300)
@given(cut)
def test_queries_tell_the_events(data: bytes) -> None:
    expected = []
    for told in events(data):
        plain: Told = []
        for event in told:
            if isinstance(event, pt_event) and event.type == ptev_tip:
                event = branch(ptev_tip, None if event.ip_suppressed else event.variant.tip.ip)
            plain.append(event)
        expected.append(plain)
    assert list(queries(data)) == expected


@settings(max_examples=300)
@given(cut)
@example(trace(*psb_plus(ORG), packet(ppt_ovf)) + b"\x00\x05")
def test_events_end_where_packets_do(data: bytes) -> None:
    """An error of a packet is one of events at the same offset, unless an error of meaning comes first,
    or an OVF, which looks ahead for a FUP and reports what it meets there at its own place."""
    packets = pt_pkt_alloc_decoder(configured(data))
    pt_pkt_sync_set(packets, 0)
    status = 0
    while status >= 0:
        status, _ = pt_pkt_next(packets)
    decoder = pt_evt_alloc_decoder(configured(data))
    assert pt_evt_sync_forward(decoder) in (0, status) or status != -pte_eos
    found = 0
    while found == 0:
        found, _ = pt_evt_next(decoder)
    (_, end), (_, at) = pt_pkt_get_offset(packets), pt_evt_get_offset(decoder)
    assert at <= end
    if at == end:
        assert found == status
    elif data[at : at + 2] != OVF:
        assert found not in (-pte_bad_opc, -pte_eos)


MOST_TRIES = 16


def walked(
    data: bytes,
    image: pt_image,
    functions: tuple[Callable[..., Any], ...],
    executed: Callable[[Any], list[int]],
) -> tuple[list[tuple[int, pt_event | int]], list[int]]:
    """Events and errors, each with the number of instructions before it; and what ran."""
    alloc, set_image, sync, resync, following, event_of = functions
    decoder = alloc(configured(data))
    set_image(decoder, image)
    told: list[tuple[int, pt_event | int]] = []
    ran: list[int] = []
    tries = 0
    status = sync(decoder)
    while status != -pte_eos:
        if status == -pte_event_ignored or (status >= 0 and status & pts_event_pending):
            status, event = event_of(decoder)
            told += [] if event is None else [(len(ran), event)]
        elif status >= 0:
            status, found = following(decoder)
            ran += executed(found)
        if status < 0 and status != -pte_event_ignored:
            told.append((len(ran), status))
            # The trace can name a place again and again where decoding cannot go on.
            tries = tries + 1 if told[-2:-1] == told[-1:] else 1
            status = -pte_internal if tries > MOST_TRIES else resync(decoder)
            if status < 0 and status != -pte_event_ignored:
                status = sync(decoder)
    return told, ran


INSTRUCTIONS = (
    pt_insn_alloc_decoder,
    pt_insn_set_image,
    pt_insn_sync_forward,
    pt_insn_resync,
    pt_insn_next,
    pt_insn_event,
)
BLOCKS = (
    pt_blk_alloc_decoder,
    pt_blk_set_image,
    pt_blk_sync_forward,
    pt_blk_resync,
    pt_blk_next,
    pt_blk_event,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut)
def test_blocks_and_instructions_tell_the_same(image: pt_image, data: bytes) -> None:
    def of_insn(insn: pt_insn) -> list[int]:
        return [insn.ip] if insn.size else []

    def of_block(block: pt_block) -> list[int]:
        # The addresses between are not told.
        ends = {0: block.ip, block.ninsn - 1: block.end_ip}
        return [ends.get(nth, 0) for nth in range(block.ninsn)]

    told, ran = walked(data, image, INSTRUCTIONS, of_insn)
    told_by_blocks, ends = walked(data, image, BLOCKS, of_block)
    assert told_by_blocks == told
    assert ends == [address if end else 0 for address, end in zip(ran, ends, strict=True)]
