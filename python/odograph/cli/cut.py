"""Recordings of which a part is missing or was not read: every command says it once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odograph.cli.output import say

if TYPE_CHECKING:
    from odograph.recording.recording import Recording

__all__ = ["say_cut"]


def say_cut(recording: Recording) -> None:
    """Says it on standard error, if it is so."""
    if (cut := recording.source.noted.cut) is not None:
        say(
            f"odograph: a part of {recording.path} is missing: {cut.message}; the answer is about the rest "
            f"(odograph info {recording.path} says more)"
        )
    if (left_out := recording.source.noted.left_out) is not None:
        say(f"odograph: a part of {recording.path} was not read: {left_out.message}")
