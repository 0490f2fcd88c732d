"""Odograph: the history of every instruction a program executed, from Intel Processor Trace."""

from odograph._native import __version__
from odograph.config import TraceConfig
from odograph.decoders import Block, BlockDecoder, InstructionDecoder
from odograph.errors import (
    ImageError,
    InvalidArgument,
    OdographError,
    PtError,
    RecordingError,
    Reentered,
    TraceError,
    UnsupportedOperation,
)
from odograph.events import Event, EventDecoder, QueryDecoder, Status
from odograph.history import ExecMode, Gap, History, Instruction, InstructionClass, decode
from odograph.image import AddressSpace, Asid, Image, Section, SectionCache
from odograph.memory import BytesMemory, CoreMemory, FileMemory, LayeredMemory, Memory, ProcessMemory
from odograph.packets import Packet, PacketDecoder, PacketEncoder
from odograph.recorded import Recording, Verdict, open
from odograph.table import Table

__all__ = [
    "AddressSpace",
    "Asid",
    "Block",
    "BlockDecoder",
    "BytesMemory",
    "CoreMemory",
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
    "Status",
    "Table",
    "TraceConfig",
    "TraceError",
    "UnsupportedOperation",
    "Verdict",
    "__version__",
    "decode",
    "open",
]
