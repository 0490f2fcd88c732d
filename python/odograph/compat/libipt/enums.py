"""libipt's enumerations with their C names and values."""

from __future__ import annotations

import enum


class pt_packet_type(enum.IntEnum):
    """What kind of packet it is."""

    ppt_invalid = 0
    ppt_unknown = 1
    ppt_pad = 2
    ppt_psb = 3
    ppt_psbend = 4
    ppt_fup = 5
    ppt_tip = 6
    ppt_tip_pge = 7
    ppt_tip_pgd = 8
    ppt_tnt_8 = 9
    ppt_tnt_64 = 10
    ppt_mode = 11
    ppt_pip = 12
    ppt_vmcs = 13
    ppt_cbr = 14
    ppt_tsc = 15
    ppt_tma = 16
    ppt_mtc = 17
    ppt_cyc = 18
    ppt_stop = 19
    ppt_ovf = 20
    ppt_mnt = 21
    ppt_exstop = 22
    ppt_mwait = 23
    ppt_pwre = 24
    ppt_pwrx = 25
    ppt_ptw = 26
    ppt_cfe = 27
    ppt_evd = 28
    ppt_trig = 29


class pt_ip_compression(enum.IntEnum):
    """How the address of a packet is compressed."""

    pt_ipc_suppressed = 0
    pt_ipc_update_16 = 1
    pt_ipc_update_32 = 2
    pt_ipc_sext_48 = 3
    pt_ipc_update_48 = 4
    pt_ipc_full = 6


class pt_exec_mode(enum.IntEnum):
    """The execution mode."""

    ptem_unknown = 0
    ptem_16bit = 1
    ptem_32bit = 2
    ptem_64bit = 3


class pt_mode_leaf(enum.IntEnum):
    """What a MODE packet is about."""

    pt_mol_exec = 0
    pt_mol_tsx = 0x20


class pt_cpu_vendor(enum.IntEnum):
    """Who made the processor."""

    pcv_unknown = 0
    pcv_intel = 1


class pt_cfe_type(enum.IntEnum):
    """What a control-flow event is."""

    pt_cfe_intr = 1
    pt_cfe_iret = 2
    pt_cfe_smi = 3
    pt_cfe_rsm = 4
    pt_cfe_sipi = 5
    pt_cfe_init = 6
    pt_cfe_vmentry = 7
    pt_cfe_vmexit = 8
    pt_cfe_vmexit_intr = 9
    pt_cfe_shutdown = 0xA
    pt_cfe_uintr = 0xC
    pt_cfe_uiret = 0xD
    pt_cfe_swintr = 0xE
    pt_cfe_syscall = 0xF


class pt_evd_type(enum.IntEnum):
    """What event data are."""

    pt_evd_cr2 = 0
    pt_evd_vmxq = 1
    pt_evd_vmxr = 2


class pt_cfe_intr_vector(enum.IntEnum):
    """Vectors of exceptions. The tag in C is ``pt_cfe_intr``, which here is a control-flow event."""

    pt_cfe_intr_de = 0
    pt_cfe_intr_db = 1
    pt_cfe_intr_nmi = 2
    pt_cfe_intr_bp = 3
    pt_cfe_intr_of = 4
    pt_cfe_intr_br = 5
    pt_cfe_intr_ud = 6
    pt_cfe_intr_nm = 7
    pt_cfe_intr_df = 8
    pt_cfe_intr_ts = 10
    pt_cfe_intr_np = 11
    pt_cfe_intr_ss = 12
    pt_cfe_intr_gp = 13
    pt_cfe_intr_pf = 14
    pt_cfe_intr_mf = 16
    pt_cfe_intr_ac = 17
    pt_cfe_intr_mc = 18
    pt_cfe_intr_xm = 19
    pt_cfe_intr_ve = 20
    pt_cfe_intr_cp = 21


class pt_event_type(enum.IntEnum):
    """What kind of event it is."""

    ptev_enabled = 0
    ptev_disabled = 1
    ptev_async_disabled = 2
    ptev_async_branch = 3
    ptev_paging = 4
    ptev_async_paging = 5
    ptev_overflow = 6
    ptev_exec_mode = 7
    ptev_tsx = 8
    ptev_stop = 9
    ptev_vmcs = 10
    ptev_async_vmcs = 11
    ptev_exstop = 12
    ptev_mwait = 13
    ptev_pwre = 14
    ptev_pwrx = 15
    ptev_ptwrite = 16
    ptev_tick = 17
    ptev_cbr = 18
    ptev_mnt = 19
    ptev_tip = 20
    ptev_tnt = 21
    ptev_iflags = 22
    ptev_interrupt = 23
    ptev_iret = 24
    ptev_smi = 25
    ptev_rsm = 26
    ptev_sipi = 27
    ptev_init = 28
    ptev_vmentry = 29
    ptev_vmexit = 30
    ptev_shutdown = 31
    ptev_uintr = 32
    ptev_uiret = 33
    ptev_trig = 34
    ptev_swintr = 35
    ptev_syscall = 36


class pt_insn_class(enum.IntEnum):
    """What an instruction does to the flow of control."""

    ptic_unknown = 0
    ptic_other = 1
    ptic_call = 2
    ptic_return = 3
    ptic_jump = 4
    ptic_cond_jump = 5
    ptic_far_call = 6
    ptic_far_return = 7
    ptic_far_jump = 8
    ptic_ptwrite = 9
    ptic_indirect = 10


class pt_status_flag(enum.IntFlag):
    """What a decoder can say about what comes next."""

    pts_event_pending = 1
    pts_ip_suppressed = 2
    pts_eos = 4


(
    ppt_invalid,
    ppt_unknown,
    ppt_pad,
    ppt_psb,
    ppt_psbend,
    ppt_fup,
    ppt_tip,
    ppt_tip_pge,
    ppt_tip_pgd,
    ppt_tnt_8,
    ppt_tnt_64,
    ppt_mode,
    ppt_pip,
    ppt_vmcs,
    ppt_cbr,
    ppt_tsc,
    ppt_tma,
    ppt_mtc,
    ppt_cyc,
    ppt_stop,
    ppt_ovf,
    ppt_mnt,
    ppt_exstop,
    ppt_mwait,
    ppt_pwre,
    ppt_pwrx,
    ppt_ptw,
    ppt_cfe,
    ppt_evd,
    ppt_trig,
) = pt_packet_type
(
    pt_ipc_suppressed,
    pt_ipc_update_16,
    pt_ipc_update_32,
    pt_ipc_sext_48,
    pt_ipc_update_48,
    pt_ipc_full,
) = pt_ip_compression
(
    ptem_unknown,
    ptem_16bit,
    ptem_32bit,
    ptem_64bit,
) = pt_exec_mode
(
    pt_mol_exec,
    pt_mol_tsx,
) = pt_mode_leaf
(
    pcv_unknown,
    pcv_intel,
) = pt_cpu_vendor
(
    pt_cfe_intr,
    pt_cfe_iret,
    pt_cfe_smi,
    pt_cfe_rsm,
    pt_cfe_sipi,
    pt_cfe_init,
    pt_cfe_vmentry,
    pt_cfe_vmexit,
    pt_cfe_vmexit_intr,
    pt_cfe_shutdown,
    pt_cfe_uintr,
    pt_cfe_uiret,
    pt_cfe_swintr,
    pt_cfe_syscall,
) = pt_cfe_type
(
    pt_evd_cr2,
    pt_evd_vmxq,
    pt_evd_vmxr,
) = pt_evd_type
(
    pt_cfe_intr_de,
    pt_cfe_intr_db,
    pt_cfe_intr_nmi,
    pt_cfe_intr_bp,
    pt_cfe_intr_of,
    pt_cfe_intr_br,
    pt_cfe_intr_ud,
    pt_cfe_intr_nm,
    pt_cfe_intr_df,
    pt_cfe_intr_ts,
    pt_cfe_intr_np,
    pt_cfe_intr_ss,
    pt_cfe_intr_gp,
    pt_cfe_intr_pf,
    pt_cfe_intr_mf,
    pt_cfe_intr_ac,
    pt_cfe_intr_mc,
    pt_cfe_intr_xm,
    pt_cfe_intr_ve,
    pt_cfe_intr_cp,
) = pt_cfe_intr_vector
(
    ptev_enabled,
    ptev_disabled,
    ptev_async_disabled,
    ptev_async_branch,
    ptev_paging,
    ptev_async_paging,
    ptev_overflow,
    ptev_exec_mode,
    ptev_tsx,
    ptev_stop,
    ptev_vmcs,
    ptev_async_vmcs,
    ptev_exstop,
    ptev_mwait,
    ptev_pwre,
    ptev_pwrx,
    ptev_ptwrite,
    ptev_tick,
    ptev_cbr,
    ptev_mnt,
    ptev_tip,
    ptev_tnt,
    ptev_iflags,
    ptev_interrupt,
    ptev_iret,
    ptev_smi,
    ptev_rsm,
    ptev_sipi,
    ptev_init,
    ptev_vmentry,
    ptev_vmexit,
    ptev_shutdown,
    ptev_uintr,
    ptev_uiret,
    ptev_trig,
    ptev_swintr,
    ptev_syscall,
) = pt_event_type
(
    ptic_unknown,
    ptic_other,
    ptic_call,
    ptic_return,
    ptic_jump,
    ptic_cond_jump,
    ptic_far_call,
    ptic_far_return,
    ptic_far_jump,
    ptic_ptwrite,
    ptic_indirect,
) = pt_insn_class
(
    pts_event_pending,
    pts_ip_suppressed,
    pts_eos,
) = pt_status_flag
