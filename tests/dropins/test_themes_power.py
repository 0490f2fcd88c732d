"""ptxed by theme. Power events, PTWRITE."""

from __future__ import annotations

import pytest

from support.themes import Case, cases
from support.toolrun import List

CASES = cases("""
mwait-pwre-exstop_ip-pwrx: nop mwait nop hlt
    +0 mwait:1,2 pwre:1,1 exstop.ip fup:4 pwrx:2,2 fup:5 pgd
    = 0 1 [mwait 1 2, ip: @4] [exstop, ip: @4] [pwre c2.2] [pwrx c3 (c3)] 4 [disabled, at: @5]

mwait-pwre-exstop-pwrx: nop mwait nop hlt
    +0 mwait:1,2 pwre:1,1 exstop pwrx:2,2 fup:5 pgd
    = [mwait 1 2] [exstop] [pwre c2.2] [pwrx c3 (c3)] 0 1 4 [disabled, at: @5]

mwait-exstop_ip: nop mwait nop hlt
    +0 mwait:1,2 exstop.ip fup:1 fup:5 pgd
    = 0 [mwait 1 2, ip: @1] [exstop, ip: @1] 1 4 [disabled, at: @5]

mwait-mwait-exstop: nop mwait nop hlt
    +0 mwait:1,2 mwait:3,4 exstop fup:5 pgd
    = [mwait 1 2] [mwait 3 4] [exstop] 0 1 4 [disabled, at: @5]

pwre-exstop_ip-fup-pwrx: nop mwait nop hlt
    +0 pwre:1,1 exstop.ip fup:4 pwrx.autonomous:2,2 fup:5 pgd
    = 0 1 [exstop, ip: @4] [pwre c2.2] [pwrx hw: c3 (c3)] 4 [disabled, at: @5]

pwre-pwre-pwrx: nop mwait nop hlt
    +0 pwre:1,1 pwre:2,2 pwrx:2,2 fup:5 pgd
    = [pwre c2.2] [pwre c3.3] [pwrx c3 (c3)] 0 1 4 [disabled, at: @5]

pwrx-alone: nop mwait nop hlt
    +0 pwrx.interrupt.store:f,f fup:5 pgd
    = [pwrx int: st: c0 (c0)] 0 1 4 [disabled, at: @5]

exstop_ip-tip_pgd_noip-sysret: nop nop sysret hlt
    +0 exstop.ip fup:1 pgd
    = 0 [exstop, ip: @1] 1 2 [disabled]

exstop_ip-tip: nop jmp* nop hlt
    +0 exstop.ip fup:1 tip:3 fup:4 pgd
    = 0 [exstop, ip: @1] 1 3 [disabled, at: @4]

exstop_ip-fup-tip: nop nop nop hlt
    +0 exstop.ip fup:1 fup:1 tip:2 fup:3 pgd
    = 0 [exstop, ip: @1] [interrupt, from: @1, to: @2] 2 [disabled, at: @3]

exstop-fup-tip: nop nop nop hlt
    +0 exstop fup:1 tip:2 fup:3 pgd
    = [exstop] 0 [interrupt, from: @1, to: @2] 2 [disabled, at: @3]

exstop_ip-disabled: nop syscall nop hlt
    +0 pgd exstop.ip fup:3 pge:3 fup:4 pgd
    = 0 1 [disabled] [exstop, ip: @3] [resumed, ip: @3] 3 [disabled, at: @4]

exstop_ip-no-fup-psb: nop nop nop hlt
    +0 exstop.ip +1 fup:2 pgd
    = [1f, 0: error: {bad_context}]

pwre-psb: nop nop nop hlt
    +0 pwre:1,1 +1 pwrx:2,2 fup:2 pgd
    = [21, 0: error: {bad_context}]

pwre-tip_pge: nop syscall nop hlt
    +0 pgd pwre:1,1 pge:3 pwrx:2,2 fup:4 pgd
    = 0 1 [disabled] [resumed, ip: @3] [22, 1003: error: {bad_context}]

pwre-tip_pgd: nop syscall nop hlt
    +0 pwre:1,1 pgd pwrx:2,2 pge:3 fup:4 pgd
    = 0 1 [disabled] [pwre c2.2] [pwrx c3 (c3)] [resumed, ip: @3] 3 [disabled, at: @4]

pwre-tip: nop jmp* nop hlt
    +0 pwre:1,1 tip:3 pwrx:2,2 fup:4 pgd
    = 0 1 [pwre c2.2] [pwrx c3 (c3)] 3 [disabled, at: @4]

pwre-fup-tip: nop nop nop hlt
    +0 pwre:1,1 fup:1 tip:2 pwrx:2,2 fup:3 pgd
    = 0 [interrupt, from: @1, to: @2] [pwre c2.2] [pwrx c3 (c3)] 2 [disabled, at: @3]

pwre-hw: nop nop nop hlt
    +0 raw:02220810 pwrx.autonomous:0,0 fup:1 pgd
    = [pwre c2.1 hw] [pwrx hw: c1 (c1)] 0 [disabled, at: @1]

ptw: nop ptwrite nop hlt
    +0 ptw:77 fup:6 pgd
    = 0 1 [ptwrite: 77] 5 [disabled, at: @6]

ptw-fup: nop ptwrite nop hlt
    +0 ptw.ip:77 fup:1 fup:6 pgd
    = 0 1 [ptwrite: 77, ip: @1] 5 [disabled, at: @6]

ptw-ptw: nop ptwrite ptwrite nop hlt
    +0 ptw:77 ptw:78 fup:a pgd
    = 0 1 [ptwrite: 77] 5 [ptwrite: 78] 9 [disabled, at: @a]

ptw-fup-ptw: nop ptwrite ptwrite nop hlt
    +0 ptw.ip:77 fup:1 ptw:78 fup:a pgd
    = 0 1 [ptwrite: 77, ip: @1] 5 [ptwrite: 78] 9 [disabled, at: @a]

ptw-tip_pgd: nop ptwrite syscall
    +0 ptw:77 pgd
    = 0 1 [ptwrite: 77] 5 [disabled]

ptw-fup-tip_pgd: nop ptwrite syscall
    +0 ptw:77 fup:5 pgd
    = 0 1 [ptwrite: 77] [disabled, at: @5]

ptw-async-at-ptw: nop ptwrite syscall
    +0 ptw:77 fup:1 pgd
    = 0 1 [ptwrite: 77] 5 [31, 1005: error: {bad_query}]

ptw-none: nop nop jz:3
    +0 ptw:77 tnt:.
    = 0 1 2 [27, 1002: error: {bad_query}]

ptw-disabled: nop syscall nop hlt
    +0 pgd ptw:77 pge:3 fup:4 pgd
    = 0 1 [disabled] [ptwrite: 77] [resumed, ip: @3] 3 [disabled, at: @4]

ptw-fup-disabled: nop syscall nop hlt
    +0 pgd ptw.ip:77 fup:3 pge:3 fup:4 pgd
    = 0 1 [disabled] [ptwrite: 77, ip: @3] [resumed, ip: @3] 3 [disabled, at: @4]

tip_pge-ptw-tip_pgd: nop ptwrite syscall
    +- pge:0 ptw:77 pgd
    = [enabled, ip: @0] 0 1 [ptwrite: 77] 5 [disabled]

ptw-psb: nop ptwrite nop hlt
    +0 ptw:77 +5 fup:6 pgd
    = 0 1 [ptwrite: 77] 5 [disabled, at: @6]

ptw-tnt-branch: jz:2 ptwrite jz:8 nop hlt
    +0 tnt:. ptw:77 tnt:. fup:9 pgd
    = 0 2 [ptwrite: 77] 6 8 [disabled, at: @9]

ptw-needs-branch-first: jz:2 ptwrite nop hlt
    +0 ptw:77 tnt:. fup:7 pgd
    = 0 [27, 1000: error: {bad_query}]

ptw-last-insn-jmp: jmp:3 hlt ptwrite jmp:9 nop hlt
    +0 ptw:77 fup:a pgd
    = 0 3 [ptwrite: 77] 7 9 [disabled, at: @a]

ptw-fup-not-ptwrite: nop nop nop hlt
    +0 ptw.ip:77 fup:1 fup:3 pgd
    = 0 1 [ptwrite: 77, ip: @1] 2 [disabled, at: @3]

ptw-4-byte: nop ptwrite nop hlt
    +0 raw:021278563412 fup:6 pgd
    = 0 1 [ptwrite: 12345678] 5 [disabled, at: @6]

ptw-bad-plc: nop ptwrite nop hlt
    +0 raw:025278563412 fup:6 pgd
    = [1d, 0: error: {bad_packet}]
""")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_power(case: Case, listed: List) -> None:
    case.check(listed)
