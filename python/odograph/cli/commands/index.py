"""``odograph index``: save what decoding finds."""

from __future__ import annotations

import os
from dataclasses import asdict

import click

from odograph.cli.failure import Failure
from odograph.cli.inputs import Input, input_options_but
from odograph.cli.output import json_option, say, say_waiting, write_json, write_lines
from odograph.cli.progress import progress
from odograph.history.index import why_distrusted

__all__ = ["command"]


@click.command("index")
@input_options_but("--no-index")
@click.option("--check", is_flag=True, help="Only say whether the index can be used; exit with 1 if not.")
@json_option
def command(source: Input, check: bool, as_json: bool) -> int:
    """Save an index, so that later commands on FILE decode nothing.

    The index is FILE.odx, or where --index says. Other commands use it as long as trace, code, options and
    the version of Odograph are the ones it was made with, and no other user can write it or its directory;
    otherwise they decode as if it were not there.
    """
    path = source.index if isinstance(source.index, str) else None
    if source.path == "-" and path is None:
        raise Failure("what comes from standard input has no place for its index; give --index PATH", 2)
    recording = source.open(index=False)
    if check:
        use = recording.check_index(path)
        if as_json:
            write_json(asdict(use))
        else:
            write_lines([f"{use.path}: " + ("up to date" if use.used else f"stale: {use.reason}")])
        return 0 if use.used else 1
    with progress(f"decoding {source.path}") as report:
        path = recording.save_index(path, progress=report, on_wait=say_waiting)
    distrusted = why_distrusted(path)
    if distrusted is not None:
        say(f"odograph: this index will not be used: {distrusted}")
    size, traced = os.path.getsize(path), sum(stream.size for stream in recording.source.streams)
    if as_json:
        write_json({"path": path, "bytes": size, "trace_bytes": traced})
    else:
        from odograph.views.numbers import size as sized

        write_lines([f"{path}: {sized(size)} for {sized(traced)} of trace"])
    return 0
