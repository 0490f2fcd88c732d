"""ptxed by theme. Several events at one instruction, and events that need code between them."""

from __future__ import annotations

import pytest

from support.themes import Case, cases
from support.toolrun import List

CASES = cases("""
psb-behind-branch: jz:2 nop nop hlt
    +0 +3 fup:3 pgd
    = 0 [38, 1000: error: {bad_query}]

psb-behind-branch-nomode: jz:2 nop nop hlt
    +0 psb fup:3 psbend tnt:! fup:3 pgd
    = 0 2 [disabled, at: @3]

psb-pip-behind-branch: jz:2 nop nop hlt
    +0 psb fup:3 pip:a00 psbend tnt:! fup:3 pgd
    = 0 [3e, 1000: error: {bad_query}]

psb-backward: nop nop hlt
    +1 +0 fup:2 pgd
    = 1 2 [38, 1003: error: {nomap}]

fup-pip-tip-disabled: nop syscall nop hlt
    +0 pgd fup:1 pip:a00 tip:3 +0
    = 0 1 [disabled] [2f, 1003: error: {bad_context}] [end of trace]

mode-fup-disabled: nop syscall nop hlt
    +0 pgd mode:32 fup:3 pge:3 fup:4 pgd
    = 0 1 [disabled] [exec mode: 32-bit, ip: @3] [resumed, ip: @3] 3 [disabled, at: @4]

tsx-fup-disabled: nop syscall nop hlt
    +0 pgd tsx.begin fup:3 pge:3 fup:4 pgd
    = 0 1 [disabled] [begin transaction] [resumed, ip: @3] [29, 1003: error: {bad_context}]

exstop_ip-mwait-disabled: nop syscall nop hlt
    +0 pgd mwait:1,1 exstop.ip fup:9 pge:3 fup:4 pgd
    = 0 1 [disabled] [mwait 1 1, ip: @9] [exstop, ip: @9] [resumed, ip: @3] 3 [disabled, at: @4]

fup-disabled-pgd: nop syscall nop hlt
    +0 pgd fup:3 pgd
    = 0 1 [disabled] [28, 1003: error: {bad_context}]

tip-enabled-suppressed-jcc: jz:2 nop
    +0 tip:-
    = 0 [1d, 1000: error: {bad_query}]

ptw-iret-vmcs-held: nop iret nop hlt
    +0 cfe:2,0 vmcs:b000 pip:a00 pgd
    = 0 1 [iret] [vmcs, base: #b000] [paging, cr3: #a00] [disabled]

pip-pip-far: nop iret iret hlt
    +0 pip:a00 pip:b00 tip:3 tip:5
    = 0 1 [paging, cr3: #a00] [2d, 1001: error: {bad_query}]

pip-fup-at-far: nop callfar* nop hlt
    +0 pip:a00 fup:1 tip:3
    = 0 1 [paging, cr3: #a00] [2e, 1001: error: {bad_query}]

pip-mnt-far: nop callfar* nop hlt
    +0 pip:a00 mnt:5 tip:3
    = 0 1 [paging, cr3: #a00] [mnt: 5] [end of trace]

pip-cbr-pgd: nop callfar* nop hlt
    +0 pip:a00 cbr:5 pgd
    = 0 1 [paging, cr3: #a00] [cbr: 5] [disabled]

pip-ovf-far: nop callfar* nop hlt
    +0 pip:a00 ovf fup:3
    = 0 1 [paging, cr3: #a00] [overflow, ip: @3] [end of trace]

pip-psb-far: nop callfar* nop hlt
    +0 pip:a00 +3
    = 0 1 [paging, cr3: #a00] [40, 1001: error: {bad_query}]

movcr3-psb: nop movcr3 nop hlt
    +0 pip:a00 +4 fup:5 pgd
    = 0 1 [paging, cr3: #a00] 4 [disabled, at: @5]

movcr3-pip-mode-tip: nop movcr3 jmp* hlt
    +0 pip:a00 mode:32 tip:6
    = 0 1 [paging, cr3: #a00] 4 [exec mode: 32-bit, ip: @6] [end of trace]

movcr3-cfe: nop movcr3 nop hlt
    +0 pip:a00 cfe:3,0 fup:4 tip:5
    = 0 1 [paging, cr3: #a00] [smi, ip: @4] [interrupt, from: @4, to: @5] [end of trace]

movcr3-fup-same: nop movcr3 nop hlt
    +0 pip:a00 fup:1 tip:5
    = 0 1 [paging, cr3: #a00] 4 5 [2e, 1006: error: {nomap}]

far-pip-mode-tip: nop jmpfar* nop hlt
    +0 pip:a00 mode:32 tip:3 fup:4 pgd
    = 0 1 [paging, cr3: #a00] [exec mode: 32-bit, ip: @3] 3 [disabled, at: @4]

far-pip-tsx: nop jmpfar* nop hlt
    +0 pip:a00 tsx.begin fup:3 tip:3
    = 0 1 [paging, cr3: #a00] [27, 1001: error: {bad_query}]

far-tip-pgd-ip: nop jmpfar* nop hlt
    +0 pip:a00 pgd:3 pge:3 fup:4 pgd
    = 0 1 [paging, cr3: #a00] [disabled, ip: @3] [enabled, ip: @3] 3 [disabled, at: @4]

syscall-both-held: nop syscall nop hlt
    +0 cfe:f,0 pip:a00 tip:3 fup:4 pgd
    = 0 1 [syscall] [paging, cr3: #a00] 3 [disabled, at: @4]

swintr-held: nop int nop hlt
    +0 pip:a00 cfe.ip:e,80 fup:1 tip:3
    = 0 1 [paging, cr3: #a00] [29, 1001: error: {bad_query}]

int-async-pip: nop int nop hlt
    +0 fup:1 pip:a00 tip:3 fup:4 pgd
    = 0 [interrupt, from: @1, to: @3] [paging, cr3: #a00, ip: @3] 3 [disabled, at: @4]

vmentry-twice: nop vmresume vmresume hlt
    +0 cfe:7,0 cfe:7,0 tip:4
    = 0 1 [vmentry] [25, 1001: error: {bad_query}]

ptw-twice-one: nop ptwrite jz:7 hlt
    +0 ptw:1 ptw:2 tnt:.
    = 0 1 [ptwrite: 1] 5 [31, 1005: error: {bad_query}]

disable-at-held-cond: nop jz:3 hlt
    +0 pgd:20
    = 0 1 [disabled, ip: @20]

disable-held-ip-next: nop movcr3 nop hlt
    +0 pip:a00 pgd:4 pge:4
    = 0 1 [paging, cr3: #a00] [disabled, ip: @4] [resumed, ip: @4] [end of trace]

disable-ip-far: nop callfar* nop hlt
    +0 pip:a00 pgd:3 pge:3
    = 0 1 [paging, cr3: #a00] [disabled, ip: @3] [resumed, ip: @3] [end of trace]

eos-held: nop callfar* nop hlt
    +0 pip:a00
    = 0 1 [paging, cr3: #a00] [end of trace]

bad-held: nop callfar* nop hlt
    +0 pip:a00 raw:c9
    = 0 1 [paging, cr3: #a00] [25, 1003: error: {bad_opc}]

tnt-held: nop callfar* nop hlt
    +0 pip:a00 tnt:!
    = 0 1 [paging, cr3: #a00] [26, 1001: error: {bad_query}]

tnt-tip-held: nop callfar* nop hlt
    +0 pip:a00 tnt:! tip:3
    = 0 1 [paging, cr3: #a00] 3 4 [26, 1005: error: {nomap}]

ret-held-pip: call:6 hlt ret
    +0 tnt:! ptw:5 fup:5 pgd
    = 0 6 5 6 [28, 1006: error: {bad_query}]

rs-held --resync-on-error: nop callfar* nop hlt
    +0 pip:a00 tnt:! fup:3 tip:3 fup:4 pgd
    = 0 1 [paging, cr3: #a00] [26, 1001: error: {bad_query}] [interrupt, from: @3, to: @3] 3
      [disabled, at: @4]

rs-ptw-nomap --resync-on-error: jmpnear:200 nop
    +0 ptw:5 pgd
    = 0 [27, 1200: error: {nomap}] [ptwrite: 5] [disabled]

rs-ptw-psb --resync-on-error: jmpnear:200 nop hlt
    +0 ptw:5 +5 fup:6 pgd
    = 0 [27, 1200: error: {nomap}] [ptwrite: 5] 5 [disabled, at: @6]

rs-iret-nomap-held --resync-on-error: jmpnear:200 iret nop hlt
    +0 cfe.ip:2,0 fup:210 tip:7 fup:8 pgd
    = 0 [21, 1200: error: {nomap}] [iret, ip: @210] [2a, 1210: error: {nomap}] 7 [disabled, at: @8]
""")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_events_are_held_back_until_their_place(case: Case, listed: List) -> None:
    case.check(listed)
