"""``odograph functions``: what functions cost."""

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
    "--sort",
    "order",
    type=click.Choice(["own", "inclusive", "calls", "own-time", "inclusive-time"]),
    default="own",
    show_default=True,
    help="What comes first.",
)
@click.option(
    "--functions",
    "limit",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="How many functions to show.",
)
@json_option
def command(source: Input, tid: int | None, order: str, limit: int, as_json: bool) -> int:
    """Say what functions cost: calls, instructions and time, their own and with those they call.

    Calls are paired with returns, so what a function jumps to at its end counts as its own. Time goes on in
    what is not traced, such as system calls.
    """
    from odograph.views.costs import cost_lines, function_costs, merged_costs

    recording = source.open()
    threads = decoded(recording, tid)
    total = 0
    lists = []
    for thread in threads:
        history = recording.history(thread.tid)
        total += len(history)
        lists.append(function_costs(history.functions(), recording.symbols(thread.tid)))
    name = order.replace("-", "_")
    rows = sorted(merged_costs(lists), key=lambda row: (-(getattr(row, name) or 0), row.module, row.address))
    if as_json:
        write_json(
            {
                "path": recording.path,
                "tids": [thread.tid for thread in threads],
                "instructions": total,
                "functions": [asdict(row) for row in rows],
            }
        )
    else:
        write_lines(cost_lines(rows, total, limit))
    return 0
