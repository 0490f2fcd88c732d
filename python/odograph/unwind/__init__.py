"""Call stacks: of IA-64 as uwx unwinds them, of x86-64 and AArch64 by call frame information."""

from __future__ import annotations

from odograph.frame import Found, Frame, Inlined, Stack
from odograph.unwind.cfi import CfiUnwinder
from odograph.unwind.core import open_core
from odograph.unwind.emulated import emulated_stack
from odograph.unwind.process import open_process
from odograph.unwind.samples import SampledStack, sampled_stacks
from odograph.unwind.target import Target, Thread

__all__ = [
    "CfiUnwinder",
    "Found",
    "Frame",
    "Inlined",
    "SampledStack",
    "Stack",
    "Target",
    "Thread",
    "emulated_stack",
    "open_core",
    "open_process",
    "sampled_stacks",
]
