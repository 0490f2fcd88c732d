"""Where the recordings of other people lie, and small recordings made here."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.paths import PROGRAMS
from support.sharedtraces import SHARED, no_shared


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Compiles a program of tests/programs."""
    directory = tmp_path_factory.mktemp("programs")

    def compiled(name: str, *options: str) -> str:
        path = directory / (name + "".join(options))
        if not path.exists():
            source = PROGRAMS / f"{name}.c"
            subprocess.run(["cc", "-O1", "-w", "-pthread", *options, "-o", path, source], check=True)
        return str(path)

    return compiled


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """Finds a file among the shared recordings, and skips the test where there is none."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(no_shared(name))
        return path

    return find
