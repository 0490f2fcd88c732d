"""Names of code: which function of which module lies at an address, and where a function is.

:class:`Symbols` names the addresses of one process, for all who ask; :class:`Epoch` says since
when the names hold. Out of scope: which files were mapped (a recording says that) and what was executed.
"""

from odograph.symbols.epochs import Epoch
from odograph.symbols.lines import Lines, Source
from odograph.symbols.modules import MemoryModule, Module
from odograph.symbols.place import AmbiguousName, Function, KnownFunction, Name, Place, UnknownSymbol
from odograph.symbols.symbols import Symbols
from odograph.symbols.table import FileFunction, FunctionTable

__all__ = [
    "AmbiguousName",
    "Epoch",
    "FileFunction",
    "Function",
    "FunctionTable",
    "KnownFunction",
    "Lines",
    "MemoryModule",
    "Module",
    "Name",
    "Place",
    "Source",
    "Symbols",
    "UnknownSymbol",
]
