"""``pt_get_exec_mode`` and ``pt_set_exec_mode``: execution modes as MODE.Exec packets have them."""

from __future__ import annotations

from typing import Any

from odograph.compat.libipt.enums import (
    pt_exec_mode,
    ptem_16bit,
    ptem_32bit,
    ptem_64bit,
    ptem_unknown,
)
from odograph.compat.libipt.packet import pt_packet_mode_exec

_MODES = {(1, 0): ptem_64bit, (0, 1): ptem_32bit, (0, 0): ptem_16bit, (1, 1): ptem_unknown}


def pt_get_exec_mode(mode: Any) -> pt_exec_mode:
    """The execution mode that a ``pt_packet_mode_exec`` stands for."""
    return _MODES[mode.csl, mode.csd]


def pt_set_exec_mode(mode: int) -> Any:
    """The ``pt_packet_mode_exec`` that stands for an execution mode."""
    csl, csd = next((bits for bits, known in _MODES.items() if known == mode), (1, 1))
    return pt_packet_mode_exec(csl=csl, csd=csd)
