"""Call stacks of recorded threads."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import click

from odograph.cli.failure import Failure
from odograph.cli.inputs import Input, pick_thread
from odograph.cli.output import styled, write_json, write_lines
from odograph.cli.threads import decoded

if TYPE_CHECKING:
    from odograph.frame import Frame, Stack
    from odograph.history.history import History

__all__ = ["SHOWN", "frame_document", "recorded"]

#: Frames of each stack, unless told otherwise.
SHOWN = 1000
#: More frames than a history keeps.
_ALL = 1 << 32

_Row = tuple[int, int, int | None, "Stack"]


def recorded(
    source: Input,
    tid: int | None,
    step: int | None,
    time: str | None,
    limit: int | None,
    as_json: bool,
    *,
    core: str | None = None,
    program: str | None = None,
) -> int:
    """Shows the stacks of a recording: at its end, or of one thread at a step or a time.

    ``core`` is a core of its end: the frames that were there before the recording began are taken from it.
    """
    if step is not None and time is not None:
        raise click.UsageError("--step and --time exclude each other; leave one out")
    if limit is None:
        limit = _ALL if as_json else SHOWN
    recording = source.open()
    if step is not None or time is not None:
        tid = pick_thread(recording, tid)
    outer = {} if core is None else _core_stacks(core, source.sysroot, program)
    rows: list[_Row] = []
    ends_known = True
    threads = decoded(recording, tid)
    if outer and not any(thread.tid in outer for thread in threads):
        has = ", ".join(map(str, outer))
        raise Failure(
            f"{core} has the threads {has}, and the recording has others; give a core of the recorded process"
        )
    for thread in threads:
        history = recording.history(thread.tid)
        if thread.tid in outer:
            history.seed(outer[thread.tid])
        where = _step(history, step, time)
        when = history.time(min(where, len(history) - 1)) if len(history) else None
        stack = history.stack(where, limit=limit)
        rows.append((thread.tid, where, when, stack))
        # A limit says what is shown, not what is known.
        whole = history.stack(where, limit=_ALL) if len(stack) == limit < _ALL else stack
        ends_known = ends_known and whole.is_complete
    if as_json:
        write_json({"path": recording.path, "threads": [_document(row) for row in rows]})
    else:
        write_lines(_lines(rows))
    return 0 if ends_known else 1


def _core_stacks(core: str, sysroot: tuple[str, ...], program: str | None) -> dict[int, Stack]:
    from odograph.unwind import open_core

    target = open_core(core, sysroot=sysroot, program=program)
    return {thread.tid: target.stack(thread.tid) for thread in target.threads}


def _step(history: History, step: int | None, time: str | None) -> int:
    if time is not None:
        try:
            ns = int(Decimal(time) * 10**9)
        except (InvalidOperation, ValueError, OverflowError):
            raise click.UsageError(f"--time takes seconds such as 29251.871433477, not {time!r}") from None
        return history.at_time(ns)
    if step is None:
        return len(history)
    where = step + len(history) if step < 0 else step
    if not 0 <= where <= len(history):
        raise Failure(
            f"step {step} is not among the {len(history)} of this thread; "
            f"give 0 to {len(history)}, or -N to count from the end"
        )
    return where


def _lines(rows: list[_Row]) -> Iterator[str]:
    for number, (tid, step, time, stack) in enumerate(rows):
        if number:
            yield ""
        when = "" if time is None else f", {time / 1e9:.9f} s"
        yield styled(f"thread {tid}, step {step}{when}", bold=True)
        yield from stack.lines()


def _document(row: _Row) -> dict[str, Any]:
    tid, step, time, stack = row
    frames = [{**frame_document(frame), "step": frame.step} for frame in stack]
    return {"tid": tid, "step": step, "time": time, "end": stack.end, "frames": frames}


def frame_document(frame: Frame) -> dict[str, Any]:
    """A frame for JSON."""
    return {
        "address": frame.address,
        "function": frame.function,
        "offset": frame.offset,
        "module": frame.module,
        "file": frame.file,
        "line": frame.line,
        "inlined": [one._asdict() for one in frame.inlined],
        "known_by": frame.known_by or None,
        "found": frame.found.value,
        "is_return": frame.is_return,
        "is_guess": frame.is_guess,
        "registers": dict(frame.registers),
    }
