"""How facts show themselves: addresses in hexadecimal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

__all__ = ["hex_repr"]

_Fact = TypeVar("_Fact")


def hex_repr(*fields: str) -> Callable[[type[_Fact]], type[_Fact]]:
    """Gives a dataclass or NamedTuple a ``repr`` in which integers in ``fields`` are hexadecimal.

    A field that is a mapping shows its values so.
    """

    def decorate(cls: type[_Fact]) -> type[_Fact]:
        names: list[str] = list(getattr(cls, "_fields", ()))
        if not names and dataclasses.is_dataclass(cls):
            names = [field.name for field in dataclasses.fields(cls) if field.repr]
        unknown = set(fields) - set(names)
        assert not unknown, f"{cls.__name__} has no fields {sorted(unknown)}"

        def shown(self: object) -> str:
            values = ((name, getattr(self, name)) for name in names)
            words = (f"{name}={_hex(value) if name in fields else repr(value)}" for name, value in values)
            return f"{type(self).__name__}({', '.join(words)})"

        cls.__repr__ = shown  # type: ignore[method-assign]
        return cls

    return decorate


def _hex(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return hex(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_hex(one)}" for key, one in value.items()) + "}"
    return repr(value)
