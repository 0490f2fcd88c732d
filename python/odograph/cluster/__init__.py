"""Decoding on many processes and machines, through Dask: ``pip install odograph[cluster]``.

The parts of a trace between PSBs go to workers, each with a guess at what decoding up to there would have
come to; here they are put together in order, and what guessed wrong is decoded again. So the result is the
same for any parts and any workers.
"""

from odograph.cluster.answers import Answer, Answers, Broken
from odograph.cluster.cluster import Cluster

__all__ = ["Answer", "Answers", "Broken", "Cluster", "connect"]


def connect(address: str | None = None) -> Cluster:
    """The cluster of the Dask scheduler at an address, or for None one of processes of this machine."""
    return Cluster(address)
