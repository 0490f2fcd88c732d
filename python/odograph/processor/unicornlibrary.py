"""The Unicorn emulator, imported when it is asked for."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from odograph.errors import InvalidArgument, UnsupportedOperation

__all__ = ["Unicorn", "register", "unicorn"]


class Unicorn(NamedTuple):
    """Its modules."""

    library: Any
    x86: Any


@cache
def unicorn() -> Unicorn:
    """The emulator; :class:`~odograph.UnsupportedOperation` names what to install if it is missing."""
    try:
        import unicorn as library
        from unicorn import x86_const as x86
    except ImportError as error:
        raise UnsupportedOperation(
            "emulating needs Unicorn, which is not installed: pip install 'odograph[emulator]'"
        ) from error
    return Unicorn(library, x86)


@cache
def register(name: str) -> int:
    """Unicorn's number of a register; InvalidArgument if there is none of that name."""
    number = getattr(unicorn().x86, f"UC_X86_REG_{name.upper()}", None)
    if not isinstance(number, int):
        raise InvalidArgument(
            f"there is no register {name!r}; registers have x86 names such as rax, eip, eflags"
        )
    return number
