"""How much what a recording holds in a compact form may become, all of it together."""

from __future__ import annotations

__all__ = ["Expansion", "TooLarge", "default_limit"]

#: Files may always become this much, in bytes.
_ALWAYS = 32 << 20
#: Larger ones may become this many times as much. Honest recordings need up to 24 times.
_TIMES = 64
#: No file may become more than this, and so many times its size.
_MOST, _MOST_TIMES = 96 << 20, 20


def default_limit(size: int) -> int:
    """What the compressed parts of a recording of ``size`` bytes may become, in bytes of memory."""
    return max(_ALWAYS, min(_TIMES * size, _MOST + _MOST_TIMES * size))


class TooLarge(ValueError):
    """What is expanded becomes larger than is allowed."""


class Expansion:
    """Counts the bytes of memory that the compressed parts of a recording of ``size`` bytes become.

    ``limit`` replaces the limit, which otherwise follows from the size. A small file cannot claim much memory
    then, wherever in it the claim stands.
    """

    def __init__(self, size: int, limit: int | None = None) -> None:
        self.limit = default_limit(size) if limit is None else limit
        self.used = 0

    @property
    def left(self) -> int:
        """How many bytes may still come."""
        return max(0, self.limit - self.used)

    def take(self, amount: int) -> None:
        """Counts ``amount`` bytes. Raises TooLarge, which says what to do, if there are too many by now."""
        if self.used + amount > self.limit:
            raise TooLarge(
                f"it would take more than {self.limit >> 20} MiB of memory, which is much for its size; if "
                "you trust the file, --max-expanded SIZE (max_expanded in Python) allows more"
            )
        self.used += amount
