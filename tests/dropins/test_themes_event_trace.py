"""ptxed by theme. Event Trace: CFE and EVD, with tracing on, off, and of events alone."""

from __future__ import annotations

import pytest

from support.themes import Case, cases
from support.toolrun import List

CASES = cases("""
ptet-intr-fup-tip: nop nop hlt nop hlt
    +0 cfe:1,e fup:1 tip:3 fup:4 pgd
    = 0 [interrupt 14, ip: @1] [interrupt, from: @1, to: @3] 3 [disabled, at: @4]

ptet-intr-ip-fup: nop nop hlt nop hlt
    +0 cfe.ip:1,e fup:1 fup:1 tip:3 fup:4 pgd
    = 0 [interrupt 14, ip: @1] [interrupt, from: @1, to: @3] 3 [disabled, at: @4]

ptet-intr-cr2: nop nop hlt nop hlt
    +0 evd:0,abc cfe:1,e fup:1 tip:3 fup:4 pgd
    = 0 [interrupt 14, cr2: #abc, ip: @1] [interrupt, from: @1, to: @3] 3 [disabled, at: @4]

ptet-intr-tip_pgd: nop nop hlt nop hlt
    +0 cfe:1,e fup:1 pgd
    = 0 [interrupt 14, ip: @1] [disabled, at: @1]

ptet-iret: nop iret nop hlt
    +0 cfe:2,0 tip:3 fup:4 pgd
    = 0 1 [iret] 3 [disabled, at: @4]

ptet-iret-fup: nop iret nop hlt
    +0 cfe.ip:2,0 fup:1 tip:3 fup:4 pgd
    = 0 1 [iret, ip: @1] 3 [disabled, at: @4]

ptet-iret-tip_pgd: nop iret nop hlt
    +0 cfe:2,0 pgd
    = 0 1 [iret] [disabled]

ptet-iret-disabled: nop iret nop hlt
    +- cfe:2,0 pge:1 pgd
    = [iret] [enabled, ip: @1] 1 [disabled]

ptet-iret-pip: nop iret nop hlt
    +0 cfe:2,0 pip:a00 tip:3 fup:4 pgd
    = 0 1 [iret] [paging, cr3: #a00] 3 [disabled, at: @4]

ptet-pip-iret: nop iret nop hlt
    +0 pip:a00 cfe:2,0 tip:3 fup:4 pgd
    = 0 1 [paging, cr3: #a00] [iret] 3 [disabled, at: @4]

ptet-iret-mode --event:iflags: nop iret nop hlt
    +0 cfe:2,0 mode.if:64 tip:3 fup:4 pgd
    = 0 1 [iret] [interrupts enabled, ip: @3] 3 [disabled, at: @4]

ptet-iret-sysret: nop sysret nop hlt
    +0 cfe:2,0 tip:4 fup:5 pgd
    = 0 1 [iret] 4 [disabled, at: @5]

ptet-iret-sysexit: nop sysexit nop hlt
    +0 cfe:2,0 tip:4 fup:5 pgd
    = 0 1 [iret] 4 [disabled, at: @5]

ptet-iret-erets: nop erets nop hlt
    +0 cfe:2,0 tip:5 fup:6 pgd
    = 0 1 [iret] 5 [disabled, at: @6]

ptet-iret-eretu: nop eretu nop hlt
    +0 cfe:2,0 tip:5 fup:6 pgd
    = 0 1 [iret] 5 [disabled, at: @6]

ptet-iret-retfar-not: nop retfar nop hlt
    +0 cfe:2,0 tip:3 fup:4 pgd
    = 0 1 [21, 1001: error: {bad_query}]

ptet-uiret: nop uiret nop hlt
    +0 cfe:d,0 tip:5 fup:6 pgd
    = 0 1 [uiret] 5 [disabled, at: @6]

ptet-uiret-fup: nop uiret nop hlt
    +0 cfe.ip:d,0 fup:1 tip:5 fup:6 pgd
    = 0 1 [uiret, ip: @1] 5 [disabled, at: @6]

ptet-uintr-fup-tip: nop nop hlt nop hlt
    +0 cfe:c,5 fup:1 tip:3 fup:4 pgd
    = 0 [uintr 5, ip: @1] [interrupt, from: @1, to: @3] 3 [disabled, at: @4]

ptet-smi-fup-tip_pgd-rsm: nop nop hlt nop hlt
    +0 cfe:3,0 fup:1 pgd cfe:4,0 pge:1 fup:2 pgd
    = 0 [smi, ip: @1] [disabled, at: @1] [rsm] [resumed, ip: @1] 1 [disabled, at: @2]

ptet-smi-fup-tip-rsm-tip: nop nop hlt nop jmp*
    +0 cfe:3,0 fup:1 tip:3 cfe:4,0 fup:4 tip:1 fup:2 pgd
    = 0 [smi, ip: @1] [interrupt, from: @1, to: @3] [rsm] 3 [interrupt, from: @4, to: @1] 1
      [disabled, at: @2]

ptet-smi-ip-fup: nop nop hlt nop jmp*
    +0 cfe.ip:3,0 fup:1 fup:2 pgd
    = 0 [smi, ip: @1] 1 [disabled, at: @2]

ptet-rsm-ip: nop nop hlt nop jmp*
    +0 cfe.ip:4,0 fup:1 fup:2 pgd
    = [1d, 0: error: {bad_packet}]

ptet-sipi-ip: nop nop hlt nop jmp*
    +0 cfe.ip:5,0 fup:1 fup:2 pgd
    = [1d, 0: error: {bad_packet}]

ptet-init-fup-tip_pgd-sipi: nop nop hlt nop hlt
    +0 cfe:6,0 fup:1 pgd cfe:5,ce pge:3 fup:4 pgd
    = 0 [init, ip: @1] [disabled, at: @1] [sipi: ce] [enabled, ip: @3] 3 [disabled, at: @4]

ptet-init-ip: nop nop hlt nop hlt
    +0 cfe.ip:6,0 fup:1 fup:2 pgd
    = 0 [init, ip: @1] 1 [disabled, at: @2]

ptet-shutdown: nop nop hlt nop hlt
    +0 cfe:a,0 fup:2 pgd
    = [shutdown] 0 1 [disabled, at: @2]

ptet-shutdown-ip: nop nop hlt nop hlt
    +0 cfe.ip:a,0 fup:1 fup:2 pgd
    = 0 [shutdown, ip: @1] 1 [disabled, at: @2]

ptet-vmentry: nop vmlaunch nop hlt
    +0 cfe:7,0 tip:4 fup:5 pgd
    = 0 1 [vmentry] 4 [disabled, at: @5]

ptet-vmentry-vmresume-pgd: nop vmresume nop hlt
    +0 cfe:7,0 pgd
    = 0 1 [vmentry] [disabled]

ptet-vmentry-ip: nop vmresume nop hlt
    +0 cfe.ip:7,0 fup:1 pgd
    = 0 1 [vmentry, ip: @1] [disabled]

ptet-vmentry-pip-vmcs: nop vmresume nop hlt
    +0 cfe:7,0 pip:a00 vmcs:b000 tip:4 fup:5 pgd
    = 0 1 [vmentry] [paging, cr3: #a00] [vmcs, base: #b000] 4 [disabled, at: @5]

ptet-vmexit-fup-tip: nop nop hlt nop hlt
    +0 evd:2,1 evd:1,2 cfe:8,0 fup:1 tip:3 fup:4 pgd
    = 0 [vmexit, vmxr: #1, vmxq: #2, ip: @1] [interrupt, from: @1, to: @3] 3 [disabled, at: @4]

ptet-vmexit_intr-fup-pip-vmcs-tip: nop nop hlt nop hlt
    +0 evd:1,2 cfe:9,20 fup:1 pip:a00 vmcs:b000 tip:3 fup:4 pgd
    = 0 [vmexit, intr: 32, vmxq: #2, ip: @1] [interrupt, from: @1, to: @3] [vmcs, base: #b000, ip: @3]
      [paging, cr3: #a00, ip: @3] 3 [disabled, at: @4]

ptet-vmexit-ip: nop nop hlt nop hlt
    +0 evd:1,2 cfe.ip:9,20 fup:1 fup:2 pgd
    = 0 [vmexit, intr: 32, vmxq: #2, ip: @1] 1 [disabled, at: @2]

ptet-swintr: nop int nop hlt
    +0 cfe:e,80 fup:1 tip:3 fup:4 pgd
    = 0 [swintr 128, ip: @1] [interrupt, from: @1, to: @3] 3 [disabled, at: @4]

ptet-swintr-ip: nop int nop hlt
    +0 cfe.ip:e,80 fup:1 tip:3 fup:4 pgd
    = 0 [swintr 128, ip: @1] 1 3 [disabled, at: @4]

ptet-swintr-tip_pgd: nop int nop hlt
    +0 cfe:e,80 fup:1 pgd pge:3 fup:4 pgd
    = 0 [swintr 128, ip: @1] [disabled, at: @1] [enabled, ip: @3] 3 [disabled, at: @4]

ptet-swintr-disabled: nop int nop hlt
    +- cfe:e,80 pge:3 fup:4 pgd
    = [swintr 128] [enabled, ip: @3] 3 [disabled, at: @4]

ptet-syscall: nop syscall nop hlt
    +0 cfe:f,0 tip:3 fup:4 pgd
    = 0 1 [syscall] 3 [disabled, at: @4]

ptet-syscall-ip: nop syscall nop hlt
    +0 cfe.ip:f,0 fup:1 tip:3 fup:4 pgd
    = 0 [syscall, ip: @1] 1 3 [disabled, at: @4]

ptet-sysenter: nop sysenter nop hlt
    +0 cfe:f,0 tip:3 fup:4 pgd
    = 0 1 [syscall] 3 [disabled, at: @4]

ptet-syscall-tip_pgd: nop syscall nop hlt
    +0 cfe:f,0 pgd pge:3 fup:4 pgd
    = 0 1 [syscall] [disabled] [resumed, ip: @3] 3 [disabled, at: @4]

ptet-syscall-disabled: nop syscall nop hlt
    +- cfe:f,0 pge:3 fup:4 pgd
    = [syscall] [enabled, ip: @3] 3 [disabled, at: @4]

ptet-unknown-ip: nop nop hlt nop hlt
    +0 cfe.ip:b,0 fup:1 fup:2 pgd
    = 0 1 [disabled, at: @2]

ptet-unknown: nop nop hlt nop hlt
    +0 cfe:b,0 fup:2 pgd
    = 0 1 [disabled, at: @2]

ptet-evd-unknown-cfe: nop nop hlt nop hlt
    +0 evd:1,5 cfe:b,0 fup:2 pgd
    = [28, 0: error: {bad_context}]

ptet-evd_cr2-cfe_iret: nop nop hlt nop hlt
    +0 evd:0,5 cfe:2,0 fup:2 pgd
    = [28, 0: error: {bad_context}]

ptet-evd_cr2-evd_cr2: nop nop hlt nop hlt
    +0 evd:0,5 evd:0,5 cfe:1,0 fup:2 pgd
    = [28, 0: error: {bad_context}]

ptet-evd_vmxq-evd_cr2: nop nop hlt nop hlt
    +0 evd:1,5 evd:0,5 cfe:1,0 fup:2 pgd
    = [28, 0: error: {bad_context}]

ptet-evd_cr2-evd_vmxr: nop nop hlt nop hlt
    +0 evd:0,5 evd:2,5 cfe:1,0 fup:2 pgd
    = [28, 0: error: {bad_context}]

ptet-evd_vmxr-evd_vmxr: nop nop hlt nop hlt
    +0 evd:2,5 evd:2,5 cfe:8,0 fup:2 pgd
    = [28, 0: error: {bad_context}]

ptet-evd-psb: nop nop hlt nop hlt
    +0 evd:0,5 +1 cfe:1,0 fup:2 pgd
    = [28, 0: error: {bad_context}]

ptet-evd-tip: nop jmp* nop hlt
    +0 evd:0,5 tip:3 cfe:1,7 fup:4 pgd
    = 0 1 3 [interrupt 7, cr2: #5, ip: @4] [disabled, at: @4]

ptet-evd-ovf: nop nop nop hlt
    +0 evd:0,5 ovf fup:1 cfe:1,7 fup:2 pgd
    = [overflow, ip: @1] 1 [interrupt 7, ip: @2] [disabled, at: @2]

ptet-evd-eos: nop nop nop hlt
    +0 evd:0,5
    = [end of trace]

ptet-cfe-psb: nop nop nop hlt
    +0 cfe:1,5 +1 fup:2 pgd
    = [21, 0: error: {bad_context}]

ptet-disabled-intr-fup: nop syscall nop hlt
    +0 pgd cfe:1,5 pge:3 fup:4 pgd
    = 0 1 [disabled] [interrupt 5] [resumed, ip: @3] 3 [disabled, at: @4]

ptet-disabled-intr-ip-fup: nop syscall nop hlt
    +0 pgd cfe.ip:1,5 fup:3 pge:3 fup:4 pgd
    = 0 1 [disabled] [interrupt 5, ip: @3] [resumed, ip: @3] 3 [disabled, at: @4]

ptet-disabled-vmexit-vmentry: nop syscall nop hlt
    +0 pgd evd:1,5 evd:2,6 cfe:9,7 cfe:7,0 pge:3 fup:4 pgd
    = 0 1 [disabled] [vmexit, intr: 7, vmxr: #6, vmxq: #5] [vmentry] [resumed, ip: @3] 3 [disabled, at: @4]

ptet-branchen-0 --event:iflags: nop nop nop hlt
    psb mode.if:64 psbend mode:64 fup:0 cfe.ip:1,e fup:1 cfe:2,0 mode.if:64 fup:2 ptw.ip:7 fup:3 cfe:3,0
    cfe:4,0 cfe:5,ff
    = [interrupts disabled, ip: @0] [interrupt 14, ip: @1] [iret] [interrupts enabled, ip: @2]
      [ptwrite: 7, ip: @3] [smi] [rsm] [sipi: ff]

ptet-two-at-fup: nop nop nop hlt
    +0 cfe:3,0 cfe:1,5 fup:1 tip:2 fup:3 pgd
    = 0 [smi, ip: @1] [interrupt 5, ip: @1] [interrupt, from: @1, to: @2] 2 [disabled, at: @3]

ptet-intr-mode-fup --event:iflags: nop nop nop hlt
    +0 cfe:1,5 fup:1 mode:32 tip:2 fup:3 pgd
    = 0 [interrupt 5, ip: @1] [interrupt, from: @1, to: @2] [exec mode: 32-bit, ip: @2] 2 [disabled, at: @3]

ptet-swintr-plus-iret: nop int iret hlt
    +0 cfe:e,80 fup:1 tip:3 cfe:2,0 tip:0
    = 0 [swintr 128, ip: @1] [interrupt, from: @1, to: @3] 3 [iret] [end of trace]

ptet-iret-tnt: jz:2 iret nop hlt
    +0 cfe:2,0 tnt:. tip:4
    = 0 [21, 1000: error: {bad_query}]

ptet-iret-int3: int3 hlt
    +0 cfe:e,3 tip:0
    = 0 [end of trace]

ptet-tsx-cfe: nop nop nop nop hlt
    +0 tsx.begin fup:1 tsx.abort cfe:1,5 fup:2 tip:3 fup:4 pgd
    = 0 [begin transaction, ip: @1] ?1 [aborted, ip: @2] [interrupt 5, ip: @2] [interrupt, from: @2, to: @3]
      3 [disabled, at: @4]

ptet-exstop-intr: nop nop nop nop hlt
    +0 exstop.ip cfe:1,5 fup:2 tip:3 fup:4 pgd
    = 0 1 [exstop, ip: @2] [interrupt 5, ip: @2] 2 3 4 [2c, 1005: error: {nomap}]
""")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_event_trace(case: Case, listed: List) -> None:
    case.check(listed)
