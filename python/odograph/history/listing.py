"""Executed instructions as text and as rows, with the events and gaps between them."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from odograph._native import disassemble_many
from odograph.history.instruction import Gap
from odograph.table import Table

if TYPE_CHECKING:
    from odograph._native import RawHistory
    from odograph.symbols import Symbols

__all__ = ["NOTES_LIMIT", "Listed", "json_rows", "lines"]

#: Instructions that are disassembled at a time.
_CHUNK = 4096
#: Events and gaps are looked up for so many steps at once, or until there are so many of them.
_NOTED_STEPS = 1 << 20
NOTES_LIMIT = 20_000


class _Spanned(Protocol):
    @property
    def start(self) -> int: ...


class Listed(Protocol):
    """What a list of instructions asks of a history."""

    first_step: int
    _raw: RawHistory

    def __len__(self) -> int: ...
    @property
    def spans(self) -> Sequence[_Spanned]: ...
    def symbols_at(self, step: int, /) -> Symbols | None: ...
    def gaps_before(self, first: int, last: int, limit: int, /) -> list[Gap]: ...


def _rows(history: Listed, start: int, stop: int, symbols: bool) -> Iterator[dict[str, Any]]:
    """Columns of the steps, in pieces: lists by name."""
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


def _pieces(history: Listed, start: int, stop: int, symbols: bool) -> Iterator[tuple[int, int]]:
    """Steps ``start..stop`` in pieces; with ``symbols`` each has the same names all over."""
    borders = [span.start for span in history.spans] if symbols else []
    while start < stop:
        at = bisect_right(borders, start)
        end = min(start + _CHUNK, stop, *borders[at : at + 1])
        yield start, end
        start = end


def json_rows(history: Listed, start: int, stop: int, symbols: bool) -> Iterator[dict[str, Any]]:
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


def lines(history: Listed, start: int, stop: int, symbols: bool, width: int | None = None) -> Iterator[str]:
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


def _notes(history: Listed, start: int, stop: int) -> Iterator[tuple[int, str]]:
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


def _some_notes(history: Listed, start: int, end: int) -> tuple[list[tuple[int, int, str]], bool]:
    """(step, 0 for events and 1 for gaps, text) before steps ``start..end``, and whether they are all."""
    before = history.first_step
    gaps = history.gaps_before(start, end - 1, NOTES_LIMIT)
    notes = [
        (gap.step, 1, f"[{'note' if gap.is_note else 'gap'}: {replace(gap, step=before + gap.step)}]")
        for gap in gaps
    ]
    # Only the trace of these steps is looked at, and of the one that events behind the last step belong to.
    first = max(min(start, len(history) - 1), 0)
    last = min(end, len(history))
    raw = history._raw if (first, last) == (0, len(history)) else history._raw.part(first, last)
    rows = Table(raw.events(sorted(_SHOWN), NOTES_LIMIT))
    for event in rows:
        step = first + event["step"]
        if start <= step < end:
            ip = f" at {event['ip']:#x}" if event["ip"] is not None else ""
            to = f" to {event['to']:#x}" if event["to"] not in (None, event["ip"]) else ""
            detail = f" ({event['detail']})" if event["detail"] else ""
            if event["kind"] == "exec_mode":
                detail = f": {_MODES.get(event['value'], 'unknown')}"
            notes.append((step, 0, f"[{event['kind'].replace('_', ' ')}{ip}{to}{detail}]"))
    complete = len(gaps) < NOTES_LIMIT and len(rows) < NOTES_LIMIT
    if not complete:
        # Of both only what the shorter list reaches is known.
        reached = [
            steps[-1]
            for steps, full in (
                ([gap.step for gap in gaps], len(gaps) == NOTES_LIMIT),
                ([first + int(step) for step in rows["step"]], len(rows) == NOTES_LIMIT),
            )
            if full
        ]
        notes = [note for note in notes if note[0] <= min(reached)]
    notes.sort(key=lambda note: note[:2])
    return notes, complete or not notes
