"""Why a processor stopped."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from odograph.text.reprs import hex_repr

if TYPE_CHECKING:
    from odograph.processor.breakpoints import Handle

__all__ = ["Stop", "StopReason"]


class StopReason(enum.Enum):
    """What ended a run."""

    BREAK = "break"
    """A callback or another thread asked to stop."""
    STEPS = "steps"
    """The limit was reached."""
    END = "end"
    """There is nothing more to execute."""
    BEGIN = "begin"
    """There is nothing before."""
    GAP = "gap"
    """Execution was lost here."""
    ERROR = "error"
    """The next instruction cannot be executed; the message says why."""


@hex_repr("pc")
@dataclass(frozen=True, slots=True)
class Stop:
    """Where and why a run ended.

    ``step`` and ``pc`` are those of the instruction that would be executed next; ``pc`` is None at the end of
    a history. ``hits`` are the breakpoints whose callbacks were called at the last dispatch, in order;
    ``messages`` what was said to :meth:`Processor.stop <odograph.processor.Processor.stop>`, the first one
    first.
    """

    reason: StopReason
    step: int
    pc: int | None
    messages: tuple[str, ...] = ()
    hits: tuple[Handle, ...] = ()

    def __str__(self) -> str:
        where = "at the end" if self.pc is None else f"at {self.pc:#x}"
        said = f": {'; '.join(self.messages)}" if self.messages else ""
        return f"{self.reason.value} {where}, step {self.step}{said}"
