"""What an address is called."""

from __future__ import annotations

from typing import NamedTuple

from odograph.errors import OdographError

__all__ = ["Function", "Place", "UnknownSymbol"]


class UnknownSymbol(OdographError, KeyError):
    """No module has a symbol of this name; the message names the nearest ones."""

    def __str__(self) -> str:
        return str(self.args[0])


class Place(NamedTuple):
    """An address in words: ``offset`` bytes behind the symbol ``name`` of ``module``.

    Without a symbol ``name`` is None, and ``offset`` is the address as the module's file has it (of an
    ELF file what ``addr2line`` and ``objdump`` use).
    """

    module: str
    name: str | None
    offset: int

    def __str__(self) -> str:
        """``module!name+0x4``, as :meth:`Symbols.resolve` takes it."""
        if self.name is None:
            return f"{self.module}+{self.offset:#x}"
        return f"{self.module}!{self.name}+{self.offset:#x}" if self.offset else f"{self.module}!{self.name}"


class Function(NamedTuple):
    """A function: its entry in memory, and the same ``offset`` as the module's file has it.

    Without a symbol ``name`` is None, and the entry is the last known call target before the code in
    question, or else where the module begins. In no module, ``module`` is "".
    """

    module: str
    name: str | None
    address: int
    offset: int

    def __str__(self) -> str:
        if self.name is None:
            return f"{self.module}+{self.offset:#x}" if self.module else f"{self.address:#x}"
        return f"{self.module}!{self.name}" if self.module else self.name
