"""Listings that libipt's ptdump printed of traces of real processors, to the byte."""

from __future__ import annotations

import io
import lzma
import shlex
from pathlib import Path

import pytest

from odograph.dropins.ptdump import main
from support.sharedtraces import SHARED, shared_paths

LISTINGS = shared_paths("traces/*/*/ref/ptdump.txt.xz")
#: Every set, with and without time.
SAMPLE = {"multi-core-45", "raw-x64-8", "file-cpu0", "loopy-20180404T162955", "hello", "unit-test-trace"}


def name(listing: Path) -> str:
    return listing.relative_to(SHARED / "traces").parents[1].as_posix()


def check(listing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, _, expected = lzma.decompress(listing.read_bytes()).partition(b"\n")
    dollar, *words = shlex.split(command.decode())
    assert (dollar, words[0]) == ("$", "ptdump")
    monkeypatch.chdir(listing.parents[1])
    output = io.BytesIO()
    assert main(words, output) == 0
    printed, wanted = output.getvalue().splitlines(), expected.splitlines()
    differing = [pair for pair in zip(printed, wanted, strict=False) if pair[0] != pair[1]]
    assert (differing[:3], len(printed)) == ([], len(wanted))


@pytest.mark.parametrize("listing", [path for path in LISTINGS if path.parents[1].name in SAMPLE], ids=name)
def test_a_listing(listing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(listing, monkeypatch)


@pytest.mark.acceptance
@pytest.mark.parametrize("listing", LISTINGS, ids=name)
def test_every_listing(listing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(listing, monkeypatch)
