"""``odograph coverage``: what was executed at least once."""

from __future__ import annotations

from dataclasses import asdict

import click

from odograph.cli.inputs import Input, input_options, tid_option
from odograph.cli.output import json_option, write_json, write_lines
from odograph.cli.threads import decoded

__all__ = ["command"]


@click.command()
@input_options
@tid_option
@click.option(
    "--functions",
    "limit",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="How many functions to show.",
)
@json_option
def command(source: Input, tid: int | None, limit: int, as_json: bool) -> int:
    """Say which functions were executed, and how many of their blocks and edges.

    Threads of a process count together. A block is what runs from one decision of the trace to the next; an
    edge leads from one block to another.
    """
    from odograph.views.covered import covered, covered_lines
    from odograph.views.numbers import counted

    recording = source.open()
    processes: dict[int, list[tuple[int, str]]] = {}
    for thread in decoded(recording, tid):
        processes.setdefault(thread.pid, []).append((thread.tid, thread.comm))
    rows = []
    for pid, threads in processes.items():
        first = threads[0][0]
        histories = [recording.history(number) for number, _ in threads]
        rows.append((pid, threads, covered(histories, recording.symbols(first))))
    if as_json:
        write_json(
            {
                "path": recording.path,
                "processes": [
                    {"pid": pid, "tids": [number for number, _ in threads], **asdict(result)}
                    for pid, threads, result in rows
                ],
            }
        )
        return 0
    lines: list[str] = []
    for pid, threads, result in rows:
        name = f"process {pid} {threads[0][1]}".rstrip()
        lines += [""] if lines else []
        lines.append(
            f"{name}: {counted(result.instructions, 'instruction')}, {counted(result.blocks, 'block')} and "
            f"{counted(result.edges, 'edge')} in {counted(len(result.functions), 'function')}"
        )
        lines += ["", *covered_lines(result.functions, limit)]
    write_lines(lines)
    return 0
