"""``pt_config``: what a decoder has to be told."""

from __future__ import annotations

import operator
from collections.abc import Callable
from ctypes import c_uint32, c_uint64
from typing import TYPE_CHECKING, Any, Literal

from odograph.compat.libipt.cpu import ERRATA, pt_cpu, pt_errata
from odograph.compat.libipt.errors import FromCallback, UnknownStatus, pte_bad_cpu
from odograph.compat.libipt.packet import pt_packet_unknown
from odograph.compat.libipt.structure import BITS, Structure, copied, structure, union
from odograph.config import TraceConfig
from odograph.errors import InvalidArgument, PtError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Layer = Literal["query", "block", "insn"]

_FILTER, _STOP = 1, 2

# Where fields lie in the C structure, and its size: a smaller `size` means that those behind it are 0.
sizeof_pt_config = 280
_DECODE = 24
_CALLBACK_END, _CONTEXT_END = 32, 40
_CPU, _ERRATA, _EAX_END, _EBX_END, _MTC_END, _NOM_END, _FLAGS, _FILTERS = 40, 48, 116, 120, 121, 122, 124, 144


class pt_conf_flags(Structure):
    """Flags of a decoder. The bits mean different things to different decoders."""

    variant: Any
    _fields_ = (
        (
            "variant",
            union(
                "pt_conf_flags_variant",
                block=structure(
                    "pt_conf_flags_block",
                    end_on_call=1,
                    enable_tick_events=1,
                    end_on_jump=1,
                    keep_tcal_on_ovf=1,
                    enable_iflags_events=1,
                ),
                insn=structure(
                    "pt_conf_flags_insn", enable_tick_events=1, keep_tcal_on_ovf=1, enable_iflags_events=1
                ),
                query=structure("pt_conf_flags_query", keep_tcal_on_ovf=1, enable_iflags_events=1),
                reserved=c_uint32 * 4,
            ),
        ),
    )


class pt_conf_addr_filter(Structure):
    """Address filters in force while recording: four ranges, both ends included, and four bits for each."""

    config: Any
    addr0_a: int
    addr0_b: int
    addr1_a: int
    addr1_b: int
    addr2_a: int
    addr2_b: int
    addr3_a: int
    addr3_b: int
    reserved: Any
    _fields_ = (
        (
            "config",
            union(
                "pt_conf_addr_filter_config",
                addr_cfg=c_uint64,
                ctl=type(
                    "pt_conf_addr_filter_ctl",
                    (Structure,),
                    {"_fields_": [(f"addr{number}_cfg", BITS, 4) for number in range(4)]},
                ),
            ),
        ),
        *((f"addr{number}_{end}", c_uint64) for number in range(4) for end in "ab"),
        ("reserved", c_uint64 * 8),
    )


class pt_decode:
    """The part of a configuration that is about packets with unknown opcodes."""

    __slots__ = ("callback", "context")

    def __init__(self) -> None:
        self.callback: Callable[[pt_packet_unknown, pt_config, memoryview, Any], int] | None = None
        self.context: Any = None


class pt_config:
    """A configuration.

    ``begin`` is the trace (for an encoder, the buffer to write to): anything with the buffer protocol.
    ``end`` is the number of its bytes that count; setting ``begin`` sets it to all of them.
    ``decode.callback(unknown, config, pos, context)`` returns the size of the packet with an unknown opcode
    that ``pos``, a memoryview, begins with, or the negative of a ``pte_*``.
    """

    __slots__ = (
        "_begin",
        "addr_filter",
        "cpu",
        "cpuid_0x15_eax",
        "cpuid_0x15_ebx",
        "decode",
        "end",
        "errata",
        "flags",
        "mtc_freq",
        "nom_freq",
        "size",
    )

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.size = sizeof_pt_config
        self._begin: ReadableBuffer | None = None
        self.end: int | None = None
        self.decode = pt_decode()
        self.cpu = pt_cpu()
        self.errata = pt_errata()
        self.cpuid_0x15_eax = 0
        self.cpuid_0x15_ebx = 0
        self.mtc_freq = 0
        self.nom_freq = 0
        self.flags = pt_conf_flags()
        self.addr_filter = pt_conf_addr_filter()

    @property
    def begin(self) -> ReadableBuffer | None:
        """The trace."""
        return self._begin

    @begin.setter
    def begin(self, trace: ReadableBuffer | None) -> None:
        self._begin = trace
        self.end = None if trace is None else memoryview(trace).nbytes


def pt_config_init(config: pt_config) -> None:
    """Set the size, and everything else to 0."""
    config._clear()


def config_copy(config: pt_config | None) -> pt_config:
    """The copy that a decoder keeps. InvalidArgument for what libipt would not take."""
    if config is None:
        raise InvalidArgument("there is no configuration", code=PtError.invalid)
    if not isinstance(config, pt_config):
        raise TypeError(f"config must be a pt_config or None, not {type(config).__name__}")
    size = config.size
    if size < _DECODE or config.begin is None or config.end is None:
        raise InvalidArgument("the configuration names no trace", code=PtError.invalid)
    if not 0 <= config.end <= memoryview(config.begin).nbytes:
        raise InvalidArgument("the trace ends outside its buffer", code=PtError.invalid)
    copy = pt_config()
    copy.begin, copy.end = config.begin, config.end
    copy.decode.callback = config.decode.callback if size >= _CALLBACK_END else None
    copy.decode.context = config.decode.context if size >= _CONTEXT_END else None
    copy.cpu = copied(config.cpu, size - _CPU)
    copy.errata = copied(config.errata, size - _ERRATA)
    copy.cpuid_0x15_eax = config.cpuid_0x15_eax if size >= _EAX_END else 0
    copy.cpuid_0x15_ebx = config.cpuid_0x15_ebx if size >= _EBX_END else 0
    copy.mtc_freq = config.mtc_freq if size >= _MTC_END else 0
    copy.nom_freq = config.nom_freq if size >= _NOM_END else 0
    copy.flags = copied(config.flags, size - _FLAGS)
    copy.addr_filter = copied(config.addr_filter, size - _FILTERS)
    return copy


def trace_of(config: pt_config) -> memoryview:
    """The bytes of the trace."""
    assert config.begin is not None
    return memoryview(config.begin).cast("B")[: config.end]


def for_native(config: pt_config, layer: Layer, unknown: dict[int, pt_packet_unknown]) -> dict[str, Any]:
    """Plain values for the native module. ``unknown`` gets what a callback says about unknown packets."""
    flags = getattr(config.flags.variant, layer)
    values = TraceConfig(
        cpu=None,
        mtc_freq=config.mtc_freq,
        nom_freq=config.nom_freq,
        cpuid_0x15_eax=config.cpuid_0x15_eax,
        cpuid_0x15_ebx=config.cpuid_0x15_ebx,
        filters=tuple(_filters(config.addr_filter)),
        keep_tcal_on_ovf=bool(flags.keep_tcal_on_ovf),
        enable_iflags_events=bool(flags.enable_iflags_events),
    ).for_native()
    values["libipt_compat"] = True
    values["errata"] = "only"
    values["only"] = [name for name in ERRATA if getattr(config.errata, name)]
    callback = config.decode.callback
    if callback is not None:
        trace = trace_of(config).toreadonly()

        def size(offset: int) -> int:
            packet = pt_packet_unknown(trace[offset:])
            with FromCallback():
                position = trace[offset:]
                status = operator.index(callback(packet, config, position, config.decode.context))
            if status < -pte_bad_cpu:
                raise UnknownStatus(status)
            unknown[offset] = packet
            return status

        values["unknown_packet"] = size
    return values


def _filters(addr_filter: pt_conf_addr_filter) -> list[tuple[Literal["filter", "stop"], int, int]]:
    filters: list[tuple[Literal["filter", "stop"], int, int]] = []
    for number in range(4):
        kind = addr_filter.config.addr_cfg >> 4 * number & 0xF
        first, last = getattr(addr_filter, f"addr{number}_a"), getattr(addr_filter, f"addr{number}_b")
        if kind in (_FILTER, _STOP) and first <= last:
            filters.append(("filter" if kind == _FILTER else "stop", first, last))
    return filters
