"""Real sideband with real traces: the memory of a program as its records tell it is enough to list it."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from support.toolrun import Run

#: As the recordings' own TIME_CONV records say.
CLOCK = {"time-shift": "31", "time-mult": "0x22a1cd05", "time-zero": "0xfff80926dc646c50"}
TIMING = ("--mtc-freq", "3", "--nom-freq", "37", "--cpuid-0x15.eax", "2", "--cpuid-0x15.ebx", "308")
STREAMS = {
    "static-59234": (("primary", "sideband.pevent"),),
    "raw-x64-8": (("secondary", "secondary.sideband.pevent"), ("primary", "primary.sideband.pevent")),
}


@pytest.mark.parametrize("decoder", ["--insn-decoder", "--block-decoder"])
@pytest.mark.parametrize("name", list(STREAMS))
def test_a_program_is_listed_by_its_records(shared: Path, run: Run, name: str, decoder: str) -> None:
    folder = shared / "traces/set02" / name
    words = [decoder, "--cpu", "6/85/7", *TIMING, "--no-inst", "--sb:switch", "--pt", str(folder / "pt.bin")]
    words += ["--pevent:sample-type", "0x10086", "--pevent:sysroot", str(folder)]
    # No instruction of its vdso was executed; any file will do.
    words += ["--pevent:vdso-x64", str(folder / "hello")]
    for option, value in CLOCK.items():
        words += [f"--pevent:{option}", value]
    for kind, file in STREAMS[name]:
        words += [f"--pevent:{kind}", str(folder / "sideband" / file)]
    printed = run("ptxed", *words)
    assert (printed.err, printed.status) == ("", 0)
    said = printed.out.splitlines()
    ips = [int(line, 16) for line in said if not line.startswith("[")]
    with lzma.open(folder / "ref/ips.txt.xz", "rt") as file:
        assert ips == [int(line, 16) for line in file]
    # Tracing begins before the program is there; then it is replaced by the one that was traced.
    assert len([line for line in said if line.startswith("[context: ")]) == 2
    assert not [line for line in said if "error" in line]
