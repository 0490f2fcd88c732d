"""ptxed by theme. Errata, with the processors that have them and others."""

from __future__ import annotations

import pytest

from support.themes import Case, cases
from support.toolrun import List

CASES = cases("""
bdm70-psb_fup-tip_pge --cpu 6/61: nop nop hlt
    psb fup:0 mode:64 psbend pge:0 fup:1 pgd
    = [enabled, ip: @0] 0 [disabled, at: @1]

bdm70-mid --cpu 6/61: nop syscall nop hlt
    +0 pgd psb fup:3 mode:64 psbend pge:3 fup:4 pgd
    = 0 1 [disabled] [resumed, ip: @3] 3 [disabled, at: @4]

bdm70-tip_pge-psb_fup-stop --cpu 6/61: nop syscall nop hlt
    +0 pgd psb fup:3 mode:64 psbend pge:3 fup:4 pgd stop
    = 0 1 [disabled] [resumed, ip: @3] 3 [disabled, at: @4] [stopped]

bdm70-no-cpu: nop nop hlt
    psb fup:0 mode:64 psbend pge:0 fup:1 pgd
    = [1d, 0: error: {bad_context}]

bdm70-pip-timing-between --cpu 6/78: nop nop hlt
    psb fup:0 mode:64 psbend tsc:5 cbr:4 pip:a00 mnt:5 mode:64 pge:0 fup:1 pgd
    = [cbr: 4] [paging, cr3: #a00] [mnt: 5] [enabled, ip: @0] 0 [disabled, at: @1]

bdm70-mode_tsx-between --cpu 6/78: nop nop hlt
    psb fup:0 mode:64 psbend tsx.begin pge:0 fup:1 pgd
    = [begin transaction] [enabled, ip: @0] ?0 [disabled, at: @1]

bdm70-not-fup --cpu 6/61: nop nop hlt
    psb fup:0 mode:64 psbend fup:1 pgd
    = 0 [disabled, at: @1]

bdm70-eos --cpu 6/61: nop nop hlt
    psb fup:0 mode:64 psbend
    = [end of trace]

bdm70-psb-psb --cpu 6/61: nop nop hlt
    psb fup:0 mode:64 psbend psb fup:0 mode:64 psbend pge:0 fup:1 pgd
    = [38, 0: error: {bad_status_update}]

bdm70-pge-1 --cpu 6/61: nop nop hlt
    psb fup:0 mode:64 psbend pge:1/0 fup:1 pgd
    = [enabled, ip: @0] 0 [disabled, at: @1]

bdm64-tip-xabort --cpu 6/61: jmp* nop hlt nop nop hlt
    +0 tsx.begin fup:0 tip:20 tsx.abort fup:3 tip:4 fup:5 pgd
    = [begin transaction, ip: @0] ?0 [aborted, ip: @3] [interrupt, from: @3, to: @4] 4 [disabled, at: @5]

bdm64-tnt-cond-xabort --cpu 6/61: jz:20 nop hlt nop nop hlt
    +0 tsx.begin fup:0 tnt:! tsx.abort fup:2 tip:4 fup:5 pgd
    = [begin transaction, ip: @0] ?0 [aborted, ip: @2] [interrupt, from: @2, to: @4] 4 [disabled, at: @5]

bdm64-tnt-reachable --cpu 6/61: jz:20 nop hlt nop nop hlt
    +0 tsx.begin fup:0 tnt:. tsx.abort fup:3 tip:4 fup:5 pgd
    = [begin transaction, ip: @0] ?0 ?2 [aborted, ip: @3] [interrupt, from: @3, to: @4] 4 [disabled, at: @5]

bdm64-no-cpu: jz:20 nop hlt nop nop hlt
    +0 tsx.begin fup:0 tnt:! tsx.abort fup:2 tip:4 fup:5 pgd
    = [begin transaction, ip: @0] ?0 [2b, 1020: error: {nomap}]

skd007 --cpu 6/78: nop nop hlt
    +0 raw:0f02f3 fup:1 fup:2 pgd
    = [overflow, ip: @1] 1 [disabled, at: @2]

skd007-no-cpu: nop nop hlt
    +0 raw:0f02f3 fup:1 fup:2 pgd
    = 0 1 [disabled, at: @2]

skd007-not-ovf --cpu 6/78: nop nop hlt
    +0 raw:0f0223 fup:1 fup:2 pgd
    = 0 1 [disabled, at: @2]

skd022-vmlaunch --cpu 6/78: nop vmlaunch nop hlt
    +0 fup:1 pgd
    = 0 1 [disabled]

skd022-vmresume --cpu 6/78: nop vmresume nop hlt
    +0 fup:1 pgd:20 pge:4 fup:5 pgd
    = 0 1 [disabled, ip: @20] [enabled, ip: @4] 4 [disabled, at: @5]

skd022-other --cpu 6/78: nop vmcall nop hlt
    +0 fup:1 pgd
    = 0 [disabled, at: @1]

skd022-no-cpu: nop vmlaunch nop hlt
    +0 fup:1 pgd
    = 0 [disabled, at: @1]

skd022-pip-vmcs --cpu 6/78: nop vmlaunch nop hlt
    +0 fup:1 pip:a00 vmcs:b000 pgd
    = 0 1 [disabled] [vmcs, base: #b000, ip: #0] [paging, cr3: #a00, ip: #0]

skl014-jmp --cpu 6/78 --filter:addr0_cfg 1 --filter:addr0_a 0x1000 --filter:addr0_b 0x1010:
    nop jmp:20 nop hlt
    +0 pgd
    = 0 1 [disabled]

skl014-call --cpu 6/78 --filter:addr0_cfg 1 --filter:addr0_a 0x1000 --filter:addr0_b 0x1010:
    nop call:20 nop hlt
    +0 pgd pge:6 fup:7 pgd
    = 0 1 [disabled] [enabled, ip: @6] 6 [disabled, at: @7]

skl014-call-inside --cpu 6/78 --filter:addr0_cfg 1 --filter:addr0_a 0x1000 --filter:addr0_b 0x1010:
    nop call:7 nop nop syscall
    +0 pgd
    = 0 1 7 8 [disabled]

skl014-no_filter --cpu 6/78: nop jmp:3 syscall nop hlt
    +0 pgd
    = 0 1 3 [disabled]

skl014-stop --cpu 6/78 --filter:addr0_cfg 2 --filter:addr0_a 0x1005 --filter:addr0_b 0x1010:
    jmp:2 jmp:5 nop hlt
    +0 pgd stop
    = 0 2 [disabled] [stopped]

skl014-stop-last --cpu 6/78 --filter:addr0_cfg 2 --filter:addr0_a 0x1003 --filter:addr0_b 0x1005:
    jmp:2 jmp:5 nop hlt
    +0 pgd stop
    = 0 2 [disabled] [stopped]

skl014-second-filter --cpu 6/78 --filter:addr3_cfg 1 --filter:addr3_a 0x1000 --filter:addr3_b 0x1003:
    jmp:2 jmp:5 nop hlt
    +0 pgd
    = 0 2 [disabled]

skl014-movcr3 --cpu 6/78 --filter:addr0_cfg 1 --filter:addr0_a 0x1000 --filter:addr0_b 0x1010:
    nop movcr3 jmp:20 hlt
    +0 pgd
    = 0 1 [disabled]

skl014-pgd-ip --cpu 6/78 --filter:addr0_cfg 1 --filter:addr0_a 0x1000 --filter:addr0_b 0x1010:
    nop jmp:20 hlt
    +0 pgd:20
    = 0 1 [disabled, ip: @20]

skl014-jmp-resume --cpu 6/78 --filter:addr0_cfg 1 --filter:addr0_a 0x1000 --filter:addr0_b 0x1002:
    nop jmp:4 nop nop hlt
    +0 pgd pge:4 fup:5 pgd
    = 0 1 [disabled] [enabled, ip: @4] 4 [disabled, at: @5]

skz84 --cpu 6/85: nop nop hlt
    +0 tsc:5 raw:02730100010200ff fup:1 pgd
    = 0 [disabled, at: @1]

skz84-no-cpu --cpu 6/78: nop nop hlt
    +0 tsc:5 raw:02730100010200ff fup:1 pgd
    = [25, 0: error: {bad_packet}]

skz84-fc --cpu 6/143: nop nop hlt
    +0 tsc:5 raw:027301000002fe77 fup:1 pgd
    = 0 [disabled, at: @1]

skz84-good --cpu 6/85: nop nop hlt
    +0 tsc:5 tma:1,2 fup:1 pgd
    = 0 [disabled, at: @1]

skz84-family19 --cpu 19/1: nop nop hlt
    +0 tsc:5 raw:02730100010200ff fup:1 pgd
    = 0 [disabled, at: @1]

family18 --cpu 18/1: nop nop hlt
    psb fup:0 mode:64 psbend pge:0 fup:1 pgd
    = [enabled, ip: @0] 0 [disabled, at: @1]

family18-2 --cpu 18/2: nop nop hlt
    psb fup:0 mode:64 psbend pge:0 fup:1 pgd
    = [0, 0: config error: {bad_cpu}] [1d, 0: error: {bad_context}]

bad_cpu --cpu 0/0: nop nop hlt
    +0 fup:1 pgd
    = [0, 0: config error: {bad_cpu}] 0 [disabled, at: @1]
""")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_errata(case: Case, listed: List) -> None:
    case.check(listed)
