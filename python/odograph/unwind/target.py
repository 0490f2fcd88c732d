"""A process that stands still: its threads, memory and modules, and the stacks of its threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from odograph.code.memory import Memory
from odograph.errors import InvalidArgument, PtError
from odograph.frame import Stack
from odograph.symbols import Symbols
from odograph.unwind.cfi import DEFAULT_LIMIT, CfiUnwinder

__all__ = ["Target", "Thread"]


@dataclass(frozen=True)
class Thread:
    """A thread: its registers by name, its name if known, and the signal it was stopped by, 0 = none."""

    tid: int
    registers: Mapping[str, int] = field(repr=False)
    name: str | None = None
    signal: int = 0


@dataclass(frozen=True)
class Target:
    """A process that stands still.

    ``threads`` has the one that a signal ended, or else the first one, in front. ``missing`` says which files
    are not there or are others now: frames of their code have no unwind information.
    """

    machine: str
    memory: Memory
    symbols: Symbols
    threads: list[Thread]
    pid: int | None = None
    missing: tuple[str, ...] = ()
    _unwinder: list[CfiUnwinder] = field(default_factory=list, repr=False)

    @property
    def unwinder(self) -> CfiUnwinder:
        """Unwinds its stacks."""
        if not self._unwinder:
            self._unwinder.append(CfiUnwinder(self.symbols, self.machine))
        return self._unwinder[0]

    def thread(self, tid: int | None = None) -> Thread:
        """A thread by its number; the first one if omitted.

        :raises InvalidArgument: there is no such thread.
        """
        for thread in self.threads:
            if tid is None or thread.tid == tid:
                return thread
        numbers = ", ".join(str(thread.tid) for thread in self.threads)
        message = f"there is no thread {tid}; there are: {numbers}" if numbers else "there are no threads"
        raise InvalidArgument(message, code=PtError.invalid)

    def stack(self, tid: int | None = None, *, limit: int = DEFAULT_LIMIT) -> Stack:
        """The stack of a thread; see :meth:`CfiUnwinder.stack`."""
        return self.unwinder.stack(self.thread(tid).registers, self.memory, limit=limit)
