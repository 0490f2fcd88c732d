"""A fixed sample of nonsense; tests/fuzz_dap.py says as much as time allows."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from fuzz_dap import rounds_of_nonsense
from support.debugruns import Recorded


@pytest.mark.parametrize("seed", [1, 2])
def test_an_adapter_that_heard_nonsense_answers_sense(seed: int) -> None:
    rounds, wrong = rounds_of_nonsense(seed, 8, time.monotonic() + 60)
    assert wrong is None
    assert rounds > 0


def test_goto_with_an_invalid_place_is_refused(recorded: Recorded, gdb: Callable[..., list[str]]) -> None:
    told = "\n".join(gdb(recorded, "monitor goto abc", "monitor step x", "monitor goto inf%"))
    for typed in ("abc", "x", "inf"):
        assert f"{typed!r} is not understood; monitor help lists what each command takes" in told
