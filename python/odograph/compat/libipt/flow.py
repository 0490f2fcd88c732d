"""What libipt's block and instruction decoders share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from odograph.code.image import Asid
from odograph.compat.libipt.asid import pt_asid, pt_asid_no_cr3, pt_asid_no_vmcs, to_c
from odograph.compat.libipt.config import pt_config
from odograph.compat.libipt.decoder import Decoder, uint64
from odograph.compat.libipt.errors import pte_invalid, pte_no_cbr, pte_no_time
from odograph.compat.libipt.event import event_of, pt_event
from odograph.compat.libipt.image import image_of, pt_image, pt_image_alloc
from odograph.compat.libipt.structure import copied

if TYPE_CHECKING:
    from odograph._native import RawBlockDecoder, RawInstructionDecoder, _Answer
    from odograph.code.image import Image

_SIZE_END, _CR3_END, _VMCS_END = 8, 16, 24


class FlowDecoder(Decoder):
    """A decoder that reads code from an image: its own, unless another is set."""

    __slots__ = ("image", "own", "seen")
    native: ClassVar[type[RawBlockDecoder | RawInstructionDecoder]]
    resync_without: ClassVar[int] = pte_invalid
    """What libipt says where the decoder to resynchronise is missing."""

    def __init__(self, config: pt_config) -> None:
        self.own = self.image = pt_image_alloc(None)
        super().__init__(config)

    def make(self, trace: memoryview, values: dict[str, Any]) -> RawBlockDecoder | RawInstructionDecoder:
        """The decoder of the native module."""
        flags = getattr(self.config.flags.variant, self.layer)
        self.seen = self._memory()
        return self.native(
            trace,
            values,
            self.seen[0],
            bool(getattr(flags, "end_on_call", False)),
            bool(getattr(flags, "end_on_jump", False)),
            bool(flags.enable_tick_events),
        )

    def _memory(self) -> tuple[Image, int]:
        """The image, and its version; one that was freed is like none."""
        image = image_of(self.image)
        if image is None:
            self.own = self.image = pt_image_alloc(None)
            image = image_of(self.own)
            assert image is not None
        return image, image.version

    def _up_to_date(self) -> Any:
        """The native decoder, once it knows what has changed in the image."""
        memory = self._memory()
        if memory != self.seen:
            self.seen = memory
            self.raw.set_image(memory[0])
        return self.raw

    def set_image(self, image: pt_image | None) -> int:
        """Another image, or with None the decoder's own again."""
        self.image = self.own if image is None else image
        return 0

    def sync_forward(self) -> int:
        """The status, or a negative error."""
        return settled(self._up_to_date().sync_forward())

    def sync_backward(self) -> int:
        """0, or a negative error."""
        return min(settled(self._up_to_date().sync_backward()), 0)

    def sync_set(self, offset: int) -> int:
        """The status, or a negative error."""
        return settled(self._up_to_date().sync_set(uint64(offset)))

    def resync(self) -> int:
        """The status, or a negative error."""
        return settled(self._up_to_date().resync())

    def next(self) -> tuple[int, Any]:
        """The status, or a negative error, and the raw fields."""
        answer, raw = self._up_to_date().next()
        return settled(answer), raw

    def event(self, size: int) -> tuple[int, pt_event | None]:
        """``(status, event)``."""
        answer, raw = self._up_to_date().event()
        return settled(answer), None if raw is None else copied(event_of(raw), size)

    def time(self) -> tuple[int, int, int, int]:
        """``(status, time, lost_mtc, lost_cyc)``."""
        tsc, has_tsc, lost_mtc, lost_cyc = self.raw.time
        return 0 if has_tsc else -pte_no_time, tsc, lost_mtc, lost_cyc

    def core_bus_ratio(self) -> tuple[int, int | None]:
        """``(status, cbr)``."""
        ratio = self.raw.core_bus_ratio
        return (-pte_no_cbr, None) if ratio is None else (0, ratio)

    def asid(self, size: int) -> tuple[int, pt_asid | None]:
        """``(status, asid)``; what a smaller ``size`` has no room for is unknown."""
        if size < _SIZE_END:
            return -pte_invalid, None
        asid = to_c(Asid(*self.raw.asid))
        asid.size = min(size, _VMCS_END)
        asid.cr3 = asid.cr3 if size >= _CR3_END else pt_asid_no_cr3
        asid.vmcs = asid.vmcs if size >= _VMCS_END else pt_asid_no_vmcs
        return 0, asid


def settled(answer: _Answer) -> int:
    """The status or negative error of an answer; what a callback raised comes out."""
    status, raised = answer
    if raised is not None:
        raise raised
    return status
