"""A tool as a process: its command line, standard streams and exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, TypeAlias

from odograph.dropins.options import VERSION, Arguments, Failure
from odograph.text.printable import printable
from odograph.text.standardstreams import Named, give_up, opened

__all__ = ["Tool", "complain", "run", "version"]

#: Takes the arguments, writes to standard output and returns the exit code. May raise :class:`Failure`.
Tool: TypeAlias = Callable[[Arguments, BinaryIO], int]


def version(program: str) -> bytes:
    """What ``--version`` prints."""
    return os.fsencode(f"{program}-{VERSION} / libipt-{VERSION}\n")


def complain(text: str) -> None:
    """Text on standard error. Names may hold anything: what is not printable is escaped."""
    with contextlib.suppress(OSError):
        print(printable(text, "\n\t"), file=sys.stderr)


def run(tool: Tool, argv: Sequence[str] | None = None, stdout: BinaryIO | None = None) -> int:
    """Runs a tool with these words, of which the first is its name, or those of this process.

    Complaints go to standard error. A reader of standard output that goes away ends the tool quietly.
    """
    arguments = Arguments(sys.argv if argv is None else argv)
    sys.stdout, sys.stderr = opened(sys.stdout), opened(sys.stderr)
    output: Any = Named(sys.stdout.buffer if stdout is None else stdout)
    try:
        try:
            status = tool(arguments, output)
        except Failure as failure:
            output.flush()
            complain(f"{arguments.program}: {failure.text}")
            return failure.status
        output.flush()
        return status
    except BrokenPipeError:
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        complain(f"{arguments.program}: {place}{error.strerror}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        give_up(sys.stdout, sys.stderr)
