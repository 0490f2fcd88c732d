"""``odograph functions``: what functions cost."""

from __future__ import annotations

from dataclasses import asdict, replace

import click

from odograph.cli.clustered import asked, cluster_options
from odograph.cli.inputs import Input, by_process_option, input_options, tid_option
from odograph.cli.output import json_option, write_json, write_lines
from odograph.cli.threads import decoded
from odograph.errors import InvalidArgument

__all__ = ["command"]


@click.command("functions")
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
@by_process_option
@cluster_options
@json_option
def command(
    source: Input,
    tid: int | None,
    order: str,
    limit: int,
    by_process: bool,
    more: tuple[str, ...],
    cluster: str | None,
    as_json: bool,
) -> int:
    """Say what functions cost: calls, instructions and time, their own and with those they call.

    A function that several processes ran, or that lay at several addresses, is one row.

    What a function jumps to at its end is called by it. Time goes on in what is not traced,
    such as system calls.
    """
    from odograph.history.history import NO_CLOCK
    from odograph.views.costs import cost_lines, function_costs, merged_costs
    from odograph.views.nameless import nameless, nameless_lines
    from odograph.views.spans import history_costs

    if more or cluster is not None:
        answers = asked(source, more, cluster, "functions")
        wanted = [answer for answer in answers.answers if tid in (None, answer.tid)]
        paths = list(dict.fromkeys(answer.path for answer in wanted))
        tids = [answer.tid for answer in wanted]
        total = sum(answer.steps for answer in wanted)
        names = [answer.value.symbols for answer in wanted]
        lists = [
            function_costs(answer.value.functions(), answer.value.symbols)
            if answer.value.history is None
            else history_costs(answer.value.history)
            for answer in wanted
        ]
        pids = [answer.value.pid for answer in wanted]
        broken = answers.broken
    else:
        recording = source.open()
        threads = decoded(recording, tid)
        paths, tids, broken = [recording.path], [thread.tid for thread in threads], []
        histories = [recording.history(number) for number in tids]
        total = sum(len(history) for history in histories)
        names = [recording.symbols(number) for number in tids]
        lists = [history_costs(history) for history in histories]
        pids = [thread.pid for thread in threads]
    if by_process:
        lists = [[replace(row, pid=pid) for row in rows] for rows, pid in zip(lists, pids, strict=True)]
    name = order.replace("-", "_")
    merged = merged_costs(lists)
    if name.endswith("time") and merged and all(row.own_time is None for row in merged):
        raise InvalidArgument(f"there are no times to sort by: {NO_CLOCK}")
    rows = sorted(merged, key=lambda row: (-(getattr(row, name) or 0), row.module, row.address))
    unnamed = nameless(
        ((row.module, row.name, row.own) for row in rows),
        (module for symbols in names if symbols is not None for module in symbols.modules),
        total,
    )
    if as_json:
        write_json(
            {
                "path": paths[0] if len(paths) == 1 else paths,
                "tids": tids,
                "broken": [str(one) for one in broken],
                "instructions": total,
                "functions": [asdict(row) for row in rows],
                "nameless": [asdict(one) for one in unnamed],
            }
        )
    else:
        lines = cost_lines(rows, total, limit)
        write_lines([*lines, *(["", *nameless_lines(unnamed)] if unnamed else [])])
    return 1 if broken else 0
