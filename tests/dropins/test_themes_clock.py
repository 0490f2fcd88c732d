"""ptdump by theme. The clock: times worked out by hand from TSC, TMA, MTC, CYC and CBR."""

from __future__ import annotations

import re

import pytest

from support.themes import packets
from support.toolrun import MakeTrace, Run

#: Settings (MTC frequency, TSC ticks of a crystal tick as numerator and denominator, nominal frequency), then
#: packets, and the times shown with the packets that have one.
CASES = {
    "cbr calibrates": (
        (8, 4, 1, 4),
        "tsc:a0000 tma:102,8 cbr:2 mtc:2 cyc:3 cyc:1",
        "a0000 a0000 a03f0 a03f6 a03f8",
    ),
    "mtc calibrates": (
        (4, 4, 1, 0),
        "tsc:1000 tma:10,40 mtc:2 cyc:100 mtc:3 cyc:80 cyc:80 mtc:4 ovf cyc:80",
        "1000 1000 1000 1000 1040 1060 1080 1080 1080",
    ),
    "high bits of the tma": ((12, 1, 2, 0), "tsc:a0018 tma:e020,8 mtc:af mtc:b0", "a0018 a0018 a0800 a1000"),
    "a wrap behind the tma": ((12, 1, 2, 0), "tsc:a0018 tma:f020,8 mtc:a0 mtc:a1", "a0018 a0018 a0800 a1000"),
    "halves of ticks": ((4, 1, 2, 0), "tsc:a0000 tma:f012,6 mtc:2 mtc:3", "a0000 a0000 a0001 a0009"),
    "every tick": ((0, 1, 1, 0), "tsc:a0000 tma:ff08,1 mtc:9 mtc:a", "a0000 a0000 a0000 a0001"),
    "no tma": ((4, 4, 1, 0), "tsc:1000 mtc:2 mtc:3", "1000 1000 1000"),
    "a wrap": ((4, 1, 1, 0), "tsc:1000 tma:ff0,0 mtc:ff mtc:0 mtc:1", "1000 1000 1000 1010 1020"),
    "lost mtc": ((4, 1, 1, 0), "tsc:1000 tma:10,0 mtc:1 mtc:5", "1000 1000 1000 1040"),
    "a new tsc": (
        (4, 1, 1, 0),
        "tsc:1000 tma:10,0 mtc:2 tsc:2000 mtc:9 tma:20,0 mtc:3",
        "1000 1000 1010 2000 2000 2000 2010",
    ),
    "the tsc of psb+ calibrates": (
        (0, 0, 0, 0),
        "cyc:100 psb tsc:a0000 psbend cyc:100 tsc:a0200 cyc:100 psb tsc:a0300 psbend cyc:100",
        "a0000 a0000 a0200 a0200 a0300 a0400",
    ),
}


@pytest.mark.parametrize(("settings", "given", "expected"), CASES.values(), ids=list(CASES))
def test_times(run: Run, trace: MakeTrace, settings: tuple[int, ...], given: str, expected: str) -> None:
    names = ("--mtc-freq", "--cpuid-0x15.ebx", "--cpuid-0x15.eax", "--nom-freq")
    options = [word for name, value in zip(names, settings, strict=True) for word in (name, str(value))]
    out, err, status = run("ptdump", "--time", *options, trace(*packets("psb psbend " + given)))
    assert (err, status) == ("", 0)
    assert [f"{int(time, 16):x}" for time in re.findall(r"tsc  ([0-9a-f]{16})$", out, re.MULTILINE)] == (
        expected.split()
    )
