"""What an address is called."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from odograph.errors import AmbiguousName, UnknownSymbol
from odograph.frame import Inlined
from odograph.symbols.table import KnownBy
from odograph.text.reprs import hex_repr

__all__ = ["AmbiguousName", "Function", "KnownFunction", "Name", "Place", "UnknownSymbol"]


@hex_repr("offset", "start")
@dataclass(frozen=True, slots=True)
class Place:
    """An address in words: ``offset`` bytes behind the function ``name`` of ``module``.

    ``start`` is where the function begins, as the module's file has it (what ``addr2line`` and ``objdump``
    use); ``known_by`` says how it is known. A function that only call frame information knows
    (``"fde"``) has no name. Where no function is known, ``start`` and ``name`` are None, and ``offset`` is
    the address as the module's file has it.
    """

    module: str
    name: str | None
    offset: int
    start: int | None = field(default=None, compare=False)
    known_by: KnownBy = field(default="", compare=False)

    @property
    def function(self) -> str | None:
        """The name, or of a function without one ``module+0xstart``; None where no function is known."""
        if self.name is not None:
            return self.name
        return None if self.start is None else f"{self.module}+{self.start:#x}"

    def __str__(self) -> str:
        """``module!name+0x4`` or ``module+0x1130+0x4``, as :meth:`Symbols.resolve` takes it."""
        if self.name is None and self.start is None:
            return f"{self.module}+{self.offset:#x}"
        function = f"{self.module}!{self.name}" if self.name is not None else self.function
        return f"{function}+{self.offset:#x}" if self.offset else f"{function}"


@hex_repr("address", "offset")
class Function(NamedTuple):
    """A function: its entry in memory, and the same ``offset`` as the module's file has it.

    Without a symbol or debug information ``name`` is None, and the entry is that of its call frame
    information, or else the last known call target before the code in question, or else where the code
    without functions begins. In no module, ``module`` is "".
    """

    module: str
    name: str | None
    address: int
    offset: int

    def __str__(self) -> str:
        if self.name is None:
            return f"{self.module}+{self.offset:#x}" if self.module else f"{self.address:#x}"
        return f"{self.module}!{self.name}" if self.module else self.name


@hex_repr("start", "size")
class KnownFunction(NamedTuple):
    """A function of a module in memory: ``size`` bytes from ``start`` on, and how it is known.

    ``name`` is None if only call frame information knows it.
    """

    name: str | None
    start: int
    size: int
    module: str
    known_by: KnownBy


@hex_repr("offset")
class Name(NamedTuple):
    """All that is known of an address. None: not known.

    ``function`` has code of its own there, ``offset`` is the distance from its start; one without a name is
    ``module+0xstart``. ``file`` and ``line`` are the place in it; where others are inlined, ``inlined`` has
    them, the innermost first.
    """

    function: str | None = None
    offset: int = 0
    module: str | None = None
    file: str | None = None
    line: int | None = None
    inlined: tuple[Inlined, ...] = ()
    known_by: KnownBy = ""
