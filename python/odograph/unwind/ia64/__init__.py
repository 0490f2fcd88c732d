"""IA-64: the engine after HP-UX's uwx(3X), and what surrounds it.

A :class:`Snapshot` is a stopped thread, made of its memory, its registers and the files of its modules.
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

__all__ = [
    "Answer",
    "Disposition",
    "Key",
    "Lookup",
    "Module",
    "Modules",
    "Register",
    "Request",
    "Snapshot",
    "Status",
    "br",
    "fr",
    "gr",
    "register_name",
]
