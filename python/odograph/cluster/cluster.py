"""A cluster that decodes recordings and answers questions about them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from odograph.cluster.answers import Answers, Broken
from odograph.cluster.assembling import Assembling
from odograph.cluster.connection import connect_client, local_cluster
from odograph.cluster.files import recordings_in
from odograph.cluster.sender import Sender, Sent
from odograph.cluster.verbs import COSTS, COUNTING, COVERING, PAIRS, PATHS, Decoding, Finding, Verb
from odograph.cluster.work import Progress, Work
from odograph.errors import ClusterError, InvalidArgument, OdographError
from odograph.recording.recording import Recording
from odograph.recording.recording import open as open_recording

if TYPE_CHECKING:
    import numpy as np

    from odograph.history.history import History
    from odograph.history.search import Where
    from odograph.history.selection import Coverage
    from odograph.table import Table

__all__ = ["Cluster", "What"]

T = TypeVar("T")

One = str | os.PathLike[str] | Recording
What = One | Iterable[One]
"""Recordings, paths of recordings, or directories that hold some."""


class _Flying(NamedTuple):
    """A part on its way; ``sent`` None stands for the end of a recording."""

    work: Work[Any]
    assembling: Assembling | None = None
    number: int = 0
    sent: Sent | None = None


class Cluster:
    """Processes, on this machine or others, that decode recordings part by part.

    Without ``address`` they are ``workers`` processes of this machine (None: one for each processor), which
    end with the cluster; ``address`` is that of a Dask scheduler, such as ``"tcp://host:8786"``. Workers
    need Odograph of the same version; they get bytes of traces and of code, and open no file.

    The parts of a recording are cut at PSBs, about ``part_size`` bytes of trace in each (None: what is
    usual). Results are those of decoding here, for any parts and workers, also if workers die.
    ``opener`` opens recordings, with :func:`odograph.open` and ``max_expanded`` if there is no other.
    ``progress(path, done, total)`` is called as parts come back. Use it in a ``with`` statement, or
    :meth:`close` it. A script must do so under ``if __name__ == "__main__":``, since each worker of this
    machine imports it.

    Raises :class:`~odograph.ClusterError` if there is no scheduler at the address, ImportError if Dask is
    not installed.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int | None = None,
        part_size: int | None = None,
        progress: Progress | None = None,
        opener: Callable[[str], Recording] | None = None,
        max_expanded: int | None = None,
    ) -> None:
        if address is not None and workers is not None:
            raise InvalidArgument("a cluster at an address has the workers it has; leave out workers")
        for name, number in (("workers", workers), ("part_size", part_size)):
            if number is not None and number < 1:
                raise InvalidArgument(f"{name} must be at least 1, not {number}")
        #: These may be changed between two questions.
        self.progress, self.part_size = progress, part_size
        self._open = opener or partial(open_recording, max_expanded=max_expanded)
        self._local = local_cluster(workers) if address is None else None
        try:
            self._client = connect_client(address if self._local is None else self._local)
        except BaseException:
            self.close()
            raise
        self._sender = Sender(self._client)

    @property
    def client(self) -> Any:
        """The Dask client."""
        return self._client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the cluster; one on this machine ends. May be called again."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()
        if self._local is not None:
            self._local.close()
            self._local = None

    def history(self, recording: One, tid: int | None = None) -> History:
        """The history of a thread, by default the only or the first one."""
        recording = recording if isinstance(recording, Recording) else self._open(os.fspath(recording))
        for work in self._finished([Work(recording, Decoding(), self.progress)]):
            if work.error is not None:
                raise work.error
        return recording.history(tid)

    def find(self, what: What, where: Where) -> Answers[np.ndarray[Any, np.dtype[np.int64]]]:
        """Steps that execute something; ``where`` is as :meth:`History.find` takes it."""
        return self.answers(what, Finding(where))

    def counts(self, what: What) -> Answers[Table]:
        """How often each instruction was executed, as :meth:`History.counts` tells it."""
        return self.answers(what, COUNTING)

    def coverage(self, what: What) -> Answers[Coverage]:
        """How often each block and each edge was executed, as :meth:`History.coverage` tells it."""
        return self.answers(what, COVERING)

    def functions(self, what: What) -> Answers[Table]:
        """What functions cost, as :meth:`History.functions` tells it."""
        return self.answers(what, COSTS)

    def calls(self, what: What) -> Answers[Table]:
        """By which paths functions were called, as :meth:`History.calls` tells it."""
        return self.answers(what, PATHS)

    def pairs(self, what: What) -> Answers[Table]:
        """Calls and their ends, as :meth:`History.pairs` tells them."""
        return self.answers(what, PAIRS)

    def answers(self, what: What, verb: Verb[T]) -> Answers[T]:
        """What all recordings answer. One that was named alone and cannot be read raises why."""
        answers: Answers[T] = Answers()
        alone = isinstance(what, Recording) or (
            isinstance(what, (str, os.PathLike)) and not os.path.isdir(what)
        )

        def broken(path: str, error: Exception) -> None:
            if alone:
                raise error
            answers.broken.append(Broken(path, error))

        def works() -> Iterator[Work[T]]:
            for one in _each(what):
                try:
                    recording = one if isinstance(one, Recording) else self._open(os.fspath(one))
                    yield Work(recording, verb, self.progress)
                except (OdographError, OSError) as error:
                    broken(one.path if isinstance(one, Recording) else os.fspath(one), error)

        for work in self._finished(works()):
            if work.error is not None:
                broken(work.recording.path, work.error)
            else:
                answers.answers += work.answers()
        return answers

    def _finished(self, works: Iterable[Work[T]]) -> Iterator[Work[T]]:
        """The works, in order, when their histories are there; at most a few parts are on their way."""
        flying: deque[_Flying] = deque()
        coming = self._sent(works)
        room = self._sender.room()
        try:
            while True:
                while len(flying) < room and (item := next(coming, None)) is not None:
                    flying.append(item)
                if not flying:
                    return
                self._land(flying[0])
                work, assembling, _, _ = flying.popleft()
                if assembling is None:
                    yield work
        finally:
            # Also after an error or Ctrl-C: the results of these are not wanted any more.
            self._sender.drop(item.sent for item in flying if item.sent is not None)

    def _sent(self, works: Iterable[Work[T]]) -> Iterator[_Flying]:
        """Sends part after part as they are asked for."""
        threads = self._sender.threads()
        for work in works:
            try:
                for assembling in work.begin(threads, self.part_size):
                    for number, task in assembling.tasks():
                        yield _Flying(work, assembling, number, self._sender.send(task, assembling.memory))
            except ClusterError:
                raise
            except OdographError as error:
                work.error = error
            yield _Flying(work)

    def _land(self, item: _Flying) -> None:
        """Waits for a part and takes it in, if it is still of use."""
        work, assembling, number, sent = item
        if work.error is not None:
            self._sender.drop([] if sent is None else [sent])
        elif assembling is None or sent is None:
            work.finish()
        elif assembling.wants(number, report := work.report(assembling)):
            assembling.take(self._sender.take(sent), report)
        else:
            self._sender.drop([sent])

    def __repr__(self) -> str:
        return f"<Cluster of {self._client!r}>"


def _each(what: What) -> Iterator[One]:
    """Recordings and paths one by one; directories by what they hold."""
    if isinstance(what, Recording):
        yield what
    elif isinstance(what, (str, os.PathLike)):
        yield from recordings_in(os.fspath(what))
    else:
        for one in what:
            yield from _each(one)
