"""Decoders that go step by step through the code: blocks, instructions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from odograph._native import RawFlowDecoder
from odograph.config import TraceConfig
from odograph.events import Event, event_of
from odograph.history import ExecMode, Instruction, InstructionClass, trace_bytes
from odograph.image import Asid, Image

if TYPE_CHECKING:
    from odograph._native import _RawBlockFields

__all__ = ["Block", "BlockDecoder", "InstructionDecoder"]


@dataclass(frozen=True, slots=True)
class Block:
    """Instructions executed without a decision, an event or a change of section between them."""

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
    ips: tuple[int, ...]


T = TypeVar("T")


class _FlowDecoder(ABC, Generic[T]):
    """What block and instruction decoders share."""

    def __init__(self, trace: Any, config: TraceConfig | None = None, image: Image | None = None) -> None:
        self.config = TraceConfig() if config is None else config
        self._image = Image() if image is None else image
        self._version = self._image.version
        data = trace_bytes(trace)
        self._raw = RawFlowDecoder(data, self.config.for_native(trace=data), self._image)
        self._synced = False
        self._ready: deque[T] = deque()
        self._events: list[Event] = []

    @property
    def offset(self) -> int:
        """Offset of the first packet that has not been used."""
        return self._raw.offset

    @property
    def sync_offset(self) -> int:
        """Offset of the last PSB."""
        return self._raw.sync_offset

    @property
    def tsc(self) -> int | None:
        """TSC estimate in ticks; None before the first TSC packet."""
        return self._raw.tsc

    @property
    def time(self) -> int | None:
        """The same in ns by the nominal frequency; None if that or the TSC is unknown."""
        tsc = self._raw.tsc
        return None if tsc is None or not self.config.nom_freq else tsc * 10 // self.config.nom_freq

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
        self._forget()
        self._raw.sync_forward()

    def sync_backward(self) -> None:
        """Goes to the PSB before. TraceError with code ``eos`` if there is none."""
        self._forget()
        self._raw.sync_backward()

    def sync_set(self, offset: int) -> None:
        """Goes to the PSB at an offset. TraceError with code ``nosync`` if none is there."""
        self._forget()
        self._raw.sync_set(offset)

    def resync(self) -> None:
        """After an error: goes on at the next packet that gives an IP. Without an error: nothing."""
        self._raw.resync()

    def take_events(self) -> list[Event]:
        """The events passed since the last call, in order."""
        events, self._events = self._events, []
        return events

    def _forget(self) -> None:
        self._synced = True
        self._ready.clear()

    @abstractmethod
    def _convert(self, raw: _RawBlockFields) -> Iterator[T]:
        """What a block is to this kind of decoder."""

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if not self._synced:
            self.sync_forward()
        while not self._ready:
            if self._image.version != self._version:
                self.image = self._image
            found = self._raw.next()
            if found is None:
                raise StopIteration
            block, event = found
            if event is not None:
                self._events.append(event_of(event))
            if block is not None:
                self._ready.extend(self._convert(block))
        return self._ready.popleft()


class BlockDecoder(_FlowDecoder[Block]):
    """Iterates over the blocks of a trace.

    ``trace`` is a path or anything with the buffer protocol; it is not copied and must not change.
    Iteration synchronises at the first PSB unless that was done before. Errors are raised as
    :class:`~odograph.errors.TraceError` with code, offset, ip and asid, after all blocks before them;
    :meth:`resync` or a synchronisation lets it go on. Exceptions of a read-memory callback come out
    unchanged, and the next call tries again. Events are collected: see :meth:`take_events`.
    """

    def _convert(self, raw: _RawBlockFields) -> Iterator[Block]:
        instructions, mode, isid, cr3, vmcs, tsc, speculative = raw
        ips = tuple(instruction[0] for instruction in instructions)
        yield Block(
            ip=ips[0],
            end_ip=ips[-1],
            ninsn=len(ips),
            iclass=InstructionClass(instructions[-1][3]),
            mode=ExecMode(mode),
            asid=Asid(cr3, vmcs),
            isid=isid,
            tsc=tsc,
            speculative=speculative,
            truncated=instructions[-1][4],
            ips=ips,
        )


class InstructionDecoder(_FlowDecoder[Instruction]):
    """Iterates over the instructions of a trace; otherwise as :class:`BlockDecoder`.

    ``step`` of an instruction counts from the last synchronisation on.
    """

    def __init__(self, trace: Any, config: TraceConfig | None = None, image: Image | None = None) -> None:
        super().__init__(trace, config, image)
        self._step = 0

    def _forget(self) -> None:
        super()._forget()
        self._step = 0

    def _convert(self, raw: _RawBlockFields) -> Iterator[Instruction]:
        instructions, mode, isid, cr3, vmcs, tsc, speculative = raw
        nominal = self.config.nom_freq
        time = None if tsc is None or not nominal else tsc * 10 // nominal
        for ip, size, data, iclass, truncated in instructions:
            yield Instruction(
                step=self._step,
                ip=ip,
                size=size,
                raw=data,
                iclass=InstructionClass(iclass),
                mode=ExecMode(mode),
                asid=Asid(cr3, vmcs),
                isid=isid,
                time=time,
                speculative=speculative,
                truncated=truncated,
            )
            self._step += 1
