"""A fixed sample of damaged recordings; tests/fuzz_perfdata.py makes as many as time allows."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fuzz_perfdata import examine, mutant, seeds

pytest.importorskip("zstandard")


@pytest.mark.parametrize("part", range(4))
def test_damaged_recordings(tmp_path: Path, part: int) -> None:
    found = seeds(tmp_path)
    path = tmp_path / "mutant"
    opened = 0
    slowest = 0.0
    for number in range(1000 * part, 1000 * (part + 1)):
        path.write_bytes(mutant(found, 2, number))
        start = time.process_time()
        opened += examine(path)
        slowest = max(slowest, time.process_time() - start)
    assert 100 < opened < 1000
    assert slowest < 5
