"""Every name of libipt's header is there, with the value or the fields it has in C."""

from __future__ import annotations

import ctypes
import enum

import pytest

from odograph.compat import libipt

DECODER = (
    "alloc_decoder free_decoder sync_forward sync_backward sync_set get_offset get_sync_offset get_config"
)
FLOW = "resync get_image set_image time core_bus_ratio asid next event"

FUNCTIONS = {
    "": "library_version errstr errcode config_init cpu_errata alloc_encoder free_encoder asid_init"
    " get_exec_mode set_exec_mode ptw_size",
    "enc_": "sync_set get_offset get_config next",
    "pkt_": f"{DECODER} next",
    "evt_": f"{DECODER} next",
    "qry_": f"{DECODER} cond_branch indirect_branch event time core_bus_ratio",
    "insn_": f"{DECODER} {FLOW}",
    "blk_": f"{DECODER} {FLOW}",
    "iscache_": "alloc free set_limit name add_file read",
    "image_": "alloc free name add_file add_cached copy remove_by_filename remove_by_asid set_callback",
}


@pytest.mark.parametrize("layer", FUNCTIONS)
def test_functions(layer: str) -> None:
    names = [f"pt_{layer}{name}" for name in FUNCTIONS[layer].split()]
    assert [name for name in names if not callable(getattr(libipt, name, None))] == []
    assert [name for name in names if name not in libipt.__all__] == []


def test_constants() -> None:
    assert (libipt.pt_asid_no_cr3, libipt.pt_asid_no_vmcs) == ((1 << 64) - 1,) * 2
    assert libipt.pt_max_insn_size == 15


ENUMS = {
    "pt_packet_type": "ppt_ invalid unknown pad psb psbend fup tip tip_pge tip_pgd tnt_8 tnt_64 mode pip vmcs"
    " cbr tsc tma mtc cyc stop ovf mnt exstop mwait pwre pwrx ptw cfe evd trig",
    "pt_ip_compression": "pt_ipc_ suppressed update_16 update_32 sext_48 update_48=4 full=6",
    "pt_exec_mode": "ptem_ unknown 16bit 32bit 64bit",
    "pt_mode_leaf": "pt_mol_ exec tsx=32",
    "pt_cpu_vendor": "pcv_ unknown intel",
    "pt_cfe_type": "pt_cfe_ intr=1 iret smi rsm sipi init vmentry vmexit vmexit_intr shutdown uintr=12 uiret"
    " swintr syscall",
    "pt_evd_type": "pt_evd_ cr2 vmxq vmxr",
    "pt_cfe_intr_vector": "pt_cfe_intr_ de db nmi bp of br ud nm df ts=10 np ss gp pf mf=16 ac mc xm ve cp",
    "pt_event_type": "ptev_ enabled disabled async_disabled async_branch paging async_paging overflow"
    " exec_mode tsx stop vmcs async_vmcs exstop mwait pwre pwrx ptwrite tick cbr mnt tip tnt iflags"
    " interrupt iret smi rsm sipi init vmentry vmexit shutdown uintr uiret trig swintr syscall",
    "pt_insn_class": "ptic_ unknown other call return jump cond_jump far_call far_return far_jump ptwrite"
    " indirect",
    "pt_status_flag": "pts_ event_pending=1 ip_suppressed eos=4",
    "pt_error_code": "pte_ ok internal invalid nosync bad_opc bad_packet bad_context eos bad_query nomem"
    " bad_config noip ip_suppressed nomap bad_insn no_time no_cbr bad_image bad_lock"
    " not_supported retstack_empty bad_retcomp bad_status_update no_enable event_ignored"
    " overflow bad_file bad_cpu",
}


@pytest.mark.parametrize("tag", ENUMS)
def test_enumerations(tag: str) -> None:
    prefix, *names = ENUMS[tag].split()
    expected, value = {}, 0
    for name in names:
        name, _, given = name.partition("=")
        value = int(given) if given else value
        expected[prefix + name] = value
        value += 1
    assert {name: getattr(libipt, name) for name in expected} == expected
    assert [name for name in expected if name not in libipt.__all__] == []
    if tag != "pt_error_code":
        kind = getattr(libipt, tag)
        assert issubclass(kind, enum.IntEnum | enum.IntFlag)
        assert {member.name: member.value for member in kind} == expected


STRUCTURES = {
    "pt_cpu": "vendor family model stepping",
    "pt_errata": "bdm70 bdm64 skd007 skd022 skd010 skl014 apl12 apl11 skl168 skz84 reserved",
    "pt_conf_addr_filter": "config addr0_a addr0_b addr1_a addr1_b addr2_a addr2_b addr3_a addr3_b reserved",
    "pt_packet": "type size payload",
    "pt_event": "type ip_suppressed status_update has_tsc tsc lost_mtc lost_cyc reserved variant",
    "pt_insn": "ip isid mode iclass raw size speculative truncated",
    "pt_block": "ip end_ip isid mode iclass ninsn raw size speculative truncated",
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures(name: str) -> None:
    structure = getattr(libipt, name)
    assert [field for field, *_ in structure._fields_] == STRUCTURES[name].split()
    assert getattr(libipt, f"sizeof_{name}", None) in (None, ctypes.sizeof(structure))


def test_plain_structures() -> None:
    config = libipt.pt_config()
    names = (
        "size begin end decode cpu errata cpuid_0x15_eax cpuid_0x15_ebx mtc_freq nom_freq flags addr_filter"
    )
    assert [name for name in names.split() if not hasattr(config, name)] == []
    assert (config.decode.callback, config.decode.context) == (None, None)
    assert libipt.pt_version._fields == ("major", "minor", "patch", "build", "ext")
    asid = libipt.pt_asid()
    assert (asid.size, asid.cr3, asid.vmcs) == (24, libipt.pt_asid_no_cr3, libipt.pt_asid_no_vmcs)


def test_payloads_and_variants() -> None:
    payload = libipt.pt_packet().payload
    for field, names in {
        "tnt": "bit_size payload",
        "ip": "ipc ip",
        "mode": "leaf bits",
        "pip": "cr3 nr",
        "tsc": "tsc",
        "cbr": "ratio",
        "tma": "ctc fc",
        "mtc": "ctc",
        "cyc": "value",
        "vmcs": "base",
        "mnt": "payload",
        "exstop": "ip",
        "mwait": "hints ext",
        "pwre": "state sub_state hw",
        "pwrx": "last deepest interrupt store autonomous",
        "ptw": "payload plc ip",
        "cfe": "type vector ip",
        "evd": "type payload",
        "trig": "trbv icnt ip icntv mult",
    }.items():
        assert [name for name, *_ in getattr(payload, field)._fields_] == names.split()
    assert (payload.unknown.packet, payload.unknown.priv) == (None, None)
    variant = libipt.pt_event().variant
    events = [kind.name.removeprefix("ptev_") for kind in libipt.pt_event_type]
    assert [name for name in events if name != "stop" and not hasattr(variant, name)] == []
