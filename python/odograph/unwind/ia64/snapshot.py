"""A stopped thread: its registers, its memory, its modules, as an unwinder asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from odograph.code.memory import ask
from odograph.errors import InvalidArgument
from odograph.unwind.ia64.names import Answer, Request, register_name

if TYPE_CHECKING:
    from odograph.code.memory import Memory
    from odograph.unwind.ia64.modules import Modules

__all__ = ["Snapshot"]

_MASK: Final = (1 << 64) - 1
_START: Final = ("ip", "sp", "bsp", "cfm")


class Snapshot:
    """A thread of which registers and memory are at hand; unwind information comes from the files of its
    modules.

    ``registers`` has values by name: ``ip`` (bundle and slot), ``sp``, ``bsp`` (where GR32 lies), ``cfm``
    (with the epilogue count from bit 52, as ar.pfs has it), ``pfs``, ``pr``, ``unat``, ``lc``, ``fpsr``,
    ``gr1``, ``br0``, ``fr2`` and so on, floating-point ones as ``(significand, sign << 17 | exponent)``. What
    is not there cannot be read.

    ``memory`` has both stacks, its words in the byte order of the modules. The register stack is one that was
    flushed; the NaT bits that were not yet are in ``rnat``, from ``bspstore`` upwards. Without ``bspstore``
    all are in memory.
    """

    def __init__(
        self, memory: Memory, registers: Mapping[str, int | tuple[int, int]], modules: Modules
    ) -> None:
        """:raises InvalidArgument: ``ip``, ``sp``, ``bsp`` or ``cfm`` is missing, or a value has no 64
        bits.
        """
        for name in _START:
            if name not in registers:
                raise InvalidArgument(f"a snapshot needs the register {name}; add it")
        for name, value in registers.items():
            words = value if isinstance(value, tuple) else (value,)
            if not all(0 <= word <= _MASK for word in words) or isinstance(value, tuple) != name.startswith(
                "fr"
            ):
                raise InvalidArgument(f"{value} cannot be a value of the register {name}")
        self.memory = memory
        self.registers = dict(registers)
        self.modules = modules

    @property
    def big(self) -> bool:
        """The most significant byte comes first in memory and in unwind information."""
        return self.modules.big

    @property
    def start(self) -> tuple[int, int, int, int]:
        """``ip``, ``sp``, ``bsp``, ``cfm``: what unwinding begins with."""
        ip, sp, bsp, cfm = (self._word(name) for name in _START)
        return ip, sp, bsp, cfm

    def _word(self, name: str) -> int:
        value = self.registers[name]
        assert isinstance(value, int)
        return value

    def copy_in(self, request: int, address_or_register: int | str, size: int) -> bytes | None:
        """Bytes that an unwinder asks for, as uwx(3X) has them; None if they cannot be read.

        Registers are asked for by name or by number.

        Unwind information as it lies in the file; words of stacks and registers with the least significant
        byte first, with either byte order of the thread.
        """
        if request == Request.REG or isinstance(address_or_register, str):
            return self._register(address_or_register, size)
        if request == Request.UINFO:
            return self.modules.read(address_or_register, size)
        if request == Request.RSTACK and self._is_unflushed(address_or_register):
            return self._word("rnat").to_bytes(8, "little")
        data = ask(self.memory, address_or_register, size)
        if len(data) != size:
            return None
        return data[::-1] if self.big else data

    def lookup_ip(self, request: int, ip: int, uvec: list[Any]) -> Answer:
        """What :meth:`Modules.lookup_ip` answers."""
        return self.modules.lookup_ip(request, ip, uvec)

    def _register(self, register: int | str, size: int) -> bytes | None:
        name = register if isinstance(register, str) else register_name(register)
        value = self.registers.get(name or "")
        if value is None:
            return None
        words = value if isinstance(value, tuple) else (value,)
        data = b"".join(word.to_bytes(8, "little") for word in words)
        return data if len(data) == size else None

    def _is_unflushed(self, address: int) -> bool:
        """Whether a NaT collection, if an address is one of those, is still in ``rnat``."""
        if address >> 3 & 63 != 63 or "bspstore" not in self.registers or "rnat" not in self.registers:
            return False
        return address >= self._word("bspstore")

    def __repr__(self) -> str:
        return f"<Snapshot at {self.start[0]:#x}>"
