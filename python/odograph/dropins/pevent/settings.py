"""What a stream of sideband records needs to be understood: the options of libipt's tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The ``--pevent:`` options in force when a stream is added.

    Numbers are unsigned; ``tsc_offset`` counts as a signed 64-bit number.
    """

    sample_type: int = 0
    """perf_event_attr.sample_type: which samples end each record."""
    time_zero: int = 0
    time_shift: int = 0
    time_mult: int = 1
    """perf time = time_zero + TSC * time_mult / 2**time_shift."""
    tsc_offset: int = 0
    """Taken from each record's TSC, for guests whose TSC differs from the host's."""
    kernel_start: int = (1 << 64) - 1
    """The first address of the kernel."""
    sample_configs: Mapping[int, int] = field(default_factory=dict)
    """sample_type by identifier, for records whose last eight bytes are that identifier."""
    sysroot: str = ""
    """Put before the names of mapped files."""
    vdso_x64: str | None = None
    vdso_x32: str | None = None
    vdso_ia32: str | None = None
    """Files for ``[vdso]``, by class of process."""
