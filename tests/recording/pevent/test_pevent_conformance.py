"""The records of libipt's own test cases, as its tools print them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from odograph.dropins.pevent import Session, Settings, SidebandRecord, Stream, prefix, text
from support.sidebandrecords import TID, TIME

CASES = [
    "comm_exec-mmap-tsc-iret",
    "fork",
    "mmap-tip_cached",
    "mmap_secondary-tsc",
    "tip_pgd-comm_exec-mmap-tsc-tip_pge",
    "tip_pgd-mmap-tsc-tip_pge",
    "tip_pgd-switch-tsc-tip_pge",
]


@pytest.mark.parametrize("case", CASES)
def test_records_are_listed_as_expected(case: str, shared: Callable[[str], Path]) -> None:
    folder = shared(f"conformance/pevent-{case}")
    commands = json.loads((folder / "case.json").read_text())["commands"]
    (command,) = [c for c in commands if c["tool"] == "ptdump"]
    lines: list[str] = []

    def note(stream: Stream, record: SidebandRecord) -> None:
        start = prefix(stream, record, filename=False, offset=True, time=False)
        lines.append(start + text(record, verbose=False))

    session = Session(on_record=note)
    arguments = command["args"]
    assert "--sb:compact" in arguments
    assert "--sb:offset" in arguments
    sample_type = 0
    for option, value in itertools.pairwise(arguments):
        if option == "--pevent:sample-type":
            sample_type = int(value, 0)
            assert sample_type in (TIME, TID | TIME)
        elif option in ("--pevent:primary", "--pevent:secondary"):
            settings = Settings(sample_type=sample_type)
            session.add_stream(str(folder / value), 0, None, option.endswith("primary"), settings)
    session.finish()
    expected = [line for line in (folder / command["exp"]).read_text().splitlines() if "PERF_" in line]
    assert expected
    assert [line.split() for line in lines] == [line.split() for line in expected]
