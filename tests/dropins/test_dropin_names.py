"""Names of records as the drop-ins print them, and the files that these name."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest

from support.hostilenames import EVIL
from support.toolrun import MakeTrace, Run
from support.tracedcode import ORG, fup, pgd, start, tsc

TID_TIME = 2 | 4


def record(kind: int, body: bytes) -> bytes:
    samples = struct.pack("<iiQ", 1, 1, 1)
    return struct.pack("<IHH", kind, 0, 8 + len(body) + len(samples)) + body + samples


def named(name: str) -> bytes:
    data = os.fsencode(name) + b"\0"
    return data + bytes(-len(data) % 8)


def mmap(name: str) -> bytes:
    return record(1, struct.pack("<ii3Q", 1, 1, ORG, 4096, 0) + named(name))


@pytest.mark.parametrize("form", ["--sb:compact", "--sb:verbose"])
@pytest.mark.parametrize("tool", ["ptdump", "ptxed"])
def test_names_command_no_terminal(tool: str, form: str, run: Run, trace: MakeTrace, tmp_path: Path) -> None:
    records = tmp_path / f"records{EVIL}"
    comm = record(3, struct.pack("<ii", 1, 1) + named(EVIL))
    records.write_bytes(mmap(f"/nowhere/{EVIL}") + comm)
    file = trace(*start(ORG, tsc(10)), fup(ORG), pgd())
    options = [form, "--sb:filename", "--sb:warn", "--pevent:sample-type", str(TID_TIME)]
    options += ["--pevent:primary", str(records)]
    words = [*options, file] if tool == "ptdump" else [*options, "--pt", file]
    printed = run(tool, *words)
    assert "owned" in printed.out
    for line in (printed.out + printed.err).split("\n"):
        assert line.replace("\t", "").isprintable()


@pytest.mark.parametrize("tool", ["ptdump", "ptxed"])
def test_errors_command_no_terminal(tool: str, run: Run, trace: MakeTrace) -> None:
    missing = f"/nowhere/{EVIL}"
    for words in ([missing], ["--pt", missing], [f"--{EVIL}"], ["--pevent:primary", missing]):
        printed = run(tool, *words)
        assert printed.status != 0
        for line in (printed.out + printed.err).split("\n"):
            assert line.replace("\t", "").isprintable()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "/proc/self/status"])
def test_mapped_names_open_plain_files_only(name: str, run: Run, trace: MakeTrace, tmp_path: Path) -> None:
    if name == "pipe":
        name = str(tmp_path / name)
        os.mkfifo(name)
    (tmp_path / "records").write_bytes(mmap(name))
    file = trace(*start(ORG, tsc(10)), fup(ORG), pgd())
    started = time.monotonic()
    words = ["--pevent:sample-type", str(TID_TIME), "--pevent:primary", str(tmp_path / "records")]
    printed = run("ptxed", *words, "--pt", file)
    assert time.monotonic() - started < 10
    assert "sideband error: bad file]" in printed.out
