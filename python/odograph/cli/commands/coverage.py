"""``odograph coverage``: what was executed at least once."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from odograph.cli.clustered import asked, cluster_options
from odograph.cli.inputs import Input, input_options, tid_option
from odograph.cli.output import json_option, write_json, write_lines
from odograph.cli.threads import decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from odograph.history.history import History
    from odograph.symbols import Symbols
    from odograph.views.covered import Passes

__all__ = ["command"]


@click.command("coverage")
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
@cluster_options
@json_option
def command(
    source: Input,
    tid: int | None,
    limit: int,
    more: tuple[str, ...],
    cluster: str | None,
    as_json: bool,
) -> int:
    """Say which functions were executed, and how many of their blocks and edges.

    Threads of a process count together. A block is what runs from one decision of the trace to the next; an
    edge leads from one block to another.
    """
    from odograph.views.covered import covered, covered_lines
    from odograph.views.nameless import nameless, nameless_lines
    from odograph.views.numbers import counted

    processes: dict[tuple[str, int], list[tuple[int, str]]] = {}
    passes: dict[tuple[str, int], list[tuple[Passes, Symbols | None]]] = {}
    failed = 0
    if more or cluster is not None:
        answers = asked(source, more, cluster, "counts", "coverage", "functions")
        failed = len(answers.broken)
        for answer in answers.answers:
            if tid in (None, answer.tid):
                key = (answer.path, answer.value.pid)
                processes.setdefault(key, []).append((answer.tid, answer.comm))
                one = answer.value
                passes.setdefault(key, []).extend(
                    [(one, one.symbols)] if one.history is None else _by_span(one.history)
                )
    else:
        recording = source.open()
        for thread in decoded(recording, tid):
            key = (recording.path, thread.pid)
            processes.setdefault(key, []).append((thread.tid, thread.comm))
            passes.setdefault(key, []).extend(_by_span(recording.history(thread.tid)))
    rows = [(*key, threads, covered(passes.get(key, ()))) for key, threads in processes.items()]
    symbols = {id(one): one for parts in passes.values() for _, one in parts}
    paths = list(dict.fromkeys(path for path, _ in processes))
    unnamed = nameless(
        ((one.module, one.name, one.instructions) for *_, result in rows for one in result.functions),
        (module for one in symbols.values() if one is not None for module in one.modules),
        sum(result.instructions for *_, result in rows),
    )
    if as_json:
        write_json(
            {
                "path": paths[0] if len(paths) == 1 else paths,
                "processes": [
                    {"path": path, "pid": pid, "tids": [number for number, _ in threads], **asdict(result)}
                    for path, pid, threads, result in rows
                ],
                "nameless": [asdict(one) for one in unnamed],
            }
        )
        return 1 if failed else 0
    lines: list[str] = []
    for path, pid, threads, result in rows:
        name = f"process {pid} {threads[0][1]}".rstrip()
        name = f"{path}: {name}" if len(paths) > 1 else name
        lines += [""] if lines else []
        lines.append(
            f"{name}: {counted(result.instructions, 'instruction')}, {counted(result.blocks, 'block')} and "
            f"{counted(result.edges, 'edge')} in {counted(len(result.functions), 'function')}"
        )
        lines += ["", *covered_lines(result.functions, limit)]
    lines += ["", *nameless_lines(unnamed)] if unnamed else []
    write_lines(lines)
    return 1 if failed else 0


def _by_span(history: History) -> Iterator[tuple[Passes, Symbols | None]]:
    """The parts of a history in which names stay the same, and those names."""
    for span in history.spans:
        yield history.part(span.start, span.stop), span.symbols
