"""The command line."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command (by default that of ``sys.argv``) and return its exit code.

    ``run`` and ``record`` return the status of the program they record; see ``odograph run --help``.
    """
    from odograph.cli.group import call

    return call(arguments)
