"""ptxed by theme. Going on after errors at the next packet that gives a place."""

from __future__ import annotations

import pytest

from support.themes import Case, cases
from support.toolrun import List

CASES = cases("""
rs-bad_query-tip --resync-on-error: jz:2 nop hlt
    +0 tip:2 fup:3 pgd
    = 0 [1d, 1000: error: {bad_query}] 2 [disabled, at: @3]

rs-bad_query-fup-tip --resync-on-error: jz:2 nop nop hlt
    +0 fup:1 tip:2 fup:3 pgd
    = 0 [26, 1000: error: {bad_query}] [interrupt, from: @1, to: @2] 2 [disabled, at: @3]

rs-bad_query-tip-ovf --resync-on-error: jz:2 nop nop hlt
    +0 tip:2 ovf pge:3 fup:4 pgd
    = 0 [1d, 1000: error: {bad_query}] [overflow] [enabled, ip: @3] 3 [disabled, at: @4]

rs-bad_query-tip-ovf-fup --resync-on-error: jz:2 nop nop hlt
    +0 tip:2 ovf fup:3 fup:4 pgd
    = 0 [1d, 1000: error: {bad_query}] [overflow, ip: @3] 3 [disabled, at: @4]

rs-nomap-fup-tip-nomap --resync-on-error: jmpnear:200 nop nop hlt
    +0 fup:210 tip:220 fup:221 tip:5 fup:6 pgd
    = 0 [26, 1200: error: {nomap}] [interrupt, from: @210, to: @220] [38, 1220: error: {nomap}]
      [interrupt, from: @221, to: @5] 5 [disabled, at: @6]

rs-nomap-mode_if-fup --resync-on-error --event:iflags: jmpnear:200 nop nop hlt
    +0 mode.if:64 fup:5 fup:6 pgd
    = 0 [1f, 1200: error: {nomap}] [interrupts enabled, ip: @5] 5 [disabled, at: @6]

rs-nomap-mode-fup-noop --resync-on-error: jmpnear:200 nop nop hlt
    +0 mode.if:64 fup:5 fup:6 pgd
    = 0 [32, 1200: error: {nomap}] [disabled, at: @6]

rs-nomap-mode-tip_pgd --resync-on-error: jmpnear:200 nop nop hlt
    +0 mode:32 pgd pge:5 fup:6 pgd
    = [exec mode: 32-bit] 0 [20, 1200: error: {nomap}] [disabled] [enabled, ip: @5] 5 [disabled, at: @6]

rs-nomap-mode_tsx-fup-fup-eos --resync-on-error: jmpnear:200 nop nop hlt
    +0 tsx.begin fup:210 tsx.commit fup:220
    = 0 [1f, 1200: error: {nomap}] [begin transaction, ip: @210] [2a, 1210: error: {nomap}]
      [committed, ip: @220] [end of trace]

rs-nomap-mode_tsx_abort-fup-tip --resync-on-error: jmpnear:200 nop nop hlt
    +0 tsx.abort fup:210 tip:5 fup:6 pgd
    = 0 [1f, 1200: error: {nomap}] [aborted, ip: @210] [interrupt, from: @210, to: @5] 5 [disabled, at: @6]

rs-nomap-mode_tsx-tip_pgd --resync-on-error: jmpnear:200 nop nop hlt
    +0 tsx.begin fup:210 pgd
    = 0 [1f, 1200: error: {nomap}] [begin transaction, ip: @210] [29, 1210: error: {nomap}] [disabled]

rs-nomap-mode_tsx_abort-fup-pgd --resync-on-error: jmpnear:200 nop nop hlt
    +0 tsx.abort fup:210 pgd pge:5 fup:6 pgd
    = 0 [1f, 1200: error: {nomap}] [aborted, ip: @210] [disabled, at: @210] [enabled, ip: @5] 5
      [disabled, at: @6]

rs-nomap-tnt-ovf-fup --resync-on-error: jmpnear:200 nop nop hlt
    +0 tnt:!.! ovf fup:5 fup:6 pgd
    = 0 [1e, 1200: error: {nomap}] [overflow, ip: @5] 5 [disabled, at: @6]

rs-nomap-tnt-ovf --resync-on-error: jmpnear:200 nop nop hlt
    +0 tnt:!.! ovf
    = 0 [1e, 1200: error: {nomap}] [overflow]

rs-nomap-psb-psb --resync-on-error: jmpnear:200 nop nop hlt
    +0 +210 +5 fup:6 pgd
    = 0 [38, 1200: error: {nomap}] [55, 1210: error: {nomap}] 5 [disabled, at: @6]

rs-nomap-tnt-ptw-fup --resync-on-error: jmpnear:200 ptwrite nop hlt
    +0 tnt:. ptw.ip:7 fup:5 fup:a pgd
    = 0 [1e, 1200: error: {nomap}] 5 [ptwrite: 7, ip: @5] 9 [disabled, at: @a]

rs-nomap-tnt-ptw-tip --resync-on-error: jmpnear:200 ptwrite nop hlt
    +0 tnt:. ptw:7 tip:9 fup:a pgd
    = 0 [1e, 1200: error: {nomap}] [ptwrite: 7] 9 [disabled, at: @a]

rs-nomap-ptw-ptw-tip --resync-on-error: jmpnear:200 ptwrite nop hlt
    +0 ptw:7 ptw:8 tip:9 fup:a pgd
    = 0 [27, 1200: error: {nomap}] [ptwrite: 7] [ptwrite: 8] 9 [disabled, at: @a]

rs-nomap-ptw-eos --resync-on-error: jmpnear:200 ptwrite nop hlt
    +0 ptw:7
    = 0 [27, 1200: error: {nomap}] [ptwrite: 7] [27, 1200: resync error: {eos}]

rs-nomap-tip-nomap-tip --resync-on-error: jmpnear:200 nop nop hlt
    +0 tip:210 tip:5 fup:6 pgd
    = 0 [1d, 1200: error: {nomap}] [26, 1210: error: {nomap}] 5 [disabled, at: @6]

rs-nomap-tnt-tip-nomap-tnt-pgd --resync-on-error: jmpnear:200 nop nop hlt
    +0 tnt:! tip:210 tnt:! pgd
    = 0 [1e, 1200: error: {nomap}] [28, 1210: error: {nomap}] [disabled]

rs-nomap-tip-tnt-tip_pge --resync-on-error: jmpnear:200 nop nop hlt
    +0 tip:210 tnt:! pge:5 fup:6 pgd
    = 0 [1d, 1200: error: {nomap}] [27, 1210: error: {nomap}] [disabled] [enabled, ip: @5] 5
      [disabled, at: @6]

rs-nomap-tip_pgd --resync-on-error: jmpnear:200 nop nop hlt
    +0 pgd:5
    = 0 [26, 1200: error: {nomap}] [disabled]

rs-nomap-tip_pgd-stop-pge --resync-on-error: jmpnear:200 nop nop hlt
    +0 pgd stop pge:5 fup:6 pgd
    = 0 [1e, 1200: error: {nomap}] [disabled] [stopped] [enabled, ip: @5] 5 [disabled, at: @6]

rs-nomap-tip_pgd-cbr-pge --resync-on-error: jmpnear:200 nop nop hlt
    +0 pgd cbr:5 pge:5 fup:6 pgd
    = 0 [1e, 1200: error: {nomap}] [disabled] [cbr: 5] [enabled, ip: @5] 5 [disabled, at: @6]

rs-nomap-tip_pgd-eos-status --resync-on-error: jmpnear:200 nop nop hlt
    +0 pgd +- pge:5 fup:6 pgd
    = 0 [1e, 1200: error: {nomap}] [disabled] [enabled, ip: @5] 5 [disabled, at: @6]

rs-nomap-fup-tip_pgd --resync-on-error: jmpnear:200 nop nop hlt
    +0 fup:210 pgd:5 pge:5 fup:6 pgd
    = 0 [2f, 1200: error: {nomap}] [disabled, at: @210, ip: @5] [enabled, ip: @5] 5 [disabled, at: @6]

rs-nomap-pip-tip --resync-on-error: jmpnear:200 nop nop hlt
    +0 pip:a00 tip:5 fup:6 pgd
    = 0 [25, 1200: error: {nomap}] 5 [disabled, at: @6]

rs-nomap-fup-pip-tip --resync-on-error: jmpnear:200 nop nop hlt
    +0 fup:210 pip:a00 vmcs:b000 tip:5 fup:6 pgd
    = 0 [35, 1200: error: {nomap}] [interrupt, from: @210, to: @5] [vmcs, base: #b000, ip: @5]
      [paging, cr3: #a00, ip: @5] 5 [disabled, at: @6]

rs-nomap-exstop_ip --resync-on-error: jmpnear:200 nop nop hlt
    +0 exstop.ip fup:5 fup:6 pgd
    = 0 [1f, 1200: error: {nomap}] [exstop, ip: @5] 5 [disabled, at: @6]

rs-nomap-exstop-tip --resync-on-error: jmpnear:200 nop nop hlt
    +0 exstop tip:5 fup:6 pgd
    = [exstop] 0 [1f, 1200: error: {nomap}] 5 [disabled, at: @6]

rs-nomap-mwait-pwre-exstop_ip-pwrx --resync-on-error: jmpnear:200 nop nop hlt
    +0 mwait:1,2 pwre:1,1 exstop.ip fup:5 pwrx:2,2 fup:6 pgd
    = 0 [2d, 1200: error: {nomap}] [mwait 1 2, ip: @5] [exstop, ip: @5] [pwre c2.2] [pwrx c3 (c3)] 5
      [disabled, at: @6]

rs-nomap-mwait-exstop-pwrx-tip --resync-on-error: jmpnear:200 nop nop hlt
    +0 mwait:1,2 pwre:1,1 exstop pwrx:2,2 tip:5 fup:6 pgd
    = [mwait 1 2] [exstop] [pwre c2.2] [pwrx c3 (c3)] 0 [34, 1200: error: {nomap}] 5 [disabled, at: @6]

rs-nomap-cfe_intr-fup-tip --resync-on-error: jmpnear:200 nop nop hlt
    +0 cfe:1,e fup:210 tip:5 fup:6 pgd
    = 0 [21, 1200: error: {nomap}] [interrupt 14, ip: @210] [interrupt, from: @210, to: @5] 5
      [disabled, at: @6]

rs-nomap-cfe_iret-fup --resync-on-error: jmpnear:200 iret nop hlt
    +0 cfe.ip:2,0 fup:5 tip:7 fup:8 pgd
    = 0 [21, 1200: error: {nomap}] [iret, ip: @5] 5 7 [disabled, at: @8]

rs-nomap-cfe_vmentry-fup --resync-on-error: jmpnear:200 vmresume nop hlt
    +0 cfe.ip:7,0 fup:5 tip:8 fup:9 pgd
    = 0 [21, 1200: error: {nomap}] 5 [vmentry, ip: @5] 8 [disabled, at: @9]

rs-nomap-cfe_uiret-fup --resync-on-error: jmpnear:200 uiret nop hlt
    +0 cfe.ip:d,0 fup:5 tip:9 fup:a pgd
    = 0 [21, 1200: error: {nomap}] 5 [uiret, ip: @5] 9 [disabled, at: @a]

rs-nomap-cfe_smi-fup-pgd --resync-on-error: jmpnear:200 nop nop hlt
    +0 cfe:3,0 fup:210 pgd
    = 0 [21, 1200: error: {nomap}] [smi, ip: @210] [disabled, at: @210]

rs-nomap-cfe_swintr-fup --resync-on-error: jmpnear:200 int nop hlt
    +0 cfe.ip:e,80 fup:5 tip:7 fup:8 pgd
    = 0 [21, 1200: error: {nomap}] [swintr 128, ip: @5] 5 7 [disabled, at: @8]

rs-nomap-cfe_syscall-tip --resync-on-error: jmpnear:200 syscall nop hlt
    +0 cfe:f,0 tip:7 fup:8 pgd
    = 0 [21, 1200: error: {nomap}] 7 [disabled, at: @8]

rs-nomap-trig-tip --resync-on-error: jmpnear:200 nop nop hlt
    +0 trig:5,3 tip:5 fup:6 pgd
    = 0 [22, 1200: error: {nomap}] 5 [disabled, at: @6]

rs-nomap-trig_ip-tip --resync-on-error: jmpnear:200 nop nop hlt
    +0 trig.ip:5,0 fup:210 tip:5 fup:6 pgd
    = 0 [22, 1200: error: {nomap}] 5 [disabled, at: @6]

rs-nomap-mnt-cbr-tip --resync-on-error: jmpnear:200 nop nop hlt
    +0 mnt:5 cbr:6 tip:5 fup:6 pgd
    = [mnt: 5] [cbr: 6] 0 [2c, 1200: error: {nomap}] 5 [disabled, at: @6]

rs-nomap-stop --resync-on-error: jmpnear:200 nop nop hlt
    +0 stop pge:5 fup:6 pgd
    = [1f, 0: error: {bad_context}] [disabled] [enabled, ip: @5] 5 [disabled, at: @6]

rs-nomap-eos --resync-on-error: jmpnear:200 nop nop hlt
    +0 tnt:!
    = 0 [1e, 1200: error: {nomap}] [1e, 1200: resync error: {eos}]

rs-nomap-bad-packet --resync-on-error: jmpnear:200 nop nop hlt
    +0 tnt:! raw:ad0000 +5 fup:6 pgd
    = 0 [1e, 1200: error: {nomap}] [1e, 1200: resync error: {bad_packet}] 5 [disabled, at: @6]

rs-bad_status-psb --resync-on-error: nop nop nop hlt
    +0 ovf +1 fup:2 pgd
    = [overflow] [3a, 0: error: {bad_status_update}] 1 [disabled, at: @2]

rs-bad_retcomp --resync-on-error: ret nop nop hlt
    +0 tnt:.! tip:2 fup:3 pgd
    = 0 [1e, 1001: error: {bad_retcomp}] 2 [disabled, at: @3]

rs-retstack --resync-on-error: ret nop nop hlt
    +0 tnt:!! tip:2 fup:3 pgd
    = 0 [1e, 1001: error: {retstack_empty}] 2 [disabled, at: @3]

rs-enabled-twice --resync-on-error: nop nop nop hlt
    +0 pge:2 fup:3 pgd
    = [1d, 0: error: {bad_context}] [disabled] [enabled, ip: @2] 2 [disabled, at: @3]

rs-disabled-twice --resync-on-error: nop syscall nop hlt
    +0 pgd pgd pge:3 fup:4 pgd
    = 0 1 [disabled] [1f, 1003: error: {bad_context}] [disabled] [enabled, ip: @3] 3 [disabled, at: @4]

rs-async_branch-disabled --resync-on-error: nop syscall nop hlt
    +0 pgd fup:3 tip:3 pge:3 fup:4 pgd
    = 0 1 [disabled] [27, 1003: error: {bad_context}] [interrupt, from: @3, to: @3]
      [30, 1003: error: {bad_context}] [disabled] [resumed, ip: @3] 3 [disabled, at: @4]

rs-stop-enabled --resync-on-error: nop syscall nop hlt
    +0 stop fup:2 pgd
    = [1f, 0: error: {bad_context}] [disabled, at: @2]

rs-tip-disabled --resync-on-error: nop syscall nop hlt
    +0 pgd tip:3 +3 fup:4 pgd
    = 0 1 [disabled] [1e, 1003: error: {bad_context}] [1e, 1003: resync error: {bad_context}] 3
      [disabled, at: @4]

rs-tip-suppressed --resync-on-error: jmp* syscall nop hlt
    +0 tip:- tip:4 fup:5 pgd
    = 0 [1d, 1002: error: {bad_packet}] 4 [disabled, at: @5]

rs-async_branch-suppressed --resync-on-error: nop nop nop hlt
    +0 fup:1 tip:- tip:2 fup:3 pgd
    = 0 [interrupt, from: @1] [27, 1001: error: {internal}] [27, 1001: resync error: {internal}]
""")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_resync(case: Case, listed: List) -> None:
    case.check(listed)
