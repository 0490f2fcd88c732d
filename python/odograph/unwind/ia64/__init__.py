"""IA-64: the engine after HP-UX's uwx(3X), and what surrounds it.

A :class:`Snapshot` is a stopped thread, made of its memory, its registers and the files of its modules, and
:func:`unwind` gives its stack. An :class:`Unwinder` steps up any other, through two callbacks.
``odograph.compat.uwx`` has the same engine by its old names.
"""

from __future__ import annotations

from odograph.unwind.ia64.modules import Module, Modules
from odograph.unwind.ia64.names import (
    Answer,
    Disposition,
    Key,
    Lookup,
    Register,
    Request,
    Status,
    br,
    fr,
    gr,
    register_name,
)
from odograph.unwind.ia64.snapshot import Snapshot
from odograph.unwind.ia64.unwinder import Location, Named, Unwinder, unwind

__all__ = [
    "Answer",
    "Disposition",
    "Key",
    "Location",
    "Lookup",
    "Module",
    "Modules",
    "Named",
    "Register",
    "Request",
    "Snapshot",
    "Status",
    "Unwinder",
    "br",
    "fr",
    "gr",
    "register_name",
    "unwind",
]
