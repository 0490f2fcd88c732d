"""Call stacks: of IA-64 as uwx unwinds them, of x86-64 and AArch64 by call frame information."""

from __future__ import annotations

from odograph.frame import Found, Frame, Inlined, Stack

__all__ = ["Found", "Frame", "Inlined", "Stack"]
