"""``odograph doctor``: what this machine can record with."""

from __future__ import annotations

import click

from odograph.cli.output import json_option, write_json, write_lines

__all__ = ["command"]


@click.command()
@json_option
def command(as_json: bool) -> int:
    """Say what this machine can record with, and what to install or set for more.

    Exits with 1 if nothing can record here.
    """
    from odograph.recording.doctor import doctor

    report = doctor()
    if as_json:
        write_json(report.to_dict())
    else:
        write_lines(str(report).splitlines())
    return 0 if report.best is not None else 1
