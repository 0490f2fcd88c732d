"""libipt's query decoder, as its manual pages have it."""

from __future__ import annotations

import pytest

from odograph.compat.libipt import (
    pcv_intel,
    pcv_unknown,
    ppt_cbr,
    ppt_fup,
    ppt_psb,
    ppt_psbend,
    ppt_ptw,
    ppt_stop,
    ppt_tip,
    ppt_tip_pgd,
    ppt_tip_pge,
    ppt_tsc,
    pt_cpu,
    pt_cpu_errata,
    pt_errata,
    pt_errcode,
    pt_errstr,
    pt_qry_alloc_decoder,
    pt_qry_cond_branch,
    pt_qry_core_bus_ratio,
    pt_qry_event,
    pt_qry_free_decoder,
    pt_qry_get_config,
    pt_qry_get_offset,
    pt_qry_get_sync_offset,
    pt_qry_indirect_branch,
    pt_qry_sync_backward,
    pt_qry_sync_forward,
    pt_qry_sync_set,
    pt_qry_time,
    pt_query_decoder,
    pte_bad_cpu,
    pte_bad_opc,
    pte_bad_query,
    pte_eos,
    pte_invalid,
    pte_no_cbr,
    pte_no_time,
    pte_nosync,
    ptev_async_disabled,
    ptev_cbr,
    ptev_disabled,
    ptev_enabled,
    ptev_exec_mode,
    ptev_ptwrite,
    ptev_stop,
    pts_eos,
    pts_event_pending,
    pts_ip_suppressed,
    sizeof_pt_event,
)
from support.libipttrace import config_for, ip, packet, psb_plus, tnt, trace

START = 0x1000


def drained(decoder: pt_query_decoder, status: int) -> tuple[int, list[int]]:
    """Takes all pending events: the last status, and their types."""
    kinds = []
    while status & pts_event_pending:
        status, event = pt_qry_event(decoder, sizeof_pt_event)
        if status < 0:
            break
        kinds.append(event.type)
    return status, kinds


def walk(data: bytes, code: dict[int, tuple[str, int, int]]) -> list[str]:
    """The query loop over a program: address -> (kind, next address, target)."""
    decoder = pt_qry_alloc_decoder(config_for(data))
    assert decoder is not None
    seen = []
    status, address = pt_qry_sync_forward(decoder)
    while status >= 0:
        status, kinds = drained(decoder, status)
        seen += [kind.name if hasattr(kind, "name") else str(kind) for kind in kinds]
        if status < 0 or status & pts_eos or address is None:
            break
        kind, following, target = code[address]
        seen.append(f"{kind} {address:#x}")
        if kind == "cond":
            status, taken = pt_qry_cond_branch(decoder)
            address = target if taken else following
        elif kind == "indirect":
            status, address = pt_qry_indirect_branch(decoder)
        else:
            address = following
    pt_qry_free_decoder(decoder)
    return [*seen, pt_errstr(pt_errcode(status))]


def test_the_query_loop() -> None:
    program = {
        0x1000: ("other", 0x1001, 0),
        0x1001: ("cond", 0x1003, 0x1010),
        0x1003: ("indirect", 0x1005, 0),
        0x1010: ("cond", 0x1012, 0x1003),
    }
    data = trace(*psb_plus(START), tnt("!!"), ip(ppt_tip, 0x1001), tnt("."))
    assert walk(data, program) == [
        str(ptev_enabled.value),
        str(ptev_exec_mode.value),
        "other 0x1000",
        "cond 0x1001",
        "cond 0x1010",
        "indirect 0x1003",
        "cond 0x1001",
        "OK",
    ]


def test_status_bits() -> None:
    ptw = packet(ppt_ptw, ptw__payload=7)
    data = trace(*psb_plus(START), tnt("!."), ptw, ip(ppt_tip, None), ip(ppt_tip, 0x2000))
    decoder = pt_qry_alloc_decoder(config_for(data))
    assert pt_qry_sync_forward(decoder) == (pts_event_pending, START)
    assert pt_qry_cond_branch(decoder) == (-pte_bad_query, None)
    assert drained(decoder, pts_event_pending) == (0, [ptev_enabled, ptev_exec_mode])
    # Events are hidden until the branches before them have been asked for.
    assert pt_qry_event(decoder) == (-pte_bad_query, None)
    assert pt_qry_cond_branch(decoder) == (0, 1)
    assert pt_qry_event(decoder) == (-pte_bad_query, None)
    assert pt_qry_cond_branch(decoder) == (pts_event_pending, 0)
    assert pt_qry_indirect_branch(decoder) == (-pte_bad_query, None)
    status, event = pt_qry_event(decoder)
    assert (status, event.type, event.ip_suppressed) == (0, ptev_ptwrite, 1)
    assert pt_qry_indirect_branch(decoder) == (pts_ip_suppressed, None)
    assert pt_qry_indirect_branch(decoder) == (pts_eos, 0x2000)
    assert pt_qry_indirect_branch(decoder) == (-pte_eos, None)
    assert pt_qry_cond_branch(decoder) == (-pte_eos, None)
    assert pt_qry_event(decoder) == (-pte_eos, None)


def test_a_deferred_tip() -> None:
    data = trace(*psb_plus(START), tnt("!."), ip(ppt_tip, 0x2000))
    decoder = pt_qry_alloc_decoder(config_for(data))
    drained(decoder, pt_qry_sync_forward(decoder)[0])
    assert pt_qry_indirect_branch(decoder) == (0, 0x2000)
    assert [pt_qry_cond_branch(decoder) for _ in range(3)] == [(0, 1), (pts_eos, 0), (-pte_eos, None)]


def test_synchronisation_and_offsets() -> None:
    on, off = trace(*psb_plus(START)), trace(*psb_plus(None))
    decoder = pt_qry_alloc_decoder(config_for(on + off))
    assert pt_qry_get_offset(decoder) == (-pte_nosync, None)
    assert pt_qry_get_sync_offset(decoder) == (-pte_nosync, None)
    for query in (pt_qry_cond_branch, pt_qry_indirect_branch, pt_qry_event):
        assert query(decoder) == (-pte_nosync, None)
    assert pt_qry_sync_forward(decoder) == (pts_event_pending, START)
    assert pt_qry_sync_forward(decoder) == (pts_event_pending | pts_ip_suppressed, None)
    assert pt_qry_get_sync_offset(decoder) == (0, len(on))
    assert pt_qry_get_offset(decoder)[0] == 0
    assert pt_qry_sync_forward(decoder) == (-pte_eos, None)
    assert pt_qry_sync_backward(decoder) == (0, START)
    assert pt_qry_sync_backward(decoder) == (-pte_eos, None)
    assert pt_qry_sync_set(decoder, len(on)) == (pts_event_pending | pts_ip_suppressed, None)
    assert pt_qry_sync_set(decoder, 1) == (-pte_nosync, None)
    assert pt_qry_sync_set(decoder, 1000) == (-pte_eos, None)


def test_an_error_is_pending_until_it_is_asked_for() -> None:
    data = trace(*psb_plus(START), tnt("!")) + b"\xc9" + trace(*psb_plus(None))
    decoder = pt_qry_alloc_decoder(config_for(data))
    drained(decoder, pt_qry_sync_forward(decoder)[0])
    assert pt_qry_cond_branch(decoder) == (pts_event_pending, 1)
    assert pt_qry_event(decoder) == pt_qry_event(decoder) == (-pte_bad_opc, None)
    status, _ = pt_qry_sync_forward(decoder)
    assert drained(decoder, status) == (pts_eos, [ptev_disabled, ptev_exec_mode])


def test_time_and_ratio() -> None:
    tsc = [packet(ppt_tsc, tsc__tsc=value) for value in (0x10, 0x20)]
    begin = psb_plus(START)
    cbr = packet(ppt_cbr, cbr__ratio=9)
    decoder = pt_qry_alloc_decoder(config_for(trace(*begin[:-1], tsc[0], begin[-1], tnt("!"), tsc[1], cbr)))
    assert pt_qry_time(decoder) == (-pte_no_time, 0, 0, 0)
    assert pt_qry_core_bus_ratio(decoder) == (-pte_no_cbr, None)
    drained(decoder, pt_qry_sync_forward(decoder)[0])
    assert pt_qry_cond_branch(decoder) == (pts_event_pending, 1)
    assert pt_qry_time(decoder) == (0, 0x10, 0, 0)
    assert drained(decoder, pts_event_pending) == (pts_eos, [ptev_cbr])
    assert pt_qry_time(decoder) == (0, 0x20, 0, 0)
    assert pt_qry_core_bus_ratio(decoder) == (0, 9)


def test_the_size_of_an_event() -> None:
    decoder = pt_qry_alloc_decoder(config_for(trace(*psb_plus(START))))
    pt_qry_sync_forward(decoder)
    assert pt_qry_event(decoder, 39) == (-pte_invalid, None)
    status, event = pt_qry_event(decoder, 40)
    assert (status, event.type, event.status_update, event.variant.enabled.ip) == (
        pts_event_pending,
        ptev_enabled,
        1,
        0,
    )


def test_tracing_switched_off_and_on() -> None:
    data = trace(
        *psb_plus(START),
        ip(ppt_fup, 0x1001),
        ip(ppt_tip_pgd, None),
        packet(ppt_stop),
        ip(ppt_tip_pge, 0x1001),
    )
    decoder = pt_qry_alloc_decoder(config_for(data))
    status, kinds = drained(decoder, pt_qry_sync_forward(decoder)[0])
    expected = [ptev_enabled, ptev_exec_mode, ptev_async_disabled, ptev_stop, ptev_enabled]
    assert (status, kinds) == (pts_eos, expected)


def test_errata_of_processors() -> None:
    errata = pt_errata(apl12=1)
    assert pt_cpu_errata(errata, pt_cpu(vendor=pcv_intel, family=6, model=0x4E, stepping=3)) == 0
    found = [name for name, *_ in pt_errata._fields_ if name != "reserved" and getattr(errata, name)]
    assert found == ["bdm70", "skd007", "skd022", "skd010", "skl014", "skl168"]
    assert pt_cpu_errata(errata, pt_cpu(vendor=pcv_unknown, family=6, model=0x4E)) == -pte_bad_cpu
    assert errata == pt_errata()
    assert pt_cpu_errata(errata, pt_cpu(vendor=pcv_intel, family=6, model=0)) == -pte_bad_cpu
    assert pt_cpu_errata(None, pt_cpu()) == -pte_invalid
    assert pt_cpu_errata(errata, None) == -pte_invalid


@pytest.mark.parametrize(
    ("bdm70", "kinds"), [(0, [ptev_enabled, ptev_enabled]), (1, [ptev_disabled, ptev_enabled])]
)
def test_errata_are_applied_bit_by_bit(bdm70: int, kinds: list[int]) -> None:
    # BDM70: PSB+ before a TIP.PGE wrongly holds a FUP.
    stray = trace(packet(ppt_psb), ip(ppt_fup, START), packet(ppt_psbend), ip(ppt_tip_pge, START))
    config = config_for(stray)
    config.errata.bdm70 = bdm70
    decoder = pt_qry_alloc_decoder(config)
    assert drained(decoder, pt_qry_sync_forward(decoder)[0]) == (pts_eos, kinds)


def test_none_is_invalid() -> None:
    assert pt_qry_alloc_decoder(None) is None
    decoder = pt_qry_alloc_decoder(config_for(b""))
    assert pt_qry_get_config(decoder) is not None
    pt_qry_free_decoder(decoder)
    pt_qry_free_decoder(None)
    for gone in (None, decoder):
        for query in (
            pt_qry_sync_forward,
            pt_qry_sync_backward,
            pt_qry_get_offset,
            pt_qry_get_sync_offset,
            pt_qry_cond_branch,
            pt_qry_indirect_branch,
            pt_qry_event,
            pt_qry_core_bus_ratio,
        ):
            assert query(gone) == (-pte_invalid, None)
        assert pt_qry_sync_set(gone, 0) == (-pte_invalid, None)
        assert pt_qry_time(gone) == (-pte_invalid, None, None, None)
        assert pt_qry_get_config(gone) is None
