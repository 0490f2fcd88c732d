"""Threads of a recording, decoded with a progress line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odograph.cli.failure import Failure
from odograph.cli.progress import progress

if TYPE_CHECKING:
    from odograph.recording.recording import Recording
    from odograph.recording.recordingfile import Thread

__all__ = ["decoded"]


def decoded(recording: Recording, tid: int | None) -> list[Thread]:
    """The thread that was asked for, or all of them; their histories are ready then."""
    threads = recording.threads if tid is None else [recording.source.thread(tid)]
    if not threads:
        raise Failure(
            f"{recording.path} holds no trace of any thread; odograph info {recording.path} says more"
        )
    for thread in threads:
        with progress(f"decoding thread {thread.tid}") as report:
            recording.history(thread.tid, progress=report)
    return threads
