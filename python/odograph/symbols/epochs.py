"""Names over time: which names the code of a process had, from when to when.

A process that begins another program, or loads a library where another one lay, has another
:class:`Symbols` from then on. `odograph.recording.epochs` makes them from what a recording mapped.
"""

from __future__ import annotations

from typing import NamedTuple

from odograph.symbols.modules import Module
from odograph.symbols.symbols import Symbols

__all__ = ["Epoch", "symbols_of"]


class Epoch(NamedTuple):
    """From ``tsc`` on (0: from the beginning) names are those of ``symbols``.

    ``is_program`` says that another program begins, not only another library.
    """

    tsc: int
    symbols: Symbols
    is_program: bool

    @property
    def program(self) -> str:
        """The name of the program: of the first module that is no library; "" if there is none."""
        names = (module.name for module in self.symbols.modules)
        return next((name for name in names if ".so" not in name and not name.startswith("[")), "")


def symbols_of(epochs: list[Epoch]) -> Symbols:
    """The modules that a process had mapped at any time; where several lay, the last one counts."""
    if len(epochs) == 1:
        return epochs[0].symbols
    modules: dict[Module, None] = {}
    for epoch in epochs:
        for module in epoch.symbols.modules:
            modules.pop(module, None)
            modules[module] = None
    return Symbols(modules, epochs[-1].symbols._perf_map)
