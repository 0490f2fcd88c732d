"""Traces that are decoded while their bytes arrive: from a ring buffer, a pipe, a socket."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Self

from odograph._native import RawLiveTrace
from odograph.code.image import Image
from odograph.config import TraceConfig
from odograph.errors import InvalidArgument, UnsupportedOperation
from odograph.history.decode import clock_of, thread_count
from odograph.history.history import History

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["LiveTrace"]


class LiveTrace:
    """A raw Intel PT trace of which more bytes may come.

    :meth:`feed` takes the next bytes and gives the history of what has become certain: what no later byte
    can change. That ends at a PSB, the packet at which a trace can be entered, so it comes in pieces and is
    often empty. One behind the other, the histories are what :func:`odograph.decode` gives of all bytes at
    once, however the bytes were cut::

        with odograph.LiveTrace(image) as live:
            for history in live.read(pipe):
                for gap in history.gaps():
                    print(history.first_step + gap.step, gap)

    Each history counts its steps from 0; ``history.first_step`` is the number of instructions before it and
    ``history.offset`` the trace offset of its first byte. Offsets of its events and gaps are those of the
    whole trace. A history keeps its own trace bytes; the live trace keeps only those that are not decoded
    yet, and what was learned of the code.

    ``image`` is the memory of the traced program (none: an empty one), taken as it is now; see
    :attr:`image`. ``config``, ``on_error`` and ``resync`` are those of :func:`odograph.decode`. A trace in
    which no PSB comes for ``limit`` bytes raises :class:`~odograph.errors.TraceError`: no more is kept than
    that, and what one call brings. Raises :class:`~odograph.errors.UnsupportedOperation` for a configuration
    with ``unknown_packet``, which has to be shown the whole trace.

    A live trace can be used from any thread, by one at a time: a second one, or a read-memory callback that
    comes back to it, raises :class:`~odograph.errors.Reentered`.

    Example::

        >>> with odograph.LiveTrace(image) as live:
        ...     parts = [live.feed(trace), live.close()]
        >>> sum(map(len, parts))
        7
    """

    def __init__(
        self,
        image: Image | None = None,
        config: TraceConfig | None = None,
        *,
        on_error: Literal["gap", "raise"] = "gap",
        resync: Literal["ip", "psb"] = "ip",
        limit: int = 64 << 20,
    ) -> None:
        if on_error not in ("gap", "raise"):
            raise InvalidArgument(f"on_error is 'gap' or 'raise', not {on_error!r}")
        if resync not in ("ip", "psb"):
            raise InvalidArgument(f"resync is 'ip' or 'psb', not {resync!r}")
        if not 0 < limit < 1 << 63:
            raise InvalidArgument(f"limit must be positive, not {limit}")
        config = TraceConfig() if config is None else config
        if config.unknown_packet is not None:
            raise UnsupportedOperation("unknown_packet needs the whole trace; use odograph.decode")
        self._image = Image() if image is None else image
        self._closed = False
        self._raw = RawLiveTrace(
            self._image,
            config.for_native(),
            raise_on_gap=on_error == "raise",
            to_psb=resync == "psb",
            clock=clock_of(config),
            limit=limit,
            threads=thread_count(None),
        )

    @property
    def image(self) -> Image:
        """Memory of the traced program, as it was when it was set.

        Set it when the program has loaded a library or written code, also if it is the same object with more
        sections in it. It holds for everything that no history has been given of: :meth:`flush` before it
        if what has arrived belongs to the old one.
        """
        return self._image

    @image.setter
    def image(self, image: Image) -> None:
        self._raw.set_image(image)
        self._image = image

    @property
    def offset(self) -> int:
        """Trace offset up to which histories have been given: where the next one begins."""
        return self._raw.place()[0]

    @property
    def pending(self) -> int:
        """Bytes that have arrived and are not decoded yet."""
        return self._raw.place()[1]

    @property
    def steps(self) -> int:
        """Instructions in the histories given so far."""
        return self._raw.place()[2]

    @property
    def closed(self) -> bool:
        """Nothing more can be fed."""
        return self._closed

    def feed(self, data: ReadableBuffer) -> History:
        """Take the next bytes, any number of them, and give the history of what has become certain.

        ``data`` is anything with the buffer protocol; it is copied. Decoding waits until some 64 KiB have
        come together. Damage is a gap, or with ``on_error="raise"`` a :class:`~odograph.errors.TraceError`
        from here on. An exception in a read-memory callback comes out unchanged, as does KeyboardInterrupt;
        the bytes have been taken then, and the next call tries again.
        """
        self._must_be_open()
        return self._history(self._raw.feed(_bytes(data)))

    def flush(self) -> History:
        """The history of what is certain by now, however little it is."""
        self._must_be_open()
        return self._history(self._raw.flush())

    def close(self) -> History:
        """The history of the rest: the trace ends here. A closed one gives an empty history."""
        if self._closed:
            return self._history(None)
        part = self._raw.close()
        self._closed = True
        return self._history(part)

    def read(self, file: BinaryIO, size: int = 1 << 16) -> Iterator[History]:
        """Feed what a binary file or pipe gives, and iterate over the histories that are not empty.

        At its end the live trace is closed. A file that does not block and has nothing now ends the
        iteration and leaves the live trace open.
        """
        if size < 1:
            raise InvalidArgument(f"size must be positive, not {size}")
        read = getattr(file, "read1", file.read)
        while not self._closed:
            data = read(size)
            if data is None:
                return
            self._must_be_open()
            part = self._raw.feed(_bytes(data)) if data else self._raw.close()
            self._closed = not data
            if part is not None:
                yield self._history(part)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Leaves what has not been decoded; :meth:`close` gives it."""
        self._closed = True

    def __repr__(self) -> str:
        offset, pending, steps = self._raw.place()
        state = "closed" if self._closed else f"{pending} bytes pending"
        return f"<LiveTrace at offset {offset:#x}, {steps} instructions, {state}>"

    def _must_be_open(self) -> None:
        if self._closed:
            raise InvalidArgument("this live trace is closed; make a new LiveTrace")

    def _history(self, part: Any) -> History:
        if part is None:
            offset, _, steps = self._raw.place()
            return History(self._raw.nothing(), first_step=steps, offset=offset)
        raw, first_step, offset = part
        return History(raw, first_step=first_step, offset=offset)


def _bytes(data: ReadableBuffer) -> memoryview:
    if isinstance(data, (str, os.PathLike)):
        raise TypeError(f"feed takes bytes, not {type(data).__name__}; read() takes an open file")
    view = memoryview(data)
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")
