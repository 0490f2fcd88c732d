"""A fixed sample of nonsense; tests/fuzz_dap.py says as much as time allows."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz_dap import rounds_of_nonsense


@pytest.mark.parametrize("seed", [1, 2])
def test_an_adapter_that_heard_nonsense_answers_sense(seed: int) -> None:
    rounds, wrong = rounds_of_nonsense(seed, 8, time.monotonic() + 60)
    assert wrong is None
    assert rounds > 0
