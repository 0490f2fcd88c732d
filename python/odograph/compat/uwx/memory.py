"""``uwx_register_alloc_cb``: whom the functions of this package ask for memory.

Python and Rust keep their own objects. What a program's allocator is asked for is what C would take at the
same places: an environment, its pool of strings, a symbol cache. If it refuses, the call fails as it would in
C.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from odograph.compat.uwx.names import UWX_OK

if TYPE_CHECKING:
    from typing import TypeAlias

    alloc_cb: TypeAlias = Callable[[int], Any]
    free_cb: TypeAlias = Callable[[Any], object]

ENVIRONMENT: Final = 4096
POOL: Final = 2048
CACHE: Final = 256
"""Bytes that are asked for."""

_alloc: alloc_cb | None = None
_free: free_cb | None = None


class Block:
    """Memory that was granted; ``free`` gives it back, once, to whom it is from."""

    __slots__ = ("_block", "_free")

    def __init__(self, block: Any, free: free_cb | None) -> None:
        self._block = block
        self._free = free

    def free(self) -> None:
        """Gives it back; a second call does nothing."""
        free, self._free = self._free, None
        if free is not None:
            free(self._block)


def allocate(size: int) -> Block | None:
    """Asks for memory; None if it was refused."""
    if _alloc is None:
        return Block(None, _free)
    block = _alloc(size)
    # Zero is C's null pointer; an empty buffer is not.
    return None if block is None or (isinstance(block, int) and block == 0) else Block(block, _free)


def uwx_register_alloc_cb(alloc: alloc_cb | None, free: free_cb | None) -> int:
    """Replaces malloc and free for the process: ``alloc(size) -> block`` (None or 0: refused),
    ``free(block)``.

    Call it before ``uwx_init``; None stands for the system's. Returns UWX_OK.
    """
    global _alloc, _free
    for function in (alloc, free):
        if function is not None and not callable(function):
            raise TypeError(f"{type(function).__name__} cannot be called")
    _alloc, _free = alloc, free
    return UWX_OK
