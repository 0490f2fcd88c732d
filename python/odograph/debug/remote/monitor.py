"""``monitor`` commands: what a history can do and gdb has no words for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, overload

import numpy as np

from odograph.debug.remote.resume import other_program
from odograph.errors import InvalidArgument, OdographError
from odograph.processor.filters import all_of, filter_of
from odograph.text.counted import counted
from odograph.text.printable import printable

if TYPE_CHECKING:
    from odograph.debug.remote.session import Session
    from odograph.debug.target import Target
    from odograph.history.history import History

__all__ = ["command"]

Command = Callable[["Session", list[str]], str]

_SHOWN = 20
_SECONDS = re.compile(r"(\d+)(?:\.(\d{1,9}))?s")


def command(session: Session, rest: str) -> str:
    """``qRcmd,text``: the text is said before the answer."""
    words = bytes.fromhex(rest).decode("utf-8", "replace").split()
    name, arguments = (words[0], words[1:]) if words else ("help", [])
    known = [key for key in COMMANDS if key.startswith(name)]
    chosen = name if name in COMMANDS else known[0] if len(known) == 1 else None
    try:
        if chosen is None:
            raise InvalidArgument(f"there is no command {name!r}; monitor help lists them")
        with session.keeping_alive():
            text = COMMANDS[chosen][1](session, arguments)
    except (OdographError, KeyError, ValueError) as error:
        text = printable(str(error)) + "\n"
    session.say(text)
    return "OK"


def _where(session: Session, arguments: list[str]) -> str:
    target = session.target
    time = "" if target.time is None else f", {target.time / 1e9:.9f} s"
    lost = "".join(f"\n{lost}" for lost in target.lost_at(target.step))
    return f"step {target.step} of {len(target.history)}{time}: {_place(target, target.pc)}{lost}\n"


def _place(target: Target, address: int) -> str:
    return printable(f"{address:#x} {target.symbols.name_of(address) or ''}".rstrip())


def _size(session: Session, arguments: list[str]) -> str:
    target = session.target
    first, last = target.history.time_range()
    time = (
        "" if first is None or last is None else f", {(last - first) / 1e9:.9f} s from {first / 1e9:.9f} s on"
    )
    gaps = target.history.gap_count
    lost = counted(gaps, "gap") if gaps else "no gaps"
    return f"{counted(len(target.history), 'instruction')}{time}, {lost}\n"


@overload
def _number(text: str) -> int: ...
@overload
def _number(text: str, kind: type[float]) -> float: ...
def _number(text: str, kind: type[float] | None = None) -> float:
    """A number that was typed."""
    try:
        number = int(text, 0) if kind is None else kind(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidArgument(f"{text!r} is not understood; monitor help lists what each command takes")
    return number


def _goto(session: Session, arguments: list[str]) -> str:
    if len(arguments) != 1:
        raise InvalidArgument("goto takes a step, +N, -N, N%, begin, end or a time such as 12.5s")
    target, (text,) = session.target, arguments
    seconds = _SECONDS.fullmatch(text)
    if seconds is not None:
        target.goto_time(int(seconds[1]) * 10**9 + int((seconds[2] or "").ljust(9, "0")))
    elif text in ("begin", "end"):
        target.goto(0 if text == "begin" else target.last)
    elif text.endswith("%"):
        target.goto(min(int(target.last * _number(text[:-1], float) / 100), target.last))
    elif text[:1] in ("+", "-"):
        target.goto(target.step + _number(text))
    else:
        target.goto(_number(text))
    return _went(session)


def _went(session: Session) -> str:
    return _where(session, []) + (other_program(session) if session.has_other_names else "")


def _step(session: Session, arguments: list[str]) -> str:
    count = _number(arguments[0]) if arguments else 1
    target = session.target
    target.goto(min(max(target.step + count, 0), target.last))
    return _went(session)


def _gaps(session: Session, arguments: list[str]) -> str:
    history = session.target.history
    lost = _some(history, "gap", notes=False) or "nothing was lost\n"
    notes = _some(history, "note", notes=True)
    return lost + ("where nothing is known to be lost:\n" + notes if notes else "")


def _some(history: History, noun: str, *, notes: bool) -> str:
    """The first gaps or notes, a line each, and how many more there are."""
    more = history.count_gaps_before(0, len(history), notes=notes) - _SHOWN
    rest = f"… and {counted(more, f'more {noun}')}\n" if more > 0 else ""
    return "".join(f"{gap}\n" for gap in history.gaps_before(0, len(history), _SHOWN, notes=notes)) + rest


def _interval(text: str) -> tuple[int, int] | None:
    """A closed interval of addresses; None if the text is a name."""
    first, dash, last = text.partition("-")
    try:
        return int(first, 0), int(last if dash else first, 0)
    except ValueError:
        return None


def _hits(session: Session, arguments: list[str]) -> str:
    if not arguments:
        raise InvalidArgument("hits takes an address, FIRST-LAST or a symbol, and filters")
    target = session.target
    interval = _interval(arguments[0])
    filters = [filter_of(text) for text in arguments[1:]]
    wanted = all_of(*filters) if filters else None
    hits = target.processor.breakpoints.hits
    if interval is not None:
        steps = hits(*interval, filter=wanted)
    else:
        # Each address counts only as long as the name means it.
        places = target.addresses(arguments[0])
        named = target.history.find(arguments[0])
        steps = np.intersect1d(named, np.concatenate([hits(at, at, filter=wanted) for at in places]))
    shown = " ".join(str(step) for step in steps[:_SHOWN].tolist())
    more = " …" if len(steps) > _SHOWN else ""
    none = target.history.elsewhere(interval[0]) if interval is not None and not len(steps) else None
    if none is not None:
        return f"0 hits: {none}\n"
    return f"{len(steps)} hit{'' if len(steps) == 1 else 's'}{': ' if shown else ''}{shown}{more}\n"


def _break(session: Session, arguments: list[str]) -> str:
    if not arguments:
        raise InvalidArgument("break takes an address, FIRST-LAST or a symbol, and filters")
    target = session.target
    interval = _interval(arguments[0])
    filters = [filter_of(text) for text in arguments[1:]]
    wanted = all_of(*filters) if filters else None
    if interval is not None:
        handles = [target.add_breakpoint(*interval, filter=wanted)]
    else:
        name = arguments[0]
        handles = [
            target.add_breakpoint(at, filter=wanted, condition=lambda: target.means(name, target.pc))
            for at in target.addresses(name)
        ]
    session.own_breakpoints.append((" ".join(arguments), handles))
    none = target.history.elsewhere(interval[0]) if interval is not None else None
    if none is not None and not any(target.is_executed(handle) for handle in handles):
        session.say(f"{none}\n")
    places = ", ".join(f"{handle.first:#x}-{handle.last:#x}" for handle in handles[:_SHOWN])
    return f"monitor breakpoint {len(session.own_breakpoints)} at {places}\n"


def _breakpoints(session: Session, arguments: list[str]) -> str:
    lines = [
        f"{number:>3}  {text}\n"
        for number, (text, handles) in enumerate(session.own_breakpoints, start=1)
        if any(handle.alive for handle in handles)
    ]
    return "".join(lines) or "no monitor breakpoints\n"


def _delete(session: Session, arguments: list[str]) -> str:
    numbers = [_number(text) for text in arguments] or range(1, len(session.own_breakpoints) + 1)
    for number in numbers:
        if not 1 <= number <= len(session.own_breakpoints):
            raise InvalidArgument(f"there is no monitor breakpoint {number}")
        for handle in session.own_breakpoints[number - 1][1]:
            if handle.alive:
                session.target.remove_breakpoint(handle)
    return _breakpoints(session, [])


def _stack(session: Session, arguments: list[str]) -> str:
    target = session.target
    return "".join(f"{line}\n" for line in target.history.stack(target.step).lines())


def _threads(session: Session, arguments: list[str]) -> str:
    target = session.target
    return "".join(
        f"{'*' if thread.tid == target.thread.tid else ' '} {thread.tid} {printable(thread.comm)}\n"
        for thread in target.recording.threads
    )


def _help(session: Session, arguments: list[str]) -> str:
    return "".join(f"{text}\n" for text, _ in COMMANDS.values())


COMMANDS: dict[str, tuple[str, Command]] = {
    "where": ("where                     the step, its time and place", _where),
    "goto": ("goto STEP|+N|-N|N%|TIMEs  go to a step, or to a time in seconds; begin, end", _goto),
    "step": ("step [N]                  N instructions on, or back if N is negative", _step),
    "size": ("size                      how long the history is", _size),
    "gaps": ("gaps                      where execution was lost", _gaps),
    "hits": ("hits WHERE [FILTER]       how often, and at which steps, something was executed", _hits),
    "break": (
        "break WHERE [FILTER]      stop there: an address, FIRST-LAST, a function, FILE:LINE",
        _break,
    ),
    "breakpoints": ("breakpoints               those that monitor break made", _breakpoints),
    "delete": ("delete [N]                remove one of them, or all", _delete),
    "stack": ("stack                     the calls that are open", _stack),
    "threads": ("threads                   the threads of the recording; --tid chooses one", _threads),
    "help": ("help                      this; FILTER is prefix=TEXT, text=TEXT or opcode=HEX[/MASK]", _help),
}
