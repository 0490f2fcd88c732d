"""``uwx_find_symbol``: names of functions from an ELF file, with a cache of one file."""

from __future__ import annotations

import operator

from odograph.compat.uwx.env import raw_of, uwx_env
from odograph.compat.uwx.memory import CACHE, Block, allocate
from odograph.compat.uwx.names import UWX_ERR_NOENV, UWX_ERR_NOMEM, UWX_ERR_NOSYM, UWX_OK
from odograph.errors import InvalidArgument, OdographError
from odograph.unwind.ia64.modules import Module


class uwx_symbol_cache:
    """An opaque handle: the functions of the module that was asked about last."""

    __slots__ = ("block", "module", "name")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.name: str | None = None
        self.module: Module | None = None


def uwx_find_symbol(
    env: uwx_env | None, cachep: uwx_symbol_cache | None, module_name: str | bytes, relip: int
) -> tuple[int, uwx_symbol_cache | None, str | None, int | None]:
    """``(status, cache, symbol, offset)``: the last function that begins at or before an address of a module.

    ``relip`` is the address less that of the module's text. The first call takes None for ``cachep``, later
    ones the cache that came back, until ``uwx_release_symbol_cache``. UWX_ERR_NOSYM: there is none, or the
    file cannot be read.
    """
    if raw_of(env) is None:
        return UWX_ERR_NOENV, cachep, None, None
    if cachep is None:
        block = allocate(CACHE)
        if block is None:
            return UWX_ERR_NOMEM, None, None, None
        cachep = uwx_symbol_cache(block)
    elif not isinstance(cachep, uwx_symbol_cache):
        raise TypeError(f"cachep must be a uwx_symbol_cache or None, not {type(cachep).__name__}")
    name = module_name.decode(errors="surrogateescape") if isinstance(module_name, bytes) else module_name
    relip = operator.index(relip)
    try:
        if cachep.name != name:
            cachep.name, cachep.module = None, None
            cachep.module = Module(name)
            cachep.name = name
        assert cachep.module is not None
        address = (cachep.module.text + relip) & (1 << 64) - 1
        found = cachep.module.function(address)
    except InvalidArgument:
        found = None
    except OdographError:
        found = None
    if found is None:
        return UWX_ERR_NOSYM, cachep, None, None
    symbol, start = found
    return UWX_OK, cachep, symbol, address - start


def uwx_release_symbol_cache(env: uwx_env | None, symbol_cache: uwx_symbol_cache | None) -> None:
    """Gives a cache up; None is allowed."""
    raw_of(env)
    if symbol_cache is not None:
        symbol_cache.name, symbol_cache.module = None, None
        symbol_cache.block.free()
