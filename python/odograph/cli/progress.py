"""A progress line on standard error, if that is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from odograph.cli.output import raw
from odograph.text.printable import printable

__all__ = ["progress"]

_WIDTH = 30


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Gives a function to be called with (done, total); None where it would not be seen."""
    if not sys.stderr.isatty():
        yield None
        return
    terminal, shown_name = raw(sys.stderr), printable(what)
    started = time.monotonic()
    shown = False

    def report(done: int, total: int) -> None:
        nonlocal shown
        # What is over at once needs no progress bar.
        if total and time.monotonic() - started > 0.3:
            shown = True
            filled = min(_WIDTH, done * _WIDTH // total)
            bar = "#" * filled + "." * (_WIDTH - filled)
            terminal.write(f"\r{shown_name} [{bar}] {100 * done // total:3d} %")
            terminal.flush()

    try:
        yield report
    finally:
        if shown:
            terminal.write("\r\x1b[K")
            terminal.flush()
