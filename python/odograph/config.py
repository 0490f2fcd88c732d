"""What a decoder has to be told because the trace does not say it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from odograph.errors import InvalidArgument

__all__ = ["Filter", "TraceConfig"]

Filter = tuple[Literal["filter", "stop"], int, int]
"""An address range that was traced, or that stopped tracing; both ends belong to it."""

Cpu = Literal["auto"] | None | tuple[int, int] | tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class TraceConfig:
    """Decoder configuration; 0 means unknown, as in libipt's ``pt_config``.

    ``cpu``: ``"auto"`` applies the errata of the processor the recording names and quirks the stream itself
    shows, ``None`` applies none, ``(family, model[, stepping])`` applies exactly that row of the table,
    with a warning if there is none. ``mtc_freq`` is IA32_RTIT_CTL.MTCFreq, ``nom_freq`` the maximum
    non-turbo ratio, ``cpuid_0x15_eax`` and ``_ebx`` the TSC to crystal clock ratio. ``filters``: up to four
    address ranges that were in force while recording. ``unknown_packet(trace, offset)`` is asked for the
    size in bytes, 0 to 255, of a packet with an unknown opcode, which is then passed over; a negative
    :class:`~odograph.PtError` is the error that comes there, and an exception comes out. Without it unknown
    opcodes are ``bad_opc``.

    Raises :class:`~odograph.InvalidArgument` for values that do not fit.

    Example::

        >>> config = odograph.TraceConfig(cpu=(6, 0x8E), nom_freq=24)
        >>> odograph.decode(trace, image, config).gaps()
        []
    """

    cpu: Cpu = "auto"
    mtc_freq: int = 0
    nom_freq: int = 0
    cpuid_0x15_eax: int = 0
    cpuid_0x15_ebx: int = 0
    filters: tuple[Filter, ...] = field(default=())
    keep_tcal_on_ovf: bool = False
    enable_iflags_events: bool = False
    unknown_packet: Callable[[Any, int], int] | None = None

    def __post_init__(self) -> None:
        for name, bits in (("mtc_freq", 8), ("nom_freq", 8), ("cpuid_0x15_eax", 32), ("cpuid_0x15_ebx", 32)):
            value = getattr(self, name)
            if not isinstance(value, int):
                raise TypeError(f"{name} must be an int, not {type(value).__name__}")
            if not 0 <= value < 1 << bits:
                raise InvalidArgument(f"{name} must fit {bits} bits, not {value}")
        object.__setattr__(self, "filters", _checked_filters(self.filters))
        if self.unknown_packet is not None and not callable(self.unknown_packet):
            kind = type(self.unknown_packet).__name__
            raise TypeError(f"unknown_packet must be callable or None, not {kind}")
        if self.cpu is not None and self.cpu != "auto":
            _checked_cpu(self.cpu)

    def for_native(
        self,
        recorded: tuple[int, int, int] | None = None,
        *,
        trace: Any = None,
        tsc_near: int | None = None,
    ) -> dict[str, Any]:
        """Plain values for the native module; ``recorded`` is the processor the recording names.

        ``trace`` is what ``unknown_packet`` gets. ``tsc_near`` is a TSC of 64 bits within 2**55 ticks of the
        first TSC packet, which holds 56 bits; None: their upper bits are zero.
        """
        named: tuple[int, int, int] | None
        if self.cpu == "auto":
            errata, named = "auto", recorded
        elif self.cpu is None:
            errata, named = "none", None
        else:
            errata, named = "exactly", _checked_cpu(self.cpu)
            from odograph._native import cpu_is_known

            if not cpu_is_known(*named):
                family, model, _ = named
                warnings.warn(
                    f"no errata are known for cpu {family:#x}/{model:#x}; none are applied", stacklevel=3
                )
        return {
            "errata": errata,
            "cpu": named,
            "mtc_freq": self.mtc_freq,
            "nom_freq": self.nom_freq,
            "cpuid_0x15_eax": self.cpuid_0x15_eax,
            "cpuid_0x15_ebx": self.cpuid_0x15_ebx,
            "tsc_near": tsc_near,
            "filters": [(kind == "stop", first, last) for kind, first, last in self.filters],
            "keep_tcal_on_ovf": self.keep_tcal_on_ovf,
            "enable_iflags_events": self.enable_iflags_events,
            "libipt_compat": False,
            "unknown_packet": self.unknown_packet and partial(self.unknown_packet, trace),
        }


def _checked_filters(filters: Iterable[Filter]) -> tuple[Filter, ...]:
    checked = tuple(filters)
    if len(checked) > 4:
        raise InvalidArgument(f"there are at most four address filters, not {len(checked)}")
    for kind, first, last in checked:
        if kind not in ("filter", "stop"):
            raise InvalidArgument(f"a filter is 'filter' or 'stop', not {kind!r}")
        if not 0 <= first <= last < 1 << 64:
            raise InvalidArgument(f"not an address range: {first:#x} to {last:#x}")
    return checked


def _checked_cpu(cpu: Any) -> tuple[int, int, int]:
    if not isinstance(cpu, tuple) or len(cpu) not in (2, 3) or not all(isinstance(part, int) for part in cpu):
        raise TypeError("cpu must be 'auto', None or (family, model[, stepping])")
    family, model, stepping = (*cpu, 0)[:3]
    if not (0 <= family < 1 << 16 and 0 <= model < 256 and 0 <= stepping < 256):
        raise InvalidArgument(
            f"no such cpu: {cpu}; family, model and stepping are small positive numbers, such as (6, 158, 9)"
        )
    return family, model, stepping
