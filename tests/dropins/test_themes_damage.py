"""ptxed by theme. Packets that are bad, cut off or out of place."""

from __future__ import annotations

import pytest

from support.themes import Case, cases
from support.toolrun import List

CASES = cases("""
wrong-opc-after-psb: nop nop hlt
    psb raw:c9 +0 fup:1 pgd
    = [10, 0: sync error: {bad_opc}] 0 [disabled, at: @1]

wrong-opc-after-psb-aligned: nop nop hlt
    psb raw:0204 pad pad pad pad pad pad +0 fup:1 pgd
    = [10, 0: sync error: {bad_opc}] 0 [disabled, at: @1]

psb-cut: nop jz:0 nop hlt
    +0 raw:7d0210 pad pad pad pad pad pad pad pad +1 tnt:. fup:4 pgd
    = [28, 0: error: {bad_context}]

psb-cut-by-psb: nop jz:0 nop hlt
    +0 raw:7d02100000 +1 tnt:. fup:4 pgd
    = [24, 0: error: {bad_packet}] 1 3 [disabled, at: @4]

psb-cut-tnt64: nop jz:0 nop hlt
    +0 raw:02a3 +1 tnt:. fup:4 pgd
    = 0 1 3 4 [25, 1005: error: {nomap}] 1 3 [disabled, at: @4]

psb-cut-psb: nop jz:0 nop hlt
    +0 raw:02820282028202 +1 tnt:. fup:4 pgd
    = [1d, 0: error: {bad_packet}] 1 3 [disabled, at: @4]

psb-cut-first: nop hlt
    raw:0282028202 +0 fup:1 pgd
    = 0 [disabled, at: @1]

psb-trunc-end: nop hlt
    +0 fup:1 raw:01 raw:02820282
    = 0 [disabled, at: @1]

bad-mode-leaf: nop nop hlt
    +0 raw:9940 +0 fup:1 pgd
    = [1d, 0: error: {bad_packet}] 0 [disabled, at: @1]

bad-tnt64: nop nop hlt
    +0 raw:02a3010000000000 +0 fup:1 pgd
    = [1d, 0: error: {bad_packet}] 0 [disabled, at: @1]

bad-ipc5: nop nop hlt
    +0 raw:bd +0 fup:1 pgd
    = [1d, 0: error: {bad_packet}] 0 [disabled, at: @1]

bad-cyc-long: nop nop hlt
    +0 raw:07ffffffffffffffffff01 +0 fup:1 pgd
    = [1d, 0: error: {bad_packet}] 0 [disabled, at: @1]

cyc-9: nop nop hlt
    +0 raw:07ffffffffffffff02 fup:1 pgd
    = 0 [disabled, at: @1]

bad-tma: nop nop hlt
    +0 tsc:5 raw:02730100010200 +0 fup:1 pgd
    = [25, 0: error: {bad_packet}] 0 [disabled, at: @1]

tma-no-tsc: nop nop hlt
    +0 tma:1,1 +0 fup:1 pgd
    = [1d, 0: error: {bad_context}] 0 [disabled, at: @1]

tma-twice: nop nop hlt
    +0 tsc:1 tma:1,1 tma:1,1 +0 fup:1 pgd
    = [2c, 0: error: {bad_context}] 0 [disabled, at: @1]

cbr0: nop nop hlt
    +0 cbr:0 +0 fup:1 pgd
    = [1d, 0: error: {bad_packet}] 0 [disabled, at: @1]

psb-cbr0: nop nop hlt
    psb fup:0 mode:64 cbr:0 psbend +0 fup:1 pgd
    = [1b, 0: sync error: {bad_packet}] 0 [disabled, at: @1]

psb-tma-no-tsc: nop nop hlt
    psb fup:0 mode:64 tma:1,1 psbend +0 fup:1 pgd
    = [1b, 0: sync error: {bad_context}] 0 [disabled, at: @1]

psbend-alone: nop nop hlt
    +0 psbend +0 fup:1 pgd
    = [1d, 0: error: {bad_context}] 0 [disabled, at: @1]

tnt-disabled: nop nop hlt
    +- tnt:! +0 fup:1 pgd
    = [14, 0: error: {bad_context}] 0 [disabled, at: @1]

tip-disabled: nop nop hlt
    +- tip:0 +0 fup:1 pgd
    = [14, 0: error: {bad_context}] 0 [disabled, at: @1]

fup-suppressed-tip: nop nop hlt
    +0 fup:- tip:0 +0 fup:1 pgd
    = [1d, 0: error: {ip_suppressed}] 0 [disabled, at: @1]

fup-noip-tip: nop nop hlt
    +- fup:- pge:0 +0 fup:1 pgd
    = [14, 0: error: {noip}] 0 [disabled, at: @1]

fup-fup: nop nop hlt
    +0 fup:0 fup:1 tip:0 fup:1 pgd
    = 0 [interrupt, from: @1, to: @0] 0 [disabled, at: @1]

fup-tip_pge: nop nop hlt
    +0 fup:0 pge:1 +0 fup:1 pgd
    = [26, 0: error: {bad_context}] 0 [disabled, at: @1]

pge-suppressed: nop nop hlt
    +- pge:- +0 fup:1 pgd
    = [14, 0: error: {noip}] 0 [disabled, at: @1]

pip-pge-tip-bound: nop nop hlt
    +- fup:1 pip:a00 pge:1 +0 fup:1 pgd
    = [enabled, ip: @1] [25, 0: error: {bad_context}] 0 [disabled, at: @1]

tnt-left-at-pgd: jz:2 nop nop hlt
    +0 tnt:.!! pgd
    = 0 2 3 4 [1e, 1005: error: {nomap}]

tip-left: nop nop hlt
    +0 tip:1 pgd
    = 0 1 2 [1d, 1003: error: {nomap}]

tnt-then-async: nop jz:3 nop nop hlt
    +0 tnt:. fup:3 tip:5 pgd
    = 0 1 [interrupt, from: @3, to: @5] 5 [31, 1006: error: {nomap}]
""")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_damage(case: Case, listed: List) -> None:
    case.check(listed)
