"""How a recorded program ended."""

from __future__ import annotations

import signal

__all__ = ["ending"]


def ending(status: int) -> str:
    """``status 3``, or ``SIGSEGV (status 139)``; a status is a shell's: 128 + the signal that killed it."""
    try:
        return f"{signal.Signals(status - 128).name} (status {status})"
    except ValueError:
        return f"status {status}"
