"""``odograph run``: record a program, decode it, show what it did."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from odograph.cli.commands.record import needs_command, recorder_options, status_of
from odograph.cli.ending import ending
from odograph.cli.failure import RecorderCommand
from odograph.cli.inputs import by_process_option
from odograph.cli.output import say_waiting, styled, write_json, write_lines
from odograph.cli.progress import progress
from odograph.cli.refused import tell_refused

if TYPE_CHECKING:
    from odograph.files.destination import Destination
    from odograph.recorder.record import RecordResult
    from odograph.recording.recording import Recording
    from odograph.views.summary import Summary

__all__ = ["command"]


@click.command("run", cls=RecorderCommand, context_settings={"allow_interspersed_args": False})
@click.option("-o", "--output", metavar="FILE", help="Keep the recording in this file.")
@click.option(
    "--functions",
    "limit",
    type=click.IntRange(min=1),
    default=12,
    show_default=True,
    help="How many functions to show.",
)
@click.option(
    "--depth", type=click.IntRange(min=1), default=12, show_default=True, help="How deep the call tree goes."
)
@click.option(
    "--min-share",
    type=click.FloatRange(0, 100),
    default=2.0,
    show_default=True,
    metavar="PERCENT",
    help="Least share of instructions for a place in the call tree.",
)
@by_process_option
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of text.")
@recorder_options
def command(
    output: str | None,
    limit: int,
    depth: int,
    min_share: float,
    by_process: bool,
    as_json: bool,
    backend: str | None,
    argv: tuple[str, ...],
) -> int:
    """Record a program, decode every instruction it executed, and show what it did.

    \b
    Exits with the status of the program (128 + the signal if one killed it),
    127 if there is no such command, 126 if it cannot be executed, and 125 if
    Odograph itself failed or no room was left for all that ran.
    """
    words = needs_command(argv, "run")

    from pathlib import Path

    import odograph
    from odograph.recorder.record import record

    with contextlib.ExitStack() as stack:
        # What cannot be read again at its place is recorded elsewhere and copied there.
        path = output
        with contextlib.nullcontext() if output is None else _place(output) as place:
            if path is None or (place is not None and place.streamed):
                directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="odograph-"))
                path = os.path.join(directory, "perf.data")
            result = record(words, path, backend=backend)
            if place is not None and place.streamed:
                place.deliver(Path(path))
        # What the program wrote comes before what we say about it.
        sys.stdout.flush()
        recording = odograph.open(path)
        tell_refused(recording)
        summary = summary_of(recording, min_share=min_share / 100, max_depth=depth, by_process=by_process)
        if as_json:
            write_json(_document(words, result, output, recording, summary))
        else:
            write_lines(_lines(words, result, output, summary, limit))
    return status_of(result)


def _place(output: str) -> Destination:
    from odograph.files.destination import Destination

    return Destination(output, what="recording", on_wait=say_waiting)


def summary_of(
    recording: Recording, *, min_share: float = 0.02, max_depth: int = 12, by_process: bool = False
) -> Summary:
    """What the threads of a recording did."""
    from odograph.cli.explain import explainer
    from odograph.views.summary import summarise

    histories = []
    explain = None
    for thread in recording.threads:
        with progress(f"decoding thread {thread.tid}") as report:
            history = recording.history(thread.tid, progress=report)
        histories.append((thread.tid, thread.pid, thread.comm, history))
        if explain is None and history.gap_count:
            explain = explainer(recording, thread.tid)
    return summarise(
        histories,
        explain=explain,
        by_process=by_process,
        min_share=min_share,
        max_depth=max_depth,
    )


def _lines(
    words: list[str], result: RecordResult, output: str | None, summary: Summary, limit: int
) -> list[str]:
    import shlex

    from odograph.views.summary import summary_lines

    ended = f"{shlex.join(words)} ended with {ending(result.status)}"
    how = f"{ended}, recorded with {result.backend} ({result.why})"
    lines = summary_lines(summary, limit=limit)
    return ["", styled(how, bold=True), *lines, *_next(result.status, output)]


def _next(status: int, output: str | None) -> list[str]:
    """What to look at next."""
    if status < 0 or status > 128:
        if output:
            return ["", f"the recording is {output}; odograph stack {output} shows where it ended"]
        return ["", "odograph run -o FILE keeps the recording; then odograph stack FILE shows where it ended"]
    return (
        ["", f"the recording is {output}; try odograph steps --tail 20 --symbols {output}"] if output else []
    )


def _document(
    words: list[str], result: RecordResult, output: str | None, recording: Recording, summary: Summary
) -> dict[str, Any]:
    return {
        "command": words,
        "status": result.status,
        "backend": result.backend,
        "why": result.why,
        "path": output,
        **asdict(summary),
        "problems": [
            {"offset": problem.offset, "message": problem.message} for problem in recording.source.problems
        ],
    }
