"""Simics' breakpoint interfaces, name by name.

``virtual_instruction_breakpoint`` and ``virtual_data_breakpoint`` with the argument order of the C
interfaces, over any :class:`odograph.processor.Processor`: ``obj`` is the processor. Sources: Simics API
reference manual, pages ``virtual_instruction_breakpoint`` and ``virtual_data_breakpoint``.

Data for the functions may be any object, or ``cbdata(data, dealloc)``; the functions get ``data`` itself.
What is given to ``add`` belongs to the breakpoint: ``dealloc(data)`` is called once, when the breakpoint is
removed (if a running callback does that, after it has returned) or the processor is gone. If ``add``
raises, nothing is taken over.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from odograph.errors import InvalidArgument
from odograph.processor import BreakpointFlags, DataHandle, Handle, Processor

__all__ = [
    "VIRTUAL_DATA_BREAKPOINT_INTERFACE",
    "VIRTUAL_INSTRUCTION_BREAKPOINT_INTERFACE",
    "SIM_break_simulation",
    "SIM_free_cbdata",
    "SIM_get_interface",
    "SIM_make_simple_cbdata",
    "VT_step_stamp",
    "Virtual_Breakpoint_Flag_Linear",
    "cbdata",
    "virtual_data_breakpoint",
    "virtual_instruction_breakpoint",
]

VIRTUAL_INSTRUCTION_BREAKPOINT_INTERFACE = "virtual_instruction_breakpoint"
VIRTUAL_DATA_BREAKPOINT_INTERFACE = "virtual_data_breakpoint"
Virtual_Breakpoint_Flag_Linear = int(BreakpointFlags.LINEAR)

_known: weakref.WeakSet[Processor] = weakref.WeakSet()
"""Processors with breakpoints of these interfaces."""


class cbdata:
    """Data that is handed over together with a function that disposes of it (``cbdata_t``)."""

    __slots__ = ("_freed", "data", "dealloc")

    def __init__(self, data: Any, dealloc: Callable[[Any], object] | None = None) -> None:
        if dealloc is not None and not callable(dealloc):
            raise TypeError("dealloc cannot be called")
        self.data = data
        self.dealloc = dealloc
        self._freed = False

    def free(self) -> None:
        """Disposes of the data, once."""
        if not self._freed:
            self._freed = True
            if self.dealloc is not None:
                self.dealloc(self.data)


def SIM_make_simple_cbdata(data: Any) -> cbdata:
    """Data that need not be disposed of."""
    return cbdata(data)


def SIM_free_cbdata(data: cbdata) -> None:
    """Disposes of data that was not handed over; a second call does nothing."""
    data.free()


class _Owned:
    """A function of a breakpoint, with its data."""

    __slots__ = ("__weakref__", "_data", "_function")

    def __init__(self, function: Callable[..., Any], data: Any) -> None:
        self._function = function
        self._data = data.data if isinstance(data, cbdata) else data

    def __call__(self, *arguments: Any) -> Any:
        return self._function(self._data, *arguments)

    def take_over(self, data: Any) -> None:
        """From now on the data is disposed of together with this."""
        if isinstance(data, cbdata):
            weakref.finalize(self, data.free)


def _processor(obj: object) -> Processor:
    if not isinstance(obj, Processor):
        raise TypeError(f"obj is a processor, not {type(obj).__name__}")
    return obj


def _function(function: object, what: str) -> Callable[..., Any]:
    if not callable(function):
        raise TypeError(f"{what} cannot be called")
    return function


class _InstructionInterface:
    """``virtual_instruction_breakpoint_interface_t``."""

    def add(
        self,
        obj: Processor,
        first: int,
        last: int,
        filter: Callable[[Any, Processor, bytes], bool] | None,
        filter_data: Any,
        callback: Callable[[Any, Processor, int, int], object],
        callback_data: Any,
        flags: int,
    ) -> Handle:
        """Calls ``callback(callback_data, cpu, address, size)`` before instructions there.

        There is where a byte of one lies in ``first`` to ``last``; ``filter(filter_data, cpu, opcode)`` says
        which are meant, None all. ValueError for an invalid interval and for unknown flags.
        """
        processor = _processor(obj)
        calling = _Owned(_function(callback, "callback"), callback_data)
        asking = None if filter is None else _Owned(_function(filter, "filter"), filter_data)
        handle = processor.breakpoints.add_instruction(
            first, last, callback=calling, filter=asking, flags=flags
        )
        calling.take_over(callback_data)
        if asking is not None:
            asking.take_over(filter_data)
        elif isinstance(filter_data, cbdata):
            # It is not used, but the data has been handed over.
            weakref.finalize(calling, filter_data.free)
        _known.add(processor)
        return handle

    def remove(self, obj: Processor, handle: Handle) -> None:
        """Removes a breakpoint; ValueError if it is not there."""
        _processor(obj).breakpoints.remove(handle)


class _DataInterface:
    """``virtual_data_breakpoint_interface_t``."""

    def add_read(
        self,
        obj: Processor,
        first: int,
        last: int,
        callback: Callable[[Any, Processor, int, int], object],
        data: Any,
        flags: int,
    ) -> DataHandle:
        """Calls ``callback(data, initiator, address, size)`` before reads of a byte there."""
        processor = _processor(obj)
        calling = _Owned(_function(callback, "callback"), data)
        handle = processor.data_breakpoints.add_read(first, last, callback=calling, flags=flags)
        calling.take_over(data)
        _known.add(processor)
        return handle

    def add_write(
        self,
        obj: Processor,
        first: int,
        last: int,
        callback: Callable[[Any, Processor, int, bytes], object],
        data: Any,
        flags: int,
    ) -> DataHandle:
        """Calls ``callback(data, initiator, address, value)`` before writes of a byte there."""
        processor = _processor(obj)
        calling = _Owned(_function(callback, "callback"), data)
        handle = processor.data_breakpoints.add_write(first, last, callback=calling, flags=flags)
        calling.take_over(data)
        _known.add(processor)
        return handle

    def remove(self, obj: Processor, handle: DataHandle) -> None:
        """Removes a breakpoint; ValueError if it is not there."""
        _processor(obj).data_breakpoints.remove(handle)


virtual_instruction_breakpoint = _InstructionInterface()
virtual_data_breakpoint = _DataInterface()

_INTERFACES = {
    VIRTUAL_INSTRUCTION_BREAKPOINT_INTERFACE: virtual_instruction_breakpoint,
    VIRTUAL_DATA_BREAKPOINT_INTERFACE: virtual_data_breakpoint,
}


def SIM_get_interface(obj: Processor, name: str) -> Any:
    """An interface of a processor; :class:`~odograph.InvalidArgument` if there is none of that name."""
    _processor(obj)
    try:
        return _INTERFACES[name]
    except KeyError:
        raise InvalidArgument(f"there is no interface {name!r}") from None


def SIM_break_simulation(msg: str) -> None:
    """Stops the processors that are running, each before its next instruction."""
    for processor in list(_known):
        processor.stop(msg)


def VT_step_stamp(obj: Processor) -> int:
    """Equal at two times if and only if nothing was executed or moved in between; it has up to 128 bits."""
    return _processor(obj).step_stamp
