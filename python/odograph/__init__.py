"""Odograph: the history of every instruction a program executed, from Intel Processor Trace."""

from importlib import import_module
from typing import TYPE_CHECKING

from odograph._native import __version__

if TYPE_CHECKING:
    from odograph.config import TraceConfig
    from odograph.decoders import Block, BlockDecoder, InstructionDecoder
    from odograph.errors import (
        ClusterError,
        ImageError,
        InvalidArgument,
        OdographError,
        PtError,
        RecordingError,
        Reentered,
        TraceError,
        UnsupportedOperation,
        UnwindError,
    )
    from odograph.events import Event, EventDecoder, QueryDecoder, Status
    from odograph.history import ExecMode, Gap, History, Instruction, InstructionClass, decode
    from odograph.image import AddressSpace, Asid, Image, Section, SectionCache
    from odograph.memory import BytesMemory, CoreMemory, FileMemory, LayeredMemory, Memory, ProcessMemory
    from odograph.packets import Packet, PacketDecoder, PacketEncoder
    from odograph.recorded import Recording, Verdict, open
    from odograph.selection import Answers, Coverage, Selection
    from odograph.stream import Stream
    from odograph.table import Table

__all__ = [
    "AddressSpace",
    "Answers",
    "Asid",
    "Block",
    "BlockDecoder",
    "BytesMemory",
    "ClusterError",
    "CoreMemory",
    "Coverage",
    "Event",
    "EventDecoder",
    "ExecMode",
    "FileMemory",
    "Gap",
    "History",
    "Image",
    "ImageError",
    "Instruction",
    "InstructionClass",
    "InstructionDecoder",
    "InvalidArgument",
    "LayeredMemory",
    "Memory",
    "OdographError",
    "Packet",
    "PacketDecoder",
    "PacketEncoder",
    "ProcessMemory",
    "PtError",
    "QueryDecoder",
    "Recording",
    "RecordingError",
    "Reentered",
    "Section",
    "SectionCache",
    "Selection",
    "Status",
    "Stream",
    "Table",
    "TraceConfig",
    "TraceError",
    "UnsupportedOperation",
    "UnwindError",
    "Verdict",
    "__version__",
    "decode",
    "open",
]

# Modules, and the names that users find here. They are loaded when they are asked for: the command line and
# libipt's tools need few of them and start sooner.
_HOMES: dict[str, tuple[str, ...]] = {
    "cluster": (),
    "config": ("TraceConfig",),
    "decoders": ("Block", "BlockDecoder", "InstructionDecoder"),
    "errors": (
        "ClusterError",
        "ImageError",
        "InvalidArgument",
        "OdographError",
        "PtError",
        "RecordingError",
        "Reentered",
        "TraceError",
        "UnsupportedOperation",
        "UnwindError",
    ),
    "events": ("Event", "EventDecoder", "QueryDecoder", "Status"),
    "history": ("ExecMode", "Gap", "History", "Instruction", "InstructionClass", "decode"),
    "image": ("AddressSpace", "Asid", "Image", "Section", "SectionCache"),
    "memory": ("BytesMemory", "CoreMemory", "FileMemory", "LayeredMemory", "Memory", "ProcessMemory"),
    "packets": ("Packet", "PacketDecoder", "PacketEncoder"),
    "recorded": ("Recording", "Verdict", "open"),
    "selection": ("Answers", "Coverage", "Selection"),
    "stream": ("Stream",),
    "table": ("Table",),
}

# Type checkers would take any name for one that is here.
if not TYPE_CHECKING:
    _HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

    def __getattr__(name):
        if name in _HOMES:
            return import_module(f"odograph.{name}")
        if name not in _HOME_OF:
            raise AttributeError(f"module 'odograph' has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"odograph.{_HOME_OF[name]}"), name)
        return found

    def __dir__():
        return sorted({*globals(), *_HOMES, *__all__})
