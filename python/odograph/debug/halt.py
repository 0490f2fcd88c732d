"""Why a program under a debugger stands still."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from odograph.processor import Handle

__all__ = ["Halt", "HaltReason"]


class HaltReason(enum.Enum):
    """What ended a movement."""

    STEP = "step"
    """It is done."""
    BREAKPOINT = "breakpoint"
    INTERRUPTED = "interrupted"
    """A user or a callback asked for it."""
    BEGIN = "begin"
    """There is nothing before."""
    END = "end"
    """There is nothing more."""
    GAP = "gap"
    """Execution was lost here."""


@dataclass(frozen=True)
class Halt:
    """Why a movement ended, the breakpoints that were met, and what there is to say to the user."""

    reason: HaltReason
    breakpoints: tuple[Handle, ...] = ()
    message: str = ""
