"""ptxed by theme. The time of events, ticks, and blocks that options cut."""

from __future__ import annotations

import pytest

from support.themes import Case, cases
from support.toolrun import List

CASES = cases("""
eoc-fup-tip --block:end-on-call: call:6 hlt nop nop hlt
    +0 fup:7 tip:8 fup:8 pgd
    = 0 6 [interrupt, from: @7, to: @8] [disabled, at: @8]

eoc-fup-at-call-target --block:end-on-call: call:6 hlt nop nop hlt
    +0 fup:6 tip:7 fup:8 pgd
    = 0 [interrupt, from: @6, to: @7] 7 [disabled, at: @8]

eoc-tip_pgd-target --block:end-on-call: call:6 hlt nop nop hlt
    +0 pgd:6
    = 0 [disabled, ip: @6]

eoc-ptw --block:end-on-call: call:6 hlt ptwrite ret
    +0 ptw:5 tnt:! fup:5 pgd
    = 0 6 [ptwrite: 5] a [disabled, at: @5]

eoc-ret_tnt --block:end-on-call: call:6 hlt ret
    +0 tnt:! fup:5 pgd
    = 0 6 [disabled, at: @5]

eoc-mov_cr3 --block:end-on-call: call:6 hlt movcr3 nop hlt
    +0 pip:a00 fup:a pgd
    = 0 6 [paging, cr3: #a00] 9 [disabled, at: @a]

eoc-trig --block:end-on-call: call:6 hlt nop nop hlt
    +0 trig:1,2 fup:8 pgd
    = 0 6 [trig 01, ip: @7] 7 [disabled, at: @8]

eoj-fup-tip --block:end-on-jump: jmp:3 hlt nop nop hlt
    +0 fup:4 tip:5 fup:5 pgd
    = 0 3 [interrupt, from: @4, to: @5] [disabled, at: @5]

eoj-fup-tip_pgd --block:end-on-jump: jmp:3 hlt nop nop hlt
    +0 fup:4 pgd
    = 0 3 [disabled, at: @4]

eoj-fup-tip_pgd-target --block:end-on-jump: jmp:3 hlt nop nop hlt
    +0 fup:3 pgd
    = 0 [disabled, at: @3]

eoj-tip_pgd --block:end-on-jump: jmp:3 hlt nop nop hlt
    +0 pgd:3
    = 0 [disabled, ip: @3]

eoj-tip_pgd_noip --block:end-on-jump: jmp:3 hlt nop syscall
    +0 pgd
    = 0 3 4 [disabled]

eoj-tnt --block:end-on-jump: jmp:3 hlt jz:3 jmp:8 hlt nop hlt
    +0 tnt:!!. fup:9 pgd
    = 0 3 3 3 5 8 [disabled, at: @9]

tick-tnt --event:tick --event:time: jz:2 jz:4 nop hlt
    +0 tsc:10 tnt:!! tsc:20 fup:5 pgd
    = 0 [#10  tick, ip: @2] 2 4 [#20  disabled, at: @5]

tick-tnt-no-change --event:tick --event:time: jz:2 jz:4 jz:6 nop hlt
    +0 tsc:10 tnt:! tnt:! tsc:20 tnt:! fup:7 pgd
    = 0 [#10  tick, ip: @2] 2 4 [#20  tick, ip: @6] 6 [#20  disabled, at: @7]

tick-tip --event:tick --event:time: jmp* nop hlt
    +0 tsc:10 tip:2 fup:3 pgd
    = 0 [#10  tick, ip: @0] 2 [#10  disabled, at: @3]

tick-tip-notsc --event:tick --event:time --mtc-freq 0 --cpuid-0x15.eax 1 --cpuid-0x15.ebx 1:
    jmp* jmp* nop hlt
    +0 mtc:1 mtc:2 tip:2 mtc:5 tip:4 fup:5 pgd
    = 0 [tick, ip: @0] 2 [tick, ip: @2] 4 [disabled, at: @5]

tick-tnt-notsc --event:tick --event:time --mtc-freq 0 --cpuid-0x15.eax 1 --cpuid-0x15.ebx 1:
    jz:2 jz:4 nop hlt
    +0 mtc:1 mtc:2 tnt:! mtc:5 tnt:! fup:5 pgd
    = 0 2 4 [disabled, at: @5]

tick-deferred --event:tick --event:time: jz:2 jmp* jz:6 nop hlt
    +0 tsc:10 tnt:!! tsc:20 tip:4 fup:7 pgd
    = 0 [#10  tick, ip: @2] 2 4 6 [#20  disabled, at: @7]

tick-ret --event:tick --event:time: call:6 hlt nop ret
    +0 tsc:10 tnt:! fup:5 pgd
    = 0 6 7 [#10  tick, ip: @5] [#10  disabled, at: @5]

tick-event-between --event:tick --event:time: jz:2 nop jz:5 nop hlt
    +0 tsc:10 mnt:1 tnt:! tsc:20 cbr:5 tnt:! fup:6 pgd
    = [#10  mnt: 1] 0 [#20  cbr: 5] 2 3 5 [#20  disabled, at: @6]

tick-pip --event:tick --event:time: callfar* nop hlt
    +0 tsc:10 pip:a00 tsc:20 tip:2 fup:3 pgd
    = 0 [#10  paging, cr3: #a00] [#20  tick, ip: @0] 2 [#20  disabled, at: @3]

tick-psb --event:tick --event:time: jz:2 nop nop hlt
    psb fup:0 mode:64 tsc:10 psbend tsc:20 tnt:! psb fup:3 mode:64 tsc:30 psbend fup:4 pgd
    = 0 [#20  tick, ip: @2] 2 3 [#30  disabled, at: @4]

tick-loop --event:tick --event:time: jz:0 nop hlt
    +0 tsc:10 tnt:!!! tsc:20 tnt:!. tsc:30 fup:3 pgd
    = 0 [#10  tick, ip: @0] 0 0 0 [#20  tick, ip: @0] 0 2 [#30  disabled, at: @3]

time-pwre --event:time: nop nop hlt
    +0 tsc:10 pwre:1,1 tsc:20 pwrx:1,1 fup:2 pgd
    = [#10  pwre c2.2] [#20  pwrx c2 (c2)] 0 1 [#20  disabled, at: @2]

time-mwait-exstop --event:time: nop nop hlt
    +0 tsc:10 mwait:1,1 tsc:20 exstop.ip tsc:30 fup:1 fup:2 pgd
    = 0 [#30  mwait 1 1, ip: @1] [#30  exstop, ip: @1] 1 [#30  disabled, at: @2]

time-cfe-fup --event:time: nop nop hlt
    +0 tsc:10 cfe:3,0 tsc:20 fup:1 tsc:30 pgd
    = 0 [#20  smi, ip: @1] [#30  disabled, at: @1]

time-fup-tip --event:time: nop nop hlt
    +0 tsc:10 fup:1 tsc:20 tip:2 tsc:30 mnt:1
    = 0 [#20  interrupt, from: @1, to: @2] [#30  mnt: 1] [end of trace]

time-fup-pip-tip --event:time: nop nop hlt
    +0 tsc:10 fup:1 tsc:20 pip:a00 tsc:30 tip:2
    = 0 [#30  interrupt, from: @1, to: @2] [#30  paging, cr3: #a00, ip: @2] [end of trace]

time-mode-tip --event:time: jmp* nop hlt
    +0 tsc:10 mode:32 tsc:20 tip:2 tsc:30 mnt:1
    = 0 [#20  exec mode: 32-bit, ip: @2] [#30  mnt: 1] [end of trace]

time-ptw-fup --event:time: ptwrite nop hlt
    +0 tsc:10 ptw.ip:5 tsc:20 fup:0 tsc:30 mnt:1
    = 0 [#20  ptwrite: 5, ip: @0] [#30  mnt: 1] [end of trace]

time-exstop_mwait-noip --event:time: nop nop hlt
    +0 tsc:10 mwait:1,1 tsc:20 exstop tsc:30 fup:1 pgd
    = [#20  mwait 1 1] [#20  exstop] 0 [#30  disabled, at: @1]

time-ovf-keep --event:time --mtc-freq 4 --cpuid-0x15.eax 1 --cpuid-0x15.ebx 4 --block:keep-tcal-on-ovf
    --insn:keep-tcal-on-ovf:
    nop nop hlt
    +0 tsc:1000 tma:10,40 mtc:2 cyc:100 mtc:3 cyc:80 mnt:1 ovf cyc:80 fup:1 fup:2 pgd
    = [#1060  mnt: 1] [#1060  overflow, ip: @1] 1 [#1080  disabled, at: @2]

time-ovf-drop --event:time --mtc-freq 4 --cpuid-0x15.eax 1 --cpuid-0x15.ebx 4: nop nop hlt
    +0 tsc:1000 tma:10,40 mtc:2 cyc:100 mtc:3 cyc:80 mnt:1 ovf cyc:80 fup:1 fup:2 pgd
    = [#1060  mnt: 1] [#1060  overflow, ip: @1] 1 [#1060  disabled, at: @2]

time-psb-cbr-cyc --event:time --nom-freq 4: nop nop hlt
    psb fup:0 mode:64 tsc:1000 cbr:2 psbend cyc:3 mnt:1 cbr:1 cyc:3 mnt:2 psb fup:1 mode:64 tsc:1010 psbend
    cyc:1 mnt:3 fup:2 pgd
    = [#1006  mnt: 1] [#1006  cbr: 1] [#1012  mnt: 2] 0 [#1014  mnt: 3] 1 [#1014  disabled, at: @2]
""")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_time(case: Case, listed: List) -> None:
    case.check(listed)
