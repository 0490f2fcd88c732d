"""Packets: the letters a trace is written in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from odograph._native import RawPacketDecoder, encode_packet
from odograph.code.image import Asid
from odograph.config import TraceConfig
from odograph.decoders.base import TraceDecoder
from odograph.errors import PtError, TraceError
from odograph.history.decode import trace_bytes
from odograph.text.counted import counted

if TYPE_CHECKING:
    from odograph.history.decode import Trace

__all__ = ["Packet", "PacketDecoder", "PacketEncoder"]


class Packet:
    """One packet: its kind and its fields, which are attributes.

    Kinds and fields, named as Intel's manual (SDM volume 3C, "Packet definitions") names them:

    - ``pad psb psbend ovf stop``: none
    - ``tip tip.pge tip.pgd fup``: ``compression`` (0, 1, 2, 3, 4, 6) and ``ip`` (the payload as it stands)
    - ``tnt8 tnt64``: ``size`` and ``bits`` (oldest in the most significant of the ``size`` low bits)
    - ``mode.exec``: ``csl csd iflag``; ``mode.tsx``: ``intx abrt``
    - ``pip``: ``cr3 nr``; ``vmcs``: ``base``; ``cbr``: ``ratio``; ``tsc``: ``tsc``; ``tma``: ``ctc fc``;
      ``mtc``: ``ctc``; ``cyc``: ``value``; ``mnt``: ``payload``
    - ``exstop``: ``ip``; ``mwait``: ``hints ext``; ``pwre``: ``state sub_state hw``;
      ``pwrx``: ``last deepest interrupt store autonomous``
    - ``ptw``: ``payload plc ip`` (plc 0: 4 bytes, 1: 8); ``cfe``: ``type vector ip``;
      ``evd``: ``type payload``; ``trig``: ``trbv icnt ip icntv mult``
    - ``bbp``: ``short type``; ``bip``: ``id short payload``; ``bep``: ``ip``
    - ``unknown``: none; its size is what ``TraceConfig.unknown_packet`` says
    - ``invalid``: none; a TMA that erratum SKZ84 spoilt

    ``offset`` and ``size_bytes`` say where it was found (None if it was made); they do not count in
    comparisons.
    """

    __slots__ = ("_fields", "kind", "offset", "size_bytes")

    def __init__(self, kind: str, **fields: Any) -> None:
        self.kind = kind
        self._fields = fields
        self.offset: int | None = None
        self.size_bytes: int | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """A copy of the fields by name."""
        return dict(self._fields)

    def __getattr__(self, name: str) -> Any:
        try:
            return object.__getattribute__(self, "_fields")[name]
        except KeyError:
            raise AttributeError(f"a {self.kind} packet has no field {name!r}") from None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Packet):
            return NotImplemented
        return self.kind == other.kind and self._fields == other._fields

    def __hash__(self) -> int:
        return hash((self.kind, *sorted(self._fields.items())))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self._fields.items())
        return f"Packet({self.kind!r}{', ' if fields else ''}{fields})"


class PacketDecoder(TraceDecoder[int | None]):
    """Iterates over the packets of a trace, from its first PSB on unless synchronised elsewhere.

    ``trace`` is a path or anything with the buffer protocol; it is not copied and must not change.
    A packet that cannot be decoded raises :class:`~odograph.errors.TraceError` with its offset and
    leaves the decoder there: :meth:`sync_forward` goes on at the next PSB. A packet cut off at the end
    ends the iteration.

    Both offsets are None before synchronisation, and ``sync_offset`` is where :meth:`sync_set` went if no PSB
    has come since. Time is that behind the last packet, as its packets tell it; where the configuration lacks
    what they need it stays behind, which is no error here.

    Example::

        >>> [packet.kind for packet in odograph.PacketDecoder(trace)]
        ['psb', 'psbend', 'mode.exec', 'tip.pge', 'tnt8', 'tnt8', 'tnt8', 'tip.pgd']
    """

    _raw: RawPacketDecoder

    def __init__(self, trace: Trace, config: TraceConfig | None = None) -> None:
        self.config = TraceConfig() if config is None else config
        data = trace_bytes(trace)
        self._raw = RawPacketDecoder(data, self.config.for_native(trace=data))
        self._asid = Asid()

    @property
    def asid(self) -> Asid:
        """The address space by the PIP and VMCS packets read since synchronisation."""
        return self._asid

    def sync_forward(self) -> None:
        """Goes to the next PSB. TraceError with code ``eos`` if there is none."""
        self._went(self._raw.sync_forward(), "there is no further PSB")

    def sync_backward(self) -> None:
        """Goes to the PSB before. TraceError with code ``eos`` if there is none."""
        self._went(self._raw.sync_backward(), "there is no PSB before")

    def sync_set(self, offset: int) -> None:
        """Goes to an offset; any byte may be there. TraceError with code ``eos`` past the end."""
        self._went(self._raw.sync_set(offset), f"offset {offset:#x} lies past the end of the trace")

    def resync(self) -> None:
        """The same as :meth:`sync_forward`: only a PSB says where a packet begins."""
        self.sync_forward()

    def _went(self, there: bool, otherwise: str) -> None:
        if not there:
            raise TraceError(otherwise, code=PtError.eos)
        self._asid = Asid()

    def __iter__(self) -> Iterator[Packet]:
        return self

    def __next__(self) -> Packet:
        if not self._raw.synced and not self._raw.sync_forward():
            raise StopIteration
        found = self._raw.next()
        if found is None:
            raise StopIteration
        offset, size, (kind, fields) = found
        packet = Packet(kind, **fields)
        packet.offset = offset
        packet.size_bytes = size
        if kind == "pip":
            self._asid = Asid(packet.cr3, self._asid.vmcs)
        elif kind == "vmcs":
            self._asid = Asid(self._asid.cr3, packet.base)
        return packet


class PacketEncoder:
    """Writes packets into a growing buffer.

    >>> encoder = PacketEncoder()
    >>> encoder.add(Packet("psb")).add(Packet("psbend")).data.hex()
    '028202820282028202820282028202820223'
    """

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def offset(self) -> int:
        """Number of bytes written."""
        return len(self.data)

    def add(self, packet: Packet) -> PacketEncoder:
        """Appends a packet; returns the encoder.

        Raises :class:`~odograph.InvalidArgument` with libipt's code for fields that do not fit,
        TypeError for missing fields.
        """
        self.data += encode_packet(packet.kind, packet.fields)
        return self

    def __bytes__(self) -> bytes:
        return bytes(self.data)

    def __repr__(self) -> str:
        return f"<PacketEncoder: {counted(len(self.data), 'byte')}>"
