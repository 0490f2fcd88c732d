"""Why code is missing: from a gap to the file that would fill it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odograph.views.gaps import Explain

if TYPE_CHECKING:
    from odograph.history.instruction import Gap
    from odograph.recording.recording import Recording

__all__ = ["explainer"]


def explainer(recording: Recording, tid: int) -> Explain:
    """Explains gaps of a thread by what its process had mapped."""
    from odograph.code.binaries import Missing

    source = recording.source

    def explain(gap: Gap) -> tuple[str, str] | None:
        if gap.cause == "cut" and (cut := source.noted.cut) is not None:
            return cut.message, "copy the recording once more from where it was made, or record again"
        if (
            gap.cause == "lost"
            and source.noted.lacks_records
            and (left_out := source.noted.left_out) is not None
        ):
            return left_out.message, "read the whole recording with --max-expanded SIZE, if you trust it"
        if gap.cause == "lost" and (said := source.unwritten.get(tid)) is not None:
            return said, "record again where there is more room"
        if gap.cause != "memory" or gap.ip is None:
            return None
        mapping = None if source.kind == "raw" else source.mapping_at(source.thread(tid).pid, gap.ip)
        if mapping is not None:
            found = source.resolve(mapping)
            if isinstance(found, Missing):
                return found.reason, found.hint
            name = mapping.filename or "this mapping"
            return f"{name} is shorter than what was mapped", "name the recorded file with --sysroot"
        page = gap.ip & ~0xFFF
        if source.kind == "raw":
            reason = (
                f"nothing is given for {page:#x}" if source.user_image else "no code was given for this trace"
            )
            return reason, "name the code with --map FILE:ADDRESS or --elf FILE:BASE"
        return f"no file was mapped at {page:#x}", (
            "the program made this code while it ran; record with odograph record --with qemu, which keeps it"
        )

    return explain
