"""Decoders that go step by step through the code: blocks, instructions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from odograph._native import RawBlockDecoder
from odograph.code.image import Asid, Image
from odograph.config import TraceConfig
from odograph.decoders.base import TraceDecoder
from odograph.decoders.events import Event, Status, event_of
from odograph.errors import PtError, TraceError
from odograph.history.decode import trace_bytes
from odograph.history.instruction import ExecMode, Instruction, InstructionClass
from odograph.text.reprs import hex_repr

if TYPE_CHECKING:
    from odograph._native import _Answer, _RawBlockFields
    from odograph.history.decode import Trace

__all__ = ["Block", "BlockDecoder", "InstructionDecoder"]


@hex_repr("ip", "end_ip")
@dataclass(frozen=True, slots=True)
class Block:
    """Instructions executed without a decision, an event or a change of section between them.

    ``iclass`` is the class of the last one; ``raw`` its bytes if it is ``truncated``, that is, goes on in
    another section. ``isid`` is 0 for sections not from a cache. ``tsc`` is that of the last event before it,
    None if there was no TSC packet yet.
    """

    ip: int
    end_ip: int
    ninsn: int
    iclass: InstructionClass
    mode: ExecMode
    asid: Asid
    isid: int
    tsc: int | None
    speculative: bool
    truncated: bool
    raw: bytes
    ips: tuple[int, ...]


T = TypeVar("T")

# A trace can name a place again and again where decoding cannot go on; this many events can wait there.
_MOST_TRIES = 16


class _FlowDecoder(TraceDecoder[int], ABC, Generic[T]):
    """What block and instruction decoders share. Time is that of the last event that was used."""

    _raw: RawBlockDecoder

    def __init__(
        self,
        trace: Trace,
        image: Image | None = None,
        config: TraceConfig | None = None,
        *,
        end_on_call: bool = False,
        end_on_jump: bool = False,
        tick_events: bool = False,
    ) -> None:
        self.config = TraceConfig() if config is None else config
        self._image = Image() if image is None else image
        self._version = self._image.version
        data = trace_bytes(trace)
        native = self.config.for_native(trace=data)
        self._raw = RawBlockDecoder(data, native, self._image, end_on_call, end_on_jump, tick_events)
        self._synced = False
        self._status = Status(0)
        self._error: BaseException | None = None
        self._ready: deque[T] = deque()
        self._events: list[Event] = []
        self._tries = 0
        self._tried_at: int | None = None

    @property
    def status(self) -> Status:
        """What the last step said: tracing is off (``ip_suppressed``), the trace has ended (``eos``)."""
        return self._status

    @property
    def core_bus_ratio(self) -> int | None:
        """The ratio of the last CBR event; None before the first."""
        return self._raw.core_bus_ratio

    @property
    def asid(self) -> Asid:
        """The present address space."""
        return Asid(*self._raw.asid)

    @property
    def image(self) -> Image:
        """Memory of the traced program; another one, and changes to it, hold from the next block on."""
        return self._image

    @image.setter
    def image(self, image: Image | None) -> None:
        self._image = Image() if image is None else image
        self._version = self._image.version
        self._raw.set_image(self._image)

    def sync_forward(self) -> None:
        """Goes to the next PSB. TraceError with code ``eos`` if there is none."""
        self._start(self._raw.sync_forward())

    def sync_backward(self) -> None:
        """Goes to the PSB before. TraceError with code ``eos`` if there is none."""
        self._start(self._raw.sync_backward())

    def sync_set(self, offset: int) -> None:
        """Goes to the PSB at an offset. TraceError with code ``nosync`` if none is there."""
        self._start(self._raw.sync_set(offset))

    def resync(self) -> None:
        """After an error: goes on at the next packet that gives an IP, or else at the next PSB.

        Without an error: nothing. TraceError with code ``eos`` if neither comes.
        """
        if self._error is None:
            return
        self._tries = self._tries + 1 if self.offset == self._tried_at else 1
        self._tried_at = self.offset
        if self._tries > _MOST_TRIES:
            self.sync_forward()
            return
        while True:
            status, raised = self._raw.resync()
            if raised is not None:
                raise raised
            if status != -PtError.event_ignored:
                break
            # A PTWRITE without address: a fact of its own, and no place to go on.
            self._take_event()
        if status < 0:
            self.sync_forward()
        else:
            self._error = None
            self._status = Status(status)

    def take_events(self) -> list[Event]:
        """The events passed since the last call, in order; status updates of PSB+ are among them."""
        events, self._events = self._events, []
        return events

    def _start(self, answer: _Answer) -> None:
        self._synced = True
        self._ready.clear()
        self._forget()
        self._error = self._error_in(answer, ip=None)
        if self._error is not None:
            raise self._error

    def _forget(self) -> None:
        """Starts anew."""

    def _error_in(self, answer: _Answer, ip: int | None) -> BaseException | None:
        """The exception that an answer stands for; its status is kept otherwise."""
        status, raised = answer
        if raised is not None:
            return raised
        if status < 0:
            code = PtError(-status)
            asid = None if ip is None else self.asid
            return TraceError(code.message, code=code, offset=self.offset, ip=ip, asid=asid)
        self._status = Status(status)
        return None

    def _take_event(self) -> BaseException | None:
        answer, raw = self._raw.event()
        if raw is not None:
            self._events.append(event_of(raw))
        return self._error_in(answer, ip=None)

    @abstractmethod
    def _convert(self, raw: _RawBlockFields) -> Iterator[T]:
        """What a block is to this kind of decoder."""

    def _step(self) -> bool:
        """Takes an event or a block; false at the end."""
        if Status.event_pending in self._status:
            self._error = self._take_event()
            return True
        at_end = Status.eos in self._status
        if at_end and Status.ip_suppressed in self._status:
            return False
        if self._image.version != self._version:
            self.image = self._image
        answer, raw = self._raw.next()
        if raw[5]:
            self._ready.extend(self._convert(raw))
        error = self._error_in(answer, ip=self._raw.ip)
        if isinstance(error, TraceError) and at_end:
            # Behind the last packet: up to the first instruction that would need another.
            self._status |= Status.ip_suppressed
            error = None
        self._error = error
        return True

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if not self._synced:
            self.sync_forward()
        while not self._ready:
            if self._error is not None:
                error = self._error
                if not isinstance(error, TraceError):
                    # Nothing is wrong with the trace: the next call tries the same place again.
                    self._error = None
                raise error
            if not self._step():
                raise StopIteration
        return self._ready.popleft()


class BlockDecoder(_FlowDecoder[Block]):
    """Iterates over the blocks of a trace.

    ``trace`` is a path or anything with the buffer protocol; it is not copied and must not change.
    ``end_on_call`` and ``end_on_jump`` end blocks behind direct calls and jumps as well; ``tick_events``
    gives an event wherever time has advanced.

    Iteration synchronises at the first PSB unless that was done before. Errors are raised as
    :class:`~odograph.errors.TraceError` with code, offset, ip and asid, after all blocks before them, and
    repeat; :meth:`resync` or a synchronisation lets it go on. Exceptions of a read-memory callback come out
    unchanged, and the next call tries again. Events are collected: see :meth:`take_events`.

    Example::

        >>> [(hex(block.ip), block.ninsn) for block in odograph.BlockDecoder(trace, image)]
        [('0x401000', 2), ('0x401000', 2), ('0x401000', 2), ('0x401004', 1)]
    """

    def _convert(self, raw: _RawBlockFields) -> Iterator[Block]:
        ip, end_ip, isid, mode, iclass, ninsn, data, speculative, truncated = raw
        yield Block(
            ip=ip,
            end_ip=end_ip,
            ninsn=ninsn,
            iclass=InstructionClass(iclass),
            mode=ExecMode(mode),
            asid=self.asid,
            isid=isid,
            tsc=self.tsc,
            speculative=speculative,
            truncated=truncated,
            raw=data,
            ips=tuple(self._raw.ips()),
        )


class InstructionDecoder(_FlowDecoder[Instruction]):
    """Iterates over the instructions of a trace; otherwise as :class:`BlockDecoder`.

    ``step`` of an instruction counts from the last synchronisation on.

    Example::

        >>> sum(1 for instruction in odograph.InstructionDecoder(trace, image))
        7
    """

    def __init__(
        self,
        trace: Trace,
        image: Image | None = None,
        config: TraceConfig | None = None,
        *,
        tick_events: bool = False,
    ) -> None:
        super().__init__(trace, image, config, tick_events=tick_events)
        self._step_count = 0

    def _forget(self) -> None:
        self._step_count = 0

    def _convert(self, raw: _RawBlockFields) -> Iterator[Instruction]:
        _, _, isid, mode, _, _, _, speculative, _ = raw
        asid, time = self.asid, self.time
        for ip, size, data, iclass, truncated in self._raw.instructions():
            yield Instruction(
                step=self._step_count,
                ip=ip,
                size=size,
                raw=data,
                iclass=InstructionClass(iclass),
                mode=ExecMode(mode),
                asid=asid,
                isid=isid,
                time=time,
                speculative=speculative,
                truncated=truncated,
            )
            self._step_count += 1
