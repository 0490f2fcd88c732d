"""ptxed by theme. Which instructions PIP and VMCS belong to, and modes."""

from __future__ import annotations

import pytest

from support.themes import Case, cases
from support.toolrun import List

CASES = cases("""
pip-far_call: nop callfar* nop hlt
    +0 pip:a00 tip:3 fup:4 pgd
    = 0 1 [paging, cr3: #a00] 3 [disabled, at: @4]

pip-syscall-nr: nop syscall nop hlt
    +0 pip.nr:a00 tip:3 fup:4 pgd
    = 0 1 [paging, cr3: #a00, nr] 3 [disabled, at: @4]

pip-mov_cr3: nop movcr3 nop hlt
    +0 pip:a00 fup:5 pgd
    = 0 1 [paging, cr3: #a00] 4 [disabled, at: @5]

pip-mov_cr3-tip_pgd_noip: nop movcr3 nop hlt
    +0 pip:a00 pgd
    = 0 1 [paging, cr3: #a00] [disabled]

pip-mov_cr3-tip_pgd_noip-resume: nop movcr3 nop hlt
    +0 pip:a00 pgd pge:4 fup:5 pgd
    = 0 1 [paging, cr3: #a00] [disabled] [enabled, ip: @4] 4 [disabled, at: @5]

pip-mov_cr3-tip_pgd_noip-resume-same: nop movcr3 nop hlt
    +0 pip:a00 pgd pge:1 pgd
    = 0 1 [paging, cr3: #a00] [disabled] [resumed, ip: @1] 1 [disabled]

pip_mov_cr3-pip_mov_cr3-2: movcr3 movcr3 nop hlt
    +0 pip:a00 pip:b00 fup:7 pgd
    = 0 [paging, cr3: #a00] 3 [paging, cr3: #b00] 6 [disabled, at: @7]

pip-pip-one-mov_cr3-fail: movcr3 nop hlt
    +0 pip:a00 pip:b00 fup:4 pgd
    = 0 [paging, cr3: #a00] 3 4 [2d, 1005: error: {nomap}]

pip-vmcs-far_call: nop callfar* nop hlt
    +0 pip:a00 vmcs:b000 tip:3 fup:4 pgd
    = 0 1 [paging, cr3: #a00] [vmcs, base: #b000] 3 [disabled, at: @4]

vmcs-pip-far_call: nop callfar* nop hlt
    +0 vmcs:b000 pip:a00 tip:3 fup:4 pgd
    = 0 1 [vmcs, base: #b000] [paging, cr3: #a00] 3 [disabled, at: @4]

vmcs-far_call: nop callfar* nop hlt
    +0 vmcs:b000 tip:3 fup:4 pgd
    = 0 1 [vmcs, base: #b000] 3 [disabled, at: @4]

vmcs-vmptrld: nop vmptrld nop hlt
    +0 vmcs:b000 fup:5 pgd
    = 0 1 [vmcs, base: #b000] 4 [disabled, at: @5]

vmcs-mov_cr3-not: nop movcr3 nop vmptrld hlt
    +0 vmcs:b000 fup:8 pgd
    = 0 1 4 5 [vmcs, base: #b000] [disabled, at: @8]

pip-vmptrld-not: nop vmptrld movcr3 nop hlt
    +0 pip:b000 fup:8 pgd
    = 0 1 4 [paging, cr3: #b000] 7 [disabled, at: @8]

pip-vmcs-vmlaunch: nop vmlaunch nop hlt
    +0 pip:a00 vmcs:b000 tip:4 fup:5 pgd
    = 0 1 [paging, cr3: #a00] [vmcs, base: #b000] 4 [disabled, at: @5]

pip-vmcs-vmresume-pgd: nop vmresume nop hlt
    +0 pip:a00 vmcs:b000 pgd
    = 0 1 [paging, cr3: #a00] [vmcs, base: #b000] [disabled]

vmcs-vmresume-pgd-pge: nop vmresume nop hlt
    +0 vmcs:b000 pgd pge:4 fup:5 pgd
    = 0 1 [vmcs, base: #b000] [disabled] [enabled, ip: @4] 4 [disabled, at: @5]

pip-tip_pgd_noip-far_call: nop callfar* nop hlt
    +0 pip:a00 pgd pge:3 fup:4 pgd
    = 0 1 [paging, cr3: #a00] [disabled] [resumed, ip: @3] 3 [disabled, at: @4]

fup-pip-tip: nop nop hlt nop hlt
    +0 fup:1 pip:a00 tip:3 fup:4 pgd
    = 0 [interrupt, from: @1, to: @3] [paging, cr3: #a00, ip: @3] 3 [disabled, at: @4]

fup-vmcs-tip: nop nop hlt nop hlt
    +0 fup:1 vmcs:b000 tip:3 fup:4 pgd
    = 0 [interrupt, from: @1, to: @3] [vmcs, base: #b000, ip: @3] 3 [disabled, at: @4]

fup-pip-tip_pgd: nop nop hlt nop hlt
    +0 fup:1 pip:a00 pgd:3
    = 0 [disabled, at: @1, ip: @3] [paging, cr3: #a00, ip: #0]

fup-pip-vmcs-tip_pgd-noip: nop nop hlt nop hlt
    +0 fup:1 pip:a00 vmcs:b000 pgd
    = 0 [disabled, at: @1] [vmcs, base: #b000, ip: #0] [paging, cr3: #a00, ip: #0]

fup-vmcs-pip-tip: nop nop hlt nop hlt
    +0 fup:1 vmcs:b000 pip:a00 tip:3 fup:4 pgd
    = 0 [interrupt, from: @1, to: @3] [vmcs, base: #b000, ip: @3] [paging, cr3: #a00, ip: @3] 3
      [disabled, at: @4]

fup-pip-mode-tip: nop nop hlt nop hlt
    +0 fup:1 pip:a00 mode:32 tip:3 fup:4 pgd
    = 0 [interrupt, from: @1, to: @3] [paging, cr3: #a00, ip: @3] [exec mode: 32-bit, ip: @3] 3
      [disabled, at: @4]

tip_pgd-pip-vmcs-tip_pge: nop syscall nop hlt
    +0 pgd pip:a00 vmcs:b000 pge:3 fup:4 pgd
    = 0 1 [disabled] [paging, cr3: #a00] [vmcs, base: #b000] [resumed, ip: @3] 3 [disabled, at: @4]

tip_pgd-pip-stop: syscall
    +0 pgd pip:a00 stop
    = 0 [disabled] [paging, cr3: #a00] [stopped]

pip-eos: nop movcr3 nop nop
    +0 pip:a00
    = 0 1 [paging, cr3: #a00] [end of trace]

pip-nomap: nop nop nop
    +0 pip:a00
    = 0 1 2 [25, 1003: error: {nomap}]

pip-jcc-fail: nop jz:5 nop nop movcr3 nop
    +0 pip:a00 tnt:. fup:8 pgd
    = 0 1 [25, 1001: error: {bad_query}]

pip-tnt-jcc-ok: nop jz:5 nop nop movcr3 nop
    +0 tnt:. pip:a00 fup:8 pgd
    = 0 1 3 4 5 [paging, cr3: #a00] [disabled, at: @8]

pip-iret-vmcs: nop iret nop hlt
    +0 pip:a00 tip:3 fup:4 pgd
    = 0 1 [paging, cr3: #a00] 3 [disabled, at: @4]

vmcs-disabled-psb: nop syscall nop hlt
    +0 pgd psb mode:64 pip:a00 vmcs:b000 psbend pge:3 fup:4 pgd
    = 0 1 [disabled] [resumed, ip: @3] 3 [disabled, at: @4]

pip-jmp_indirect-not: nop jmp* movcr3 hlt
    +0 pip:a00 tip:3 fup:6 pgd
    = 0 1 [25, 1001: error: {bad_query}]

mode_exec-tip: jmpfar* nop hlt nop nop
    +0 mode:32 tip:2 fup:3 pgd
    = 0 [exec mode: 32-bit, ip: @2] 2 [disabled, at: @3]

mode_exec-tip-ip: jmpfar* nop hlt nop nop
    +0 mode:32 tip:2 fup:3 pgd
    = 0 [exec mode: 32-bit, ip: @2] 2 [disabled, at: @3]

mode_exec-same-tip: jmpfar* nop hlt nop nop
    +0 mode:64 tip:2 fup:3 pgd
    = 0 2 [disabled, at: @3]

mode_exec-tip_pge: jmpfar* nop hlt nop nop
    +0 pgd mode:32 pge:2 fup:3 pgd
    = 0 [disabled] [enabled, ip: @2] [exec mode: 32-bit, ip: @2] 2 [disabled, at: @3]

mode_exec-16-tip_pge: jmpfar* nop hlt nop nop
    +0 pgd mode:16 pge:2 fup:3 pgd
    = 0 [disabled] [enabled, ip: @2] [exec mode: 16-bit, ip: @2] 2 [disabled, at: @3]

mode_exec-fup-tip: nop nop hlt nop nop
    +0 mode:32 fup:1 tip:3
    = 0 [exec mode: 32-bit, ip: @1] 1 2 3 4 [28, 1005: error: {nomap}]

fup-mode_exec-tip: nop nop hlt nop nop
    +0 fup:1 mode:32 tip:3 fup:4 pgd
    = 0 [interrupt, from: @1, to: @3] [exec mode: 32-bit, ip: @3] 3 [disabled, at: @4]

fup-mode_exec-tip_pgd: nop nop hlt nop nop
    +0 fup:1 mode:32 pgd pge:3 fup:4 pgd
    = 0 [disabled, at: @1] [exec mode: 32-bit] [enabled, ip: @3] 3 [disabled, at: @4]

mode_exec-tip_pgd: nop jmpfar* hlt nop nop
    +0 mode:32 pgd:4 pge:4 fup:5 pgd
    = [exec mode: 32-bit] 0 1 [disabled, ip: @4] [enabled, ip: @4] 4 [disabled, at: @5]

mode_exec-tip_pgd-noip: nop jmpfar* hlt nop nop
    +0 mode:32 pgd pge:4 fup:5 pgd
    = [exec mode: 32-bit] 0 1 [disabled] [enabled, ip: @4] 4 [disabled, at: @5]

mode_exec-same-tip_pgd: nop jmpfar* hlt nop nop
    +0 mode:64 pgd pge:4 fup:5 pgd
    = [1f, 0: error: {bad_context}]

mode_exec-same-fup-tip_pgd: nop nop hlt nop nop
    +0 fup:1 mode:64 pgd pge:4 fup:5 pgd
    = 0 [disabled, at: @1] [28, 1001: error: {bad_context}]

mode_exec-fup-only: nop nop hlt nop nop
    +0 mode:32 fup:1 fup:2 pgd
    = 0 [exec mode: 32-bit, ip: @1] 1 [disabled, at: @2]

mode_exec-unknown: jmpfar* nop hlt nop nop
    +0 raw:9903 tip:2 fup:3 pgd
    = 0 [exec mode: <unknown>, ip: @2] 2 [disabled, at: @3]

mode_exec-if-tip --event:iflags: jmpfar* nop hlt nop nop
    +0 mode.if:64 tip:2 fup:3 pgd
    = 0 [interrupts enabled, ip: @2] 2 [disabled, at: @3]

mode_exec-if-32-tip --event:iflags: jmpfar* nop hlt nop nop
    +0 mode.if:32 tip:2 fup:3 pgd
    = 0 [exec mode: 32-bit, ip: @2] [interrupts enabled, ip: @2] 2 [disabled, at: @3]

mode_exec-if-same-fup --event:iflags: nop nop hlt nop nop
    +0 mode:64 fup:1 fup:2 pgd
    = 0 1 [disabled, at: @2]

mode_exec-if-tip_pge --event:iflags: jmpfar* nop hlt nop nop
    +- mode.if:64 pge:2 fup:3 pgd
    = [enabled, ip: @2] [interrupts enabled, ip: @2] 2 [disabled, at: @3]

mode_exec-if-tip_pge-off: jmpfar* nop hlt nop nop
    +- mode.if:64 pge:2 fup:3 pgd
    = [enabled, ip: @2] 2 [disabled, at: @3]

mode_exec-if-fup-tip --event:iflags: nop nop hlt nop nop
    +0 fup:1 mode.if:64 tip:3 fup:4 pgd
    = 0 [interrupt, from: @1, to: @3] [interrupts enabled, ip: @3] 3 [disabled, at: @4]

mode_exec-if-tip_pgd --event:iflags: syscall nop
    +0 mode.if:64 pgd
    = [1f, 0: error: {bad_context}]

mode_exec-if-tip_pgd-off: syscall nop
    +0 mode.if:64 pgd
    = [1f, 0: error: {bad_context}]

mode_exec-tip_pge-psb: nop nop hlt
    psb psbend mode:64 pge:0 psb fup:1 mode:64 psbend fup:2 pgd
    = [enabled, ip: @0] [exec mode: 64-bit, ip: @0] 0 1 [disabled, at: @2]

psb-mode-if-mismatch --event:iflags: nop nop hlt
    +0 psb fup:1 mode.if:64 psbend fup:2 pgd
    = [36, 0: error: {bad_status_update}]

psb-mode-if-mismatch-off: nop nop hlt
    +0 psb fup:1 mode.if:64 psbend fup:2 pgd
    = 0 1 [disabled, at: @2]

psb-mode-mismatch: nop nop hlt
    +0 psb fup:1 mode:32 psbend fup:2 pgd
    = [36, 0: error: {bad_status_update}]

ovf-psb-mode-mismatch-ok: nop nop hlt
    +0 ovf psb fup:1 mode:32 psbend fup:2 pgd
    = [overflow] [3a, 0: error: {bad_status_update}]

ovf-fup-psb-mode: nop nop hlt
    +0 ovf fup:1 psb fup:1 mode:32 psbend fup:2 pgd
    = [overflow, ip: @1] [43, 0: error: {bad_status_update}]
""")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_paging(case: Case, listed: List) -> None:
    case.check(listed)
