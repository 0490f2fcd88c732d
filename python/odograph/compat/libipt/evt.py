"""``pt_evt_*``: the event decoder with libipt's argument order and return values."""

from __future__ import annotations

from typing import Any

from odograph._native import RawEventDecoder
from odograph.compat.libipt.decoder import Decoder, live, returns_values, uint64
from odograph.compat.libipt.errors import pte_eos, returns_status
from odograph.compat.libipt.event import event_of, pt_event, sizeof_pt_event
from odograph.compat.libipt.functions import Functions
from odograph.compat.libipt.structure import copied


class pt_event_decoder(Decoder):
    """An event decoder."""

    __slots__ = ()

    def make(self, trace: memoryview, values: dict[str, Any]) -> RawEventDecoder:
        """The decoder of the native module."""
        return RawEventDecoder(trace, values)


_functions = Functions(pt_event_decoder, "pt_evt_")
pt_evt_alloc_decoder = _functions.named(_functions.alloc_decoder)
pt_evt_free_decoder = _functions.named(_functions.free_decoder)
pt_evt_get_offset = _functions.named(_functions.get_offset)
pt_evt_get_sync_offset = _functions.named(_functions.get_sync_offset)
pt_evt_get_config = _functions.named(_functions.get_config)


@returns_status
def pt_evt_sync_forward(decoder: pt_event_decoder | None) -> int:
    """Go to the next PSB. ``-pte_eos``: there is none; or the error inside its PSB+."""
    live(decoder, pt_event_decoder).raw.sync_forward()
    return 0


@returns_status
def pt_evt_sync_backward(decoder: pt_event_decoder | None) -> int:
    """Go to the PSB before. ``-pte_eos``: there is none, or its PSB+ is cut off; or the error inside it."""
    live(decoder, pt_event_decoder).raw.sync_backward(True)
    return 0


@returns_status
def pt_evt_sync_set(decoder: pt_event_decoder | None, offset: int) -> int:
    """Go to the PSB at an offset. ``-pte_nosync``: there is none; ``-pte_eos``: it lies beyond the end."""
    live(decoder, pt_event_decoder).raw.sync_set(uint64(offset))
    return 0


@returns_values(None)
def pt_evt_next(decoder: pt_event_decoder | None, size: int = sizeof_pt_event) -> tuple[int, pt_event | None]:
    """``(status, event)``: the next event; the status is 0.

    ``size`` is that of the caller's ``pt_event``. Errors repeat until the decoder is synchronised again;
    ``-pte_eos`` at the end, ``-pte_nosync`` if it is not synchronised.
    """
    found = live(decoder, pt_event_decoder).raw.next()
    return (-pte_eos, None) if found is None else (0, copied(event_of(found), size))
