"""What a debugger asks of a recorded thread: where it stands, how it came there, what is in memory."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from odograph.debug.derivedstack import DerivedStack, StackMoment
from odograph.debug.halt import Halt, HaltReason
from odograph.debug.memory import CodeMemory
from odograph.debug.modules import LoadedFile, Program, programs
from odograph.errors import InvalidArgument
from odograph.processor import ReplayProcessor, StopReason
from odograph.text.counted import counted

if TYPE_CHECKING:
    from odograph.history.history import History
    from odograph.processor import Handle, Processor
    from odograph.processor.filters import Filter
    from odograph.recording.recording import Recording
    from odograph.recording.recordingfile import Thread
    from odograph.symbols import Symbols

__all__ = ["Target"]

_FEWEST, _MOST = 1 << 6, 1 << 20
"""Instructions that are looked at at once while stepping over a range."""
_ASK_EVERY = 0.02
_CODE_64 = 3
_LOSSES = 8
"""Losses at one step that are told."""


class Target:
    """One thread of a recording, at a step.

    It stands before an instruction, from step 0 to :attr:`last`: the last one that was executed, or, if the
    trace tells it, the one that was to come (a crash shows it there). Movements give a :class:`Halt`. Another
    thread may call :meth:`interrupt` while one is under way.
    """

    def __init__(self, recording: Recording, tid: int | None = None) -> None:
        self.recording = recording
        self.thread: Thread = recording.source.thread(tid)
        self.history: History = recording.history(self.thread.tid)
        if not len(self.history):
            raise InvalidArgument(
                f"thread {self.thread.tid} executed nothing that was recorded; choose another thread"
            )
        self.processor = ReplayProcessor(self.history)
        self._stack = DerivedStack(self.history)
        self._gaps = self.history.gap_steps()
        self._met_at: dict[Handle, frozenset[int]] = {}
        self._start = -1
        self._skips_start = False
        self._stopped_by: list[Handle] = []
        self._moment: tuple[int, StackMoment | None] | None = None
        self._tscs: dict[int, int | None] = {}
        self._moving = False
        self._interrupted = threading.Event()

    def prepare(self) -> None:
        """Learns now what would else be learned when it is first asked for."""
        _ = self.processor.code, self.stack, self.program

    # Where it stands --------------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """Instructions that were executed before."""
        return self.processor.step

    @cached_property
    def last(self) -> int:
        """The last step to stand at."""
        length = len(self.history)
        return length if self._next_ip is not None else length - 1

    @cached_property
    def _next_ip(self) -> int | None:
        """The instruction at which the thread was interrupted behind its last step."""
        events = self.history.events()
        steps = np.asarray(events["step"])
        found = None
        for row in np.flatnonzero(steps == len(self.history)).tolist():
            kind, ip = str(events["kind"][row]), events["ip"][row]
            if kind.startswith("async") and ip is not np.ma.masked:
                found = int(ip)
        return found

    @property
    def pc(self) -> int:
        """The instruction that it stands before."""
        pc = self.processor.pc
        if pc is None:
            assert self._next_ip is not None
            return self._next_ip
        return pc

    @property
    def symbols(self) -> Symbols:
        """Names of the code as they are here."""
        found = self.history.symbols_at(min(self.step, len(self.history) - 1))
        assert found is not None
        return found

    def addresses(self, text: str) -> list[int]:
        """The addresses that a name means at any time, ascending. KeyError if it means none."""
        return self.history.addresses(text)

    def means(self, text: str, address: int) -> bool:
        """Whether a name means an address here."""
        try:
            return address in self.symbols.addresses(text)
        except KeyError:
            return False

    @property
    def time(self) -> int | None:
        """Estimated time in ns; None without a clock."""
        return self.history.time(min(self.step, len(self.history) - 1))

    @property
    def tsc(self) -> int | None:
        """Estimated time stamp; None if the trace has none."""
        step = min(self.step, len(self.history) - 1)
        if step not in self._tscs:
            value = self.history.instructions(step, step + 1)["tsc"][0]
            self._tscs = {step: None if value is np.ma.masked else int(value)}
        return self._tscs[step]

    @property
    def is_64_bit(self) -> bool:
        """Whether the code here is 64 bit code."""
        step = min(self.step, len(self.history) - 1)
        return int(self.history[step].mode) == _CODE_64

    @property
    def stack(self) -> StackMoment | None:
        """The stack here; None in code that is not 64 bit code."""
        if self._moment is None or self._moment[0] != self.step:
            moment = self._stack.at(self.step, self.pc, self.symbols) if self.is_64_bit else None
            self._moment = (self.step, moment)
        return self._moment[1]

    def lost_at(self, step: int) -> list[str]:
        """What execution was lost right before a step: the first losses, and how many more there are."""
        at = bisect_left(self._gaps, step)
        if at == len(self._gaps) or self._gaps[at] != step:
            return []
        found = self.history.gaps_before(step, step, _LOSSES, notes=False)
        lines = [str(gap) for gap in found]
        if len(found) == _LOSSES:
            more = self.history.count_gaps_before(step, step, notes=False) - len(found)
            lines += [f"… and {counted(more, 'more gap')}"] if more else []
        return lines

    # What is in memory ------------------------------------------------------------------------------------

    @cached_property
    def programs(self) -> list[Program]:
        """The programs that the process ran, one after the other."""
        return programs(self.recording, self.thread.tid)

    @property
    def program(self) -> Program:
        """The program that runs here."""
        step = min(self.step, len(self.history) - 1)
        return self.programs[max(bisect_right(self._starts, step) - 1, 0)]

    @cached_property
    def _starts(self) -> list[int]:
        """The step from which each program runs: where names change, too."""
        return [0, *(self.history.at_tsc(program.tsc) for program in self.programs[1:])]

    def to_other_program(self, *, reverse: bool = False) -> int | None:
        """How many instructions lead to the next step of another program; None if no other one follows.

        Back, that step is the last one of the program before.
        """
        step = min(self.step, len(self.history) - 1)
        at = bisect_right(self._starts, step)
        if reverse:
            border = self._starts[at - 1] if at else 0
            return self.step - border + 1 if border else None
        ahead = self._starts[at] if at < len(self._starts) else len(self.history)
        return ahead - self.step if ahead < len(self.history) else None

    @property
    def files(self) -> list[LoadedFile]:
        """The files that are mapped here."""
        return self.program.files

    @cached_property
    def _memory(self) -> CodeMemory:
        return CodeMemory(self.recording.served_images(self.thread.tid))

    def read(self, address: int, size: int) -> bytes:
        """Bytes of memory; short where they are no longer known, empty if the first one is not."""
        stack = self.stack
        data = stack.read(address, size) if stack is not None else b""
        return data or self.read_code(address, size)

    def read_code(self, address: int, size: int) -> bytes:
        """The same, but for the stack."""
        return self._memory.read(address, size, self.tsc, self.files)

    # Breakpoints ------------------------------------------------------------------------------------------

    def add_breakpoint(
        self,
        first: int,
        last: int | None = None,
        *,
        filter: Filter | None = None,
        skip: int = 0,
        condition: Callable[[], bool] | None = None,
    ) -> Handle:
        """Stops before instructions of which a byte lies in ``first`` to ``last`` (by default ``first``).

        ``condition`` is asked each time it stands before one that it does not start from.
        """
        last = first if last is None else last

        def meet(cpu: Processor, address: int, size: int) -> None:
            if (cpu.step != self._start or not self._skips_start) and (condition is None or condition()):
                self._stopped_by.append(handle)
                cpu.stop()

        handle = self.processor.breakpoints.add_instruction(
            first, last, callback=meet, filter=filter, skip=skip
        )
        code = self.processor.code
        rows = code.between(first, last).nonzero()[0].tolist()
        self._met_at[handle] = frozenset(code.row(row).address for row in rows)
        return handle

    def is_executed(self, handle: Handle) -> bool:
        """Whether the code of a breakpoint was executed at any time."""
        return bool(self._met_at.get(handle))

    def remove_breakpoint(self, handle: Handle) -> None:
        """Removes one; InvalidArgument if it is gone already."""
        self.processor.breakpoints.remove(handle)
        self._met_at.pop(handle, None)

    # Moving -----------------------------------------------------------------------------------------------

    def goto(self, step: int) -> None:
        """Moves to a step. InvalidArgument if this history has no such step."""
        if not 0 <= step <= self.last:
            raise InvalidArgument(f"step {step} is not among 0 to {self.last}")
        self.processor.goto(step)

    def goto_time(self, ns: int) -> None:
        """Moves to the first step at or after a time. InvalidArgument if no clock is known."""
        self.goto(min(self.history.at_time(ns), self.last))

    def step_insn(self, *, reverse: bool = False) -> Halt:
        """Executes one instruction, or goes back by one."""
        if self._is_interrupted():
            return Halt(HaltReason.INTERRUPTED)
        if reverse:
            if self.step == 0:
                return Halt(HaltReason.BEGIN)
            crossed = self.step
        else:
            if self.step >= self.last:
                return Halt(HaltReason.END)
            crossed = self.step + 1
        self.processor.step_insn(reverse=reverse)
        return Halt(HaltReason.STEP, message=self._lost(crossed))

    def step_range(self, start: int, end: int) -> Halt:
        """Executes instructions until one has a breakpoint or lies outside of ``start`` up to ``end``, or
        another program begins.
        """
        met = np.fromiter({address for met in self._met_at.values() for address in met}, dtype=np.uint64)
        count = _FEWEST
        with self._movement():
            while self.step < self.last:
                if self._is_interrupted():
                    return Halt(HaltReason.INTERRUPTED)
                here = self.step
                border = self.to_other_program()
                ips = self.history.ips(here + 1, here + 1 + (count if border is None else min(count, border)))
                outside = (ips < start) | (ips >= end) | np.isin(ips, met)
                if border is not None and border <= len(ips):
                    outside[border - 1] = True
                found = int(np.argmax(outside)) if outside.any() else -1
                reached = here + 1 + found if found >= 0 else min(here + len(ips), len(self.history) - 1)
                ahead = bisect_right(self._gaps, here)
                if ahead < len(self._gaps) and self._gaps[ahead] <= reached:
                    gap = self._gaps[ahead]
                    self.processor.goto(gap)
                    return Halt(HaltReason.GAP, message=self._lost(gap))
                self.processor.goto(reached)
                if found >= 0:
                    return Halt(HaltReason.STEP)
                if reached == len(self.history) - 1:
                    return self._end() if self.last == reached else self.step_insn()
                count = min(8 * count, _MOST)
        return Halt(HaltReason.END)

    def run(self, *, reverse: bool = False, skip_here: bool = False, limit: int | None = None) -> Halt:
        """Goes on, or back, until something is met, at most ``limit`` instructions.

        A breakpoint at the instruction it stands before is met at once, unless it has ``skip_here``.
        """
        self._start, self._skips_start = self.step, skip_here
        self._stopped_by.clear()
        with self._movement():
            if self._is_interrupted():
                return Halt(HaltReason.INTERRUPTED)
            stop = self.processor.run(limit, reverse=reverse)
        match stop.reason:
            case StopReason.BREAK if not self._stopped_by:
                self._interrupted.clear()
                return Halt(HaltReason.INTERRUPTED)
            case StopReason.BREAK:
                return Halt(HaltReason.BREAKPOINT, tuple(self._stopped_by))
            case StopReason.GAP:
                return Halt(HaltReason.GAP, message=self._lost(self.step))
            case StopReason.STEPS:
                return Halt(HaltReason.STEP)
            case StopReason.BEGIN:
                return Halt(HaltReason.BEGIN)
            case _:
                return self._end()

    def _end(self) -> Halt:
        if self.step != self.last:
            self.processor.goto(self.last)
        return Halt(HaltReason.END)

    def _lost(self, step: int) -> str:
        return "".join(f"execution was lost here: {lost}\n" for lost in self.lost_at(step))

    # Interrupting -----------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Ends the movement that is under way, or else the next one before it begins; for other threads."""
        self._interrupted.set()
        # The processor takes no notice in the short time before it runs.
        while self._moving and self._interrupted.is_set():
            self.processor.stop()
            time.sleep(_ASK_EVERY)

    def forget_interrupt(self) -> None:
        """Nothing is to be interrupted any more."""
        self._interrupted.clear()

    def _is_interrupted(self) -> bool:
        """Whether it was; that is told once."""
        if not self._interrupted.is_set():
            return False
        self._interrupted.clear()
        return True

    def _movement(self) -> _Movement:
        return _Movement(self._set_moving)

    def _set_moving(self, moving: bool) -> None:
        self._moving = moving

    def __repr__(self) -> str:
        return f"<Target: thread {self.thread.tid}, step {self.step} of {len(self.history)}>"


class _Movement:
    """While it is entered, there is something to interrupt."""

    def __init__(self, report: Callable[[bool], None]) -> None:
        self._report = report

    def __enter__(self) -> None:
        self._report(True)

    def __exit__(self, *exception: object) -> None:
        self._report(False)
