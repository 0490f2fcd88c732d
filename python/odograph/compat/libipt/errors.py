"""``pte_*``, ``pt_errcode`` and ``pt_errstr``: libipt's error codes.

As in C the constants are positive, and functions return their negatives.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from odograph.errors import OdographError, PtError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

pte_ok: Final = 0
pte_internal: Final = 1
pte_invalid: Final = 2
pte_nosync: Final = 3
pte_bad_opc: Final = 4
pte_bad_packet: Final = 5
pte_bad_context: Final = 6
pte_eos: Final = 7
pte_bad_query: Final = 8
pte_nomem: Final = 9
pte_bad_config: Final = 10
pte_noip: Final = 11
pte_ip_suppressed: Final = 12
pte_nomap: Final = 13
pte_bad_insn: Final = 14
pte_no_time: Final = 15
pte_no_cbr: Final = 16
pte_bad_image: Final = 17
pte_bad_lock: Final = 18
pte_not_supported: Final = 19
pte_retstack_empty: Final = 20
pte_bad_retcomp: Final = 21
pte_bad_status_update: Final = 22
pte_no_enable: Final = 23
pte_event_ignored: Final = 24
pte_overflow: Final = 25
pte_bad_file: Final = 26
pte_bad_cpu: Final = 27


def pt_errcode(status: int) -> int:
    """The positive error code of a negative status; 0 for any other."""
    return -status if status < 0 else pte_ok


def pt_errstr(code: int) -> str:
    """The sentence for a positive error code, or ``internal error.`` for one that does not exist."""
    code = operator.index(code)
    return PtError(code).message if 0 <= code < len(PtError) else "internal error."


class UnknownStatus(OdographError):
    """A callback returned a negative status that is no libipt error; the call that needed it returns it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"a callback returned {status}", code=PtError.internal)
        self.status = status


class FromCallback:
    """Marks the errors of ours that a callback raised itself: those come out, and become no status."""

    _MARK: Final = "_raised_by_a_callback"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OdographError):
            setattr(error, self._MARK, True)

    @classmethod
    def marks(cls, error: OdographError) -> bool:
        """True if a callback raised this error."""
        return hasattr(error, cls._MARK)


def returns_status(function: Callable[Parameters, Result]) -> Callable[Parameters, Result | int]:
    """Make a function return the negative of a libipt error where ours would raise it.

    Errors without a libipt code, and what a callback raised, come out as exceptions.
    """

    @functools.wraps(function)
    def with_status(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result | int:
        try:
            return function(*args, **kwargs)
        except UnknownStatus as error:
            return error.status
        except OdographError as error:
            if error.code is None or FromCallback.marks(error):
                raise
            return -int(error.code)

    return with_status
