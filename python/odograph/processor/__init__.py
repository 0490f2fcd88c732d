"""Processors: the replay of a history and an emulated CPU, with the same breakpoints."""

from odograph.processor.breakpoints import BreakpointFlags, Handle, InstructionBreakpoints
from odograph.processor.databreakpoints import DataBreakpoints, DataHandle
from odograph.processor.emulated import EmulatedProcessor
from odograph.processor.filters import (
    Filter,
    all_of,
    any_of,
    disassembly_contains,
    mnemonic_prefix,
    opcode_mask,
)
from odograph.processor.processor import Processor
from odograph.processor.replay import ReplayProcessor
from odograph.processor.stop import Stop, StopReason

__all__ = [
    "BreakpointFlags",
    "DataBreakpoints",
    "DataHandle",
    "EmulatedProcessor",
    "Filter",
    "Handle",
    "InstructionBreakpoints",
    "Processor",
    "ReplayProcessor",
    "Stop",
    "StopReason",
    "all_of",
    "any_of",
    "disassembly_contains",
    "mnemonic_prefix",
    "opcode_mask",
]
