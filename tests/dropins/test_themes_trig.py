"""ptxed by theme. TRIG: counted from the last place that a packet gave."""

from __future__ import annotations

import pytest

from support.themes import Case, cases
from support.toolrun import List

CASES = cases("""
trig: nop nop nop hlt
    +0 trig:5 fup:3 pgd
    = [trig 05] 0 1 2 [disabled, at: @3]

trig-icnt: nop nop nop hlt
    +0 trig:5,2 fup:3 pgd
    = 0 1 [trig 05, ip: @2] 2 [disabled, at: @3]

trig-icnt0: nop nop nop hlt
    +0 trig:5,0 fup:3 pgd
    = [trig 05, ip: @0] 0 1 2 [disabled, at: @3]

trig-fup: nop nop nop hlt
    +0 trig.ip:5,0 fup:1 fup:3 pgd
    = 0 [trig 05, ip: @1] 1 2 [disabled, at: @3]

trig-fup-tip: nop nop nop hlt nop
    +0 trig.ip.mult:5,0 fup:1 fup:1 tip:4 trig:6,0 fup:4 pgd
    = 0 [trig 05, mult, ip: @1] [interrupt, from: @1, to: @4] [trig 06, ip: @4] [disabled, at: @4]

trig-ip-no-icntv: nop nop nop hlt
    +0 trig.ip:5 fup:1 fup:3 pgd
    = [1d, 0: error: {bad_packet}]

trig-ip-icnt: nop nop nop hlt
    +0 trig.ip:5,1 fup:1 fup:3 pgd
    = [1d, 0: error: {bad_packet}]

tnt-trig: jz:2 nop nop hlt
    +0 tnt:. trig:5,1 fup:4 pgd
    = 0 2 [trig 05, ip: @3] 3 [disabled, at: @4]

tnt-trig0: jz:2 nop nop hlt
    +0 tnt:. trig:5,0 fup:4 pgd
    = 0 [trig 05, ip: @2] 2 3 [disabled, at: @4]

tip-trig: jmp* nop nop hlt
    +0 tip:2 trig:5,1 fup:4 pgd
    = 0 2 [trig 05, ip: @3] 3 [disabled, at: @4]

tip_pge-trig: nop nop nop hlt
    +- pge:0 trig:5,1 fup:3 pgd
    = [enabled, ip: @0] 0 [trig 05, ip: @1] 1 2 [disabled, at: @3]

fup-tip-trig: nop nop nop nop hlt
    +0 fup:1 tip:2 trig:5,1 fup:4 pgd
    = 0 [interrupt, from: @1, to: @2] 2 [trig 05, ip: @3] 3 [disabled, at: @4]

trig-trig: nop nop nop nop hlt
    +0 trig:5,1 trig:6,1 fup:4 pgd
    = 0 [trig 05, ip: @1] 1 [trig 06, ip: @2] 2 3 [disabled, at: @4]

trig-trig-icnt0: nop nop nop nop hlt
    +0 trig:5,1 trig:6,0 fup:4 pgd
    = 0 [trig 05, ip: @1] [trig 06, ip: @1] 1 2 3 [disabled, at: @4]

trig-suppressed-trig: nop nop nop nop hlt
    +0 trig:5,1 trig:6 trig:7,1 fup:4 pgd
    = 0 [trig 05, ip: @1] [trig 06] 1 [trig 07, ip: @2] 2 3 [disabled, at: @4]

exstop-trig-nofup: nop nop nop nop hlt
    +0 exstop trig:6,2 fup:4 pgd
    = [exstop] 0 1 [trig 06, ip: @2] 2 3 [disabled, at: @4]

exstop_ip-trig: nop nop nop nop hlt
    +0 exstop.ip fup:1 trig:6,2 fup:4 pgd
    = 0 [exstop, ip: @1] 1 2 [trig 06, ip: @3] 3 [disabled, at: @4]

ovf-fup-trig: nop nop nop nop hlt
    +0 ovf fup:1 trig:6,2 fup:4 pgd
    = [overflow, ip: @1] 1 2 [trig 06, ip: @3] 3 [disabled, at: @4]

ovf-trig: nop nop nop nop hlt
    +0 ovf trig:6 pge:1 trig:6,2 fup:4 pgd
    = [overflow] [trig 06] [enabled, ip: @1] 1 2 [trig 06, ip: @3] 3 [disabled, at: @4]

ptw-fup-trig: nop ptwrite nop nop nop hlt
    +0 ptw.ip:77 fup:1 trig:6,2 fup:8 pgd
    = 0 1 [ptwrite: 77, ip: @1] 5 6 [trig 06, ip: @7] 7 [disabled, at: @8]

ptw-fup-trig0: nop ptwrite nop nop nop hlt
    +0 ptw.ip:77 fup:1 trig:6,0 fup:8 pgd
    = 0 1 [ptwrite: 77, ip: @1] [trig 06, ip: @5] 5 6 7 [disabled, at: @8]

ptw-trig: nop ptwrite nop nop nop hlt
    +0 ptw:77 trig:6,3 fup:8 pgd
    = 0 1 [ptwrite: 77] 5 [trig 06, ip: @6] 6 7 [disabled, at: @8]

tsx-trig: nop nop nop nop hlt
    +0 tsx.begin fup:1 trig:6,2 fup:4 pgd
    = 0 [begin transaction, ip: @1] ?1 ?2 [trig 06, ip: @3] ?3 [disabled, at: @4]

mode-fup-trig: nop nop nop nop hlt
    +0 mode:32 fup:1 trig:6,2 fup:4 pgd
    = 0 [exec mode: 32-bit, ip: @1] 1 2 [trig 06, ip: @3] 3 [disabled, at: @4]

mode-noop-fup-trig: nop nop nop nop hlt
    +0 mode:64 fup:1 trig:6,2 fup:4 pgd
    = 0 1 [trig 06, ip: @2] 2 3 [disabled, at: @4]

cfe-fup-trig: nop nop nop nop hlt
    +0 cfe.ip:3,0 fup:1 trig:6,2 fup:4 pgd
    = 0 [smi, ip: @1] 1 2 [trig 06, ip: @3] 3 [disabled, at: @4]

trig-branch-fail: nop jz:3 nop nop hlt
    +0 trig:6,2 tnt:. fup:4 pgd
    = 0 1 [22, 1001: error: {bad_query}]

trig-disabled: nop syscall nop hlt
    +0 pgd trig:5 pge:3 fup:4 pgd
    = 0 1 [disabled] [trig 05] [resumed, ip: @3] 3 [disabled, at: @4]

trig-disabled-icnt0: nop syscall nop hlt
    +0 pgd trig:5,0 pge:3 fup:4 pgd
    = 0 1 [disabled] [trig 05, ip: #0] [resumed, ip: @3] 3 [disabled, at: @4]

trig-disabled-icnt1: nop syscall nop hlt
    +0 pgd trig:5,1 pge:3 fup:4 pgd
    = 0 1 [disabled] [1e, 1003: error: {bad_packet}]

trig-ip-disabled: nop syscall nop hlt
    +0 pgd trig.ip:5,0 fup:3 pge:3 fup:4 pgd
    = 0 1 [disabled] [trig 05, ip: @3] [resumed, ip: @3] 3 [disabled, at: @4]

psb-fup-trig-passed: nop nop nop nop hlt
    +0 +1 trig:6,2 fup:4 pgd
    = 0 1 2 [trig 06, ip: @3] 3 [disabled, at: @4]

psb-mode-trig-ip: nop nop nop nop hlt
    +0 psb fup:1 psbend trig:6,2 fup:4 pgd
    = 0 1 [trig 06, ip: @2] 2 3 [disabled, at: @4]

trig-pgd-noip: nop nop syscall
    +0 trig:6,1 pgd
    = 0 [trig 06, ip: @1] 1 2 [disabled]

trig-jmp-call: jmp:3 hlt call:9 hlt nop nop hlt
    +0 trig:6,3 fup:b pgd
    = 0 3 9 [trig 06, ip: @a] a [disabled, at: @b]

trig-too-far: nop nop nop hlt
    +0 trig:5,9 fup:3 pgd
    = 0 1 2 3 [22, 1004: error: {nomap}]

tnt-trig-multi: jz:2 nop jz:5 nop nop hlt
    +0 tnt:.. trig:1,1 fup:7 pgd
    = 0 2 3 5 [trig 01, ip: @6] 6 [disabled, at: @7]

trig-trig-two-later: nop nop nop nop nop hlt
    +0 trig:1,1 trig:2,3 fup:5 pgd
    = 0 [trig 01, ip: @1] 1 2 3 [trig 02, ip: @4] 4 [disabled, at: @5]

trig-mult-icnt: nop nop nop nop nop hlt
    +0 trig.mult:1,1 fup:5 pgd
    = 0 [trig 01, mult, ip: @1] 1 2 3 4 [disabled, at: @5]

trig-cyc-time --event:time: nop nop nop nop nop hlt
    +0 tsc:5 trig:1,1 fup:5 pgd
    = 0 [#5  trig 01, ip: @1] 1 2 3 4 [#5  disabled, at: @5]

tnt-mid-trig-fail: jz:2 nop jz:5 nop nop hlt
    +0 tnt:. trig:1,3 tnt:. fup:7 pgd
    = 0 2 3 [23, 1003: error: {bad_query}]

tip-deferred-trig: jz:2 jmp* jz:6 nop nop hlt
    +0 tnt:.. tip:4 trig:1,1 fup:8 pgd
    = 0 2 4 6 [trig 01, ip: @7] 7 [disabled, at: @8]

ret-tnt-trig: call:6 hlt nop ret
    +0 tnt:! trig:1,0 fup:5 pgd
    = 0 6 7 [trig 01, ip: @5] [disabled, at: @5]

pgd-ip-trig: jmp:3 hlt nop nop
    +0 trig:1,1 pgd:3
    = 0 [trig 01, ip: @3] [disabled, ip: @3]

trig-then-tip_pgd-same: nop nop nop
    +0 trig:1,2 pgd:2
    = 0 1 [trig 01, ip: @2] [disabled, ip: @2]

trig-then-async: nop nop nop
    +0 trig:1,2 fup:2 pgd
    = 0 1 [trig 01, ip: @2] [disabled, at: @2]
""")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_trig(case: Case, listed: List) -> None:
    case.check(listed)
