"""Everything Odograph raises, and libipt's error numbers.

The family tree::

    OdographError
     ├── InvalidArgument (also ValueError)
     ├── Reentered (also RuntimeError)
     ├── UnsupportedOperation
     ├── TraceError           a trace could not be decoded
     ├── ImageError           memory of the traced program could not be read or described
     ├── ClusterError         other processes or machines did not do their part
     ├── UnknownSymbol (also KeyError)   a name means nothing here
     │    └── AmbiguousName              or more than one thing
     ├── UnwindError          a call stack could not be followed
     └── RecordingError       a recording file is damaged, foreign, or could not be made
          ├── CommandError                 the program to be recorded could not be run
          └── OutputError (also OSError)   a file could not be written where it should go
"""

from __future__ import annotations

import enum
from typing import Final

__all__ = [
    "AmbiguousName",
    "ClusterError",
    "CommandError",
    "ImageError",
    "InvalidArgument",
    "OdographError",
    "OutputError",
    "PtError",
    "RecordingError",
    "Reentered",
    "TraceError",
    "UnknownSymbol",
    "UnsupportedOperation",
    "UnwindError",
]


class PtError(enum.IntEnum):
    """libipt's ``pt_error_code`` with its names (less ``pte_``) and positive values."""

    ok = 0
    internal = 1
    invalid = 2
    nosync = 3
    bad_opc = 4
    bad_packet = 5
    bad_context = 6
    eos = 7
    bad_query = 8
    nomem = 9
    bad_config = 10
    noip = 11
    ip_suppressed = 12
    nomap = 13
    bad_insn = 14
    no_time = 15
    no_cbr = 16
    bad_image = 17
    bad_lock = 18
    not_supported = 19
    retstack_empty = 20
    bad_retcomp = 21
    bad_status_update = 22
    no_enable = 23
    event_ignored = 24
    overflow = 25
    bad_file = 26
    bad_cpu = 27

    @property
    def message(self) -> str:
        """The sentence libipt's ``pt_errstr`` gives."""
        return _MESSAGES[self]


_MESSAGES: Final = (
    "OK",
    "internal error",
    "invalid argument",
    "decoder out of sync",
    "unknown opcode",
    "unknown packet",
    "unexpected packet context",
    "reached end of trace stream",
    "trace stream does not match query",
    "out of memory",
    "bad configuration",
    "no ip",
    "ip has been suppressed",
    "no memory mapped at this address",
    "unknown instruction",
    "no timing information",
    "no core:bus ratio",
    "bad image",
    "locking error",
    "not supported",
    "compressed return without call",
    "bad compressed return",
    "bad status update",
    "expected tracing enabled event",
    "event ignored",
    "overflow",
    "bad file",
    "unknown cpu",
)


class OdographError(Exception):
    """Base of every error about recordings, images and traces; it says where it happened.

    ``code`` is the libipt error where libipt names one, else None. ``offset`` is a byte offset in the
    trace or file, ``ip`` an address in the traced program, ``asid`` the address space; None = not known.
    """

    def __init__(
        self,
        message: str,
        *,
        code: PtError | int | None = None,
        offset: int | None = None,
        ip: int | None = None,
        asid: object | None = None,
    ) -> None:
        super().__init__(message)
        self.code: PtError | None = None if code is None else PtError(code)
        self.offset = offset
        self.ip = ip
        self.asid = asid

    def __str__(self) -> str:
        where = []
        if self.offset is not None:
            where.append(f"offset {self.offset:#x}")
        if self.ip is not None:
            where.append(f"ip {self.ip:#x}")
        if self.asid is not None:
            where.append(f"asid {self.asid}")
        text = super().__str__()
        return f"{text} ({', '.join(where)})" if where else text


class InvalidArgument(OdographError, ValueError):
    """An argument of the right type has a value that makes no sense."""


class Reentered(OdographError, RuntimeError):
    """An object was used again from inside one of its own callbacks."""


class UnsupportedOperation(OdographError):
    """This object cannot do that; another kind might."""


class TraceError(OdographError):
    """A trace could not be decoded here."""


class ImageError(OdographError):
    """Memory of the traced program could not be read or described."""


class UnwindError(OdographError):
    """A call stack could not be followed.

    ``status`` is why, by the numbers of uwx(3X); ``ip`` the frame that could not be left.
    """

    def __init__(self, message: str, *, status: int, ip: int | None = None) -> None:
        super().__init__(message, ip=ip)
        self.status = status


class ClusterError(OdographError):
    """There is no cluster to work on, or it has lost a task more often than it may."""


class RecordingError(OdographError):
    """A recording is damaged, foreign, or could not be made."""


class OutputError(RecordingError, OSError):
    """A file cannot be written where it should go.

    If it was made already, the message says where it is.
    """


class CommandError(RecordingError):
    """The command could not be run. ``status`` is a shell's: 127 not found, 126 not executable."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class UnknownSymbol(OdographError, KeyError):
    """No module has a symbol of this name; the message names the nearest ones."""

    def __str__(self) -> str:
        return str(self.args[0])


class AmbiguousName(UnknownSymbol):
    """Several functions are meant by a shortened name; the message lists them."""
