"""Numbers with what they count."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, noun: str) -> str:
    """``1 gap``, ``2 gaps``, ``1,000 gaps``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
