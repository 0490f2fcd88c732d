"""A processor that shows what was executed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from odograph.errors import InvalidArgument
from odograph.processor.breakpoints import Handle
from odograph.processor.executedcode import ExecutedCode, Executions, Rows
from odograph.processor.filters import Filter
from odograph.processor.processor import Processor
from odograph.processor.stop import Stop, StopReason

if TYPE_CHECKING:
    import numpy as np

    from odograph.history.history import History

__all__ = ["ReplayProcessor"]


Place = tuple[int, int, tuple[Handle, ...]]
"""Address and size of an instruction, and the breakpoints that are met there."""


class _Search:
    """Where the present breakpoints are met. Good as long as they do not change."""

    def __init__(self, processor: ReplayProcessor) -> None:
        self.breakpoints = processor.breakpoints
        self.version = processor.breakpoints.version
        self.refused = 0
        """Rows that no filter wants."""
        self._processor = processor
        self._code = processor.code
        self._handles = list(processor.breakpoints)
        self.places: dict[int, Place] = {}
        """What is known of the rows that were met."""
        self.wanted = self._code.nothing()
        """The rows that may be hits."""
        for handle in self._handles:
            self.wanted |= self._code.between(handle.first, handle.last)
        self.rows = self._code.search(self.wanted)
        self._searched = 0

    @property
    def is_stale(self) -> bool:
        """Another search is due: the breakpoints have changed, or many rows have been refused."""
        return self.breakpoints.version != self.version or self.refused > self._searched + 64

    def narrow(self) -> None:
        """Looks no more for rows that have been refused."""
        if self.refused > self._searched:
            self._searched = self.refused
            self.rows = self._code.search(self.wanted)

    def settle(self, row: int) -> Place:
        """What is at a row, and the breakpoints that are met there: filters are asked now."""
        code = self._code
        address, size, _, _ = code.row(row)
        # Filters see the processor where it stands: before the instruction.
        self._processor.arrive(address)
        question = None
        found = []
        for handle in self._handles:
            if not handle.alive or not _meets(handle, address, size):
                continue
            question = question or code.question(row)
            if handle.verdict(self._processor, question):
                found.append(handle)
        place = self.places[row] = (address, size, tuple(found))
        if not found:
            self.wanted[row] = False
            self.refused += 1
        return place

    def wanted_of(self, found: Executions) -> Iterator[tuple[int, int]]:
        """Steps and rows of those executions that no filter has refused so far."""
        steps, rows = found
        if self.refused:
            keep = self.wanted[rows]
            steps, rows = steps[keep], rows[keep]
        return zip(steps.tolist(), rows.tolist(), strict=True)


def _meets(handle: Handle, address: int, size: int) -> bool:
    end = address + size - 1
    return (address <= handle.last and end >= handle.first) or (
        end >= 1 << 64 and end - (1 << 64) >= handle.first
    )


class ReplayProcessor(Processor):
    """Replays a :class:`~odograph.History`, forward and backward.

    ``step`` is a position in the history: as many instructions were executed before, and ``len(history)`` is
    its end, where ``pc`` is None. Addresses are linear, as those in a trace are; virtual ones differ from
    them only where a 16 or 32 bit code segment has a base other than 0, which a trace does not tell. Only
    executed instructions are met: one that faulted was not. There is no data: registers other than the
    instruction pointer, memory and data breakpoints raise :class:`~odograph.UnsupportedOperation`.

    Example::

        >>> cpu = odograph.processor.ReplayProcessor(history)
        >>> _ = cpu.breakpoints.add_instruction(0x401004, 0x401004, callback=lambda cpu, *_: cpu.stop())
        >>> str(cpu.run())
        'break at 0x401004, step 6'
    """

    reversible = True

    def __init__(self, history: History) -> None:
        super().__init__()
        self.history = history
        self._length = len(history)
        self._step = 0
        self._epoch = 0
        self._pc: int | None = None
        self._pc_known = False
        self._gaps = history.gap_steps()
        self._before_gap = False
        """The gap at this step still lies ahead."""
        self._last_search: _Search | None = None

    @cached_property
    def code(self) -> ExecutedCode:
        """The executed instructions, each once."""
        return ExecutedCode(self.history)

    @property
    def pc(self) -> int | None:
        if not self._pc_known:
            ips = self.history.ips(self._step, self._step + 1)
            self._pc = int(ips[0]) if len(ips) else None
            self._pc_known = True
        return self._pc

    @property
    def step(self) -> int:
        return self._step

    @property
    def step_stamp(self) -> int:
        return self._epoch << 64 | self._step

    @property
    def time(self) -> int | None:
        """Estimated time of the next instruction in ns; None at the end, or without a clock."""
        return self.history.time(self._step) if self._step < self._length else None

    def goto(self, step: int | None = None, *, time: int | None = None) -> None:
        self._refuse_inside()
        if (step is None) == (time is None):
            raise TypeError("goto takes either a step or a time")
        if time is not None:
            step = self.history.at_time(time)
        if isinstance(step, bool) or not isinstance(step, int):
            raise TypeError(f"a step is an int, not {type(step).__name__}")
        if not 0 <= step <= self._length:
            raise InvalidArgument(f"step {step} is not among the {self._length} of this history, nor its end")
        self._epoch += 1
        self._place(step)

    def _place(self, step: int) -> None:
        if step < self._step:
            self._epoch += 1
        self._step = step
        self._pc_known = False
        self._before_gap = False

    def arrive(self, address: int) -> None:
        """The instruction at the present step is known to lie there."""
        self._pc, self._pc_known = address, True

    def opcode(self, address: int) -> bytes:
        rows = self.code.starting_at(address).tolist()
        if not rows:
            raise InvalidArgument(f"no instruction at {address:#x} was executed")
        if len(rows) > 1:
            # The one executed last, or else next.
            wanted = self.code.nothing()
            wanted[rows] = True
            steps, found = self.code.search(wanted).all()
            at = max(bisect_right(steps, self._step) - 1, 0)
            rows = [int(found[at])]
        return self.code.row(rows[0]).opcode

    def resolve(self, symbol: str) -> int:
        symbols = self.history.symbols_at(self._step)
        return super().resolve(symbol) if symbols is None else symbols.resolve(symbol)

    def addresses(self, symbol: str) -> list[int]:
        if self.history.symbols is None:
            return super().addresses(symbol)
        return self.history.addresses(symbol)

    def read_register(self, name: str) -> int:
        if name in ("rip", "eip", "ip", "pc") and self.pc is not None:
            return self.pc
        return super().read_register(name)

    def find_hits(self, first: int, last: int, filter: Filter | None) -> np.ndarray[Any, np.dtype[np.int64]]:
        return self.code.search(self.rows_of(first, last, filter)).all().steps

    def rows_of(self, first: int, last: int, filter: Filter | None) -> Rows:
        """The executed instructions that a breakpoint there would meet, as rows of :attr:`code`."""
        code = self.code
        wanted = code.between(first, last)
        if filter is not None:
            asking = Handle(self.breakpoints, first, last, _nothing, filter, self.supported_flags, False, 0)
            for row in wanted.nonzero()[0].tolist():
                wanted[row] = asking.verdict(self, code.question(row))
        return wanted

    def _search(self) -> _Search:
        search = self._last_search
        if search is None or search.version != self.breakpoints.version:
            search = self._last_search = _Search(self)
        search.narrow()
        return search

    def _step_insn(self, n: int, reverse: bool) -> Stop:
        if reverse:
            reason = StopReason.STEPS if n <= self._step else StopReason.BEGIN
            self._place(max(self._step - n, 0))
        else:
            reason = StopReason.STEPS if self._step + n <= self._length else StopReason.END
            self._place(min(self._step + n, self._length))
        return self._stop(reason)

    def _run(self, limit: int | None, reverse: bool, across_gaps: bool) -> Stop:
        gaps: Sequence[int] = () if across_gaps else self._gaps
        return self._run_back(limit, gaps) if reverse else self._run_on(limit, gaps)

    def _run_on(self, limit: int | None, gaps: Sequence[int]) -> Stop:
        here = self._step
        if gaps and self._before_gap:
            self._before_gap = False
            return self._stop(StopReason.GAP)
        end = self._length if limit is None else min(here + limit, self._length)
        ahead = bisect_right(gaps, here)
        gap = gaps[ahead] if ahead < len(gaps) else None
        bound = end if gap is None else min(end, gap)
        stop = self._meet_on(bound)
        if stop is not None:
            return stop
        if bound > here or self._step < bound:
            self._place(bound)
        if limit is not None and bound == here + limit:
            self._before_gap = bound == gap
            return self._stop(StopReason.STEPS)
        return self._stop(StopReason.GAP if bound == gap else StopReason.END)

    def _run_back(self, limit: int | None, gaps: Sequence[int]) -> Stop:
        here = self._step
        at = bisect_left(gaps, here)
        if at < len(gaps) and gaps[at] == here and not self._before_gap:
            self._before_gap = True
            return self._stop(StopReason.GAP)
        gap = gaps[at - 1] if at > 0 else None
        end = 0 if limit is None else max(here - limit, 0)
        bound = end if gap is None else max(end, gap)
        stop = self._meet_back(bound)
        if stop is not None:
            return stop
        if bound < self._step:
            self._place(bound)
        if limit is not None and bound == here - limit:
            return self._stop(StopReason.STEPS)
        if bound == gap:
            self._before_gap = True
            return self._stop(StopReason.GAP)
        return self._stop(StopReason.BEGIN)

    def _meet_on(self, bound: int) -> Stop | None:
        """Meets breakpoints at the steps from here to ``bound`` (exclusive), until one stops."""
        position, breakpoints = self._step, self.breakpoints
        while position < bound and len(breakpoints) and not self._stopping:
            search = self._search()
            for found, reached in search.rows.forward(position, bound):
                stop = self._tell(search, found)
                if stop is not None:
                    return stop
                changed = breakpoints.version != search.version
                position = self._step + 1 if changed else reached
                if search.is_stale or self._stopping:
                    break
        return self._stopped_at(position)

    def _meet_back(self, bound: int) -> Stop | None:
        """The same at the steps before this one down to ``bound``, the last first."""
        position, breakpoints = self._step, self.breakpoints
        while position > bound and len(breakpoints) and not self._stopping:
            search = self._search()
            for found, reached in search.rows.backward(bound, position):
                stop = self._tell(search, found)
                if stop is not None:
                    return stop
                changed = breakpoints.version != search.version
                position = self._step if changed else reached
                if search.is_stale or self._stopping:
                    break
        return self._stopped_at(position)

    def _stopped_at(self, position: int) -> Stop | None:
        """Between two hits, where another thread has asked to stop."""
        if not self._stopping:
            return None
        self._place(position)
        return self._stop(StopReason.BREAK)

    def _tell(self, search: _Search, found: Executions) -> Stop | None:
        """Calls the breakpoints at each execution, until one stops or they change.

        Millions of hits pass here: nothing is made for one before it is asked for.
        """
        places, breakpoints, version = search.places, self.breakpoints, search.version
        for step, row in search.wanted_of(found):
            if step < self._step:
                self._epoch += 1
            self._step = step
            place = places.get(row) or search.settle(row)
            address, size, members = place
            self._pc, self._pc_known, self._before_gap = address, True, False
            called = [handle for handle in members if handle.meet(self, address, size)]
            if self._stopping:
                return self._stop(StopReason.BREAK, called)
            if breakpoints.version != version:
                break
        return None


def _nothing(processor: object, address: int, size: int) -> None:
    """A breakpoint that is only asked for its filter needs no callback."""
