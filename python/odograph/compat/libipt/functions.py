"""The functions that libipt has once for each layer, made for one of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

from odograph.compat.libipt.asid import pt_asid
from odograph.compat.libipt.config import config_copy, pt_config
from odograph.compat.libipt.decoder import Decoder, live, returns_values
from odograph.compat.libipt.errors import pte_nosync, returns_status
from odograph.compat.libipt.event import pt_event, sizeof_pt_event
from odograph.compat.libipt.flow import FlowDecoder
from odograph.compat.libipt.image import pt_image
from odograph.errors import InvalidArgument, OdographError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Handle = TypeVar("Handle", bound=Decoder)
FlowHandle = TypeVar("FlowHandle", bound=FlowDecoder)


class Functions(Generic[Handle]):
    """What all layers have. ``prefix`` is how the names of the layer begin: ``pt_blk_``."""

    def __init__(self, kind: type[Handle], prefix: str) -> None:
        self.kind = kind
        self.prefix = prefix

    def named(self, method: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        """A method of this class as the function that libipt has: name, words and arguments."""

        @functools.wraps(method)
        def function(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            return method(*args, **kwargs)

        function.__name__ = function.__qualname__ = self.prefix + method.__name__
        function.__module__ = self.kind.__module__
        return function

    def alloc_decoder(self, config: pt_config | None) -> Handle | None:
        """A new decoder; None if the configuration is None or names no trace.

        Those that read code have an image of their own.
        """
        try:
            return self.kind(config_copy(config))
        except OdographError:
            return None

    def free_decoder(self, decoder: Handle | None) -> None:
        """Give the decoder up. Using it afterwards is like using None."""
        if decoder is not None:
            decoder.raw = None

    @returns_values(None)
    def get_offset(self, decoder: Handle | None) -> tuple[int, int | None]:
        """``(status, offset)`` of the next packet. ``-pte_nosync``: not synchronised."""
        raw = live(decoder, self.kind).raw
        return (0, raw.offset) if raw.synced else (-pte_nosync, None)

    @returns_values(None)
    def get_sync_offset(self, decoder: Handle | None) -> tuple[int, int | None]:
        """``(status, offset)`` of the last PSB. ``-pte_nosync``: not synchronised."""
        raw = live(decoder, self.kind).raw
        return (0, raw.sync_offset) if raw.synced else (-pte_nosync, None)

    def get_config(self, decoder: Handle | None) -> pt_config | None:
        """The configuration of the decoder; None if there is no decoder."""
        try:
            return live(decoder, self.kind).config
        except InvalidArgument:
            return None


class FlowFunctions(Functions[FlowHandle]):
    """What the block and the instruction layer have."""

    @returns_status
    def sync_forward(self, decoder: FlowHandle | None) -> int:
        """Go to the next PSB; return the status. ``-pte_eos``: there is none; or the error in its PSB+."""
        return live(decoder, self.kind).sync_forward()

    @returns_status
    def sync_backward(self, decoder: FlowHandle | None) -> int:
        """Go to the PSB before; return 0. ``-pte_eos``: there is none; or the error in its PSB+."""
        return live(decoder, self.kind).sync_backward()

    @returns_status
    def sync_set(self, decoder: FlowHandle | None, offset: int) -> int:
        """Go to the PSB at an offset; return the status.

        ``-pte_nosync``: there is none; ``-pte_eos``: the offset lies beyond the end.
        """
        return live(decoder, self.kind).sync_set(offset)

    @returns_status
    def resync(self, decoder: FlowHandle | None) -> int:
        """After an error go on where the trace next says where that is; return the status.

        ``-pte_event_ignored``: a PTWRITE without place comes first; take it and call again. ``-pte_eos``: the
        trace ends first. If the decoder is None: for blocks ``-pte_invalid``, for instructions
        ``-pte_internal``.
        """
        if decoder is None:
            return -self.kind.resync_without
        return live(decoder, self.kind).resync()

    def get_image(self, decoder: FlowHandle | None) -> pt_image | None:
        """The image that the decoder reads code from; None if there is no decoder."""
        try:
            return live(decoder, self.kind).image
        except InvalidArgument:
            return None

    @returns_status
    def set_image(self, decoder: FlowHandle | None, image: pt_image | None) -> int:
        """Read code from another image; with None, from the decoder's own again."""
        return live(decoder, self.kind).set_image(image)

    @returns_values(None, None, None)
    def time(self, decoder: FlowHandle | None) -> tuple[int, int | None, int | None, int | None]:
        """``(status, time, lost_mtc, lost_cyc)`` of the last event that was used.

        ``-pte_no_time``: there has been no TSC; the time is relative to the start.
        """
        return live(decoder, self.kind).time()

    @returns_values(None)
    def core_bus_ratio(self, decoder: FlowHandle | None) -> tuple[int, int | None]:
        """``(status, cbr)``: the last core:bus ratio. ``-pte_no_cbr``: there has been none."""
        return live(decoder, self.kind).core_bus_ratio()

    @returns_values(None)
    def asid(self, decoder: FlowHandle | None, size: int = 24) -> tuple[int, pt_asid | None]:
        """``(status, asid)``: the present address space. ``size`` is that of the caller's ``pt_asid``."""
        return live(decoder, self.kind).asid(size)

    @returns_values(None)
    def event(self, decoder: FlowHandle | None, size: int = sizeof_pt_event) -> tuple[int, pt_event | None]:
        """``(status, event)``: the next event. ``size`` is that of the caller's ``pt_event``.

        ``-pte_bad_query``: no event belongs here; or the error that comes next.
        """
        return live(decoder, self.kind).event(size)
