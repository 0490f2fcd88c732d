"""Odograph: the history of every instruction a program executed, from Intel Processor Trace."""

from odograph._native import __version__
from odograph.config import TraceConfig
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
from odograph.history import ExecMode, Gap, History, Instruction, InstructionClass, decode
from odograph.image import AddressSpace, Asid, Image, Section, SectionCache
from odograph.memory import BytesMemory, CoreMemory, FileMemory, LayeredMemory, Memory, ProcessMemory
from odograph.table import Table

__all__ = [
    "AddressSpace",
    "Asid",
    "BytesMemory",
    "CoreMemory",
    "ExecMode",
    "FileMemory",
    "Gap",
    "History",
    "Image",
    "ImageError",
    "Instruction",
    "InstructionClass",
    "InvalidArgument",
    "LayeredMemory",
    "Memory",
    "OdographError",
    "ProcessMemory",
    "PtError",
    "RecordingError",
    "Reentered",
    "Section",
    "SectionCache",
    "Table",
    "TraceConfig",
    "TraceError",
    "UnsupportedOperation",
    "__version__",
    "decode",
]
