"""Gaps in groups, each with a reason and what would help."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from odograph.history.history import History
from odograph.history.instruction import AMBIGUOUS, Gap
from odograph.text.reprs import hex_repr
from odograph.views.numbers import counted, size

__all__ = ["GapGroup", "gap_groups", "gap_lines", "gaps_and_notes", "losses"]

Explain = Callable[[Gap], tuple[str, str] | None]
"""Gives the reason and the help for a gap, where more is known than the gap itself says."""

_REASONS = {
    "overflow": (
        "the processor lost trace data because its buffer was full",
        "record less at a time, without the kernel or with a filter, or drop --cyc-thresh",
    ),
    "lost": (
        "trace data is missing: the recorder could not write it in time",
        "record again with bigger buffers (perf record -m ,64M) or a shorter run",
    ),
    "cut": (
        "the file of the recording is cut or damaged: what it held behind this place is missing",
        "copy it once more from where it was made, or record again",
    ),
    "memory": (
        "the code that ran here is not known",
        "give it with --map FILE:ADDRESS or --elf FILE:BASE, or name a --sysroot that has the binaries",
    ),
    "undecodable": (
        "these bytes are no Intel PT packet, or no instruction",
        "the trace is damaged here, or the code is not the one that ran; check --cpu and the binaries",
    ),
    "contradiction": (
        "the trace does not fit the code",
        "the binaries are not those that ran, or the processor has an erratum: check them and --cpu",
    ),
    "endless": (
        "the code runs in a loop that needs no trace",
        "the binaries are probably not those that ran",
    ),
    AMBIGUOUS: (
        "a loop of direct jumps or calls writes no packets; it may have gone round more often than is shown",
        "record with odograph run --with qemu, which counts the instructions",
    ),
}


@hex_repr("offset", "ip")
@dataclass(slots=True)
class GapGroup:
    """Gaps or notes with one cause and one remedy. ``step``, ``offset`` and ``ip`` are those of the first.

    ``is_note``: they are notes, so nothing is known to be lost.
    """

    cause: str
    code: str | None
    reason: str
    help: str
    count: int
    bytes_lost: int
    step: int
    offset: int
    ip: int | None
    is_note: bool = False


def losses(groups: Iterable[GapGroup]) -> int:
    """The number of gaps; notes do not count."""
    return sum(group.count for group in groups if not group.is_note)


def gaps_and_notes(groups: Sequence[GapGroup]) -> str:
    """``no gaps``, ``2 gaps``, or ``no gaps, 1 note``."""
    lost = losses(groups)
    notes = sum(group.count for group in groups) - lost
    return (counted(lost, "gap") if lost else "no gaps") + (f", {counted(notes, 'note')}" if notes else "")


def gap_groups(
    gaps: Iterable[Gap] | History | Iterable[History], explain: Explain | None = None
) -> list[GapGroup]:
    """Gaps, or those of histories, in groups, in the order of their first ones."""
    groups: dict[tuple[str, str], GapGroup] = {}
    for gap, number, lost in _kinds(gaps):
        known = explain(gap) if explain is not None else None
        reason, remedy = known or _REASONS.get(gap.cause, (gap.cause, "record again"))
        group = groups.get((gap.cause, reason))
        if group is None:
            code = gap.code.name if gap.code is not None else None
            groups[gap.cause, reason] = GapGroup(
                gap.cause, code, reason, remedy, number, lost, gap.step, gap.offset, gap.ip, gap.is_note
            )
        else:
            group.count += number
            group.bytes_lost += lost
    return list(groups.values())


def _kinds(gaps: Iterable[Gap] | History | Iterable[History]) -> Iterable[tuple[Gap, int, int]]:
    """(the first one, number, bytes lost) of gaps that are alike, or of each."""
    if isinstance(gaps, History):
        yield from gaps.gap_kinds()
        return
    for one in gaps:
        if isinstance(one, History):
            yield from one.gap_kinds()
        else:
            yield one, 1, one.bytes_lost


def gap_lines(groups: list[GapGroup], limit: int = 8) -> list[str]:
    """Two lines a group: what and where, then what to do; of the first ``limit`` groups."""
    lines = []
    for group in groups[:limit]:
        where = f"step {group.step:,}, trace offset {group.offset:#x}"
        if group.ip is not None:
            where += f", ip {group.ip:#x}"
        first = "" if group.count == 1 else "first at "
        lost = "" if group.is_note else f", {size(group.bytes_lost)} of trace unused"
        what = counted(group.count, "note" if group.is_note else "gap")
        lines.append(f"{what} ({group.cause}{lost}; {first}{where}): {group.reason}")
        lines.append(f"    try: {group.help}")
    if len(groups) > limit:
        rest = groups[limit:]
        gaps = losses(rest)
        notes = sum(group.count for group in rest) - gaps
        kinds = [counted(number, noun) for number, noun in ((gaps, "gap"), (notes, "note")) if number]
        lines.append(f"and {' and '.join(kinds)} for {counted(len(rest), 'other reason')}")
    return lines
