"""ptxed by theme. PSB+ in every place, and the end of the trace."""

from __future__ import annotations

import pytest

from support.themes import Case, cases
from support.toolrun import List

CASES = cases("""
psb-fup-psbend: nop nop hlt
    +0 +1 fup:2 pgd
    = 0 1 [disabled, at: @2]

psb-psb-linear: nop nop nop hlt
    +0 +1 +2 fup:3 pgd
    = 0 1 2 [disabled, at: @3]

psb-same-ip: nop nop hlt
    +0 +0 +0 fup:1 pgd
    = 0 [disabled, at: @1]

psb-tnt-psb: jz:2 nop hlt
    +0 tnt:! +2 fup:3 pgd
    = 0 2 [disabled, at: @3]

psb_nofup-tip_pge: nop hlt
    +- +- pge:0 fup:1 pgd
    = [enabled, ip: @0] 0 [disabled, at: @1]

psb-enabled-then-disabled-status: nop nop hlt
    +0 +- pge:0 fup:1 pgd
    = [2f, 0: error: {bad_status_update}]

psb-disabled-then-enabled-status: nop nop hlt
    +- +0 fup:1 pgd
    = [2f, 0: error: {bad_status_update}]

psb-fup-suppressed: nop nop hlt
    psb fup:- mode:64 psbend pge:0 fup:1 pgd
    = [enabled, ip: @0] 0 [disabled, at: @1]

psb-mode-after-fup-order: nop nop hlt
    psb mode:64 fup:0 psbend fup:1 pgd
    = 0 [disabled, at: @1]

psb-two-fups: nop nop hlt
    psb fup:1 fup:0 mode:64 psbend fup:1 pgd
    = 0 [disabled, at: @1]

psb-fup-1: nop nop hlt
    psb fup:1/0 mode:64 psbend fup:1 pgd
    = 0 [disabled, at: @1]

psb-pip-psb: nop nop hlt
    psb fup:0 mode:64 pip:a00 vmcs:b000 psbend psb fup:1 mode:64 pip:c00 psbend fup:2 pgd
    = 0 1 [disabled, at: @2]

psb-pip-disabled: nop nop hlt
    psb mode:64 pip:a00 vmcs:b000 psbend pge:0 fup:1 pgd
    = [enabled, ip: @0] 0 [disabled, at: @1]

psb-mnt-psbend: nop nop hlt
    psb fup:0 mode:64 mnt:abc psbend fup:1 pgd
    = [mnt: abc] 0 [disabled, at: @1]

psb-mnt-disabled: nop nop hlt
    psb mode:64 mnt:abc psbend pge:0 fup:1 pgd
    = [mnt: abc] [enabled, ip: @0] 0 [disabled, at: @1]

psb-mnt-mid: nop nop hlt
    +0 psb fup:1 mode:64 mnt:abc psbend fup:2 pgd
    = 0 [mnt: abc] 1 [disabled, at: @2]

psb-cbr: nop nop hlt
    psb fup:0 mode:64 cbr:10 psbend psb fup:1 cbr:12 mode:64 psbend fup:2 pgd
    = 0 1 [disabled, at: @2]

psb-tsx: nop nop hlt
    psb fup:0 mode:64 tsx.begin psbend tsx.commit fup:1 fup:2 pgd
    = ?0 [committed, ip: @1] 1 [disabled, at: @2]

psb-tsx-mid: nop nop hlt
    +0 tsx.begin fup:0 psb fup:1 mode:64 tsx.begin psbend fup:2 pgd
    = [begin transaction, ip: @0] ?0 ?1 [disabled, at: @2]

psb-stop: nop nop hlt
    +- stop
    = [stopped]

psb-exstop: nop nop hlt
    +- exstop
    = [exstop]

psb-ovf-fup: nop nop hlt
    psb fup:0 mode:64 ovf fup:1 fup:2 pgd
    = [overflow, ip: @1] 1 [disabled, at: @2]

psb-ovf-tip_pge: nop nop hlt
    psb fup:0 mode:64 ovf pge:1 fup:2 pgd
    = [overflow] [enabled, ip: @1] 1 [disabled, at: @2]

psb-ovf-eos: nop nop hlt
    psb fup:0 mode:64 ovf
    = [overflow]

psb-ovf-nofup: nop nop hlt
    psb mode:64 ovf pge:1 fup:2 pgd
    = [overflow] [enabled, ip: @1] 1 [disabled, at: @2]

psb-mnt-ovf-fup: nop nop hlt
    psb mode:64 mnt:5 ovf fup:1 fup:2 pgd
    = [mnt: 5] [overflow, ip: @1] 1 [disabled, at: @2]

psb-ovf-mid-disabled: nop syscall nop hlt
    +0 pgd psb mode:64 ovf pge:3 fup:4 pgd
    = 0 1 [disabled] [overflow] [enabled, ip: @3] 3 [disabled, at: @4]

psb-ovf-mid-enabled: nop nop nop hlt
    +0 psb fup:1 mode:64 ovf fup:2 fup:3 pgd
    = 0 [overflow, ip: @2] 2 [disabled, at: @3]

psb-ovf-mid-enabled-nofup: nop nop nop hlt
    +0 psb mode:64 ovf fup:2 fup:3 pgd
    = [overflow, ip: @2] 2 [disabled, at: @3]

psb-stray-tip: nop hlt
    psb fup:0 tip:1 psbend +0 fup:1 pgd
    = [19, 0: sync error: {bad_context}] 0 [disabled, at: @1]

tip-eos: jmp* hlt nop syscall nop
    +0 tip:3
    = 0 [end of trace]

tnt_t-eos: jz:4 nop hlt nop syscall
    +0 tnt:!
    = 0 [end of trace]

pgd-eos: syscall nop
    +0 pgd
    = 0 [disabled]

pge-eos: nop nop syscall
    +- pge:0
    = [enabled, ip: @0] [end of trace]

enabled-eos: nop nop syscall
    +0
    = [end of trace]

mnt-eos: nop syscall
    +0 mnt:1
    = [mnt: 1] [end of trace]

ovf-fup-eos: nop syscall
    +0 ovf fup:0
    = [overflow, ip: @0] [end of trace]

ovf-eos: nop syscall
    +0 ovf
    = [overflow]

tnt-tnt-eos: jz:2 jz:4 nop syscall
    +0 tnt:! tnt:.
    = 0 2 [end of trace]

truncated-tip: jmp* nop syscall
    +0 tip:2 raw:6d00
    = 0 [end of trace]

psb-mnt-psb: nop nop hlt
    psb fup:0 mode:64 mnt:1 psbend psb fup:1 mode:64 mnt:2 psbend fup:2 pgd
    = [mnt: 1] 0 [mnt: 2] 1 [disabled, at: @2]

psb-order: nop nop hlt
    psb mnt:1 cbr:4 fup:0 mnt:2 mode:64 psbend fup:2 pgd
    = [mnt: 1] [mnt: 2] 0 1 [disabled, at: @2]
""")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_psb(case: Case, listed: List) -> None:
    case.check(listed)
