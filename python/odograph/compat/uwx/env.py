"""``uwx_*`` of an environment: its callbacks, its context, its registers, stepping."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from odograph._native import UwxEnv
from odograph._native import uwx_add_to_bsp as _add_to_bsp
from odograph.compat.uwx.memory import ENVIRONMENT, POOL, Block, allocate
from odograph.compat.uwx.names import UWX_ERR_NOENV, UWX_ERR_NOMEM, UWX_OK

if TYPE_CHECKING:
    from typing import TypeAlias

    copyin_cb: TypeAlias = Callable[[int, memoryview, int, int, Any], int]
    lookupip_cb: TypeAlias = Callable[[int, int, Any, list[Any]], int]
    Value: TypeAlias = int | tuple[int, int]


class uwx_env:
    """An opaque handle of ``uwx_init``. After ``uwx_free`` using it is like using None."""

    __slots__ = ("__weakref__", "block", "pool", "raw")

    def __init__(self, block: Block) -> None:
        self.raw: UwxEnv | None = UwxEnv()
        self.block = block
        self.pool: Block | None = None


def raw_of(env: uwx_env | None) -> UwxEnv | None:
    """What is behind a handle; None for None and for one that was freed."""
    if env is not None and not isinstance(env, uwx_env):
        raise TypeError(f"env must be a uwx_env or None, not {type(env).__name__}")
    return None if env is None else env.raw


def uwx_init() -> uwx_env | None:
    """A new environment; None if there is no memory for it."""
    block = allocate(ENVIRONMENT)
    return None if block is None else uwx_env(block)


def uwx_free(env: uwx_env | None) -> int:
    """Gives an environment up; None is allowed. Returns UWX_OK."""
    if raw_of(env) is not None:
        assert env is not None
        env.raw = None
        blocks, env.pool = (env.pool, env.block), None
        for block in blocks:
            if block is not None:
                block.free()
    return UWX_OK


def uwx_set_remote(env: uwx_env | None, is_big_endian_target: int) -> int:
    """Says which byte order unwind tables and information blocks have.

    Without it they have the least significant byte first; all is read through the callbacks in any case.
    """
    raw = raw_of(env)
    return UWX_ERR_NOENV if raw is None else raw.set_remote(bool(is_big_endian_target))


def uwx_set_nofr(env: uwx_env | None) -> int:
    """Follow preserved floating-point registers no further, which is quicker. ``uwx_set_fr`` ends that."""
    raw = raw_of(env)
    return UWX_ERR_NOENV if raw is None else raw.set_nofr()


def uwx_register_callbacks(
    env: uwx_env | None, tok: Any, copyin: copyin_cb | None, lookupip: lookupip_cb | None
) -> int:
    """Sets the callbacks, and the token that they are given untouched.

    ``copyin(request, loc, rem, len, tok)`` puts ``len`` bytes into ``loc``, a writable memoryview, and
    returns their number, 0 if it cannot. ``lookupip(request, ip, tok, uvec)`` replaces what is in the list
    ``uvec`` and returns a ``UWX_LKUP_*``. An exception in one of them comes out of the call that needed it,
    the context being what it was.
    """
    raw = raw_of(env)
    if raw is None:
        return UWX_ERR_NOENV
    for callback in (copyin, lookupip):
        if callback is not None and not callable(callback):
            raise TypeError(f"a callback must be callable or None, not {type(callback).__name__}")
    return raw.register_callbacks(tok, copyin, lookupip)


def uwx_init_context(env: uwx_env | None, ip: int, sp: int, bsp: int, cfm: int) -> int:
    """Begins at a frame: ``ip`` a bundle's address and in its low bits the slot, ``bsp`` where GR32 is saved,
    ``cfm`` the current frame marker with AR.EC from bit 52. Forgets all other registers.
    """
    raw = raw_of(env)
    return UWX_ERR_NOENV if raw is None else raw.init_context(ip, sp, bsp, cfm)


def uwx_init_history(env: uwx_env | None) -> int:
    """From here on, the saved location of every register is the register."""
    raw = raw_of(env)
    return UWX_ERR_NOENV if raw is None else raw.init_history()


def uwx_set_reg(env: uwx_env | None, regid: int, val: int) -> int:
    """Sets a register of the context: the special ones, GR4 to GR7, BR1 to BR5; GR12 is SP.

    UWX_ERR_BADREGID for others.
    """
    raw = raw_of(env)
    return UWX_ERR_NOENV if raw is None else raw.set_reg(regid, val)


def uwx_set_fr(env: uwx_env | None, regid: int, val: tuple[int, int]) -> int:
    """Sets a preserved floating-point register, ``(significand, sign << 17 | exponent)``; such are followed
    again.
    """
    raw = raw_of(env)
    if raw is None:
        return UWX_ERR_NOENV
    significand, exponent = val
    return raw.set_fr(regid, (significand, exponent))


def uwx_step(env: uwx_env | None) -> int:
    """Goes to the caller's frame. UWX_BOTTOM, UWX_ABI_FRAME and errors leave the context as it was."""
    raw = raw_of(env)
    return UWX_ERR_NOENV if raw is None else raw.step()


def uwx_get_reg(env: uwx_env | None, regid: int) -> tuple[int, Value | None]:
    """``(status, value)`` of a register in the current frame; of an FR the value is a pair as in
    ``uwx_set_fr``.
    """
    raw = raw_of(env)
    return (UWX_ERR_NOENV, None) if raw is None else raw.get_reg(regid)


def uwx_get_nat(env: uwx_env | None, regid: int) -> tuple[int, int | None]:
    """``(status, nat)``: the NaT bit of GR0, GR4 to GR7, or a stacked register. UWX_ERR_BADREGID for
    others.
    """
    raw = raw_of(env)
    return (UWX_ERR_NOENV, None) if raw is None else raw.get_nat(regid)


def uwx_get_spill_loc(env: uwx_env | None, regid: int) -> tuple[int, int | None]:
    """``(status, disp)``: where the value of a register in the current frame lies; see ``UWX_DISP_*``."""
    raw = raw_of(env)
    return (UWX_ERR_NOENV, None) if raw is None else raw.get_spill_loc(regid)


def uwx_get_abi_context_code(env: uwx_env | None) -> int:
    """Of the last UWX_ABI_FRAME: the system's number, shifted up by eight bits, and the kind of context."""
    raw = raw_of(env)
    return UWX_ERR_NOENV if raw is None else raw.get_abi_context_code()


def uwx_get_funcstart(env: uwx_env | None) -> tuple[int, int | None]:
    """``(status, address)``: where the function of the current frame starts."""
    raw = raw_of(env)
    return (UWX_ERR_NOENV, None) if raw is None else raw.get_funcstart()


def uwx_get_module_info(env: uwx_env | None) -> tuple[int, str | None, int | None]:
    """``(status, module, text_base)`` of the current frame."""
    raw = raw_of(env)
    if raw is None:
        return UWX_ERR_NOENV, None, None
    return raw.get_module_info() if _has_pool(env) else (UWX_ERR_NOMEM, None, None)


def uwx_get_sym_info(env: uwx_env | None) -> tuple[int, str | None, str | None, int | None]:
    """``(status, module, symbol, offset)``: the function of the current frame, and how far in it the frame
    is.
    """
    raw = raw_of(env)
    if raw is None:
        return UWX_ERR_NOENV, None, None, None
    return raw.get_sym_info() if _has_pool(env) else (UWX_ERR_NOMEM, None, None, None)


def uwx_add_to_bsp(bsp: int, nslots: int) -> int:
    """The address ``nslots`` registers further up the backing store, down if negative; NaT collections are
    passed over.
    """
    return _add_to_bsp(bsp, nslots)


def _has_pool(env: uwx_env | None) -> bool:
    """Whether there is memory for strings; the first call asks for it."""
    assert env is not None
    if env.pool is None:
        env.pool = allocate(POOL)
    return env.pool is not None
