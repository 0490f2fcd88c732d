"""Recordings of what an emulated processor executes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from odograph._native import RawPath
from odograph.files.destination import Destination
from odograph.perfdata.writer import PerfDataWriter

__all__ = ["recorded"]

_PID = 1
_MODES = {16: 1, 32: 2, 64: 3}


class _Observable(Protocol):
    """A processor that tells of each executed instruction (address and bytes), and where it stopped."""

    @property
    def bits(self) -> int: ...
    def observed(
        self, executed: Callable[[int, bytes], None], stopped: Callable[[int], None], /
    ) -> AbstractContextManager[None]: ...


@contextmanager
def recorded(processor: _Observable, path: str | os.PathLike[str], name: str = "emulated") -> Iterator[None]:
    """Records what the processor executes in the ``with`` block as Intel PT in the perf.data file ``path``.

    The executed bytes are in it, so it needs no image. Addresses in it are linear. Time is the number of
    instructions executed, as ns.
    """
    trace = RawPath(_MODES[processor.bits])
    with Destination(path, what="recording") as destination:
        with processor.observed(trace.step, trace.stop):
            yield
        made = destination.room / "recording"
        with (
            destination.writing(),
            PerfDataWriter(made, timed=True, command_line=[name], recorder="emulator") as writer,
        ):
            writer.add_comm(_PID, _PID, name, exec=True, tsc=1)
            count, digest = trace.truth
            for tsc, address, data in trace.code():
                writer.add_code(_PID, tsc, address, data)
            writer.add_trace(_PID, _PID, trace.take(), tsc=count + 1)
            writer.set_truth(_PID, count, digest)
            writer.add_exit(_PID, 0, _PID, 0, tsc=count + 1)
        destination.deliver(made)
