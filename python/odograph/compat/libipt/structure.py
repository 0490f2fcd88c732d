"""C structures: laid out as in libipt's header, compared and printed by their fields."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any, TypeAlias, TypeVar

BITS = ctypes.c_uint8
"""What bits lie in: C puts them right behind the byte before, for every declared type."""

Field: TypeAlias = Any
"""A ctypes type, or a number of bits."""


def _shown(structure: Any) -> Iterator[str]:
    for name, *_ in structure._fields_:
        value = getattr(structure, name)
        yield f"{name}={list(value) if isinstance(value, ctypes.Array) else value!r}"


class Structure(ctypes.Structure):
    """A C structure. Two are equal if they are of one type and all their bytes are equal."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return memoryview(self).tobytes() == memoryview(other).tobytes()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(_shown(self))})"


class Union(ctypes.Union):
    """A C union: each field is another view of the same bytes."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


def _layout(fields: dict[str, Field]) -> list[tuple[Any, ...]]:
    return [
        (name, BITS, field) if isinstance(field, int) else (name, field) for name, field in fields.items()
    ]


def structure(name: str, /, **fields: Field) -> Any:
    """A structure type with these fields in order."""
    return type(name, (Structure,), {"_fields_": _layout(fields)})


def union(name: str, /, **fields: Field) -> Any:
    """A union type with these fields."""
    return type(name, (Union,), {"_fields_": _layout(fields)})


S = TypeVar("S", bound=ctypes.Structure)


def copied(source: S, size: int) -> S:
    """The first ``size`` bytes of a structure, as a caller gets them that knows no more; the rest is 0."""
    copy = type(source)()
    ctypes.memmove(ctypes.byref(copy), ctypes.byref(source), max(0, min(size, ctypes.sizeof(source))))
    return copy
