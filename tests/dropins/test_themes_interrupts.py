"""ptxed by theme. Asynchronous branches, and the ways into and out of a system, with either side filtered."""

from __future__ import annotations

import pytest

from support.themes import Case, cases
from support.toolrun import List

CASES = cases("""
fup-tip: nop nop hlt nop syscall
    +0 fup:1 tip:3 pgd
    = 0 [interrupt, from: @1, to: @3] 3 4 [disabled]

fup-tip-eos: nop nop hlt nop hlt
    +0 fup:1 tip:3
    = 0 [interrupt, from: @1, to: @3] [end of trace]

fup-tip-fup-tip_pgd: nop nop hlt nop hlt
    +0 fup:1/1 tip:1/3 fup:1/4 pgd:-
    = 0 [interrupt, from: @1, to: @3] 3 [disabled, at: @4]

fup-tip-fup-tip-same: nop nop hlt nop hlt
    +0 fup:1 tip:3 fup:3 tip:0 fup:1 pgd
    = 0 [interrupt, from: @1, to: @3] [interrupt, from: @3, to: @0] 0 [disabled, at: @1]

fup-tip-first: nop nop hlt nop hlt
    +0 fup:0 tip:3 fup:4 pgd
    = [interrupt, from: @0, to: @3] 3 [disabled, at: @4]

int3-async: nop int3 nop syscall
    +0 fup:1 tip:2 pgd
    = 0 [interrupt, from: @1, to: @2] 2 3 [disabled]

int-as-far-call: nop int nop iret syscall
    +0 tip:4 tip:3 tip:6 pgd
    = 0 1 4 3 4 6 [disabled]

int-iret-cpl_3: int nop syscall iret
    +0 fup:0 pgd pge:2 pgd
    = [disabled, at: @0] [enabled, ip: @2] 2 3 [disabled]

int-iret-cpl_0: int nop hlt iret
    +- pge:5 pgd pge:5 pgd
    = [enabled, ip: @5] 5 [disabled] [enabled, ip: @5] 5 [disabled]

syscall-sysret-cpl_3: syscall nop hlt
    +0 pgd pge:2 fup:3 pgd
    = 0 [disabled] [resumed, ip: @2] 2 [disabled, at: @3]

syscall-sysret-both: syscall nop hlt sysret
    +0 tip:4 tip:2 fup:3 pgd
    = 0 4 2 [disabled, at: @3]

sysenter-sysexit-cpl_3: sysenter nop hlt
    +0 pgd pge:2 fup:3 pgd
    = 0 [disabled] [resumed, ip: @2] 2 [disabled, at: @3]

sysenter-sysexit-cpl_0: nop sysexit nop
    +- pge:0 pgd pge:0 pgd
    = [enabled, ip: @0] 0 1 [disabled] [enabled, ip: @0] 0 1 [disabled]

eretu: nop eretu nop hlt
    +0 tip:5 fup:6 pgd
    = 0 1 5 [disabled, at: @6]

erets: nop erets nop hlt
    +0 tip:5 fup:6 pgd
    = 0 1 5 [disabled, at: @6]

int-erets: nop int nop hlt erets
    +0 fup:1 tip:5 tip:3 fup:4 pgd
    = 0 [interrupt, from: @1, to: @5] 5 3 [disabled, at: @4]

uiret: nop uiret nop hlt
    +0 tip:5 fup:6 pgd
    = 0 1 5 [disabled, at: @6]
""")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_interrupts(case: Case, listed: List) -> None:
    case.check(listed)
