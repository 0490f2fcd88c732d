"""``odograph steps``: the executed instructions themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from odograph.cli.failure import damage_option, fail_on_damage
from odograph.cli.inputs import Input, input_options, pick_thread, refuse_options, tid_option
from odograph.cli.output import json_option, say, write_json_rows, write_lines
from odograph.cli.progress import progress
from odograph.history.listing import NOTES_LIMIT, json_rows, lines

if TYPE_CHECKING:
    from odograph.history.instruction import Gap

__all__ = ["command"]


@click.command("steps")
@input_options
@tid_option
@click.option(
    "--from", "first", type=int, metavar="STEP", help="The first step; negative counts from the end."
)
@click.option(
    "--to", "last", type=int, metavar="STEP", help="The step to stop before; negative counts from the end."
)
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N steps.")
@click.option("--symbols", is_flag=True, help="Name functions, and where branches go.")
@click.option("--follow", is_flag=True, help="List the steps of a raw trace while its bytes arrive.")
@damage_option
@json_option
def command(
    source: Input,
    tid: int | None,
    first: int | None,
    last: int | None,
    tail: int | None,
    symbols: bool,
    follow: bool,
    max_gaps: int | None,
    as_json: bool,
) -> int:
    """List executed instructions: step, address, instruction.

    Lines in brackets are events and gaps between the steps: [enabled …] and [disabled …] where tracing began
    and ended, [async disabled at A to B] where the program was interrupted at A, [gap: …] where execution was
    lost. docs/cli.md explains them all.
    """
    if tail is not None and (first is not None or last is not None):
        raise click.UsageError("--tail already says which steps; leave out --from and --to")
    if follow:
        if symbols or as_json or not (tid is first is last is tail is None):
            raise click.UsageError(
                "--follow lists all steps of one stream as text; leave out --from, --to, --tail, --tid, "
                "--symbols and --json"
            )
        refuse_options(
            "with --follow",
            "--sysroot",
            "--buildid-dir",
            "--kcore",
            "--index",
            "--no-index",
            "--max-expanded",
        )
        return fail_on_damage(_follow(source), max_gaps)
    recording = source.open()
    thread = pick_thread(recording, tid)
    with progress("decoding") as report:
        history = recording.history(thread, progress=report)
    start, stop, _ = slice(first if tail is None else max(0, len(history) - tail), last).indices(len(history))
    if stop <= start and not as_json and not first is last is None:
        options = {"--from": first, "--to": last}
        asked = " ".join(f"{name} {value}" for name, value in options.items() if value is not None)
        say(f"odograph: {asked} selects none of the {len(history)} steps, which are 0 to {len(history) - 1}")
    stop = max(start, stop)
    if as_json:
        gaps = history.gaps_before(start, stop, NOTES_LIMIT)
        head = {
            "path": recording.path,
            "tid": thread,
            "instructions": len(history),
            "from": start,
            "to": stop,
            "gap_count": history.gap_count,
            "gaps": [_gap_row(gap) for gap in gaps],
            "gaps_left_out": history.count_gaps_before(start, stop) - len(gaps),
        }
        write_json_rows(head, "steps", json_rows(history, start, stop, symbols))
    else:
        write_lines(lines(history, start, stop, symbols))
    return fail_on_damage(history.gap_count, max_gaps)


def _follow(source: Input) -> int:
    """Lists what becomes certain as it does. Returns the number of gaps."""
    import sys

    count = 0
    for history in source.follow():
        count += history.gap_count
        write_lines(lines(history, 0, len(history), False, width=10))
        sys.stdout.flush()
    return count


def _gap_row(gap: Gap) -> dict[str, Any]:
    return {
        "step": gap.step,
        "cause": gap.cause,
        "is_note": gap.is_note,
        "code": gap.code.name if gap.code is not None else None,
        "offset": gap.offset,
        "bytes_lost": gap.bytes_lost,
        "ip": gap.ip,
    }
