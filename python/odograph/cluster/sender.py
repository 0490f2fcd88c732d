"""Tasks that are sent to a Dask cluster, and what comes back."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from odograph.cluster.worker import DecodedPart, PartTask, run_part
from odograph.errors import ClusterError

if TYPE_CHECKING:
    from odograph.cluster.manifest import Manifest

__all__ = ["Memory", "Sender", "Sent"]

#: How often a task is sent again after it was lost with its workers.
_MOST_LOSSES = 3
#: How often a worker tries again what failed.
_RETRIES = 2
#: Seconds without any worker before that is an error.
_PATIENCE = 60.0
#: Seconds between two looks at whether the cluster is still there.
_LOOK_EVERY = 1.0
#: Bytes of sections that stay with the cluster for later recordings.
_MOST_KEPT = 1 << 30


@dataclass(frozen=True, slots=True)
class Memory:
    """A timeline to send along: its manifest and the bytes by digest."""

    manifest: Manifest
    contents: dict[str, bytes]


@dataclass(slots=True)
class Sent:
    """A task on its way."""

    task: PartTask
    memory: Memory
    name: str
    future: Any = field(repr=False)
    losses: int = 0


def same(value: Any) -> Any:
    """Its argument: a task that holds something, and can be run again where its result is lost."""
    return value


class Sender:
    """Sends parts to a cluster.

    Manifests and bytes of sections are tasks of their own, one for each digest: workers hand them on, and
    make them again if the one that had them dies.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._run = uuid.uuid4().hex[:12]
        self._count = 0
        self._held: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._held_bytes = 0
        self._generation = 0

    def threads(self) -> int:
        """Threads of all workers."""
        threads: int = sum(self._client.nthreads().values())
        return threads

    def room(self) -> int:
        """How many parts may be on their way at once: a few for each thread of a worker."""
        return 2 + 2 * self.threads()

    def send(self, task: PartTask, memory: Memory) -> Sent:
        """Sends a part."""
        self._count += 1
        name = f"odograph-part-{self._run}-{self._count}"
        return Sent(task, memory, name, self._submit(task, memory, name))

    def _submit(self, task: PartTask, memory: Memory, key: str) -> Any:
        manifest = self._hold(memory.manifest.digest, memory.manifest, 0)
        pieces = [
            self._hold(digest, memory.contents[digest], len(memory.contents[digest]))
            for digest in memory.manifest.digests
        ]
        return self._client.submit(run_part, task, manifest, pieces, key=key, retries=_RETRIES, pure=False)

    def _hold(self, digest: str, value: Any, size: int) -> Any:
        if digest not in self._held:
            again = f"-{self._run}-{self._generation}" if self._generation else ""
            key = f"odograph-image-{digest}{again}"
            self._held[digest] = (self._client.submit(same, value, key=key, retries=_RETRIES), size)
            self._held_bytes += size
        self._held.move_to_end(digest)
        # A worker that needs one that is let go here has it already.
        while len(self._held) > 1 and self._held_bytes > _MOST_KEPT:
            _, (_, let_go) = self._held.popitem(last=False)
            self._held_bytes -= let_go
        return self._held[digest][0]

    def take(self, sent: Sent) -> DecodedPart | None:
        """What a task gave, which is waited for.

        Raises what it raised, and ClusterError if it gets lost with its workers again and again.
        """
        from distributed import KilledWorker

        while True:
            try:
                return self._wait(sent.future)
            except (KilledWorker, CancelledError) as error:
                sent.losses += 1
                if sent.losses > _MOST_LOSSES or self._client.status != "running":
                    raise ClusterError(
                        f"a part of the trace was lost with its workers {sent.losses} times, at last: {error}"
                    ) from error
                # What was lost with it must not be asked for under the same keys.
                self._held.clear()
                self._held_bytes = 0
                self._generation += 1
                sent.future = self._submit(sent.task, sent.memory, f"{sent.name}-{sent.losses}")

    def _wait(self, future: Any) -> DecodedPart | None:
        alone_since = None
        while True:
            try:
                result: DecodedPart | None = future.result(timeout=_LOOK_EVERY)
                return result
            except TimeoutError:
                if future.status == "error":
                    raise
            if self._client.status != "running":
                raise ClusterError("the scheduler is gone; start it again, then repeat the command")
            if self._client.nthreads():
                alone_since = None
            else:
                alone_since = time.monotonic() if alone_since is None else alone_since
                if time.monotonic() - alone_since > _PATIENCE:
                    raise ClusterError(f"the scheduler has had no workers for {_PATIENCE:.0f} seconds")

    def drop(self, all_sent: Iterable[Sent]) -> None:
        """Forgets tasks on their way; those that have not begun never do."""
        futures = [sent.future for sent in all_sent]
        if futures:
            # Where the cluster is gone, so are the tasks.
            with contextlib.suppress(Exception):
                self._client.cancel(futures)
