"""``odograph steps``: the executed instructions themselves."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from odograph.cli.failure import damage_option, fail_on_damage
from odograph.cli.inputs import Input, input_options, pick_thread, refuse_options, tid_option
from odograph.cli.output import json_option, say, write_json_rows, write_lines
from odograph.cli.progress import progress

if TYPE_CHECKING:
    from odograph.history.history import History
    from odograph.history.instruction import Gap

__all__ = ["command"]

_CHUNK = 4096
#: What happened is looked up for so many steps at once, or for so many events and gaps.
_NOTED_STEPS = 1 << 20
_MOST_NOTES = 20_000


@click.command()
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
        gaps = history.gaps_before(start, stop, _MOST_NOTES)
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
        write_json_rows(head, "steps", _json_rows(history, start, stop, symbols))
    else:
        write_lines(_lines(history, start, stop, symbols))
    return fail_on_damage(history.gap_count, max_gaps)


def _follow(source: Input) -> int:
    """Lists what becomes certain as it does. Returns the number of gaps."""
    import sys

    count = 0
    for history in source.follow():
        count += history.gap_count
        write_lines(_lines(history, 0, len(history), False, width=10))
        sys.stdout.flush()
    return count


def _rows(history: History, start: int, stop: int, symbols: bool) -> Iterator[dict[str, Any]]:
    """Columns of the steps, in pieces: lists by name."""
    from array import array

    from odograph._native import disassemble_many

    known: dict[int, str] = {}
    names = None

    def name(address: int) -> str:
        if names is None:
            return ""
        if address not in known:
            known[address] = str(names.name_of(address) or "")
        return known[address]

    for begin, end in _pieces(history, start, stop, symbols):
        if symbols and (now := history.symbols_at(begin)) is not names:
            names, known = now, {}
        table = history._raw.instructions(begin, end)
        ips, modes, raw = (table.column(column)[1] for column in ("ip", "mode", "raw"))
        texts, targets = disassemble_many(ips, modes, raw)
        _, times, valid = table.column("time")
        ip_list = array("Q", ips).tolist()
        yield {
            "ip": ip_list,
            "raw": raw,
            "text": texts,
            "target": [name(target) if target else "" for target in array("Q", targets)],
            "symbol": [name(ip) for ip in ip_list],
            "time": [
                time if valid is None or valid[row] else None for row, time in enumerate(array("q", times))
            ],
            "speculative": list(table.column("speculative")[1]),
        }


def _pieces(history: History, start: int, stop: int, symbols: bool) -> Iterator[tuple[int, int]]:
    """Steps ``start..stop`` in pieces; with ``symbols`` each has the same names all over."""
    borders = [span.start for span in history.spans] if symbols else []
    while start < stop:
        at = bisect_right(borders, start)
        end = min(start + _CHUNK, stop, *borders[at : at + 1])
        yield start, end
        start = end


def _json_rows(history: History, start: int, stop: int, symbols: bool) -> Iterator[dict[str, Any]]:
    step = start
    for columns in _rows(history, start, stop, symbols):
        for row, ip in enumerate(columns["ip"]):
            entry: dict[str, Any] = {
                "step": step,
                "ip": ip,
                "raw": columns["raw"][row],
                "text": columns["text"][row],
            }
            if columns["time"][row] is not None:
                entry["time"] = columns["time"][row]
            if columns["speculative"][row]:
                entry["speculative"] = True
            if columns["symbol"][row]:
                entry["symbol"] = columns["symbol"][row]
            if columns["target"][row]:
                entry["target"] = columns["target"][row]
            yield entry
            step += 1


def _lines(history: History, start: int, stop: int, symbols: bool, width: int | None = None) -> Iterator[str]:
    notes = _notes(history, start, stop)
    note = next(notes, None)
    width = max(4, len(str(max(stop - 1, 0)))) if width is None else width
    before = history.first_step
    function = None
    step = start
    for columns in _rows(history, start, stop, symbols):
        for row, ip in enumerate(columns["ip"]):
            while note is not None and note[0] <= step:
                yield f"{'':{width}}  {note[1]}"
                note = next(notes, None)
            if symbols:
                place = columns["symbol"][row]
                here = place.rpartition("+0x")[0] or place
                if here != function:
                    function = here
                    yield f"{'':{width}}  {place or '?'}:"
            mark = "*" if columns["speculative"][row] else " "
            target = f" <{columns['target'][row]}>" if columns["target"][row] else ""
            yield f"{before + step:{width}d} {mark}{ip:016x}  {columns['text'][row]}{target}"
            step += 1
    while note is not None:
        yield f"{'':{width}}  {note[1]}"
        note = next(notes, None)


_SHOWN = {
    "async_branch",
    "async_disabled",
    "paging",
    "exec_mode",
    "tsx",
    "stop",
    "interrupt",
    "enabled",
    "disabled",
    "overflow",
}


_MODES = {1: "16-bit", 2: "32-bit", 3: "64-bit"}


def _notes(history: History, start: int, stop: int) -> Iterator[tuple[int, str]]:
    """(step, text) of what happened between the steps, in order: up to ``stop``, which is included."""
    step = start
    while step <= stop:
        end = min(step + _NOTED_STEPS, stop + 1)
        notes, complete = _some_notes(history, step, end)
        if complete:
            yield from ((at, text) for at, _, text in notes)
            step = end
            continue
        # There are too many at once. What stands before the last step is complete.
        last = notes[-1][0]
        if last > step:
            yield from ((at, text) for at, _, text in notes if at < last)
            step = last
            continue
        yield from ((at, text) for at, _, text in notes)
        yield step, f"[more than {len(notes)} events and gaps are here; the others are not listed]"
        step += 1


def _some_notes(history: History, start: int, end: int) -> tuple[list[tuple[int, int, str]], bool]:
    """(step, 0 for events and 1 for gaps, text) before steps ``start..end``, and whether they are all."""
    from odograph.table import Table

    before = history.first_step
    gaps = history.gaps_before(start, end - 1, _MOST_NOTES)
    notes = [
        (gap.step, 1, f"[{'note' if gap.is_note else 'gap'}: {replace(gap, step=before + gap.step)}]")
        for gap in gaps
    ]
    # Only the trace of these steps is looked at, and of the one that events behind the last step belong to.
    first = max(min(start, len(history) - 1), 0)
    last = min(end, len(history))
    part = history if (first, last) == (0, len(history)) else history.part(first, last)
    rows = Table(part._raw.events(sorted(_SHOWN), _MOST_NOTES))
    for event in rows:
        step = first + event["step"]
        if start <= step < end:
            ip = f" at {event['ip']:#x}" if event["ip"] is not None else ""
            to = f" to {event['to']:#x}" if event["to"] not in (None, event["ip"]) else ""
            detail = f" ({event['detail']})" if event["detail"] else ""
            if event["kind"] == "exec_mode":
                detail = f": {_MODES.get(event['value'], 'unknown')}"
            notes.append((step, 0, f"[{event['kind'].replace('_', ' ')}{ip}{to}{detail}]"))
    complete = len(gaps) < _MOST_NOTES and len(rows) < _MOST_NOTES
    if not complete:
        # Of both only what the shorter list reaches is known.
        reached = [
            steps[-1]
            for steps, full in (
                ([gap.step for gap in gaps], len(gaps) == _MOST_NOTES),
                ([first + int(step) for step in rows["step"]], len(rows) == _MOST_NOTES),
            )
            if full
        ]
        notes = [note for note in notes if note[0] <= min(reached)]
    notes.sort(key=lambda note: note[:2])
    return notes, complete or not notes


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
