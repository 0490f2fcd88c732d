"""Odograph: the history of every instruction a program executed, from Intel Processor Trace."""

from importlib import import_module
from typing import TYPE_CHECKING

from odograph._native import __version__

if TYPE_CHECKING:
    from odograph.code.image import AddressSpace, Asid, Image, Section, SectionCache
    from odograph.code.memory import BytesMemory, CoreMemory, FileMemory, LayeredMemory, Memory, ProcessMemory
    from odograph.config import TraceConfig
    from odograph.decoders.events import Event, EventDecoder, QueryDecoder, Status
    from odograph.decoders.flow import Block, BlockDecoder, InstructionDecoder
    from odograph.decoders.packets import Packet, PacketDecoder, PacketEncoder
    from odograph.errors import (
        AmbiguousName,
        ClusterError,
        CommandError,
        ImageError,
        InvalidArgument,
        OdographError,
        OutputError,
        PtError,
        RecordingError,
        Reentered,
        TraceError,
        UnknownSymbol,
        UnsupportedOperation,
        UnwindError,
    )
    from odograph.frame import Found, Frame, Stack
    from odograph.history.decode import decode
    from odograph.history.history import History
    from odograph.history.instruction import ExecMode, Gap, Instruction, InstructionClass
    from odograph.history.live import LiveTrace
    from odograph.history.selection import Answers, Coverage, Selection
    from odograph.recording.recording import Recording, Verdict, open
    from odograph.symbols.symbols import Symbols
    from odograph.table import Table

__all__ = [
    "AddressSpace",
    "AmbiguousName",
    "Answers",
    "Asid",
    "Block",
    "BlockDecoder",
    "BytesMemory",
    "ClusterError",
    "CommandError",
    "CoreMemory",
    "Coverage",
    "Event",
    "EventDecoder",
    "ExecMode",
    "FileMemory",
    "Found",
    "Frame",
    "Gap",
    "History",
    "Image",
    "ImageError",
    "Instruction",
    "InstructionClass",
    "InstructionDecoder",
    "InvalidArgument",
    "LayeredMemory",
    "LiveTrace",
    "Memory",
    "OdographError",
    "OutputError",
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
    "Stack",
    "Status",
    "Symbols",
    "Table",
    "TraceConfig",
    "TraceError",
    "UnknownSymbol",
    "UnsupportedOperation",
    "UnwindError",
    "Verdict",
    "__version__",
    "decode",
    "open",
]

# Rooms that can be reached as attributes without an import statement.
_ROOMS = (
    "cluster",
    "code",
    "config",
    "decoders",
    "errors",
    "history",
    "processor",
    "recording",
    "symbols",
    "unwind",
    "views",
)
# Modules, and the names that users find here. They are loaded when they are asked for: the command line and
# libipt's tools need few of them and start sooner.
_HOMES: dict[str, tuple[str, ...]] = {
    "config": ("TraceConfig",),
    "decoders.flow": ("Block", "BlockDecoder", "InstructionDecoder"),
    "errors": (
        "AmbiguousName",
        "ClusterError",
        "CommandError",
        "ImageError",
        "InvalidArgument",
        "OdographError",
        "OutputError",
        "PtError",
        "RecordingError",
        "Reentered",
        "TraceError",
        "UnknownSymbol",
        "UnsupportedOperation",
        "UnwindError",
    ),
    "decoders.events": ("Event", "EventDecoder", "QueryDecoder", "Status"),
    "frame": ("Found", "Frame", "Stack"),
    "history.decode": ("decode",),
    "history.history": ("History",),
    "history.instruction": ("ExecMode", "Gap", "Instruction", "InstructionClass"),
    "code.image": ("AddressSpace", "Asid", "Image", "Section", "SectionCache"),
    "code.memory": ("BytesMemory", "CoreMemory", "FileMemory", "LayeredMemory", "Memory", "ProcessMemory"),
    "decoders.packets": ("Packet", "PacketDecoder", "PacketEncoder"),
    "recording.recording": ("Recording", "Verdict", "open"),
    "history.selection": ("Answers", "Coverage", "Selection"),
    "history.live": ("LiveTrace",),
    "symbols.symbols": ("Symbols",),
    "table": ("Table",),
}

# Type checkers would take any name for one that is here.
if not TYPE_CHECKING:
    _HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

    def __getattr__(name):
        if name in _ROOMS:
            return import_module(f"odograph.{name}")
        if name not in _HOME_OF:
            raise AttributeError(f"module 'odograph' has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"odograph.{_HOME_OF[name]}"), name)
        return found

    def __dir__():
        return sorted({*globals(), *_ROOMS, *__all__})
