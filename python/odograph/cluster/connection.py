"""The way to Dask, which is imported only here and when it is needed."""

from __future__ import annotations

import logging
import os
from typing import Any

from odograph.errors import ClusterError

__all__ = ["connect_client", "local_cluster"]

#: Seconds to wait for a scheduler.
_TIMEOUT = 10


def local_cluster(workers: int | None) -> Any:
    """So many processes of this machine; they cannot be reached from elsewhere."""
    _require()
    from distributed import LocalCluster

    start: Any = LocalCluster
    return start(
        n_workers=workers or os.cpu_count() or 1,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        # Without an address there is a server all the same, at a port of everybody's.
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        worker_dashboard_address=None,
        silence_logs=logging.CRITICAL,
    )


def connect_client(where: Any) -> Any:
    """A client of the scheduler at an address, or of a cluster of this machine."""
    _require()
    from distributed import Client

    try:
        connect: Any = Client
        return connect(where, timeout=_TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {where} ({error}); start one with: dask scheduler"
        ) from error


def _require() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "decoding on a cluster needs Dask; install it with: pip install odograph[cluster]"
        ) from error
