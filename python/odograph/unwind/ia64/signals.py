"""What Linux saved of a context that a signal interrupted.

The handler's caller is a trampoline, whose unwind information marks it with the system's number and "s". In
its frame a ``struct sigcontext`` is found by a pointer at 0x20 above the stack pointer. It has what the
kernel itself had to save; the registers that calls preserve are those of the trampoline's frame. Source:
Linux, ``asm/sigcontext.h`` of IA-64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from odograph._native import uwx_add_to_bsp
from odograph.text.reprs import hex_repr

__all__ = ["LINUX", "SavedContext", "is_signal_frame", "read_saved_context"]

#: Numbers of the system in unwind information; old toolchains wrote 0.
LINUX: Final = (3, 0)

_POINTER: Final = 0x20
_WORDS: Final = {
    "nat": 0x8,
    "ip": 0x28,
    "cfm": 0x30,
    "bsp": 0x48,
    "rnat": 0x50,
    "unat": 0x60,
    "fpsr": 0x68,
    "pfs": 0x70,
    "lc": 0x78,
    "pr": 0x80,
}
_BRANCH, _GENERAL, _FLOAT = 0x88, 0xC8, 0x1D0
_PRESERVED: Final = {
    *(f"gr{number}" for number in range(4, 8)),
    *(f"br{number}" for number in range(1, 6)),
    *(f"fr{number}" for number in (*range(2, 6), *range(16, 32))),
}
_PLACES: Final = {
    **_WORDS,
    **{f"br{number}": _BRANCH + 8 * number for number in range(8)},
    **{f"gr{number}": _GENERAL + 8 * number for number in range(1, 32)},
    **{f"fr{number}": _FLOAT + 16 * number for number in range(2, 128)},
}

#: ``read(address)``: a word of the memory stack, or None.
Read = Callable[[int], "int | None"]


@hex_repr("address", "ip", "sp", "bsp", "cfm")
class SavedContext(NamedTuple):
    """A context that was interrupted; ``address`` is where its registers are."""

    address: int
    ip: int
    sp: int
    bsp: int
    cfm: int

    def register(self, name: str, read: Read) -> int | tuple[int, int] | None:
        """A register that the kernel saved; None for others, and where memory cannot be read."""
        place = _PLACES.get(name)
        if place is None or name in _PRESERVED:
            return None
        word = read(self.address + place)
        if not name.startswith("fr"):
            return word
        high = read(self.address + place + 8)
        return None if word is None or high is None else (word, high)


def is_signal_frame(abi: int, context: int) -> bool:
    """Whether unwind information marks a frame so where Linux has put a signal's context."""
    return abi in LINUX and context == ord("s")


def read_saved_context(sp: int, read: Read) -> SavedContext | None:
    """The context whose trampoline has this stack pointer; None if memory does not have it."""
    address = read(sp + _POINTER)
    if address is None:
        return None
    words = [read(address + _PLACES[name]) for name in ("ip", "gr12", "bsp", "cfm")]
    if any(word is None for word in words):
        return None
    ip, stack, bsp, cfm = (word or 0 for word in words)
    # The kernel counts behind the whole interrupted frame, not behind its locals only.
    return SavedContext(address, ip, stack, uwx_add_to_bsp(bsp, -(cfm & 0x7F)), cfm)
