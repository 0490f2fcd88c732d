"""What was measured on one trace, and the figures that follow from it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Result:
    """All decoders on one trace.

    ``cpu`` are CPU seconds by decoder, a value a round; ``wall`` seconds on the clock, of Odograph's ways
    to use two cores; ``peak`` by how many bytes resident memory grew while decoding. ``address_rate`` is
    how many addresses a second of CPU time writes into NumPy arrays.
    """

    trace: str
    size: int
    instructions: int
    tnt_bits: int | None = None
    cpu: dict[str, list[float]] = field(default_factory=dict)
    wall: dict[str, list[float]] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    address_rate: float | None = None

    def best(self, decoder: str) -> float | None:
        """The least CPU time of the rounds: the one least disturbed. None if it was not measured."""
        return min(self.cpu[decoder], default=None) if decoder in self.cpu else None

    def ratio(self, decoder: str, own: str) -> float | None:
        """How often Odograph's way ``own`` decodes while another decoder decodes once."""
        theirs, ours = self.best(decoder), self.best(own)
        return theirs / ours if theirs and ours else None

    def speedup(self, state: str) -> float | None:
        """How many times quicker two threads are on the clock than one; ``state`` is cold or warm."""
        return self._clock(f"one thread {state}", f"two threads {state}")

    def share(self, state: str) -> float | None:
        """Throughput of two threads over that of two processes of one thread that run at once.

        The processes decode a trace each, so they have the time of two.
        """
        value = self._clock(f"two processes {state}", f"two threads {state}")
        return None if value is None else value / 2

    def _clock(self, one: str, other: str) -> float | None:
        if not self.wall.get(one) or not self.wall.get(other):
            return None
        return min(self.wall[one]) / min(self.wall[other])


def mean(values: Iterable[float | None]) -> float | None:
    """The geometric mean of those that are known; None if none is."""
    known = [math.log(value) for value in values if value is not None]
    return math.exp(sum(known) / len(known)) if known else None
