"""Odograph: the history of every instruction a program executed, from Intel Processor Trace."""

from odograph._native import __version__
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
from odograph.image import AddressSpace, Asid, Image, Section, SectionCache
from odograph.memory import BytesMemory, CoreMemory, FileMemory, LayeredMemory, Memory, ProcessMemory

__all__ = [
    "AddressSpace",
    "Asid",
    "BytesMemory",
    "CoreMemory",
    "FileMemory",
    "Image",
    "ImageError",
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
    "TraceError",
    "UnsupportedOperation",
    "__version__",
]
