"""The C programs of the tests are valid for later compilers: GCC 14 refuses what GCC 12 warned of."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from support.paths import TESTS

PROGRAMS = sorted([*(TESTS / "programs").glob("*.c"), *(TESTS / "corpus" / "programs").glob("*.c")])
REFUSED = [
    "implicit-function-declaration",
    "implicit-int",
    "int-conversion",
    "incompatible-pointer-types",
    "return-type",
]


def refused(source: Path) -> list[str]:
    """What such a compiler would refuse."""
    command = ["cc", "-fsyntax-only", *(f"-Werror={name}" for name in REFUSED), source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [line for line in done.stderr.splitlines() if ": error: " in line]


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_later_compilers_take_the_programs(tmp_path: Path) -> None:
    assert len(PROGRAMS) > 20
    assert {path.name: found for path in PROGRAMS if (found := refused(path))} == {}
    undeclared = tmp_path / "undeclared.c"
    undeclared.write_text("int main(void) { return nowhere(); }\n")
    assert len(refused(undeclared)) == 1
