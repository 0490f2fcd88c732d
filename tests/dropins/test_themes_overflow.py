"""ptxed by theme. Overflows: what follows, what waited, and in which state."""

from __future__ import annotations

import pytest

from support.themes import Case, cases
from support.toolrun import List

CASES = cases("""
ovf-fup: nop nop hlt
    +0 ovf fup:1 fup:2 pgd
    = [overflow, ip: @1] 1 [disabled, at: @2]

ovf-fup-ipc: nop nop hlt
    +0 ovf fup:1/1 raw:7d02100000000000 raw:01
    = [overflow, ip: @1] 1 [disabled, at: @2]

ovf-tip_pge: nop nop hlt
    +0 ovf pge:1 fup:2 pgd
    = [overflow] [enabled, ip: @1] 1 [disabled, at: @2]

ovf-timing-fup --event:time: nop nop hlt
    +0 tsc:100 ovf tsc:200 mtc:1 cbr:5 cyc:3 fup:1 fup:2 pgd
    = [#200  cbr: 5] [#100  overflow, ip: @1] 1 [#200  disabled, at: @2]

ovf-timing-tip_pge --event:time: nop nop hlt
    +0 tsc:100 ovf tsc:200 cbr:5 pge:1 fup:2 pgd
    = [#100  overflow] [#200  cbr: 5] [#200  enabled, ip: @1] 1 [#200  disabled, at: @2]

ovf-cbr-mnt-fup --event:time: nop nop hlt
    +0 tsc:100 ovf cbr:4 tsc:200 mnt:7 fup:1 fup:2 pgd
    = [#100  cbr: 4] [#200  mnt: 7] [#100  overflow, ip: @1] 1 [#200  disabled, at: @2]

ovf-pwre-pwrx-fup: nop nop hlt
    +0 ovf pwre:1,2 pwrx:3,4 fup:1
    = [overflow] [pwre c2.3] [pwrx c4 (c5)]

ovf-pwre-pwrx-tip_pge: nop nop hlt
    +0 ovf pwre:1,2 pwrx.interrupt:3,4 pge:1 fup:2 pgd
    = [overflow] [pwre c2.3] [pwrx int: c4 (c5)] [enabled, ip: @1] 1 [disabled, at: @2]

ovf-exstop-tip_pge: nop nop hlt
    +0 ovf exstop pge:1 fup:2 pgd
    = [overflow] [exstop] [enabled, ip: @1] 1 [disabled, at: @2]

ovf-mwait-pwre-exstop-pwrx-tip_pge: nop nop hlt
    +0 ovf mwait:1,2 pwre:1,1 exstop pwrx.store:2,2 pge:1 fup:2 pgd
    = [overflow] [mwait 1 2] [exstop] [pwre c2.2] [pwrx st: c3 (c3)] [enabled, ip: @1] 1 [disabled, at: @2]

ovf-ovf-fup: nop nop hlt
    +0 ovf ovf fup:1 fup:2 pgd
    = [overflow] [overflow, ip: @1] 1 [disabled, at: @2]

ovf-psb-tip_pge: nop nop hlt
    +0 ovf +- pge:1 fup:2 pgd
    = [overflow] [enabled, ip: @1] 1 [disabled, at: @2]

ovf-psb-fup: nop nop hlt
    +0 ovf +1 fup:2 pgd
    = [overflow] [3a, 0: error: {bad_status_update}]

ovf-stop: nop nop hlt
    +0 ovf stop pge:1 fup:2 pgd
    = [overflow] [stopped] [enabled, ip: @1] 1 [disabled, at: @2]

ovf-pip-vmcs-tip_pge: nop nop hlt
    +0 ovf pip:a00 vmcs:b000 pge:1 fup:2 pgd
    = [overflow] [paging, cr3: #a00] [vmcs, base: #b000] [enabled, ip: @1] 1 [disabled, at: @2]

ovf-tsx-tip_pge: nop nop hlt
    +0 ovf tsx.begin pge:1 fup:2 pgd
    = [overflow] [begin transaction] [enabled, ip: @1] ?1 [disabled, at: @2]

ovf-mode-tip_pge: nop nop hlt
    +0 ovf mode:64 pge:1 fup:2 pgd
    = [overflow] [enabled, ip: @1] [exec mode: 64-bit, ip: @1] 1 [disabled, at: @2]

ovf-mode-fup: nop nop hlt
    +0 ovf mode:64 fup:1 fup:2 pgd
    = [overflow] [exec mode: 64-bit, ip: @1] [34, 0: error: {bad_context}]

ovf-ptw: nop nop hlt
    +0 ovf ptw:77 pge:1 fup:2 pgd
    = [overflow] [ptwrite: 77] [enabled, ip: @1] 1 [disabled, at: @2]

ovf-tip: nop nop hlt
    +0 ovf tip:1 +1 fup:2 pgd
    = [1d, 0: error: {bad_context}] 1 [disabled, at: @2]

ovf-tnt: nop nop hlt
    +0 ovf tnt:! +1 fup:2 pgd
    = [1d, 0: error: {bad_context}] 1 [disabled, at: @2]

ovf-tip_pgd: nop nop hlt
    +0 ovf pgd +1 fup:2 pgd
    = [1d, 0: error: {bad_context}] 1 [disabled, at: @2]

ovf-psbend: nop nop hlt
    +0 ovf psbend +1 fup:2 pgd
    = [1d, 0: error: {bad_context}] 1 [disabled, at: @2]

ovf-fup-suppressed: nop nop hlt
    +0 ovf fup:- pge:1 fup:2 pgd
    = [overflow] [enabled, ip: @1] 1 [disabled, at: @2]

ovf-disabled-pge: syscall nop hlt
    +0 pgd ovf pge:2 fup:3 pgd
    = 0 [disabled] [overflow] [enabled, ip: @2] 2 [disabled, at: @3]

ovf-disabled-fup: syscall nop hlt
    +0 pgd ovf fup:2 fup:3 pgd
    = 0 [disabled] [overflow, ip: @2] 2 [disabled, at: @3]

ovf-pending-fup-enabled: nop nop hlt
    +0 tsx.begin ovf fup:1 fup:2 pgd
    = [overflow, ip: @1] 1 [disabled, at: @2]

ovf-pending-fup-open: nop nop hlt
    +0 fup:0 ovf fup:1 fup:2 pgd
    = [overflow, ip: @1] 1 [disabled, at: @2]

ovf-pending-ptw-enabled: nop nop hlt
    +0 ptw.ip:77 ovf fup:1 fup:2 pgd
    = [overflow, ip: @1] 1 [disabled, at: @2]

ovf-pending-ptw-disabled: nop syscall nop nop hlt
    +0 pgd ptw.ip:77 ovf pge:3 fup:4 pgd
    = 0 1 [disabled] [ptwrite: 77] [overflow] [enabled, ip: @3] 3 [disabled, at: @4]

ovf-pending-mode-disabled: nop syscall nop nop hlt
    +0 pgd mode:32 ovf pge:3 fup:4 pgd
    = 0 1 [disabled] [exec mode: 32-bit] [overflow] [enabled, ip: @3] 3 [disabled, at: @4]

ovf-pending-evd-disabled: nop syscall nop nop hlt
    +0 pgd evd:0,77 ovf pge:3 fup:4 pgd
    = 0 1 [disabled] [overflow] [enabled, ip: @3] 3 [disabled, at: @4]

ovf-pending-cfe-disabled --event:time: nop syscall nop nop hlt
    +0 tsc:50 pgd cfe.ip:3,0 ovf pge:3 fup:4 pgd
    = 0 1 [#50  disabled] [smi] [#50  overflow] [#50  enabled, ip: @3] 3 [#50  disabled, at: @4]

ovf-pending-pwre-disabled --event:time: nop syscall nop nop hlt
    +0 tsc:50 pgd pwre:1,1 tsc:60 ovf pge:3 fup:4 pgd
    = 0 1 [#50  disabled] [#50  pwre c2.2] [#60  overflow] [#60  enabled, ip: @3] 3 [#60  disabled, at: @4]

ovf-pending-pwre-enabled: nop nop nop nop hlt
    +0 pwre:1,1 ovf fup:3 fup:4 pgd
    = [overflow, ip: @3] 3 [disabled, at: @4]

ovf-pending-mwait-disabled: nop syscall nop nop hlt
    +0 pgd mwait:1,2 pwre:1,1 ovf pge:3 fup:4 pgd
    = 0 1 [disabled] [mwait 1 2] [pwre c2.2] [overflow] [enabled, ip: @3] 3 [disabled, at: @4]

ovf-pending-exstop_ip-disabled: nop syscall nop nop hlt
    +0 pgd mwait:1,2 pwre:1,1 exstop.ip ovf pge:3 fup:4 pgd
    = 0 1 [disabled] [pwre c2.2] [mwait 1 2] [exstop] [overflow] [enabled, ip: @3] 3 [disabled, at: @4]

ovf-pending-trig: nop syscall nop nop hlt
    +0 pgd trig.ip:5,0 ovf pge:3 fup:4 pgd
    = 0 1 [disabled] [trig 05] [overflow] [enabled, ip: @3] 3 [disabled, at: @4]

ovf-pending-async_paging: nop syscall nop nop hlt
    +0 pgd fup:1 pip:a00 ovf pge:3 fup:4 pgd
    = 0 1 [disabled] [overflow] [enabled, ip: @3] 3 [disabled, at: @4]
""")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_overflow(case: Case, listed: List) -> None:
    case.check(listed)
