"""libipt's event decoder, as its manual page has it."""

from __future__ import annotations

from typing import Any

import pytest

from odograph.compat.libipt import (
    ppt_cbr,
    ppt_cfe,
    ppt_evd,
    ppt_exstop,
    ppt_fup,
    ppt_mnt,
    ppt_mode,
    ppt_mwait,
    ppt_ovf,
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
    ppt_trig,
    ppt_tsc,
    ppt_vmcs,
    pt_cfe_intr,
    pt_cfe_intr_pf,
    pt_cfe_sipi,
    pt_cfe_vmexit_intr,
    pt_evd_cr2,
    pt_evd_vmxq,
    pt_evd_vmxr,
    pt_event,
    pt_event_type,
    pt_evt_alloc_decoder,
    pt_evt_free_decoder,
    pt_evt_get_config,
    pt_evt_get_offset,
    pt_evt_get_sync_offset,
    pt_evt_next,
    pt_evt_sync_backward,
    pt_evt_sync_forward,
    pt_evt_sync_set,
    pt_mol_exec,
    pt_mol_tsx,
    pt_packet,
    pte_bad_context,
    pte_eos,
    pte_invalid,
    pte_nosync,
    ptem_32bit,
    ptem_64bit,
    ptev_async_branch,
    ptev_async_disabled,
    ptev_async_paging,
    ptev_async_vmcs,
    ptev_cbr,
    ptev_disabled,
    ptev_enabled,
    ptev_exec_mode,
    ptev_exstop,
    ptev_iflags,
    ptev_interrupt,
    ptev_mnt,
    ptev_mwait,
    ptev_overflow,
    ptev_paging,
    ptev_ptwrite,
    ptev_pwre,
    ptev_pwrx,
    ptev_sipi,
    ptev_stop,
    ptev_tip,
    ptev_tnt,
    ptev_trig,
    ptev_tsx,
    ptev_vmcs,
    ptev_vmexit,
    sizeof_pt_event,
)
from support.libipttrace import config_for, ip, packet, psb_plus, tnt, trace

START = 0x1000
FUP = ip(ppt_fup, 0x1004)


def all_events(data: bytes, iflags: bool = False) -> list[pt_event]:
    config = config_for(data)
    config.flags.variant.query.enable_iflags_events = iflags
    decoder = pt_evt_alloc_decoder(config)
    assert pt_evt_sync_forward(decoder) == 0
    events = []
    while True:
        status, event = pt_evt_next(decoder, sizeof_pt_event)
        if status < 0:
            break
        assert status == 0
        events.append(event)
    assert (status, event) == (-pte_eos, None)
    pt_evt_free_decoder(decoder)
    return events


def fields(event: pt_event) -> dict[str, int]:
    """The fields of the variant that the event has."""
    name = pt_event_type(event.type).name.removeprefix("ptev_")
    if name == "stop":
        return {}
    variant = getattr(event.variant, name)
    return {field: getattr(variant, field) for field, *_ in variant._fields_}


def test_the_event_loop() -> None:
    tsc = packet(ppt_tsc, tsc__tsc=0x5000)
    begin = psb_plus(START)
    data = trace(*begin[:-1], tsc, begin[-1], tnt("!."), FUP, ip(ppt_tip, None))
    enabled, mode, bits, branch = all_events(data)
    assert [event.type for event in (enabled, mode, bits, branch)] == [
        ptev_enabled,
        ptev_exec_mode,
        ptev_tnt,
        ptev_async_branch,
    ]
    assert (enabled.status_update, enabled.variant.enabled.ip) == (1, START)
    assert (mode.variant.exec_mode.mode, mode.variant.exec_mode.ip) == (ptem_64bit, START)
    assert (bits.variant.tnt.bits, bits.variant.tnt.size, bits.status_update) == (0b10, 2, 0)
    assert (bits.has_tsc, bits.tsc, bits.lost_mtc, bits.lost_cyc) == (1, 0x5000, 0, 0)
    assert (branch.variant.async_branch.from_, branch.ip_suppressed) == (0x1004, 1)
    assert getattr(branch.variant.async_branch, "from") == 0x1004
    assert "ptev_async_branch" in repr(branch)


def mode(leaf: int, **bits: int) -> pt_packet:
    name = "tsx" if leaf == pt_mol_tsx else "exec"
    named: dict[str, Any] = {f"mode__bits__{name}__{bit}": value for bit, value in bits.items()}
    return packet(ppt_mode, mode__leaf=leaf, **named)


PIP = packet(ppt_pip, pip__cr3=0xA000, pip__nr=1)
VMCS = packet(ppt_vmcs, vmcs__base=0xB000)
EXSTOP = packet(ppt_exstop)
CFE = {"cfe__vector": pt_cfe_intr_pf, "cfe__ip": 1}
AT = 0x1004


def evd(kind: int, payload: int) -> pt_packet:
    return packet(ppt_evd, evd__type=kind, evd__payload=payload)


@pytest.mark.parametrize(
    ("packets", "kind", "expected"),
    [
        ([ip(ppt_tip_pge, 0x20)], ptev_enabled, {"ip": 0x20, "resumed": 0}),
        ([ip(ppt_tip_pgd, 0x20)], ptev_disabled, {"ip": 0x20}),
        ([FUP, ip(ppt_tip_pgd, 0x20)], ptev_async_disabled, {"at": AT, "ip": 0x20}),
        ([PIP], ptev_paging, {"cr3": 0xA000, "non_root": 1}),
        ([FUP, PIP, ip(ppt_tip, 0x20)], ptev_async_paging, {"cr3": 0xA000, "non_root": 1, "ip": 0x20}),
        ([VMCS], ptev_vmcs, {"base": 0xB000}),
        ([FUP, VMCS, ip(ppt_tip, 0x20)], ptev_async_vmcs, {"base": 0xB000, "ip": 0x20}),
        ([packet(ppt_ovf), FUP], ptev_overflow, {"ip": AT}),
        ([mode(pt_mol_exec, csd=1), FUP], ptev_exec_mode, {"mode": ptem_32bit, "ip": AT}),
        ([mode(pt_mol_tsx, abrt=1), FUP], ptev_tsx, {"ip": AT, "speculative": 0, "aborted": 1}),
        ([packet(ppt_stop)], ptev_stop, {}),
        ([packet(ppt_exstop, exstop__ip=1), FUP], ptev_exstop, {"ip": AT}),
        (
            [packet(ppt_mwait, mwait__hints=1, mwait__ext=2), EXSTOP],
            ptev_mwait,
            {"ip": 0, "hints": 1, "ext": 2},
        ),
        (
            [packet(ppt_pwre, pwre__state=3, pwre__sub_state=1, pwre__hw=1), packet(ppt_pwrx)],
            ptev_pwre,
            {"state": 3, "sub_state": 1, "hw": 1},
        ),
        (
            [packet(ppt_pwrx, pwrx__last=1, pwrx__deepest=2, pwrx__store=1)],
            ptev_pwrx,
            {"last": 1, "deepest": 2, "interrupt": 0, "store": 1, "autonomous": 0},
        ),
        ([packet(ppt_ptw, ptw__payload=9, ptw__plc=1)], ptev_ptwrite, {"ip": 0, "size": 8, "payload": 9}),
        ([packet(ppt_cbr, cbr__ratio=20)], ptev_cbr, {"ratio": 20}),
        ([packet(ppt_mnt, mnt__payload=5)], ptev_mnt, {"payload": 5}),
        ([ip(ppt_tip, 0x20)], ptev_tip, {"ip": 0x20}),
        ([mode(pt_mol_exec, csl=1, iflag=1), FUP], ptev_iflags, {"iflag": 1, "ip": AT}),
        (
            [packet(ppt_cfe, cfe__type=pt_cfe_intr, **CFE), FUP],
            ptev_interrupt,
            {"has_cr2": 0, "vector": 14, "cr2": 0, "ip": AT},
        ),
        (
            [evd(pt_evd_cr2, 0x77), packet(ppt_cfe, cfe__type=pt_cfe_intr, **CFE), FUP],
            ptev_interrupt,
            {"has_cr2": 1, "vector": 14, "cr2": 0x77, "ip": AT},
        ),
        (
            [
                evd(pt_evd_vmxr, 1),
                evd(pt_evd_vmxq, 2),
                packet(ppt_cfe, cfe__type=pt_cfe_vmexit_intr, **CFE),
                FUP,
            ],
            ptev_vmexit,
            {"has_vector": 1, "has_vmxr": 1, "has_vmxq": 1, "vector": 14, "vmxr": 1, "vmxq": 2, "ip": AT},
        ),
        ([packet(ppt_cfe, cfe__type=pt_cfe_sipi, cfe__vector=7), FUP], ptev_sipi, {"vector": 7}),
        (
            [packet(ppt_trig, trig__trbv=1, trig__icntv=1, trig__icnt=7, trig__mult=1)],
            ptev_trig,
            {"trbv": 1, "icnt": 7, "ip": 0, "mult": 1},
        ),
    ],
    ids=lambda value: value.name if isinstance(value, pt_event_type) else "",
)
def test_every_event_has_its_fields(packets: list[pt_packet], kind: int, expected: dict[str, int]) -> None:
    events = all_events(trace(*psb_plus(START), *packets), iflags=kind == ptev_iflags)
    found = [event for event in events if event.type == kind][-1]
    assert fields(found) == expected


def test_a_smaller_event_gets_what_it_has_room_for() -> None:
    data = trace(*psb_plus(START))
    decoder = pt_evt_alloc_decoder(config_for(data))
    for size, address in {0: 0, 40: 0, 42: START & 0xFFFF, sizeof_pt_event: START, 1000: START}.items():
        assert pt_evt_sync_set(decoder, 0) == 0
        status, event = pt_evt_next(decoder, size)
        assert (status, event.status_update, event.variant.enabled.ip) == (0, int(size > 0), address)


def test_synchronisation_and_offsets() -> None:
    part = trace(*psb_plus(START), tnt("!"))
    data = part + part + trace(packet(ppt_psb))
    decoder = pt_evt_alloc_decoder(config_for(data))
    assert pt_evt_next(decoder) == (-pte_nosync, None)
    assert pt_evt_get_offset(decoder) == (-pte_nosync, None)
    assert pt_evt_get_sync_offset(decoder) == (-pte_nosync, None)
    assert pt_evt_sync_set(decoder, 1) == -pte_nosync
    assert pt_evt_sync_set(decoder, len(data) + 1) == -pte_eos
    assert pt_evt_sync_forward(decoder) == 0
    assert pt_evt_get_offset(decoder) == (0, len(part) - 3)
    # The PSB+ at the end is cut off.
    assert pt_evt_sync_backward(decoder) == -pte_eos
    assert [pt_evt_sync_forward(decoder), pt_evt_sync_forward(decoder)] == [0, -pte_eos]
    assert pt_evt_get_sync_offset(decoder) == (0, 2 * len(part))
    assert pt_evt_next(decoder) == (-pte_eos, None)
    assert [pt_evt_sync_backward(decoder) for _ in range(4)] == [-pte_eos, 0, 0, -pte_eos]
    assert pt_evt_get_sync_offset(decoder) == (0, 0)


def test_errors_stay_until_the_decoder_is_synchronised_again() -> None:
    bad = trace(packet(ppt_psb), packet(ppt_psbend), tnt("!"))
    decoder = pt_evt_alloc_decoder(config_for(bad + trace(*psb_plus(START))))
    assert pt_evt_sync_forward(decoder) == 0
    assert pt_evt_next(decoder)[1].type == ptev_disabled
    assert pt_evt_next(decoder) == pt_evt_next(decoder) == (-pte_bad_context, None)
    assert pt_evt_get_offset(decoder) == (0, len(bad) - 1)
    assert pt_evt_sync_forward(decoder) == 0
    assert pt_evt_next(decoder)[0] == 0


def test_none_is_invalid() -> None:
    assert pt_evt_alloc_decoder(None) is None
    decoder = pt_evt_alloc_decoder(config_for(b""))
    assert pt_evt_get_config(decoder) is not None
    pt_evt_free_decoder(decoder)
    pt_evt_free_decoder(None)
    for gone in (None, decoder):
        assert pt_evt_sync_forward(gone) == -pte_invalid
        assert pt_evt_sync_backward(gone) == -pte_invalid
        assert pt_evt_sync_set(gone, 0) == -pte_invalid
        assert pt_evt_get_offset(gone) == (-pte_invalid, None)
        assert pt_evt_get_sync_offset(gone) == (-pte_invalid, None)
        assert pt_evt_next(gone) == (-pte_invalid, None)
        assert pt_evt_get_config(gone) is None
