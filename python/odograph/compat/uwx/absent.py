"""``uwx_self_*`` and ``uwx_ttrace_*``: they read the own process, or another one, through HP-UX.

Nothing of HP-UX is here, so there is nothing they could read; they answer what uwx(3X) has for that: no
information block, ``UWX_ERR_UCACCESS``, no bytes, ``UWX_LKUP_ERR``. None as environment is ``UWX_ERR_NOENV``
as everywhere.
"""

from __future__ import annotations

from typing import Any

from odograph.compat.uwx.env import raw_of, uwx_env
from odograph.compat.uwx.names import UWX_ERR_NOENV, UWX_ERR_UCACCESS, UWX_LKUP_ERR, UWX_OK


def _cannot(env: uwx_env | None) -> int:
    return UWX_ERR_NOENV if raw_of(env) is None else UWX_ERR_UCACCESS


def uwx_self_init_info(env: uwx_env | None) -> None:
    """None: there is no information about the own process."""
    raw_of(env)


def uwx_self_free_info(info: None) -> int:
    """UWX_OK: there is nothing to free."""
    return UWX_OK


def uwx_self_init_context(env: uwx_env | None) -> int:
    """UWX_ERR_UCACCESS."""
    return _cannot(env)


def uwx_self_init_from_sigcontext(env: uwx_env | None, info: None, ucontext: Any) -> int:
    """UWX_ERR_UCACCESS."""
    return _cannot(env)


def uwx_self_do_context_frame(env: uwx_env | None, info: None) -> int:
    """UWX_ERR_UCACCESS."""
    return _cannot(env)


def uwx_self_copyin(request: int, loc: memoryview, rem: int, len: int, tok: Any) -> int:
    """0: nothing was read."""
    return 0


def uwx_self_lookupip(request: int, ip: int, tok: Any, uvec: list[Any]) -> int:
    """UWX_LKUP_ERR."""
    return UWX_LKUP_ERR


def uwx_ttrace_init_info(env: uwx_env | None, pid: int, lwpid: int, load_map_start: int) -> None:
    """None: there is no information about another process."""
    raw_of(env)


def uwx_ttrace_free_info(info: None) -> int:
    """UWX_OK: there is nothing to free."""
    return UWX_OK


def uwx_ttrace_init_context(env: uwx_env | None, info: None) -> int:
    """UWX_ERR_UCACCESS."""
    return _cannot(env)


def uwx_ttrace_do_context_frame(env: uwx_env | None, info: None) -> int:
    """UWX_ERR_UCACCESS."""
    return _cannot(env)


def uwx_ttrace_copyin(request: int, loc: memoryview, rem: int, len: int, tok: Any) -> int:
    """0: nothing was read."""
    return 0


def uwx_ttrace_lookupip(request: int, ip: int, tok: Any, uvec: list[Any]) -> int:
    """UWX_LKUP_ERR."""
    return UWX_LKUP_ERR
