"""``odograph break``: every execution of an address, with what led there."""

from __future__ import annotations

import builtins
import dis
import heapq
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from types import CodeType
from typing import TYPE_CHECKING, Any

import click

from odograph.cli.failure import Failure
from odograph.cli.inputs import Input, input_options, tid_option
from odograph.cli.output import json_option, say, write_json_rows, write_lines
from odograph.cli.threads import decoded

if TYPE_CHECKING:
    from odograph.frame import Frame
    from odograph.history import History
    from odograph.processor import Filter, ReplayProcessor
    from odograph.recorded import Recording
    from odograph.recording.recording import Thread
    from odograph.symbols import Symbols

__all__ = ["command"]

Action = Callable[["ReplayProcessor", "Symbols"], list[str]]
"""Gives lines about a hit."""

#: What an expression may name.
_NAMES = {"cpu", "history", "symbols", "step", "address"}
_STEPS = re.compile(r"steps\s+([+-]?\d+)")


class _FilterType(click.ParamType[Any]):
    name = "filter"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from odograph.processor import disassembly_contains, mnemonic_prefix, opcode_mask

        if not isinstance(value, str):
            return value
        kind, _, text = value.partition("=")
        try:
            match kind:
                case "prefix" if text:
                    return mnemonic_prefix(text)
                case "text" if text:
                    return disassembly_contains(text)
                case "opcode" if text:
                    pattern, _, mask = text.partition("/")
                    return opcode_mask(bytes.fromhex(pattern), bytes.fromhex(mask) if mask else None)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)
        self.fail(f"{value!r} is not prefix=TEXT, text=TEXT or opcode=HEX[/MASK]", param, ctx)


@click.command()
@input_options
@click.argument("where", nargs=-1, required=True)
@tid_option
@click.option("--reverse", is_flag=True, help="The last hits first.")
@click.option(
    "--filter",
    "filters",
    type=_FilterType(),
    multiple=True,
    help="Only instructions like this: prefix=TEXT, text=TEXT or opcode=HEX[/MASK]; all of several.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N hits.")
@click.option(
    "-c",
    "--command",
    "actions",
    multiple=True,
    metavar="ACTION",
    help="At each hit: 'stack', 'steps -20', or a Python expression of cpu, history, symbols, step, address.",
)
@json_option
def command(
    source: Input,
    where: tuple[str, ...],
    tid: int | None,
    reverse: bool,
    filters: tuple[Any, ...],
    limit: int | None,
    actions: tuple[str, ...],
    as_json: bool,
) -> int:
    """Find every execution of WHERE, and what led there.

    WHERE is an address (0x401000), FIRST-LAST, a function (main, libc.so.6!malloc+4; also one that was
    inlined, and a C++ name without namespace or parameters if only one can be meant), or a line (file.c:37).
    An instruction is met if any of its bytes lies there. Hits of several threads are told in the order of
    their times. Ends with 0 if there were hits, else with 1.
    """
    from odograph.processor import all_of

    recording = source.open()
    threads = decoded(recording, tid)
    compiled = [_action(action) for action in actions]
    watched = _watched(recording, threads, where)
    for text, line in _other_lines(watched, where):
        say(f"odograph: no code begins at {text}; the next line that has code is {line}")
    count = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal count
        met = [thread.hits(all_of(*filters) if filters else None, reverse) for thread in watched]
        for _, thread, step in heapq.merge(*met, key=lambda hit: hit[0], reverse=reverse):
            yield thread.row(step, compiled, as_json)
            count += 1
            if count == limit:
                return

    if as_json:
        write_json_rows({"path": recording.path, "where": list(where)}, "hits", rows())
    else:
        write_lines(line for row in rows() for line in _lines(row, len(threads) > 1))
        if not count:
            say(_no_hit(len(where), watched))
            for hint in _elsewhere(watched, where):
                say(f"odograph: {hint}")
    return 0 if count else 1


def _no_hit(breakpoints: int, watched: list[_Watched]) -> str:
    from odograph.views.numbers import counted

    steps = counted(sum(len(thread.history) for thread in watched), "step")
    threads = f" of {counted(len(watched), 'thread')}" if len(watched) > 1 else ""
    return f"odograph: no hit of {counted(breakpoints, 'breakpoint')} in {steps}{threads}"


def _elsewhere(watched: list[_Watched], where: tuple[str, ...]) -> list[str]:
    """A line for each address that was typed and lies in no module."""
    from odograph.symbols.resolving import number_of

    lines = []
    for text in where:
        address = number_of(text.partition("-")[0])
        said = [] if address is None else [one.history.elsewhere(address) for one in watched]
        if said and None not in said:
            lines.append(str(said[0]))
    return lines


def _intervals(text: str, symbols: Symbols) -> list[tuple[int, int]]:
    """Closed intervals; KeyError for a name that is not known."""
    low, dash, high = text.partition("-")
    try:
        first = int(low, 0)
        last = int(high, 0) if dash else first
    except ValueError:
        return [(address, address) for address in symbols.addresses(text)]
    if not 0 <= first <= last < 1 << 64:
        raise click.UsageError(
            f"{text!r} is not an interval of addresses; write FIRST-LAST, as in 0x401000-0x40100f"
        )
    return [(first, last)]


def _other_lines(watched: list[_Watched], where: tuple[str, ...]) -> list[tuple[str, int]]:
    """Of lines without code, the ones that were taken instead."""
    names = {id(span.symbols): span.symbols for one in watched for span in one.history.spans}
    found = {
        (text, line): None
        for text in where
        for symbols in names.values()
        if symbols is not None and (line := symbols.line_taken(text)) is not None
    }
    return [(text, line) for text, line in found if not text.strip().endswith(f":{line}")]


class _Watched:
    """A thread, and where it is looked at: closed intervals of addresses, in steps from one to another."""

    def __init__(
        self, tid: int, history: History, places: list[tuple[tuple[int, int], list[tuple[int, int]]]]
    ) -> None:
        self.tid = tid
        self.history = history
        self.places = places

    @cached_property
    def cpu(self) -> ReplayProcessor:
        from odograph.processor import ReplayProcessor

        return ReplayProcessor(self.history)

    def hits(self, wanted: Filter | None, reverse: bool) -> Iterator[tuple[float, _Watched, int]]:
        """Time stamp, thread and step of each hit in order; one not known is that of the hit before."""
        import numpy as np

        if not len(self.history):
            return
        found = []
        for (start, stop), intervals in self.places:
            for first, last in intervals:
                hits = self.cpu.breakpoints.hits(first, last, filter=wanted)
                found.append(hits[np.searchsorted(hits, start) : np.searchsorted(hits, stop)])
        steps = found[0] if len(found) == 1 else np.unique(np.concatenate(found))
        key = float("inf") if reverse else float("-inf")
        for step in (steps[::-1] if reverse else steps).tolist():
            tsc = self.history.tsc(step)
            key = key if tsc is None else tsc
            yield key, self, step

    def row(self, step: int, actions: list[Action], with_stack: bool) -> dict[str, Any]:
        """What is told of a hit; ``with_stack``: its stack, as something else than text."""
        self.cpu.goto(step)
        address = self.cpu.pc
        symbols = self.history.symbols_at(step)
        assert address is not None
        assert symbols is not None
        stack = {"stack": [_frame(frame) for frame in self.history.stack(step)]} if with_stack else {}
        return {
            "tid": self.tid,
            "step": step,
            "time": self.cpu.time,
            "address": address,
            "function": str(symbols.name_of(address) or ""),
            **stack,
            "said": [line for action in actions for line in action(self.cpu, symbols)],
        }


def _watched(recording: Recording, threads: list[Thread], where: tuple[str, ...]) -> list[_Watched]:
    """Those threads in which all names are known at some time; a usage error if there are none."""
    from odograph.symbols import AmbiguousName

    watched, unknown = [], []
    for thread in threads:
        history = recording.history(thread.tid)
        places = []
        known = set()
        for span in history.spans:
            names = span.symbols or recording.symbols(thread.tid)
            intervals = []
            for text in where:
                try:
                    intervals += _intervals(text, names)
                    known.add(text)
                except AmbiguousName as error:
                    raise click.UsageError(str(error)) from None
                except KeyError as error:
                    unknown.append(error)
            if intervals:
                places.append(((span.start, span.stop), intervals))
        if known.issuperset(where):
            watched.append(_Watched(thread.tid, history, places))
    if unknown and not watched:
        raise click.UsageError(str(unknown[0].args[0]))
    return watched


def _frame(frame: Frame) -> dict[str, Any]:
    names = ("address", "function", "offset", "module", "step", "is_return", "is_guess")
    return {name: getattr(frame, name) for name in names}


def _action(text: str) -> Action:
    """What to do at a hit: gives lines."""
    if text == "stack":
        return lambda cpu, symbols: str(cpu.history.stack(cpu.step)).splitlines()
    steps = _STEPS.fullmatch(text)
    if steps is not None:
        return lambda cpu, symbols: _around(cpu, int(steps[1]))
    try:
        code = compile(text, "-c", "eval")
    except (SyntaxError, ValueError) as error:
        raise click.UsageError(
            f"{text!r} is not an action: write stack, steps N, or a Python expression: {error}"
        ) from None
    unknown = sorted(_free_names(code) - _NAMES - set(dir(builtins)))
    if unknown:
        raise click.UsageError(
            f"{text!r} names {', '.join(unknown)}, which is not known here; an action is stack, steps N, or "
            f"a Python expression of {', '.join(sorted(_NAMES))}"
        )

    def evaluate(cpu: ReplayProcessor, symbols: Symbols) -> list[str]:
        names = {"cpu": cpu, "history": cpu.history, "step": cpu.step, "address": cpu.pc, "symbols": symbols}
        try:
            return [str(eval(code, names))]
        except Exception as error:
            raise Failure(f"{text!r} at step {cpu.step}: {type(error).__name__}: {error}") from error

    return evaluate


def _free_names(code: CodeType) -> set[str]:
    """The names that an expression looks up outside of itself."""
    looked_up = ("LOAD_NAME", "LOAD_GLOBAL")
    names = {one.argval for one in dis.get_instructions(code) if one.opname in looked_up}
    return names.union(*(_free_names(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def _around(cpu: ReplayProcessor, count: int) -> list[str]:
    """The instructions before the hit (``count`` below 0) or from it on."""
    first, last = (cpu.step + count, cpu.step) if count < 0 else (cpu.step, cpu.step + count)
    return [
        f"{each.step:>10} {each.ip:016x}  {cpu.disassemble(each.raw, each.ip, each.mode)}"
        for each in cpu.history[max(first, 0) : last]
    ]


def _lines(row: dict[str, Any], with_thread: bool) -> Iterator[str]:
    time = "" if row["time"] is None else f"  {row['time'] / 1e9:.9f}"
    thread = f"  {row['tid']}" if with_thread else ""
    yield f"{row['step']:>10}{time}{thread}  {row['address']:016x}  {row['function']}".rstrip()
    for line in row["said"]:
        yield f"    {line}"
