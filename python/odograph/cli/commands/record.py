"""``odograph record``: run a program and keep everything it executes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from odograph.cli.ending import ending
from odograph.cli.failure import OWN_FAILURE, RecorderCommand
from odograph.cli.output import say, say_waiting, to_json

if TYPE_CHECKING:
    from odograph.recorder.record import RecordResult

__all__ = ["command", "needs_command", "recorder_options", "status_of"]


def recorder_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--with`` and the command to record."""
    function = click.argument("argv", metavar="-- COMMAND...", nargs=-1, type=click.UNPROCESSED)(function)
    return click.option(
        "--with",
        "backend",
        type=click.Choice(["perf", "qemu", "ptrace"]),
        help="The recorder; by default the best one that works here (see odograph doctor).",
    )(function)


def needs_command(argv: tuple[str, ...], verb: str) -> list[str]:
    """The command to record; a usage error if there is none."""
    if not argv:
        raise click.UsageError(f"say what to {verb}, for example: odograph {verb} -- ls -l")
    return list(argv)


@click.command(
    "record",
    cls=RecorderCommand,
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)
@click.option(
    "-o", "--output", default="perf.data", show_default=True, metavar="FILE", help="Where to write."
)
@recorder_options
@click.option(
    "--json", "as_json", is_flag=True, help="Say how it was recorded as one JSON object on standard error."
)
def command(output: str, backend: str | None, argv: tuple[str, ...], as_json: bool) -> int:
    """Record everything a program and its children execute into a perf.data file.

    \b
    Exits with the status of the program (128 + the signal if one killed it),
    127 if there is no such command, 126 if it cannot be executed, and 125 if
    Odograph itself failed or no room was left for all that ran. Its standard streams are the program's own.
    """
    words = needs_command(argv, "record")

    from odograph.recorder.record import choose, record

    chosen, why = choose(backend)
    if not as_json:
        say(f"odograph: recording with {chosen}: {why}")
    result = record(words, output, backend=backend, on_wait=say_waiting)
    if as_json:
        document = {
            "path": str(result.path),
            "backend": result.backend,
            "why": result.why,
            "status": result.status,
        }
        if result.lost:
            document["lost"] = list(result.lost)
        say(to_json(document))
    else:
        # What was streamed cannot be read again.
        advice = f"; odograph info {result.path} says what is in it" if result.path.is_file() else ""
        say(f"odograph: wrote {result.path}{advice}")
    return status_of(result)


def status_of(result: RecordResult) -> int:
    """The exit status of a command that recorded; says what is missing of the recording if something is."""
    if not result.lost:
        return result.status
    for message in result.lost[:8]:
        say(f"odograph: {message}")
    say(
        f"odograph: the program ended with {ending(result.status)}; the recording ends before it does. "
        "Record again where there is more room (-o FILE on another disk, TMPDIR, ulimit -f)"
    )
    return OWN_FAILURE
