"""Streams of raw perf records beside a trace, as libipt's tools take them with ``--pevent``.

They come without a header, so the caller says how they are laid out (:class:`Settings`). A
:class:`Session` merges them by time, and knows which process's memory a trace is to be decoded with.
"""

from __future__ import annotations

from odograph.dropins.pevent.context import Context
from odograph.dropins.pevent.event import Event, TracePoint
from odograph.dropins.pevent.record import SidebandRecord
from odograph.dropins.pevent.session import Session
from odograph.dropins.pevent.settings import Settings
from odograph.dropins.pevent.stream import Stream
from odograph.dropins.pevent.text import prefix, text

__all__ = [
    "Context",
    "Event",
    "Session",
    "Settings",
    "SidebandRecord",
    "Stream",
    "TracePoint",
    "prefix",
    "text",
]
