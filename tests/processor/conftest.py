"""Both processors for one suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from odograph.processor import Processor
from support.processors import Make, emulated, replayed


@pytest.fixture(params=["replay", "emulator"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """``make(code)`` gives a processor before the first instruction of a program."""

    def processor(code: bytes, **options: int) -> Processor:
        cpu = emulated(code, **options)
        return cpu if request.param == "emulator" else replayed(tmp_path, cpu)

    return processor
