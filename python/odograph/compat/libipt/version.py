"""``pt_library_version``: the version of libipt whose interface this is."""

from __future__ import annotations

from typing import NamedTuple


class pt_version(NamedTuple):
    """A library version."""

    major: int
    minor: int
    patch: int
    build: int
    ext: str


def pt_library_version() -> pt_version:
    """The libipt version whose functions and behaviour these are."""
    return pt_version(2, 3, 0, 0, "devel")
