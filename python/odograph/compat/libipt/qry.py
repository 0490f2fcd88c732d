"""``pt_qry_*``: the query decoder with libipt's argument order and return values."""

from __future__ import annotations

from typing import Any

from odograph._native import RawQueryDecoder
from odograph.compat.libipt.decoder import Decoder, live, returns_values, uint64
from odograph.compat.libipt.errors import pte_invalid, pte_no_cbr, pte_no_time
from odograph.compat.libipt.event import HEADER, event_of, pt_event, sizeof_pt_event
from odograph.compat.libipt.functions import Functions
from odograph.compat.libipt.structure import copied


class pt_query_decoder(Decoder):
    """A query decoder."""

    __slots__ = ()

    def make(self, trace: memoryview, values: dict[str, Any]) -> RawQueryDecoder:
        """The decoder of the native module."""
        return RawQueryDecoder(trace, values)


_functions = Functions(pt_query_decoder, "pt_qry_")
pt_qry_alloc_decoder = _functions.named(_functions.alloc_decoder)
pt_qry_free_decoder = _functions.named(_functions.free_decoder)
pt_qry_get_offset = _functions.named(_functions.get_offset)
pt_qry_get_sync_offset = _functions.named(_functions.get_sync_offset)
pt_qry_get_config = _functions.named(_functions.get_config)


@returns_values(None)
def pt_qry_sync_forward(decoder: pt_query_decoder | None) -> tuple[int, int | None]:
    """``(status, ip)``: go to the next PSB, and where to start there; None if tracing is off.

    ``-pte_eos``: there is none; or the error inside its PSB+.
    """
    ip, status = live(decoder, pt_query_decoder).raw.sync_forward()
    return status, ip


@returns_values(None)
def pt_qry_sync_backward(decoder: pt_query_decoder | None) -> tuple[int, int | None]:
    """``(status, ip)``: go to the PSB before. As in libipt the status of success is always 0."""
    ip, status = live(decoder, pt_query_decoder).raw.sync_backward()
    return status, ip


@returns_values(None)
def pt_qry_sync_set(decoder: pt_query_decoder | None, offset: int) -> tuple[int, int | None]:
    """``(status, ip)``: go to the PSB at an offset.

    ``-pte_nosync``: there is none; ``-pte_eos``: the offset lies beyond the end.
    """
    ip, status = live(decoder, pt_query_decoder).raw.sync_set(uint64(offset))
    return status, ip


@returns_values(None)
def pt_qry_cond_branch(decoder: pt_query_decoder | None) -> tuple[int, int | None]:
    """``(status, taken)``: whether the next conditional branch was taken, 1 or 0.

    ``-pte_bad_query``: no such branch comes next; or the error that does.
    """
    taken, status = live(decoder, pt_query_decoder).raw.cond_branch()
    return status, int(taken)


@returns_values(None)
def pt_qry_indirect_branch(decoder: pt_query_decoder | None) -> tuple[int, int | None]:
    """``(status, ip)``: where the next indirect branch went; None with the status ``pts_ip_suppressed``.

    ``-pte_bad_query``: no such branch comes next; or the error that does.
    """
    ip, status = live(decoder, pt_query_decoder).raw.indirect_branch()
    return status, ip


@returns_values(None)
def pt_qry_event(
    decoder: pt_query_decoder | None, size: int = sizeof_pt_event
) -> tuple[int, pt_event | None]:
    """``(status, event)``: the next event. ``size`` is that of the caller's ``pt_event``.

    ``-pte_invalid``: the size is less than what all events have in common; ``-pte_bad_query``: a branch comes
    first; or the error that comes next.
    """
    handle = live(decoder, pt_query_decoder)
    if size < HEADER:
        return -pte_invalid, None
    event, status = handle.raw.event()
    return status, copied(event_of(event), size)


@returns_values(None, None, None)
def pt_qry_time(decoder: pt_query_decoder | None) -> tuple[int, int | None, int | None, int | None]:
    """``(status, time, lost_mtc, lost_cyc)`` of the last query.

    ``-pte_no_time``: there has been no TSC; the time is relative to the start.
    """
    tsc, has_tsc, lost_mtc, lost_cyc = live(decoder, pt_query_decoder).raw.time
    return 0 if has_tsc else -pte_no_time, tsc, lost_mtc, lost_cyc


@returns_values(None)
def pt_qry_core_bus_ratio(decoder: pt_query_decoder | None) -> tuple[int, int | None]:
    """``(status, cbr)``: the last core:bus ratio. ``-pte_no_cbr``: there has been none."""
    ratio = live(decoder, pt_query_decoder).raw.core_bus_ratio
    return (-pte_no_cbr, None) if ratio is None else (0, ratio)
