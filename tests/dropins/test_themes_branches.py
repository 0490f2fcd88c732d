"""ptxed by theme. Branches, compressed returns, and where tracing is switched off and on."""

from __future__ import annotations

import pytest

from support.themes import Case, cases
from support.toolrun import List

CASES = cases("""
loop-tnt-tnt: jz:0 nop hlt
    +0 tnt:!! tnt:!. fup:3 pgd
    = 0 0 0 0 2 [disabled, at: @3]

loop-tnt-split-psb: jz:0 nop hlt
    +0 tnt:!! +0 tnt:!. fup:3 pgd
    = 0 0 0 0 2 [disabled, at: @3]

loop-tnt64-full: jz:0 nop hlt
    +0 tnt:!!!!!!!!!. fup:3 pgd
    = 0 0 0 0 0 0 0 0 0 0 2 [disabled, at: @3]

tnt-tip-deferred: jz:0 jmp* jz:4 nop hlt
    +0 tnt:.. tip:4 fup:6 pgd
    = 0 2 4 [disabled, at: @6]

tnt-tip-deferred-two-fails: jmp* jmp* jz:4 nop hlt
    +0 tnt:.. tip:2 tip:4
    = 0 2 4 6 7 [27, 1008: error: {nomap}]

tnt-tip-deferred-psb: jz:0 jmp* jz:4 nop hlt
    +0 tnt:. tip:4 +4 tnt:. fup:6 pgd
    = 0 2 4 [disabled, at: @6]

call_direct-ret_compressed: call:6 hlt nop ret
    +0 tnt:! fup:5 pgd
    = 0 6 7 [disabled, at: @5]

call_direct-ret_uncompressed: call:6 hlt nop ret
    +0 tip:5 fup:5 pgd
    = 0 6 7 [disabled, at: @5]

call_indirect-ret_uncompressed: call* hlt nop ret
    +0 tip:3 tip:2 fup:2 pgd
    = 0 3 4 [disabled, at: @2]

call_indirect-ret_compressed: call* hlt nop ret
    +0 tip:3 tnt:! fup:2 pgd
    = 0 3 4 [disabled, at: @2]

ret_near_far: call:6 hlt callfar* nop retfar ret
    +0 tip:8 tip:a pgd
    = 0 6 8 9 a [disabled]

ret_far_near: call:6 hlt callfar* ret retfar
    +0 tip:9 tip:8 tnt:! fup:5 pgd
    = 0 6 9 8 [disabled, at: @5]

call_zero-not-pushed: call:5 nop ret
    +0 tnt:!
    = 0 5 6 [1e, 1007: error: {retstack_empty}]

call_zero-in-between: call:6 hlt call:b nop ret
    +0 tnt:! fup:5 pgd
    = 0 6 b c [disabled, at: @5]

farret-compressed-fails: callfar* retfar
    +0 tip:2 tnt:!
    = 0 2 [27, 1002: error: {bad_query}]

ret-uncompressed-keeps-entry: call:6 hlt ret nop ret
    +0 tip:7 tnt:! fup:5 pgd
    = 0 6 7 8 [disabled, at: @5]

jmp-call-direct-no-packets: jmp:3 hlt call:9 hlt jmpnear:10 hlt nop nop
    +0 fup:10 pgd
    = 0 3 9 [disabled, at: @10]

jmpabs-needs-tip: jmpabs nop hlt
    +0 tip:b fup:c pgd
    = 0 b [disabled, at: @c]

tip_pgd-direct_jump: jmp:3 hlt nop hlt
    +0 pgd:3
    = 0 [disabled, ip: @3]

tip_pgd-direct_call: call:6 hlt nop hlt
    +0 pgd:6
    = 0 [disabled, ip: @6]

tip_pgd-direct_call-resume: call:6 hlt nop hlt
    +0 pgd:6 pge:6 fup:7 pgd
    = 0 [disabled, ip: @6] [resumed, ip: @6] 6 [disabled, at: @7]

tip_pgd-indirect_call-resume: call* nop hlt
    +0 pgd pge:2 fup:3 pgd
    = 0 [disabled] [resumed, ip: @2] 2 [disabled, at: @3]

tip_pgd-indirect_call-ip-resume: call* nop hlt
    +0 pgd:200 pge:2 fup:3 pgd
    = 0 [disabled, ip: @200] [resumed, ip: @2] 2 [disabled, at: @3]

tip_pgd-indirect_jump-enabled: jmp* nop hlt
    +0 pgd pge:2 fup:3 pgd
    = 0 [disabled] [enabled, ip: @2] 2 [disabled, at: @3]

tip_pgd-ret: ret nop hlt
    +0 pgd:20 pge:1 fup:2 pgd
    = 0 [disabled, ip: @20] [enabled, ip: @1] 1 [disabled, at: @2]

tip_pgd-tnt_taken: jz:3 nop hlt
    +0 tnt:! pgd:3
    = 0 [disabled, ip: @3]

tip_pgd_noip-mov_cr3: nop movcr3 nop syscall
    +0 pgd pge:4 pgd
    = 0 1 [disabled] [enabled, ip: @4] 4 5 [disabled]

tip_pgd_noip-mov_cr3-resumed: nop movcr3 nop syscall
    +0 pgd pge:1 pgd pge:4 pgd
    = 0 1 [disabled] [resumed, ip: @1] 1 [disabled] [enabled, ip: @4] 4 5 [disabled]

tip_pgd_noip-far_call: nop callfar* nop hlt
    +0 pgd pge:3 fup:4 pgd
    = 0 1 [disabled] [resumed, ip: @3] 3 [disabled, at: @4]

tip_pgd_noip-far_jump: nop jmpfar* nop hlt
    +0 pgd pge:3 fup:4 pgd
    = 0 1 [disabled] [enabled, ip: @3] 3 [disabled, at: @4]

tip_pgd_noip-not-at-direct: jmp:3 hlt call:9 hlt nop syscall
    +0 pgd
    = 0 3 9 a [disabled]

tip_pgd_noip-int: nop int nop hlt
    +0 pgd
    = 0 1 [disabled]

tip_pgd_noip-vmcall: nop vmcall nop syscall
    +0 pgd pge:4 pgd
    = 0 1 [disabled] [resumed, ip: @4] 4 5 [disabled]

tip_pgd_noip-vmlaunch: nop vmlaunch nop syscall
    +0 pgd pge:4 pgd
    = 0 1 [disabled] [enabled, ip: @4] 4 5 [disabled]

tip_pgd-ip-nonlinear: nop nop nop hlt
    +0 pgd:2
    = 0 1 [disabled, ip: @2]

tip_pgd-ip-nonlinear-resume: nop nop nop hlt
    +0 pgd:2 pge:2 fup:3 pgd
    = 0 1 [disabled, ip: @2] [resumed, ip: @2] 2 [disabled, at: @3]

tip_pge-tip_pgd: nop syscall
    +- pge:0 pgd
    = [enabled, ip: @0] 0 1 [disabled]

tip_pge-fup-tip_pgd: nop nop hlt
    +- pge:0 fup:1 pgd
    = [enabled, ip: @0] 0 [disabled, at: @1]

tip_pge-fup-tip_pgd-stop: nop nop hlt
    +- pge:0 fup:1 pgd:2 stop
    = [enabled, ip: @0] 0 [disabled, at: @1, ip: @2] [stopped]

tip_pge-fup-tip_pgd-tip_pge: nop nop hlt
    +- pge:0 fup:1 pgd pge:1 fup:2 pgd
    = [enabled, ip: @0] 0 [disabled, at: @1] [resumed, ip: @1] 1 [disabled, at: @2]

fup-tip_pgd_noip: nop nop hlt
    +0 fup:1/1 pgd:-
    = 0 [disabled, at: @1]

fup-tip_pgd-first: nop nop hlt
    +0 fup:0 pgd:-
    = [disabled, at: @0]

fup-tip_pgd-ipc2: nop nop hlt
    +0 fup:2/1 pgd:4/2
    = 0 [disabled, at: @1, ip: @2]

tip_pge-enabled-twice: nop nop hlt
    +0 pge:1
    = [1d, 0: error: {bad_context}]

tip_pgd-disabled-twice: nop syscall
    +0 pgd pgd
    = 0 1 [disabled] [1f, 1003: error: {bad_context}]

stop-enabled: nop syscall
    +0 stop
    = [1f, 0: error: {bad_context}]

tip_pgd-psb-stop: nop syscall
    +0 pgd +- stop
    = 0 1 [disabled] [stopped]

fup-tip_pgd-psb-stop: nop nop hlt
    +0 fup:1 pgd:2 +- stop
    = 0 [disabled, at: @1, ip: @2] [stopped]

tip_pgd-stop-tip_pge: nop syscall nop hlt
    +0 pgd stop pge:3 fup:4 pgd
    = 0 1 [disabled] [stopped] [resumed, ip: @3] 3 [disabled, at: @4]
""")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_branches(case: Case, listed: List) -> None:
    case.check(listed)
