"""Debuggers over a recorded history: what they ask, and the protocols they ask in."""

from __future__ import annotations

from odograph.debug.halt import Halt, HaltReason
from odograph.debug.target import Target

__all__ = ["Halt", "HaltReason", "Target"]
