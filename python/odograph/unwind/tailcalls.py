"""Calls that left nothing on the stack, from what debug information says of calls.

A function that ends by jumping to another one (a tail call) is gone from the stack: the one it jumped to
returns to its caller. Debug information tells for each call what it calls, and which calls are jumps. So
where a function was not called by the place it returns to, the chain of jumps in between can often be told.
Source: DWARF 5, section 3.4.1, "Call Site Entries".
"""

from __future__ import annotations

from collections.abc import Sequence

from odograph.symbols import Module, Symbols
from odograph.symbols.lines import Call, Calls, Lines

__all__ = ["TailCalls"]

_TOP = 1 << 64
#: Tail calls that are looked at for one place, and functions and places that are kept, at most.
_MOST, _KEPT = 4096, 1 << 16


class TailCalls:
    """The tail calls of one process's code."""

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols
        self._between: dict[tuple[int, int], tuple[int, ...]] = {}
        self._calls: dict[int, tuple[Calls | None, Module | None]] = {}

    def between(self, callee: int, returns_to: int) -> tuple[int, ...]:
        """The tail calls that lie between a function and the call that it returns to.

        ``callee`` is an address in the function. Each tail call is given as the address behind it, the last
        one first. Where there are several ways from the call to the function, those that all have in common
        at both ends are given. Empty if the call is of the function itself, or if it is not known what is
        called.
        """
        known = self._between.get((callee, returns_to))
        if known is None:
            if len(self._between) >= _KEPT:
                self._between.clear()
            known = self._between[callee, returns_to] = self._look_up(callee, returns_to)
        return known

    def _look_up(self, callee: int, returns_to: int) -> tuple[int, ...]:
        calls, module = self._calls_at(returns_to - 1)
        if calls is None or module is None:
            return ()
        behind = (returns_to - module.bias) % _TOP
        first = next((call for call in calls.calls if call.behind == behind and not call.is_tail), None)
        target = None if first is None else self._target(first, module)
        wanted = self._start(callee)
        if target is None or wanted is None or target == wanted:
            return ()
        return _common(self._chains(target, wanted))

    def _chains(self, start: int, wanted: int) -> list[tuple[int, ...]]:
        """Ways from one function to another by tail calls; none if one of them may lead anywhere."""
        found: list[tuple[int, ...]] = []
        most = _MOST
        # Tail calls on the way, and for the function that each leads to those that are still to be tried.
        way: list[int] = []
        open_ones = [self._tails(start)]
        while open_ones:
            tails = open_ones[-1]
            if not tails:
                open_ones.pop()
                if way:
                    way.pop()
                continue
            behind, target = tails.pop()
            most -= 1
            if target is None or most < 0:
                return []
            if behind in way:
                continue
            if target == wanted:
                found.append((*way, behind))
                continue
            way.append(behind)
            open_ones.append(self._tails(target))
        return found

    def _tails(self, function: int) -> list[tuple[int, int | None]]:
        """A function's tail calls: the address behind each, and where it goes."""
        calls, module = self._calls_at(function)
        if calls is None or module is None or not calls.knows_tails:
            return []
        return [
            ((call.behind + module.bias) % _TOP, self._target(call, module))
            for call in calls.calls
            if call.is_tail
        ]

    def _target(self, call: Call, module: Module) -> int | None:
        if call.target is not None:
            return (call.target + module.bias) % _TOP
        if call.name is None:
            return None
        for one in (module, *self._symbols.modules):
            starts = one.table.named(call.name)
            if starts:
                return one.loaded(starts[0])
        return None

    def _start(self, address: int) -> int | None:
        """Where the function at an address begins."""
        calls, module = self._calls_at(address)
        if calls is not None and module is not None:
            return (calls.start + module.bias) % _TOP
        place = self._symbols.name_of(address)
        return None if place is None or place.name is None else (address - place.offset) % _TOP

    def _calls_at(self, address: int) -> tuple[Calls | None, Module | None]:
        known = self._calls.get(address)
        if known is None:
            if len(self._calls) >= _KEPT:
                self._calls.clear()
            module = self._symbols.module_of(address)
            calls = None
            if module is not None and module.path is not None:
                calls = Lines.of_file(module.path).calls_at((address - module.bias) % _TOP)
            known = self._calls[address] = (calls, module)
        return known


def _common(ways: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """What all ways begin and end with, the last first; what lies between is left out."""
    if not ways:
        return ()
    shortest = min(map(len, ways))
    alike = [len({way[at] for way in ways}) == 1 for at in range(shortest)]
    first = alike.index(False) if False in alike else shortest
    if first == shortest and all(len(way) == shortest for way in ways):
        return ways[0][::-1]
    alike = [len({way[-1 - at] for way in ways}) == 1 for at in range(shortest - first)]
    last = alike.index(False) if False in alike else shortest - first
    way = ways[0]
    return (way[:first] + way[len(way) - last :])[::-1]
