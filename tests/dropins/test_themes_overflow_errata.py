"""ptxed by theme. Errata of what stands behind an overflow, with the processors that have them and others."""

from __future__ import annotations

import pytest

from support.themes import Case, cases
from support.toolrun import List

CASES = cases("""
skd010-psb --cpu 6/78: nop nop hlt
    +0 ovf +1 fup:2 pgd
    = [overflow, ip: @1] 1 [disabled, at: @2]

skd010-psb-nofup --cpu 6/78: nop nop hlt
    +0 ovf +- pge:1 fup:2 pgd
    = [overflow] [enabled, ip: @1] 1 [disabled, at: @2]

skd010-tip --cpu 6/78: nop nop hlt
    +0 ovf tip:1 fup:2 pgd
    = [overflow, ip: @1] 1 [disabled, at: @2]

skd010-tip_pgd --cpu 6/78: nop nop hlt
    +0 ovf pgd:5 pge:1 fup:2 pgd
    = [overflow] [enabled, ip: @1] 1 [disabled, at: @2]

skd010-fup --cpu 6/78: nop nop hlt
    +0 ovf pip:a00 fup:1 tip:1 fup:2 pgd
    = [overflow, ip: @1] [interrupt, from: @1, to: @1] 1 [disabled, at: @2]

skd010-tsx-fup --cpu 6/78: nop nop nop hlt
    +0 ovf tsx.begin fup:1 fup:3 pgd
    = [overflow, ip: @1] [begin transaction, ip: @1] ?1 ?2 [disabled, at: @3]

skd010-tsx_abort-fup-tip --cpu 6/78: nop nop nop hlt
    +0 ovf tsx.abort fup:1 tip:2 fup:3 pgd
    = [overflow, ip: @1] [aborted, ip: @1] [interrupt, from: @1, to: @2] 2 [disabled, at: @3]

skd010-tsx-tsx --cpu 6/78: nop nop nop hlt
    +0 ovf tsx.begin tsx.commit pge:1 fup:2 pgd
    = [overflow] [begin transaction] [committed] [enabled, ip: @1] 1 [disabled, at: @2]

skd010-tip_pge --cpu 6/78: nop nop hlt
    +0 ovf mode:64 pge:1 fup:2 pgd
    = [overflow] [enabled, ip: @1] [exec mode: 64-bit, ip: @1] 1 [disabled, at: @2]

skd010-tnt --cpu 6/78: nop nop hlt
    +0 ovf tnt:! +1 fup:2 pgd
    = [1d, 0: error: {bad_context}] 1 [disabled, at: @2]

skd010-ovf --cpu 6/78: nop nop hlt
    +0 ovf ovf fup:1 fup:2 pgd
    = [overflow] [overflow, ip: @1] 1 [disabled, at: @2]

skd010-stop --cpu 6/78: nop nop hlt
    +0 ovf stop pge:1 fup:2 pgd
    = [overflow] [stopped] [enabled, ip: @1] 1 [disabled, at: @2]

skd010-cfe-tip --cpu 6/78: nop nop hlt
    +0 ovf cfe:3,0 tip:1 fup:2 pgd
    = [overflow, ip: @1] 1 [disabled, at: @2]

skd010-exstop-tip --cpu 6/78: nop nop hlt
    +0 ovf exstop tip:1 fup:2 pgd
    = [overflow, ip: @1] 1 [disabled, at: @2]

skd010-exstop_ip-fup --cpu 6/78: nop nop hlt
    +0 ovf exstop.ip fup:1 fup:2 pgd
    = [overflow] [exstop, ip: @1] [34, 0: error: {bad_context}]

skd010-ptw_ip-fup --cpu 6/78: nop nop hlt
    +0 ovf ptw.ip:5 fup:1 pge:1 fup:2 pgd
    = [overflow] [ptwrite: 5, ip: @1] [enabled, ip: @1] 1 [disabled, at: @2]

skd010-mwait --cpu 6/78: nop nop hlt
    +0 ovf mwait:1,1 exstop tip:1
    = [overflow] [mwait 1 1] [exstop] [2b, 0: error: {bad_context}]

skd010-time --cpu 6/78 --event:time: nop nop hlt
    +0 tsc:100 ovf tsc:200 pip:a00 tsc:300 tip:1 fup:2 pgd
    = [#100  overflow, ip: @1] 1 [#300  disabled, at: @2]

skd010-cbr --cpu 6/78 --event:time: nop nop hlt
    +0 tsc:100 ovf pip:a00 cbr:5 tip:1 cbr:6 fup:2 pgd
    = [#100  overflow, ip: @1] [#100  cbr: 6] 1 [#100  disabled, at: @2]

skd010-eos --cpu 6/78: nop nop hlt
    +0 ovf pip:a00
    = [overflow] [paging, cr3: #a00]

apl11-ovf-tip_pgd --cpu 6/92: nop nop hlt
    +0 ovf pgd pge:1 fup:2 pgd
    = [overflow] [enabled, ip: @1] 1 [disabled, at: @2]

apl11-timing --cpu 6/92 --event:time: nop nop hlt
    +0 tsc:5 ovf tsc:10 cbr:3 mnt:5 pgd:9 pge:1 fup:2 pgd
    = [#5  overflow] [#10  enabled, ip: @1] 1 [#10  disabled, at: @2]

apl11-psb --cpu 6/92: nop nop hlt
    +0 ovf +- pge:1 fup:2 pgd
    = [overflow] [enabled, ip: @1] 1 [disabled, at: @2]

apl11-tip --cpu 6/92: nop nop hlt
    +0 ovf tip:1 pgd +1 fup:2 pgd
    = [1d, 0: error: {bad_context}] 1 [disabled, at: @2]

apl11-cfe --cpu 6/92: nop nop hlt
    +0 ovf tsc:5 pgd cfe:3,0 pge:1 fup:2 pgd
    = [overflow] [smi] [enabled, ip: @1] 1 [disabled, at: @2]

apl11-122 --cpu 6/122: nop nop hlt
    +0 ovf pgd pge:1 fup:2 pgd
    = [overflow] [enabled, ip: @1] 1 [disabled, at: @2]

apl12-tip_pge --cpu 6/92: nop nop hlt
    +0 ovf fup:20 pge:1 fup:2 pgd
    = [overflow] [enabled, ip: @1] 1 [disabled, at: @2]

apl12-psb --cpu 6/92: nop nop hlt
    +0 ovf fup:20 +- pge:1 fup:2 pgd
    = [overflow] [enabled, ip: @1] 1 [disabled, at: @2]

apl12-psb-fup --cpu 6/92: nop nop hlt
    +0 ovf fup:0 +1 fup:2 pgd
    = [overflow, ip: @0] 0 1 [disabled, at: @2]

apl12-stop --cpu 6/92: nop nop hlt
    +0 ovf fup:20 stop pge:1 fup:2 pgd
    = [overflow] [stopped] [enabled, ip: @1] 1 [disabled, at: @2]

apl12-not --cpu 6/92: nop nop hlt
    +0 ovf fup:1 fup:2 pgd
    = [overflow, ip: @1] 1 [disabled, at: @2]

apl12-tnt --cpu 6/92: nop jz:3 hlt
    +0 ovf fup:1 tnt:. fup:3 pgd
    = [overflow, ip: @1] 1 [disabled, at: @3]

apl12-cbr --cpu 6/92: nop nop hlt
    +0 ovf cbr:5 fup:20 cbr:6 pge:1 fup:2 pgd
    = [overflow] [cbr: 6] [enabled, ip: @1] 1 [disabled, at: @2]

apl12-eos --cpu 6/92: nop nop hlt
    +0 ovf fup:1
    = [overflow, ip: @1] [end of trace]

apl12-122-not --cpu 6/122: nop nop hlt
    +0 ovf fup:1 pge:1 fup:2 pgd
    = [overflow, ip: @1] [28, 0: error: {bad_context}]
""")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_overflow_errata(case: Case, listed: List) -> None:
    case.check(listed)
