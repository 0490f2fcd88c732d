"""From the bytes of a raw trace to its history."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from odograph._native import RawHistory, RawMapping
from odograph.code.image import Image
from odograph.config import TraceConfig
from odograph.errors import InvalidArgument
from odograph.history.history import ENTRY, History
from odograph.history.index import Index

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    Trace: TypeAlias = str | os.PathLike[str] | ReadableBuffer
    """A path, or anything with the buffer protocol."""

__all__ = ["Clock", "clock_of", "decode", "thread_count", "trace_bytes"]

Clock = tuple[str, int, int, int] | None


def clock_of(config: TraceConfig) -> Clock:
    """The clock that a configuration alone gives: the nominal frequency, if known."""
    return ("nominal", config.nom_freq, 0, 0) if config.nom_freq else None


def decode(
    trace: Trace,
    image: Image | None = None,
    config: TraceConfig | None = None,
    *,
    on_error: Literal["gap", "raise"] = "gap",
    resync: Literal["ip", "psb"] = "ip",
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
    index: str | os.PathLike[str] | None = None,
) -> History:
    """Decodes raw Intel PT bytes into a history.

    ``trace`` is a path or anything with the buffer protocol; it is not copied and must not change
    while the history lives. ``image`` is the memory of the traced program (none: an empty one), taken
    as it is at the call. Damage becomes gaps, or with ``on_error="raise"`` a
    :class:`~odograph.errors.TraceError` at the first; decoding goes on at the next packet that gives
    an IP, or with ``resync="psb"`` at the next PSB. ``threads`` is how many may decode, None for as many
    as there are processors; the result does not depend on it, and an image with a callback is decoded on
    one. ``progress`` is called with the trace offset now and then. An exception in a read-memory callback
    comes out unchanged.

    ``index`` is a file that :meth:`History.save` wrote. If it is of the very same trace, memory,
    configuration and version of Odograph, nothing is decoded; if not, or if there is none, it makes no
    difference, and ``History.index_use`` says why.

    Example::

        >>> len(odograph.decode(trace, image))
        7
    """
    if on_error not in ("gap", "raise"):
        raise InvalidArgument(f"on_error is 'gap' or 'raise', not {on_error!r}")
    if resync not in ("ip", "psb"):
        raise InvalidArgument(f"resync is 'ip' or 'psb', not {resync!r}")
    config = TraceConfig() if config is None else config
    image = Image() if image is None else image
    threads = thread_count(threads)
    data = trace_bytes(trace)
    native, moments = config.for_native(trace=data), [(0, image, 0)]
    clock, to_psb, raising = clock_of(config), resync == "psb", on_error == "raise"
    saved: Index | None = None
    raw: RawHistory | None = None
    if index is not None:
        saved = Index(index)
        raw = saved.load(
            ENTRY, data, moments, native, raise_on_gap=raising, to_psb=to_psb, clock=clock, threads=threads
        )
    if raw is None:
        raw = RawHistory.decode(
            data,
            moments,
            native,
            raise_on_gap=raising,
            to_psb=to_psb,
            clock=clock,
            threads=threads,
            progress=progress,
        )
    return History(raw, index_use=saved.use if saved is not None else None)


def thread_count(threads: int | None) -> int:
    """How many threads to decode on: as many as said, or as there are processors."""
    if threads is None:
        return os.cpu_count() or 1
    if threads < 1:
        raise InvalidArgument(f"at least one thread must decode, not {threads}")
    return threads


def trace_bytes(trace: Trace) -> bytes | memoryview | RawMapping:
    """A path mapped into memory, or the buffer itself, as bytes."""
    if isinstance(trace, (str, os.PathLike)):
        with open(trace, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return b""
            return RawMapping(os.fsdecode(trace), file.fileno())
    view = memoryview(trace)
    if view.format != "B" or view.ndim != 1:
        view = view.cast("B")
    return view
