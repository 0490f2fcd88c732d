"""The stack of an emulated processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odograph.errors import InvalidArgument, UnsupportedOperation
from odograph.frame import Stack
from odograph.symbols import Symbols
from odograph.unwind.cfi import DEFAULT_LIMIT, CfiUnwinder

if TYPE_CHECKING:
    from odograph.processor import EmulatedProcessor

__all__ = ["EmulatedMemory", "emulated_stack"]

_REGISTERS = (
    *("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14"),
    *("r15", "rip"),
)
_PAGE = 4096


class EmulatedMemory:
    """The memory of an emulated processor, as a :class:`Memory`; it changes as that runs."""

    def __init__(self, processor: EmulatedProcessor) -> None:
        self._processor = processor

    def read(self, address: int, size: int) -> bytes:
        """Bytes from ``address``: short at the end of what is mapped, empty outside."""
        pieces = []
        while size > 0 and address < 1 << 64:
            # What is mapped begins and ends with pages.
            count = min(size, _PAGE - address % _PAGE)
            try:
                pieces.append(self._processor.read_memory(address, count))
            except InvalidArgument:
                break
            address += count
            size -= count
        return b"".join(pieces)


def emulated_stack(
    processor: EmulatedProcessor, unwinder: CfiUnwinder | None = None, *, limit: int = DEFAULT_LIMIT
) -> Stack:
    """The stack where an emulated processor of 64 bits stands.

    ``unwinder`` knows the modules; without one, frames are followed by frame pointers and have no names.

    :raises UnsupportedOperation: the processor has 16 or 32 bits.
    """
    if processor.bits != 64:
        raise UnsupportedOperation(f"stacks of processors of {processor.bits} bits are not unwound")
    unwinder = CfiUnwinder(Symbols()) if unwinder is None else unwinder
    registers = {name: int(processor.read_register(name)) for name in _REGISTERS}
    return unwinder.stack(registers, EmulatedMemory(processor), limit=limit)
