"""``odograph dap``: a recording for editors."""

from __future__ import annotations

import sys

import click

from odograph.cli.failure import Failure
from odograph.cli.inputs import Input, input_options, tid_option
from odograph.cli.output import say
from odograph.cli.refused import say_refused
from odograph.cli.threads import decoded

__all__ = ["command"]


@click.command("dap")
@input_options
@tid_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Listen here, on this machine only (0: at a free port), instead of standard streams.",
)
def command(source: Input, tid: int | None, port: int | None) -> int:
    """Let editors look at a recording, forward and backward.

    Speaks the Debug Adapter Protocol: source, function and instruction breakpoints, steps in both directions,
    stacks and code. Nothing can be changed.
    """
    recording = source.open()
    # A thread that did nothing cannot be looked at.
    tids = [thread.tid for thread in decoded(recording, tid) if len(recording.history(thread.tid))]
    if not tids:
        raise Failure(f"{recording.path}: nothing was executed; odograph info {recording.path} says more")

    say_refused(recording)

    from odograph.debug.dap.server import listen, serve, serve_port

    if port is None:
        output, sys.stdout = sys.stdout, sys.stderr
        serve(recording, tids, sys.stdin.buffer, output.buffer)
        return 0
    try:
        listening = listen(port)
    except OSError as error:
        raise Failure(f"cannot listen at port {port}: {error.strerror}; choose another --port") from error
    with listening:
        host, at = listening.getsockname()[:2]
        say(f"odograph: a debug adapter listens at {host}:{at}")
        serve_port(recording, tids, listening, lambda: True)
    return 0
