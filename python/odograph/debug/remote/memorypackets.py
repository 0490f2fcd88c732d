"""``m``, ``M``, ``X``: memory, which can only be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odograph.debug.remote.session import Refused

if TYPE_CHECKING:
    from odograph.debug.remote.session import Session

__all__ = ["read", "region"]

_MOST = 0x4000


def read(session: Session, rest: str) -> str:
    """``m address,length``: as much as is known from there on; E14 (EFAULT) if nothing is."""
    address_text, _, length_text = rest.partition(",")
    address, length = int(address_text, 16), int(length_text, 16)
    if not 0 <= address < 1 << 64 or length < 0:
        raise Refused("E22")
    data = session.target.read(address, min(length, _MOST))
    if not data and length:
        raise Refused("E14")
    return data.hex()


def region(session: Session, rest: str) -> str:
    """``qMemoryRegionInfo:address``: the file that is mapped there, or that nothing is known."""
    address = int(rest, 16)
    page = address & ~0xFFF
    for file in session.target.files:
        for part in file.read_only:
            if part.address <= address < part.address + part.size:
                name = file.name.encode().hex()
                return f"start:{part.address:x};size:{part.size:x};permissions:rx;name:{name};"
    return f"start:{page:x};size:1000;permissions:r;"
