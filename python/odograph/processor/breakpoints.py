"""Breakpoints on intervals of addresses."""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from odograph.errors import InvalidArgument
from odograph.processor.filters import Filter, Question, ask

if TYPE_CHECKING:
    import numpy as np

__all__ = ["BreakpointFlags", "Callback", "Handle", "InstructionBreakpoints"]

_TOP = 1 << 64

Callback = Callable[[Any, int, int], object]
"""``callback(processor, address, size)``: an instruction is about to be executed."""


class BreakpointFlags(enum.IntFlag):
    """How the addresses of a breakpoint are meant."""

    NONE = 0
    LINEAR = 1
    """Linear addresses rather than virtual ones: behind the code segment's base."""


class _Breakable(Protocol):
    """What the breakpoints ask of their processor."""

    @property
    def supported_flags(self) -> BreakpointFlags: ...
    def addresses(self, symbol: str, /) -> list[int]: ...
    def find_hits(
        self, first: int, last: int, filter: Filter | None, /
    ) -> np.ndarray[Any, np.dtype[np.int64]]: ...


class Handle:
    """A breakpoint that was added: what :meth:`InstructionBreakpoints.add_instruction` gives.

    ``first`` and ``last`` are its closed interval, ``flags`` as given, ``hits`` how often it was met,
    ``alive`` whether it is still there. It holds the callback and the filter until it is removed, and as a
    context manager removes itself at the end.
    """

    __slots__ = (
        "__weakref__",
        "_callback",
        "_filter",
        "_owner",
        "_skip",
        "_verdicts",
        "first",
        "flags",
        "hits",
        "last",
        "once",
    )

    def __init__(
        self,
        owner: InstructionBreakpoints,
        first: int,
        last: int,
        callback: Callback,
        filter: Filter | None,
        flags: BreakpointFlags,
        once: bool,
        skip: int,
    ) -> None:
        self.first = first
        self.last = last
        self.flags = flags
        self.once = once
        self.hits = 0
        self._owner: InstructionBreakpoints | None = owner
        self._callback: Callback | None = callback
        self._filter = filter
        self._skip = skip
        self._verdicts: dict[Question, bool] = {}

    @property
    def alive(self) -> bool:
        """It has not been removed."""
        return self._owner is not None

    def remove(self) -> None:
        """Removes the breakpoint; raises :class:`~odograph.InvalidArgument` if it is gone already."""
        if self._owner is None:
            raise InvalidArgument("this breakpoint has been removed")
        self._owner.remove(self)

    def verdict(self, processor: object, question: Question) -> bool:
        """What the filter says of an instruction; it is asked once for each opcode and text."""
        if self._filter is None:
            return True
        known = self._verdicts.get(question)
        if known is None:
            answer = ask(self._filter, processor, question)
            known = bool(answer)
            # Only a bool is a promise, and the filter may have removed the breakpoint.
            if isinstance(answer, bool) and self.alive:
                self._verdicts[question] = known
        return known

    def release(self) -> None:
        """Lets go of callback and filter."""
        self._owner = None
        self._callback = None
        self._filter = None
        self._verdicts = {}

    def meet(self, processor: object, address: int, size: int) -> bool:
        """Calls the callback, unless the breakpoint is gone or still skips; True if it was called."""
        callback = self._callback
        if callback is None:
            return False
        self.hits += 1
        if self.hits <= self._skip:
            return False
        if self.once and self._owner is not None:
            self._owner.remove(self)
        callback(processor, address, size)
        return True

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.alive:
            self.remove()

    def __repr__(self) -> str:
        state = "" if self.alive else ", removed"
        return f"<breakpoint {self.first:#x} to {self.last:#x}, {self.hits} hits{state}>"


def address_of(value: object, what: str) -> int:
    """An address as an int. TypeError for other types, a bool included; InvalidArgument if it has more than
    64 bits.
    """
    if isinstance(value, bool):
        raise TypeError(f"{what} is an address, not a bool")
    try:
        address = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{what} is an address, not {type(value).__name__}") from None
    if not 0 <= address < _TOP:
        raise InvalidArgument(f"{what} is not a 64 bit address: {address:#x}")
    return address


def interval_of(first: object, last: object) -> tuple[int, int]:
    """A closed interval of addresses, checked."""
    low, high = address_of(first, "first"), address_of(last, "last")
    if low > high:
        raise InvalidArgument(f"the interval is upside down: {low:#x} to {high:#x}")
    return low, high


def flags_of(flags: object, supported: BreakpointFlags) -> BreakpointFlags:
    """Flags that a processor supports. TypeError for other types, InvalidArgument for others."""
    if isinstance(flags, bool) or not isinstance(flags, int):
        raise TypeError(f"flags are an int, not {type(flags).__name__}")
    if flags & ~int(supported):
        raise InvalidArgument(f"this processor does not know these flags: {flags:#x}")
    return BreakpointFlags(flags)


class InstructionBreakpoints:
    """The instruction breakpoints of a processor, in the order in which they were added.

    Everything here may be called inside callbacks. A breakpoint that is removed is not called again, not even
    later in the same dispatch; one that is added inside a callback is effective from the next executed
    instruction on.
    """

    def __init__(self, processor: _Breakable) -> None:
        self._processor = processor
        self._handles: dict[Handle, None] = {}
        self._closed = False
        self.version = 0
        """Counts the changes."""

    def __len__(self) -> int:
        return len(self._handles)

    def __iter__(self) -> Iterator[Handle]:
        return iter(list(self._handles))

    def at(self, where: int | str, length: int = 1) -> tuple[int, int]:
        """The closed interval of ``length`` bytes from an address or a symbol (``"libc.so.6!malloc+4"``).

        Raises :class:`~odograph.InvalidArgument` for a length below 1, an end beyond the address space and a
        name that means several places (see :meth:`places`), KeyError for an unknown symbol.
        """
        found = self.places(where, length)
        if len(found) > 1:
            places = ", ".join(f"{first:#x}" for first, _ in found[:4]) + (", …" if len(found) > 4 else "")
            raise InvalidArgument(
                f"{where!r} means {len(found)} places: {places}; add one at each of places({where!r})"
            )
        return found[0]

    def places(self, where: int | str, length: int = 1) -> list[tuple[int, int]]:
        """The closed intervals of ``length`` bytes from each place that an address or a symbol means.

        A name means several places where a library lay at several addresses, or a function was inlined. On a
        recorded history these are the places of all times, ascending; another function may lie there at other
        times, so compare ``history.symbols_at(step)`` in the callback if the process loaded others there.
        Raises what :meth:`at` does.
        """
        if isinstance(where, str):
            return [self._interval(first, length) for first in self._processor.addresses(where)]
        return [self._interval(address_of(where, "where"), length)]

    @staticmethod
    def _interval(first: int, length: int) -> tuple[int, int]:
        if isinstance(length, bool) or not isinstance(length, int):
            raise TypeError(f"a length is an int, not {type(length).__name__}")
        if length < 1:
            raise InvalidArgument(f"an interval has at least one byte, not {length}")
        if first + length > _TOP:
            raise InvalidArgument(f"{length} bytes from {first:#x} on reach beyond the address space")
        return first, first + length - 1

    def add_instruction(
        self,
        first: int,
        last: int,
        *,
        callback: Callback,
        filter: Filter | None = None,
        flags: int = 0,
        once: bool = False,
        skip: int = 0,
    ) -> Handle:
        """Calls ``callback(processor, address, size)`` before each instruction of which a byte lies in
        ``first`` to ``last``.

        ``address`` and ``size`` are the instruction's own. Of several breakpoints at one instruction all are
        called, even if one stops. When the processor goes on from an instruction at which it was stopped,
        they are called again, with the same ``step_stamp``. ``filter(processor, opcode)`` says whether an
        instruction is meant; it is asked once for each opcode and text. With ``once`` the breakpoint is
        removed when it is met; the first ``skip`` hits are counted only. Raises
        :class:`~odograph.InvalidArgument` (a ValueError) or TypeError, and adds nothing, for intervals and
        unknown flags.
        """
        if self._closed:
            raise InvalidArgument("this processor is closed; make another one")
        low, high = interval_of(first, last)
        known = flags_of(flags, self._processor.supported_flags)
        if not callable(callback):
            raise TypeError("callback is not callable; give a function, or leave it out")
        if filter is not None and not callable(filter):
            raise TypeError("filter is not callable; give a function, or leave it out")
        if isinstance(skip, bool) or not isinstance(skip, int):
            raise TypeError(f"skip is an int, not {type(skip).__name__}")
        if skip < 0:
            raise InvalidArgument(f"skip must not be negative, not {skip}")
        handle = Handle(self, low, high, callback, filter, known, bool(once), skip)
        self._handles[handle] = None
        self.version += 1
        return handle

    def remove(self, handle: Handle) -> None:
        """Removes a breakpoint and lets go of its callback and filter.

        Raises :class:`~odograph.InvalidArgument` for one that is not here (any more).
        """
        if not isinstance(handle, Handle):
            raise TypeError(f"a breakpoint is removed by its handle, not by {type(handle).__name__}")
        if handle not in self._handles:
            raise InvalidArgument("this processor has no such breakpoint")
        del self._handles[handle]
        self.version += 1
        handle.release()

    def hits(
        self, first: int, last: int, *, filter: Filter | None = None
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The steps at which a breakpoint there would have been met, in the whole history; nothing is called
        but the filter.

        Raises :class:`~odograph.UnsupportedOperation` on a processor that has no past.
        """
        return self._processor.find_hits(*interval_of(first, last), filter)

    def close(self) -> None:
        """Removes all of them, and takes no new ones."""
        self._closed = True
        for handle in self:
            self.remove(handle)

    def __repr__(self) -> str:
        return f"<InstructionBreakpoints: {len(self)}>"


def dispatch(processor: object, members: Sequence[Handle], address: int, size: int) -> list[Handle]:
    """Calls all that are still there, in order; gives those that were called."""
    return [handle for handle in members if handle.meet(processor, address, size)]
