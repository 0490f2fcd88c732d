"""What every processor can do, whether it executes or remembers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from odograph._native import disassemble
from odograph.errors import InvalidArgument, Reentered, UnknownSymbol, UnsupportedOperation
from odograph.processor.breakpoints import BreakpointFlags, InstructionBreakpoints
from odograph.processor.filters import Filter
from odograph.processor.stop import Stop, StopReason

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np

    from odograph.processor.databreakpoints import DataBreakpoints

__all__ = ["Processor"]


class Processor(ABC):
    """Executes instructions, or shows that they were executed, and stops where it is told.

    Callbacks run on the thread that called :meth:`run`, before the instruction, never two at once. Inside
    them everything is allowed but moving the processor: that raises :class:`~odograph.Reentered`. An
    exception in a callback or a filter comes out of :meth:`run` as it is; the processor then stands before
    the instruction.
    """

    supported_flags: BreakpointFlags = BreakpointFlags.LINEAR
    """Which flags of breakpoints it knows."""
    reversible: bool = False
    """It can go back."""

    def __init__(self) -> None:
        self.breakpoints = InstructionBreakpoints(self)
        self._running = False
        self._stopping = False
        self._messages: list[str] = []

    @property
    @abstractmethod
    def pc(self) -> int | None:
        """Address of the instruction that is executed next; None if there is none."""

    @property
    @abstractmethod
    def step(self) -> int:
        """How many instructions were executed before."""

    @property
    @abstractmethod
    def step_stamp(self) -> int:
        """Equal at two times if and only if nothing was executed or moved in between."""

    def run(self, limit: int | None = None, *, reverse: bool = False, across_gaps: bool = False) -> Stop:
        """Goes on until something stops it, at most ``limit`` instructions.

        Going on, breakpoints at the present instruction are met again. Going back, those at earlier
        instructions are met, the latest first. It stops at gaps, lost execution, unless told to cross them; a
        further call crosses.
        """
        if limit is not None:
            if isinstance(limit, bool) or not isinstance(limit, int):
                raise TypeError(f"a limit is an int, not {type(limit).__name__}")
            if limit < 0:
                raise InvalidArgument(f"a limit must not be negative, not {limit}")
        if reverse and not self.reversible:
            raise UnsupportedOperation("this processor cannot go back; record it and replay the recording")
        with self._moving():
            return self._run(limit, reverse, across_gaps)

    def step_insn(self, n: int = 1, *, reverse: bool = False) -> Stop:
        """Executes ``n`` instructions, or goes back as many; breakpoints are not consulted, and gaps are
        crossed.
        """
        if isinstance(n, bool) or not isinstance(n, int):
            raise TypeError(f"a number of instructions is an int, not {type(n).__name__}")
        if n < 0:
            raise InvalidArgument(f"a number of instructions must not be negative, not {n}")
        if reverse and not self.reversible:
            raise UnsupportedOperation("this processor cannot go back; record it and replay the recording")
        with self._moving():
            return self._step_insn(n, reverse)

    @abstractmethod
    def _run(self, limit: int | None, reverse: bool, across_gaps: bool) -> Stop: ...

    @abstractmethod
    def _step_insn(self, n: int, reverse: bool) -> Stop: ...

    def goto(self, step: int | None = None, *, time: int | None = None) -> None:
        """Moves to a step, or to the first step at or after a time in ns, of the past or the future; nothing
        is called.
        """
        self._refuse_inside()
        raise UnsupportedOperation("this processor cannot go back; record it and replay the recording")

    def stop(self, message: str | None = None) -> None:
        """Asks a running processor to stop before the next instruction; does nothing when it is not running.

        It may be called in callbacks, from signal handlers and from other threads, and several times.
        """
        if self._running:
            if message is not None:
                self._messages.append(message)
            self._stopping = True

    @abstractmethod
    def opcode(self, address: int) -> bytes:
        """The bytes of the instruction at an address. Raises :class:`~odograph.InvalidArgument` if none is
        known.
        """

    def disassemble(self, opcode: bytes, address: int = 0, mode: int = 3) -> str:
        """The text of an instruction, in Intel's syntax; ``mode`` is an :class:`~odograph.ExecMode`."""
        return disassemble(bytes(opcode), address, mode)

    def resolve(self, symbol: str) -> int:
        """The address of a symbol. KeyError if there is none."""
        raise UnknownSymbol(f"this processor has no symbols to look up {symbol!r} in")

    def addresses(self, symbol: str) -> list[int]:
        """All addresses that a symbol means. KeyError if there is none."""
        return [self.resolve(symbol)]

    def find_hits(self, first: int, last: int, filter: Filter | None) -> np.ndarray[Any, np.dtype[np.int64]]:
        """See :meth:`InstructionBreakpoints.hits`."""
        raise UnsupportedOperation(
            "only a recorded history knows hits without running; record this processor and replay it"
        )

    @property
    def data_breakpoints(self) -> DataBreakpoints:
        """Breakpoints on data."""
        raise UnsupportedOperation("a trace has no data, so nothing can stop at it; use an EmulatedProcessor")

    def read_register(self, name: str) -> int:
        """The value of a register."""
        raise UnsupportedOperation(f"the value of {name} is not known")

    def write_register(self, name: str, value: int) -> None:
        """Changes a register."""
        raise UnsupportedOperation("what happened cannot be changed")

    def read_memory(self, address: int, size: int) -> bytes:
        """Bytes of memory."""
        raise UnsupportedOperation("data is not known")

    def write_memory(self, address: int, data: bytes) -> None:
        """Changes memory."""
        raise UnsupportedOperation("what happened cannot be changed")

    def close(self) -> None:
        """Removes all breakpoints. Adding one raises from now on."""
        self._refuse_inside()
        self.breakpoints.close()

    def __enter__(self) -> Processor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _refuse_inside(self) -> None:
        if self._running:
            raise Reentered("the processor cannot be moved inside its own callbacks; do it after they return")

    @contextmanager
    def _moving(self) -> Iterator[None]:
        self._refuse_inside()
        self._stopping = False
        self._messages.clear()
        self._running = True
        try:
            yield
        finally:
            self._running = False

    def _stop(self, reason: StopReason, hits: list[Any] | None = None) -> Stop:
        return Stop(reason, self.step, self.pc, tuple(self._messages), tuple(hits or ()))

    def __repr__(self) -> str:
        where = "at its end" if self.pc is None else f"at {self.pc:#x}"
        return f"<{type(self).__name__}: step {self.step}, {where}>"
