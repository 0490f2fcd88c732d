"""What the tests of the command line share."""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.commands import CODE_BYTES, Run, loop_trace
from support.sharedtraces import SHARED, no_shared


@pytest.fixture
def run() -> Run:
    """Runs ``odograph`` as a user does."""

    def call(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "odograph", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )

    return call


@pytest.fixture
def run_json(run: Run) -> Callable[..., Any]:
    """The same with ``--json``: the parsed object, which must be the only output."""

    def call(*arguments: Any) -> Any:
        result = run(*arguments, "--json")
        assert result.stderr == ""
        return json.loads(result.stdout)

    return call


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A raw trace of seven instructions."""
    path = tmp_path / "loop.pt"
    path.write_bytes(loop_trace())
    return path


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The code it ran."""
    path = tmp_path / "loop.bin"
    path.write_bytes(CODE_BYTES)
    return path


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Unpacks a file of the bench traces; skips if there are none."""
    directory = tmp_path_factory.mktemp("bench")

    def unpack(name: str) -> Path:
        packed = SHARED / "bench" / f"{name}.xz"
        if not packed.exists():
            pytest.skip(no_shared(f"bench/{name}.xz"))
        path = directory / name
        if not path.exists():
            path.write_bytes(lzma.decompress(packed.read_bytes()))
        return path

    return unpack
