"""Files that lie where a recording says, but are other ones now: every command says it once."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import click

from odograph.cli.output import say

if TYPE_CHECKING:
    from odograph.recording.recording import Recording

__all__ = ["say_refused", "tell_refused"]

_said: WeakKeyDictionary[Recording, set[str]] = WeakKeyDictionary()


def tell_refused(recording: Recording) -> None:
    """Says it when the command ends: files are looked at when they are needed."""
    context = click.get_current_context(silent=True)
    if context is not None:
        context.call_on_close(lambda: say_refused(recording))


def say_refused(recording: Recording) -> None:
    """Says which files were refused so far, each once."""
    said = _said.setdefault(recording, set())
    for name, missing in recording.source.binaries.refused.items():
        if name not in said:
            said.add(name)
            say(f"odograph: {missing.reason}; none of its names, lines and bytes are used; {missing.hint}")
