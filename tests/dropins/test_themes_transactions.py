"""ptxed by theme. Transactions."""

from __future__ import annotations

import pytest

from support.themes import Case, cases
from support.toolrun import List

CASES = cases("""
tsx-commit: nop nop nop nop hlt
    +0 tsx.begin fup:1 tsx.commit fup:2 fup:3 pgd
    = 0 [begin transaction, ip: @1] ?1 [committed, ip: @2] 2 [disabled, at: @3]

tsx-abort: nop nop nop nop hlt
    +0 tsx.begin fup:1 tsx.abort fup:2 tip:3 fup:4 pgd
    = 0 [begin transaction, ip: @1] ?1 [aborted, ip: @2] [interrupt, from: @2, to: @3] 3 [disabled, at: @4]

tsx-abort-tip_pgd: nop nop nop nop hlt
    +0 tsx.begin fup:1 tsx.abort fup:2 pgd
    = 0 [begin transaction, ip: @1] ?1 [aborted, ip: @2] [disabled, at: @2]

tsx-abort-tip_pgd-ip-pge: nop nop nop nop hlt
    +0 tsx.begin fup:1 tsx.abort fup:2 pgd:3 pge:3 fup:4 pgd
    = 0 [begin transaction, ip: @1] ?1 [aborted, ip: @2] [disabled, at: @2, ip: @3] [enabled, ip: @3] 3
      [disabled, at: @4]

tsx-abort-first: nop nop nop nop hlt
    +0 tsx.abort fup:0 tip:3 fup:4 pgd
    = [aborted, ip: @0] [interrupt, from: @0, to: @3] 3 [disabled, at: @4]

psb-tsx_abort-fup-tip_pgd: nop nop hlt
    psb fup:0 mode:64 tsx.begin psbend tsx.abort fup:1 pgd
    = ?0 [aborted, ip: @1] [disabled, at: @1]

psb-tsx_abort-tip-fup-tip_pgd: nop nop nop hlt
    psb fup:0 mode:64 tsx.begin psbend tsx.abort fup:0 tip:2 fup:3 pgd
    = [aborted, ip: @0] [interrupt, from: @0, to: @2] 2 [disabled, at: @3]

tip_pge-tsx: nop nop hlt
    +- tsx.begin pge:0 fup:1 pgd
    = [begin transaction] [enabled, ip: @0] ?0 [disabled, at: @1]

tip_pge-tsx_begin: nop nop hlt
    +- pge:0 tsx.begin fup:0 tsx.commit fup:1 fup:2 pgd
    = [enabled, ip: @0] [begin transaction, ip: @0] ?0 [committed, ip: @1] 1 [disabled, at: @2]

tip_pgd-tsx: nop syscall nop hlt
    +0 pgd tsx.begin pge:3 tsx.commit fup:3 fup:4 pgd
    = 0 1 [disabled] [begin transaction] [resumed, ip: @3] [committed, ip: @3] 3 [disabled, at: @4]

tsx-psb-commit: nop nop nop nop hlt
    +0 tsx.begin fup:1 psb fup:2 mode:64 tsx.begin psbend tsx.commit fup:3 fup:4 pgd
    = 0 [begin transaction, ip: @1] ?1 ?2 [committed, ip: @3] 3 [disabled, at: @4]

tsx-no_spurious_commit: nop nop nop nop hlt
    +0 tsx.begin fup:1 psb fup:2 mode:64 tsx.begin psbend psb fup:3 mode:64 tsx.begin psbend fup:4 pgd
    = 0 [begin transaction, ip: @1] ?1 ?2 ?3 [disabled, at: @4]

tsx-psb_without_tsx: nop nop nop nop hlt
    +0 tsx.begin fup:1 +2 fup:4 pgd
    = 0 [begin transaction, ip: @1] ?1 ?2 ?3 [disabled, at: @4]

tsx-tnt-abort: jz:2 nop nop hlt
    +0 tsx.begin fup:0 tnt:! tsx.abort fup:3 tip:4 fup:4 pgd
    = [begin transaction, ip: @0] ?0 ?2 [aborted, ip: @3] [interrupt, from: @3, to: @4] [disabled, at: @4]

tsx-ovf: nop nop nop hlt
    +0 tsx.begin fup:0 ovf fup:1 fup:2 pgd
    = [begin transaction, ip: @0] [overflow, ip: @1] 1 [disabled, at: @2]

tsx-ovf-pge: nop nop nop hlt
    +0 tsx.begin fup:0 ovf pge:1 fup:2 pgd
    = [begin transaction, ip: @0] [overflow] [enabled, ip: @1] 1 [disabled, at: @2]

tsx-both-bits: nop nop nop hlt
    +0 raw:9923 fup:0 tip:2 fup:3 pgd
    = [aborted, ip: @0] [interrupt, from: @0, to: @2] ?2 [disabled, at: @3]

tsx-same-fup-two: nop nop nop hlt
    +0 tsx.begin tsx.commit fup:1 fup:2 pgd
    = 0 [begin transaction, ip: @1] [committed, ip: @1] 1 [disabled, at: @2]
""")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_transactions(case: Case, listed: List) -> None:
    case.check(listed)
