"""``odograph break``: every execution of an address, with what led there."""

from __future__ import annotations

import builtins
import dis
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from odograph.cli.failure import Failure
from odograph.cli.inputs import Input, input_options, tid_option
from odograph.cli.output import json_option, say, write_json_rows, write_lines
from odograph.cli.threads import decoded

if TYPE_CHECKING:
    import numpy as np

    from odograph.frame import Frame
    from odograph.history.history import History
    from odograph.processor import Filter, ReplayProcessor
    from odograph.recording.recording import Recording
    from odograph.recording.recordingfile import Thread
    from odograph.symbols import Symbols
    from odograph.table import Table

__all__ = ["command"]

Action = Callable[["ReplayProcessor", "Symbols"], list[str]]
"""Gives lines about a hit."""

#: What an expression may name.
_NAMES = {"cpu", "history", "symbols", "step", "address"}
#: Hits that are looked up at once.
_PIECE = 1 << 14
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


@click.command("break")
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
    wanted = all_of(*filters) if filters else None
    met = [(thread, hits) for thread in watched for hits in thread.hits(wanted)]
    count = sum(len(hits) for _, hits in met)
    found = islice(_in_order(met, reverse), limit)
    if as_json:
        rows = (thread.document(hit, compiled) for thread, hit in found)
        write_json_rows({"path": recording.path, "where": list(where), "count": count}, "hits", rows)
    else:
        several = len(threads) > 1
        write_lines(line for thread, hit in found for line in thread.lines(hit, compiled, several))
        if not count:
            say(_no_hit(len(where), watched))
            for hint in _elsewhere(watched, where):
                say(f"odograph: {hint}")
    if limit is not None and limit < count and not as_json:
        say(f"odograph: {limit:,} of {count:,} hits; a higher --limit shows more")
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
        self._names: dict[tuple[int, int], tuple[int, str]] = {}

    @cached_property
    def cpu(self) -> ReplayProcessor:
        from odograph.processor import ReplayProcessor

        return ReplayProcessor(self.history)

    def hits(self, wanted: Filter | None) -> Iterator[Hits]:
        """All hits, in order, of each span that has any."""
        for (start, stop), intervals in self.places:
            rows = self.cpu.code.nothing()
            for first, last in intervals:
                rows |= self.cpu.rows_of(first, last, wanted)
            found = self.cpu.code.executions(rows, start, stop)
            if len(found):
                symbols = self.history.symbols_at(start)
                assert symbols is not None
                yield Hits(found, symbols)

    def place(self, hit: Hit) -> tuple[int, str]:
        """Address and name of a hit."""
        key = (id(hit.symbols), hit.row)
        known = self._names.get(key)
        if known is None:
            address = self.cpu.code.row(hit.row).address
            known = self._names[key] = (address, str(hit.symbols.name_of(address) or ""))
        return known

    def _said(self, hit: Hit, actions: list[Action]) -> list[str]:
        if not actions:
            return []
        self.cpu.goto(hit.step)
        self.cpu.arrive(self.place(hit)[0])
        return [line for action in actions for line in action(self.cpu, hit.symbols)]

    def document(self, hit: Hit, actions: list[Action]) -> dict[str, Any]:
        """A hit with its stack."""
        address, function = self.place(hit)
        return {
            "tid": self.tid,
            "step": hit.step,
            "time": hit.time,
            "address": address,
            "function": function,
            "stack": [_frame(frame) for frame in self.history.stack(hit.step)],
            "said": self._said(hit, actions),
        }

    def lines(self, hit: Hit, actions: list[Action], with_thread: bool) -> Iterator[str]:
        """A hit as text, and what the actions said of it."""
        address, function = self.place(hit)
        time = "" if hit.time is None else f"  {hit.time / 1e9:.9f}"
        thread = f"  {self.tid}" if with_thread else ""
        yield f"{hit.step:>10}{time}{thread}  {address:016x}  {function}".rstrip()
        for line in self._said(hit, actions):
            yield f"    {line}"


class Hit(NamedTuple):
    """An executed instruction: its step, its row of the executed code, its time (ns), and names."""

    step: int
    row: int
    time: int | None
    symbols: Symbols


class Hits:
    """The hits of a thread in one span, in order."""

    def __init__(self, table: Table, symbols: Symbols) -> None:
        self.table = table
        self.symbols = symbols

    def __len__(self) -> int:
        return len(self.table)

    def moments(self, before: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """The time stamp of each, never less than that of the one before; ``before`` for those not known."""
        import numpy as np

        ticks = np.ma.filled(np.ma.asarray(self.table["tsc"], dtype=np.uint64), before)
        return np.maximum.accumulate(np.maximum(ticks, np.uint64(before)))

    def some(self, numbers: np.ndarray[Any, Any]) -> Iterator[Hit]:
        """Those of these numbers."""
        import numpy as np

        steps, rows = (np.asarray(self.table[name])[numbers].tolist() for name in ("step", "row"))
        times = np.ma.asarray(self.table["time"])[numbers].tolist()
        for step, row, time in zip(steps, rows, times, strict=True):
            yield Hit(step, row, time, self.symbols)


def _in_order(met: list[tuple[_Watched, Hits]], reverse: bool) -> Iterator[tuple[_Watched, Hit]]:
    """All hits by their times, those of one thread by their steps."""
    import numpy as np

    if not met:
        return
    moments: list[np.ndarray[Any, np.dtype[np.uint64]]] = []
    latest: dict[_Watched, int] = {}
    for thread, hits in met:
        keys = hits.moments(latest.get(thread, 0))
        latest[thread] = int(keys[-1])
        moments.append(keys)
    owners = np.repeat(np.arange(len(met)), [len(hits) for _, hits in met])
    numbers = np.concatenate([np.arange(len(hits)) for _, hits in met])
    if len(latest) > 1:
        order = np.argsort(np.concatenate(moments), kind="stable")
        owners, numbers = owners[order], numbers[order]
    if reverse:
        owners, numbers = owners[::-1], numbers[::-1]
    # Pieces, for lines are written while the rest waits.
    for begin in range(0, len(owners), _PIECE):
        piece, inside = owners[begin : begin + _PIECE], numbers[begin : begin + _PIECE]
        of = {at: met[at][1].some(inside[piece == at]) for at in np.unique(piece).tolist()}
        for at in piece.tolist():
            yield met[at][0], next(of[at])


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
