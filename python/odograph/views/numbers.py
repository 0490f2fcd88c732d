"""Numbers for people."""

from __future__ import annotations

from odograph.text.counted import counted

__all__ = ["count", "counted", "share", "size"]


def count(number: int) -> str:
    """With a comma between thousands."""
    return f"{number:,}"


def share(part: int, whole: int) -> str:
    """A part in percent of a whole, in seven columns."""
    return f"{100 * part / whole if whole else 0:5.1f} %"


def size(number: int) -> str:
    """A number of bytes."""
    if number < 10_000:
        return counted(number, "byte")
    return f"{number / 1024:,.0f} KiB" if number < 10 << 20 else f"{number / (1 << 20):,.0f} MiB"
