"""How long a stack of 40 frames takes: python benchmarks/unwind_cfi.py

It lets a program crash 33 calls deep, and unwinds the core again and again: cold, with everything to be
learned; warm, what a profiler does for each sample; and warm with names and source lines.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from odograph.unwind import CfiUnwinder, Target, open_core

PROGRAM = """
#include <stdlib.h>
__attribute__((noinline)) int deep(int depth)
{
    int rows[8] = {depth};
    if (depth == 0)
        abort();
    return deep(depth - 1) + rows[depth % 8];
}
int main(void) { return deep(33); }
"""
ROUNDS = 2000


def made(directory: Path) -> Path:
    """A core of a stack of 40 frames."""
    (directory / "prog.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-g", "-O1", "-o", "prog", "prog.c"], cwd=directory, check=True)

    def unlimited() -> None:
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    subprocess.run(["./prog"], cwd=directory, preexec_fn=unlimited, check=False)
    cores = [path for path in directory.iterdir() if path.name.startswith("core")]
    if not cores:
        sys.exit("this system writes no cores into the current directory")
    return cores[0]


def least(target: Target, unwinder: CfiUnwinder, rounds: int, *, names: bool) -> float:
    """The least time of a stack, in microseconds."""
    registers = dict(target.thread().registers)
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        unwinder.stack(registers, target.memory, names=names)
        best = min(best, time.perf_counter() - start)
    return best * 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        target = open_core(made(Path(directory)))
        unwinder = CfiUnwinder(target.symbols)
        rows = [
            ("cold, with names", least(target, unwinder, 1, names=True)),
            ("warm", least(target, unwinder, ROUNDS, names=False)),
            ("warm, with names", least(target, unwinder, ROUNDS, names=True)),
        ]
        print(f"{len(target.stack())} frames")
        for name, time_taken in rows:
            print(f"{name:18}{time_taken:10.1f} microseconds")


if __name__ == "__main__":
    main()
