"""What :meth:`History.find <odograph.History.find>` looks for: addresses, names, intervals."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING

from odograph.errors import InvalidArgument, UnknownSymbol

if TYPE_CHECKING:
    from odograph.symbols import Symbols

__all__ = ["Place", "Where", "has_names", "wanted"]

Place = int | str
Where = Place | tuple[Place, Place] | list[int] | list[str] | list[Place] | Set[int] | Set[str] | Set[Place]
"""What :meth:`History.find` looks for."""


def has_names(what: Where) -> bool:
    """Whether names are to be looked up, which may mean other addresses at other times."""
    return isinstance(what, str) or (
        isinstance(what, (tuple, list, Set)) and any(isinstance(one, str) for one in what)
    )


def wanted(what: Where, names: Symbols | None) -> tuple[tuple[int, ...], bool]:
    """Ascending addresses, and whether they are the ends of a range."""

    def places(one: Place) -> list[int]:
        if not isinstance(one, str):
            return [int(one)]
        if names is None:
            raise UnknownSymbol(
                f"this history has no symbols to look up {one!r} in; give an address, or use odograph.open"
            )
        return names.addresses(one)

    addresses: list[int]
    match what:
        case str():
            addresses = sorted(places(what))
        case int():
            addresses = [what]
        case tuple():
            if len(what) != 2:
                raise InvalidArgument(
                    f"a tuple is an interval (first, last), not of length {len(what)}; "
                    "write a list for several places"
                )
            first, last = (places(one)[0] for one in what)
            if first > last:
                raise InvalidArgument(
                    f"the interval is upside down: {first:#x} to {last:#x}; write a list for several places"
                )
            addresses = [first, last]
        case list() | Set():
            addresses = sorted({address for one in what for address in places(one)})
        case _:
            raise TypeError(
                f"look for an address, a name, a list of these or (first, last), not {type(what).__name__}"
            )
    for address in addresses:
        if not 0 <= address < 1 << 64:
            raise InvalidArgument(f"not an address: {address}")
    return tuple(addresses), isinstance(what, tuple)
