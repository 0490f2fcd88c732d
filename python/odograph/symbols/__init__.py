"""Names of code: which function of which module lies at an address, and where a function is.

:class:`Symbols` knows the modules of one process. Out of scope: which files were mapped (a recording
says that) and what was executed.
"""

from odograph.symbols.lines import Lines, Source
from odograph.symbols.place import Function, Place, UnknownSymbol
from odograph.symbols.symbols import Module, Symbols
from odograph.symbols.table import SymbolTable

__all__ = ["Function", "Lines", "Module", "Place", "Source", "SymbolTable", "Symbols", "UnknownSymbol"]
