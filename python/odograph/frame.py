"""Frames and stacks: what every way of unwinding gives."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

from odograph.text.reprs import hex_repr

__all__ = ["Found", "Frame", "Inlined", "Stack"]


class Found(enum.StrEnum):
    """How a frame was found."""

    START = "start"
    """It is where unwinding began."""
    CALL = "call"
    """By a call that was executed."""
    SIGNAL = "signal"
    """It was interrupted: by a signal, an interrupt, a fault."""
    UNWIND_INFO = "unwind info"
    """By unwind information: DWARF's or IA-64's."""
    FRAME_POINTER = "frame pointer"
    LEAF = "leaf"
    """By the rule for functions that have no unwind information and call nothing."""
    TAIL_CALL = "tail call"
    """It jumped to the next inner one, and left nothing on the stack: a jump that was executed, or debug
    information, tells."""
    CORE = "core"
    """From a core file that belongs to the end of a recording."""
    GUESS = "guess"
    """It is likely and no more than that."""


class Inlined(NamedTuple):
    """A function that was inlined where a frame stands, with the place in it."""

    function: str
    file: str | None = None
    line: int | None = None


@hex_repr("address", "offset", "registers")
@dataclass(frozen=True)
class Frame:
    """One frame of a call stack.

    ``address`` is the instruction that is executed next in this frame; ``is_return`` says that a call
    will return there, so that the call stands before it. ``function`` is the one whose code lies there
    (its own, out-of-line name, or ``module+0xstart`` if it has none), ``offset`` the address's distance
    from its start; ``known_by`` says how it is known (:data:`odograph.symbols.table.KnownBy`). ``file``
    and ``line`` are the place in ``function``; where other functions are inlined there, ``inlined`` has
    them, the innermost first. None: not known.

    ``registers`` holds what is known of the registers in this frame, by their names in the field ("rsp",
    "x29", "gr4"). ``step`` is, in a history, the step of the call or jump that made the next inner frame, or
    of the innermost frame's instruction; ``entered`` is the first step of the function that this went to,
    behind stubs and thunks. A frame that may be wrong has ``is_guess``.

    A frame that left by a jump (:attr:`Found.TAIL_CALL`) is never executed again. In a history, its
    ``address`` is that of the jump; debug information tells only the address behind it, with ``is_return``.
    """

    address: int
    found: Found = Found.START
    is_return: bool = False
    is_guess: bool = False
    function: str | None = None
    offset: int = 0
    module: str | None = None
    file: str | None = None
    line: int | None = None
    inlined: tuple[Inlined, ...] = ()
    registers: Mapping[str, int] = field(default_factory=dict)
    step: int | None = None
    entered: int | None = None
    known_by: str = ""

    @property
    def lookup_address(self) -> int:
        """An address inside the call, or the instruction itself: what names and lines are looked up by."""
        return self.address - 1 if self.is_return else self.address

    def __str__(self) -> str:
        name = self.function or "??"
        if self.function is not None and self.offset:
            name += f"+{self.offset:#x}"
        parts = [f"{self.address:#018x}", "in", name]
        if self.file is not None:
            parts += ["at", f"{self.file}:{self.line}" if self.line is not None else self.file]
        elif self.module is not None:
            parts += ["from", self.module]
        if self.is_guess:
            parts.append("(guessed)")
        return " ".join(parts)


class Stack(Sequence[Frame]):
    """Frames, the innermost first, and why there are no more.

    ``end`` is "bottom" where the stack was seen to end; anything else says what kept it from being followed
    further.
    """

    def __init__(self, frames: Iterable[Frame], end: str = "bottom") -> None:
        self._frames = tuple(frames)
        self.end = end

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Frame, ...]: ...
    def __getitem__(self, index: int | slice) -> Frame | tuple[Frame, ...]:
        return self._frames[index]

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames)

    @property
    def is_complete(self) -> bool:
        """Whether its end was seen."""
        return self.end == "bottom"

    def lines(self) -> list[str]:
        """One line a frame as debuggers print it, inlined functions as frames of their own."""
        lines = []
        for frame in self._frames:
            for inlined in frame.inlined:
                place = f" at {inlined.file}:{inlined.line}" if inlined.file is not None else ""
                lines.append(f"{inlined.function}{place} (inlined)")
            lines.append(str(frame))
        numbered = [f"#{number:<3} {line}" for number, line in enumerate(lines)]
        if not self.is_complete:
            numbered.append(f"     ({self.end})")
        return numbered

    def __str__(self) -> str:
        """The lines."""
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        return f"<Stack: {len(self._frames)} frames, {self.end}>"
