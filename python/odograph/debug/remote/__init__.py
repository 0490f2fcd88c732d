"""gdb's remote protocol over a recorded history; lldb speaks it too."""

from __future__ import annotations

from odograph.debug.remote.server import Server

__all__ = ["Server"]
