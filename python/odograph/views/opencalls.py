"""The calls that were open at a step."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from odograph.history import History
    from odograph.symbols import Symbols

__all__ = ["OpenCall", "OpenCalls"]


class OpenCall(NamedTuple):
    """A call that had not returned: its step, the address of the call, and what was called."""

    step: int
    caller: int
    callee: int


class OpenCalls:
    """Which calls were open at the steps of a history, by calls and returns: see :meth:`History.pairs`."""

    def __init__(self, history: History) -> None:
        self._history = history

    @cached_property
    def _columns(self) -> tuple[np.ndarray, ...]:
        pairs = self._history.pairs()
        end = np.asarray(pairs["end"])
        last = np.where(end < 0, len(self._history), end)
        return np.asarray(pairs["call"]), last, np.asarray(pairs["caller"]), np.asarray(pairs["callee"])

    def at(self, step: int) -> list[OpenCall]:
        """The calls that were open when the instruction at ``step`` was executed, the innermost first."""
        call, last, caller, callee = self._columns
        before = int(np.searchsorted(call, step))
        rows = np.flatnonzero(last[:before] >= step)[::-1]
        return [OpenCall(int(call[row]), int(caller[row]), int(callee[row])) for row in rows]

    def lines(self, step: int, symbols: Symbols) -> list[str]:
        """The stack at a step as debuggers write it."""
        pc = int(self._history.ips(step, step + 1)[0])
        addresses = [pc, *(call.caller for call in self.at(step))]
        return [
            f"#{number:<3} {address:#018x} {symbols.name_of(address) or ''}".rstrip()
            for number, address in enumerate(addresses)
        ]
