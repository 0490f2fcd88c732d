"""Breakpoints on data that is read or written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol

from odograph.errors import InvalidArgument
from odograph.processor.breakpoints import BreakpointFlags, flags_of, interval_of

__all__ = ["DataBreakpoints", "DataHandle"]

Access = Literal["read", "write"]
DataCallback = Callable[[Any, int, Any], object]
"""``callback(processor, address, size)`` of a read, ``callback(processor, address, value)`` of a write."""


class _Flagged(Protocol):
    """What the breakpoints ask of their processor."""

    @property
    def supported_flags(self) -> BreakpointFlags: ...


class DataHandle:
    """A data breakpoint that was added. It holds the callback until it is removed."""

    __slots__ = ("__weakref__", "_callback", "_owner", "access", "first", "flags", "hits", "last")

    def __init__(
        self,
        owner: DataBreakpoints,
        access: Access,
        interval: tuple[int, int],
        callback: DataCallback,
        flags: BreakpointFlags,
    ) -> None:
        self.access = access
        self.first, self.last = interval
        self.flags = flags
        self.hits = 0
        self._owner: DataBreakpoints | None = owner
        self._callback: DataCallback | None = callback

    @property
    def alive(self) -> bool:
        """It has not been removed."""
        return self._owner is not None

    def remove(self) -> None:
        """Removes the breakpoint; raises :class:`~odograph.InvalidArgument` if it is gone already."""
        if self._owner is None:
            raise InvalidArgument("this breakpoint has been removed")
        self._owner.remove(self)

    def release(self) -> None:
        """Lets go of the callback."""
        self._owner = None
        self._callback = None

    def meet(self, processor: object, address: int, what: object) -> None:
        """Calls the callback, unless the breakpoint is gone."""
        callback = self._callback
        if callback is not None:
            self.hits += 1
            callback(processor, address, what)

    def __enter__(self) -> DataHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.alive:
            self.remove()

    def __repr__(self) -> str:
        state = "" if self.alive else ", removed"
        return f"<DataHandle: {self.access} of {self.first:#x} to {self.last:#x}{state}>"


class DataBreakpoints:
    """The data breakpoints of a processor that has data.

    A callback is called before the access and cannot change it. A stop lets the present instruction
    complete, so the processor then stands behind it.
    """

    def __init__(self, processor: _Flagged) -> None:
        self._processor = processor
        self._handles: dict[DataHandle, None] = {}
        self._closed = False
        self.version = 0
        """Counts the changes."""

    def __len__(self) -> int:
        return len(self._handles)

    def __iter__(self) -> Iterator[DataHandle]:
        return iter(list(self._handles))

    def add_read(self, first: int, last: int, *, callback: DataCallback, flags: int = 0) -> DataHandle:
        """Calls ``callback(processor, address, size)`` before each read of a byte in ``first`` to ``last``.

        ``address`` and ``size`` are those of the access. Raises as
        :meth:`InstructionBreakpoints.add_instruction` does.
        """
        return self._add("read", first, last, callback, flags)

    def add_write(self, first: int, last: int, *, callback: DataCallback, flags: int = 0) -> DataHandle:
        """Calls ``callback(processor, address, value)`` before each write of a byte in ``first`` to ``last``.

        ``value`` are the bytes that will be there.
        """
        return self._add("write", first, last, callback, flags)

    def _add(self, access: Access, first: int, last: int, callback: DataCallback, flags: int) -> DataHandle:
        if self._closed:
            raise InvalidArgument("this processor is closed; make another one")
        interval = interval_of(first, last)
        known = flags_of(flags, self._processor.supported_flags)
        if not callable(callback):
            raise TypeError("callback is not callable; give a function, or leave it out")
        handle = DataHandle(self, access, interval, callback, known)
        self._handles[handle] = None
        self.version += 1
        return handle

    def remove(self, handle: DataHandle) -> None:
        """Removes a breakpoint and lets go of its callback.

        Raises :class:`~odograph.InvalidArgument` for one that is not here (any more).
        """
        if not isinstance(handle, DataHandle):
            raise TypeError(f"a breakpoint is removed by its handle, not by {type(handle).__name__}")
        if handle not in self._handles:
            raise InvalidArgument("this processor has no such breakpoint")
        del self._handles[handle]
        self.version += 1
        handle.release()

    def close(self) -> None:
        """Removes all of them, and takes no new ones."""
        self._closed = True
        for handle in self:
            self.remove(handle)

    def __repr__(self) -> str:
        return f"<DataBreakpoints: {len(self)}>"
