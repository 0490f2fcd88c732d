"""A process for uwx that is written down: functions with descriptors, words of memory, registers."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from odograph.compat.uwx import (
    UWX_COPYIN_MSTACK,
    UWX_COPYIN_REG,
    UWX_COPYIN_RSTACK,
    UWX_COPYIN_UINFO,
    UWX_KEY_END,
    UWX_KEY_TBASE,
    UWX_KEY_UEND,
    UWX_KEY_UFLAGS,
    UWX_KEY_USTART,
    UWX_LKUP_FREE,
    UWX_LKUP_LOOKUP,
    UWX_LKUP_NOTFOUND,
    UWX_LKUP_UTABLE,
    UWX_OK,
    UWX_REG_BR,
    UWX_REG_FR,
    UWX_REG_GR,
    UWX_REG_LC,
    UWX_REG_PFS,
    uwx_env,
    uwx_get_reg,
    uwx_get_spill_loc,
    uwx_init,
    uwx_init_context,
    uwx_register_callbacks,
    uwx_set_remote,
)

TEXT = 0x2000000000000000
TABLE = TEXT + 0x100000
INFO = TEXT + 0x200000
STACK = 0x6000000000010000
BACKING = 0x6000000000800100
NARROW = 1 << 63
TOKEN = object()


def uleb(value: int) -> bytes:
    """ULEB128."""
    result = bytearray()
    while value > 127:
        result.append(value & 127 | 128)
        value >>= 7
    return bytes([*result, value])


def frame_marker(size: int, locals: int, *, rotating: int = 0, base: int = 0, count: int = 0) -> int:
    """CFM, and EC from bit 52: sizes of the frame, its locals, its rotating part in eights, rrb.gr."""
    return size | locals << 7 | rotating << 14 | base << 18 | count << 52


@dataclass
class Process:
    """Functions one after the other from TEXT, 0x100 bytes each: descriptors, or None for no row."""

    functions: list[bytes | None]
    big: bool = False
    narrow: bool = False
    words: dict[int, int] = field(default_factory=dict)
    registers: dict[int, int | tuple[int, int]] = field(default_factory=dict)
    copied: list[tuple[int, int, int]] = field(default_factory=list)
    """(request, address or register, length) of every copy-in."""
    asked: list[tuple[int, int]] = field(default_factory=list)
    """(request, ip) of every look-up."""
    freed: list[list[Any]] = field(default_factory=list)
    answered: list[list[Any]] = field(default_factory=list)
    refuse: set[tuple[int, int]] = field(default_factory=set)
    """(request, address or register) of copy-ins that read nothing."""
    result: int | None = None
    """What look-ups return; None: a table, or not found."""
    vector: list[Any] | None = None
    """What look-ups answer, in place of the table."""

    def __post_init__(self) -> None:
        order, word = (">" if self.big else "<"), ("I" if self.narrow else "Q")
        size = 4 if self.narrow else 8
        self.unwind: dict[int, bytes] = {}
        rows = b""
        place = INFO
        for index, descriptors in enumerate(self.functions):
            if descriptors is None:
                continue
            padded = descriptors + bytes(-len(descriptors) % size)
            block = struct.pack(order + "Q", 1 << 48 | len(padded) // size) + padded
            rows += struct.pack(order + 3 * word, 0x100 * index, 0x100 * index + 0x100, place - TEXT)
            self._put(place, block)
            place += len(block) + 8
        self._put(TABLE, rows)
        self.table_end = TABLE + len(rows)

    def _put(self, address: int, data: bytes) -> None:
        for index, byte in enumerate(data):
            self.unwind[address + index] = bytes([byte])

    def address(self, function: int, slot: int = 0) -> int:
        """The ip of a slot, counted from the start of a function."""
        return TEXT + 0x100 * function + slot // 3 * 16 + slot % 3

    def table(self) -> list[int]:
        """What UTABLE answers."""
        flags = NARROW if self.narrow else 0
        start, end = TABLE, self.table_end
        pairs = [UWX_KEY_TBASE, TEXT, UWX_KEY_UFLAGS, flags, UWX_KEY_USTART, start, UWX_KEY_UEND, end]
        return [*pairs, UWX_KEY_END]

    def lookupip(self, request: int, ip: int, tok: object, uvec: list[Any]) -> int:
        """The look-up callback."""
        assert tok is TOKEN
        self.asked.append((request, ip))
        if request == UWX_LKUP_FREE:
            self.freed.append(uvec)
            return UWX_LKUP_NOTFOUND
        self.answered.append(uvec)
        if self.vector is not None:
            assert self.result is not None
            uvec[:] = self.vector
            return self.result
        if self.result is not None:
            return self.result
        if request != UWX_LKUP_LOOKUP or not TEXT <= ip < TEXT + 0x100 * len(self.functions):
            return UWX_LKUP_NOTFOUND
        uvec[:] = self.table()
        return UWX_LKUP_UTABLE

    def copyin(self, request: int, loc: memoryview, rem: int, len: int, tok: object) -> int:
        """The copy-in callback."""
        assert tok is TOKEN
        assert loc.format == "B"
        assert loc.nbytes == len
        assert not loc.readonly
        self.copied.append((request, rem, len))
        if (request, rem) in self.refuse or (request, -1) in self.refuse:
            return 0
        if request == UWX_COPYIN_UINFO:
            data = b"".join(self.unwind.get(rem + index, b"") for index in range(len))
        elif request == UWX_COPYIN_REG:
            value = self.registers.get(rem, 0)
            data = struct.pack("<QQ", *value) if isinstance(value, tuple) else struct.pack("<Q", value)
        else:
            assert request in (UWX_COPYIN_MSTACK, UWX_COPYIN_RSTACK)
            value = self.words.get(rem, 0)
            assert isinstance(value, int)
            data = struct.pack("<Q", value)
        if data[:len] != data or data.__len__() != len:
            return 0
        loc[:] = data
        return len

    def environment(
        self, ip: int, *, sp: int = STACK, bsp: int = BACKING, cfm: int = frame_marker(8, 8)
    ) -> uwx_env:
        """An environment that stands at a frame of this process."""
        env = uwx_init()
        assert env is not None
        if self.big:
            assert uwx_set_remote(env, 1) == UWX_OK
        assert uwx_register_callbacks(env, TOKEN, self.copyin, self.lookupip) == UWX_OK
        assert uwx_init_context(env, ip, sp, bsp, cfm) == UWX_OK
        return env


BODY = b"\x3f"
"""A body of 31 slots."""
BOTTOM = b"\x00\xe4\x00\xb0\x80" + BODY
"""rp is in r0: nobody called this."""
MIDDLE = b"\x06\xe6\x00\xb1\x21\xe4\x01\xb0\xa2\xe0\x02\x02" + BODY
"""Six slots: pfs to r33, rp to r34, a frame of 32 bytes."""
MEMORY = b"\x04\xe0\x00\x04\xe4\x01\xe5\x0a\xe6\x02\xe7\x08" + BODY
"""rp and pfs on the memory stack at psp - 24 and psp - 16, in a frame of 64 bytes."""
SIGNAL = b"\x00\xff\x01\x01" + BODY
"""HP-UX's marker of a signal handler's frame."""
FLOATS = b"\x04\xc1\xe0\x00\x04" + BODY
"""FR2 is spilled."""
EMPTY = b""
LEAF = None
FUNCTIONS = [BOTTOM, MIDDLE, MEMORY, SIGNAL, LEAF, EMPTY, FLOATS]
OF = {
    name: number
    for number, name in enumerate(["bottom", "middle", "memory", "signal", "leaf", "empty", "floats"])
}

CALLER_FRAME = frame_marker(8, 5)


def process(**changes: Any) -> Process:
    """Any function calls ``middle``, which ``bottom`` called."""
    result = Process(list(FUNCTIONS), **changes)
    back = result.address(OF["middle"], 9)
    result.registers = {
        UWX_REG_BR(0): back,
        UWX_REG_PFS: CALLER_FRAME,
        UWX_REG_FR(2): (1 << 63, 0xFFFF),
    }
    psp = STACK + 64
    result.words[psp - 24] = back
    result.words[psp - 16] = CALLER_FRAME
    # Frames of callers: five locals below, and what they hold.
    result.words[BACKING - 40 + 8] = frame_marker(3, 2)
    result.words[BACKING - 40 + 16] = result.address(OF["bottom"], 6)
    result.words[BACKING + 8] = CALLER_FRAME
    result.words[BACKING + 16] = back
    return result


def context(env: uwx_env) -> list[Any]:
    """All that a context has."""
    specials = [uwx_get_reg(env, number) for number in range(4)]
    general = [uwx_get_reg(env, UWX_REG_GR(number)) for number in (0, 4, 5, 6, 7, 12, 32, 33)]
    branch = [uwx_get_reg(env, UWX_REG_BR(number)) for number in range(1, 6)]
    places = [
        uwx_get_spill_loc(env, regid)
        for regid in (UWX_REG_GR(4), UWX_REG_GR(33), UWX_REG_BR(1), UWX_REG_FR(2), UWX_REG_LC)
    ]
    return [*specials, *general, *branch, *places]
