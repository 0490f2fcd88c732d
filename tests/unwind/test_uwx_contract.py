"""The contract of uwx(3X): statuses, look-ups and what is given back, copy-ins, contexts that stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from odograph.compat import uwx
from odograph.compat.uwx import (
    UWX_BOTTOM,
    UWX_COPYIN_MSTACK,
    UWX_COPYIN_REG,
    UWX_COPYIN_RSTACK,
    UWX_COPYIN_UINFO,
    UWX_OK,
    UWX_REG_BR,
    UWX_REG_FR,
    UWX_REG_GR,
)
from support.uwxprocess import (
    BACKING,
    BODY,
    CALLER_FRAME,
    INFO,
    OF,
    STACK,
    TABLE,
    TEXT,
    TOKEN,
    Process,
    context,
    process,
    uleb,
)


@pytest.mark.parametrize("where", ["middle", "memory", "leaf", "empty", "floats"])
def test_every_function_leads_to_the_bottom(where: str) -> None:
    target = process()
    env = target.environment(target.address(OF[where], 12))
    steps = [uwx.uwx_step(env)]
    assert uwx.uwx_get_reg(env, uwx.UWX_REG_IP) == (UWX_OK, target.address(OF["middle"], 9))
    assert uwx.uwx_get_reg(env, uwx.UWX_REG_CFM) == (UWX_OK, CALLER_FRAME)
    assert uwx.uwx_get_reg(env, uwx.UWX_REG_BSP) == (UWX_OK, BACKING - 40)
    steps += [uwx.uwx_step(env), uwx.uwx_step(env), uwx.uwx_step(env)]
    assert steps == [UWX_OK, UWX_OK, UWX_BOTTOM, UWX_BOTTOM]


# Each makes an environment and calls the function that has the status.
def _no_env() -> Iterator[int]:
    yield uwx.uwx_step(None)
    env = uwx.uwx_init()
    assert uwx.uwx_free(env) == UWX_OK
    assert uwx.uwx_free(env) == UWX_OK
    assert uwx.uwx_free(None) == UWX_OK
    for nothing in (None, env):
        yield uwx.uwx_set_remote(nothing, 0)
        yield uwx.uwx_set_nofr(nothing)
        yield uwx.uwx_register_callbacks(nothing, TOKEN, None, None)
        yield uwx.uwx_init_context(nothing, 0, 0, 0, 0)
        yield uwx.uwx_init_history(nothing)
        yield uwx.uwx_set_reg(nothing, 0, 0)
        yield uwx.uwx_set_fr(nothing, UWX_REG_FR(2), (0, 0))
        yield uwx.uwx_step(nothing)
        yield uwx.uwx_get_abi_context_code(nothing)
        yield uwx.uwx_self_init_context(nothing)
        yield uwx.uwx_self_do_context_frame(nothing, None)
        yield uwx.uwx_ttrace_do_context_frame(nothing, None)
        for function in (uwx.uwx_get_reg, uwx.uwx_get_nat, uwx.uwx_get_spill_loc):
            status, value = function(nothing, 0)
            assert value is None
            yield status
        assert uwx.uwx_get_funcstart(nothing)[1:] == (None,)
        assert uwx.uwx_get_module_info(nothing)[1:] == (None, None)
        assert uwx.uwx_get_sym_info(nothing)[1:] == (None, None, None)
        assert uwx.uwx_find_symbol(nothing, None, "file", 0)[1:] == (None, None, None)
        yield uwx.uwx_get_funcstart(nothing)[0]
        yield uwx.uwx_get_module_info(nothing)[0]
        yield uwx.uwx_get_sym_info(nothing)[0]
        yield uwx.uwx_find_symbol(nothing, None, "file", 0)[0]


def _no_callbacks() -> Iterator[int]:
    env = uwx.uwx_init()
    assert uwx.uwx_init_context(env, TEXT, STACK, BACKING, 0) == UWX_OK
    yield uwx.uwx_step(env)
    yield uwx.uwx_get_reg(env, UWX_REG_BR(0))[0]
    target = process()
    assert uwx.uwx_register_callbacks(env, TOKEN, target.copyin, None) == UWX_OK
    yield uwx.uwx_step(env)
    assert uwx.uwx_register_callbacks(env, TOKEN, None, target.lookupip) == UWX_OK
    yield uwx.uwx_step(env)


def _no_context() -> Iterator[int]:
    target = process()
    env = uwx.uwx_init()
    assert uwx.uwx_register_callbacks(env, TOKEN, target.copyin, target.lookupip) == UWX_OK
    yield uwx.uwx_step(env)
    yield uwx.uwx_get_reg(env, uwx.UWX_REG_IP)[0]
    yield uwx.uwx_get_nat(env, UWX_REG_GR(4))[0]
    yield uwx.uwx_get_spill_loc(env, UWX_REG_GR(4))[0]
    yield uwx.uwx_get_funcstart(env)[0]


def stepping(where: str, **changes: Any) -> Callable[[], Iterator[int]]:
    """Steps from a function, in a process with something wrong."""

    def run() -> Iterator[int]:
        functions = changes.get("functions")
        target = process() if functions is None else Process(functions)
        for name, value in changes.items():
            if name != "functions":
                setattr(target, name, value)
        env = target.environment(target.address(OF.get(where, 0), 12))
        before = context(env)
        yield uwx.uwx_step(env)
        yield uwx.uwx_step(env)
        assert context(env) == before

    return run


def answer(result: int, *vector: int) -> dict[str, Any]:
    return {"result": result, "vector": [*vector]}


def table(*, without: int | None = None, extra: tuple[int, ...] = ()) -> dict[str, Any]:
    """A table that lacks a key, or has others."""
    keys = process().table()[:-1]
    pairs = [(keys[at], keys[at + 1]) for at in range(0, len(keys), 2)]
    kept = [word for pair in pairs if pair[0] != without for word in pair]
    return answer(uwx.UWX_LKUP_UTABLE, *kept, *extra, 0)


def _not_found_anywhere() -> Iterator[int]:
    target = process()
    env = target.environment(TEXT - 16)
    yield uwx.uwx_step(env)
    yield uwx.uwx_get_funcstart(env)[0]


def function_start(where: str) -> Callable[[], Iterator[int]]:
    def run() -> Iterator[int]:
        target = process()
        env = target.environment(target.address(OF[where], 12))
        status, start = uwx.uwx_get_funcstart(env)
        assert start is None
        yield status
        assert uwx.uwx_step(env) == UWX_OK

    return run


def _no_block() -> Iterator[int]:
    """A row whose block's address is the text's own."""
    target = process()
    for index in range(8):
        target.unwind[TABLE + 24 * OF["middle"] + 16 + index] = b"\0"
    env = target.environment(target.address(OF["middle"]))
    yield uwx.uwx_get_funcstart(env)[0]


def _bad_register() -> Iterator[int]:
    target = process()
    env = target.environment(target.address(OF["leaf"]))
    for regid in (16, 0x80, 0x180, 0x280, 0x308, 0x400, -1, 1 << 40):
        yield uwx.uwx_get_reg(env, regid)[0]
        yield uwx.uwx_get_nat(env, regid)[0]
        yield uwx.uwx_get_spill_loc(env, regid)[0]
        yield uwx.uwx_set_reg(env, regid, 0)
    for regid in (UWX_REG_GR(0), UWX_REG_GR(8), UWX_REG_GR(32), UWX_REG_BR(0), UWX_REG_BR(6), UWX_REG_FR(2)):
        yield uwx.uwx_set_reg(env, regid, 0)
    for regid in (UWX_REG_GR(4), UWX_REG_FR(1), UWX_REG_FR(6), UWX_REG_FR(32), uwx.UWX_REG_IP):
        yield uwx.uwx_set_fr(env, regid, (0, 0))
    for regid in (UWX_REG_GR(1), UWX_REG_GR(8), UWX_REG_GR(31), UWX_REG_BR(1), UWX_REG_FR(2), uwx.UWX_REG_IP):
        yield uwx.uwx_get_nat(env, regid)[0]


def _no_memory() -> Iterator[int]:
    grants = 1

    def alloc(size: int) -> object:
        nonlocal grants
        assert size > 0
        grants -= 1
        return None if grants < 0 else bytearray(size)

    uwx.uwx_register_alloc_cb(alloc, lambda block: None)
    try:
        target = process()
        env = target.environment(target.address(OF["leaf"]))
        assert uwx.uwx_init() is None
        yield uwx.uwx_get_sym_info(env)[0]
        yield uwx.uwx_get_module_info(env)[0]
        yield uwx.uwx_find_symbol(env, None, "file", 0)[0]
    finally:
        uwx.uwx_register_alloc_cb(None, None)
    # More states than an engine should keep.
    labels = b"".join(b"\x20\xf0" + uleb(label) for label in range(200_000))
    target = Process([b"\x01" + labels + BODY])
    env = target.environment(target.address(0, 12))
    yield uwx.uwx_step(env)


def _no_access() -> Iterator[int]:
    env = uwx.uwx_init()
    assert uwx.uwx_self_init_info(env) is None
    assert uwx.uwx_ttrace_init_info(env, 1, 1, 0) is None
    yield uwx.uwx_self_init_context(env)
    yield uwx.uwx_self_init_from_sigcontext(env, None, None)
    yield uwx.uwx_self_do_context_frame(env, None)
    yield uwx.uwx_ttrace_init_context(env, None)
    yield uwx.uwx_ttrace_do_context_frame(env, None)


def _no_symbol() -> Iterator[int]:
    target = process()
    env = target.environment(target.address(OF["leaf"]))
    status, cache, symbol, offset = uwx.uwx_find_symbol(env, None, "/nowhere/at/all", 0)
    assert cache is not None
    assert symbol is None
    assert offset is None
    yield status
    yield uwx.uwx_find_symbol(env, cache, b"/nowhere/at/all", 16)[0]
    uwx.uwx_release_symbol_cache(env, cache)
    uwx.uwx_release_symbol_cache(env, None)


PROVOKED: dict[int, dict[str, Callable[[], Iterator[int]]]] = {
    uwx.UWX_ERR_NOENV: {"none or freed": _no_env},
    uwx.UWX_ERR_IPNOTFOUND: {
        "not found": stepping("middle", result=uwx.UWX_LKUP_NOTFOUND),
        "outside": _not_found_anywhere,
    },
    uwx.UWX_ERR_LOOKUPERR: {
        "error": stepping("middle", result=uwx.UWX_LKUP_ERR),
        "unknown result": stepping("middle", result=77),
        "negative result": stepping("middle", result=-1),
        "symbols for a table": stepping("middle", **answer(uwx.UWX_LKUP_SYMINFO, 0)),
    },
    uwx.UWX_ERR_BADKEY: {
        "no base": stepping("middle", **table(without=uwx.UWX_KEY_TBASE)),
        "no start": stepping("middle", **table(without=uwx.UWX_KEY_USTART)),
        "no end": stepping("middle", **table(without=uwx.UWX_KEY_UEND)),
        "unknown key": stepping("middle", **table(extra=(55, 1))),
        "nothing": stepping("middle", **answer(uwx.UWX_LKUP_UTABLE, 0)),
        "no info": stepping("middle", **answer(uwx.UWX_LKUP_UINFO, uwx.UWX_KEY_FUNCSTART, TEXT, 0)),
        "no new ip": stepping("middle", **answer(uwx.UWX_LKUP_REMAP, 0)),
    },
    uwx.UWX_ERR_COPYIN_UTBL: {
        "all": stepping("middle", refuse={(UWX_COPYIN_UINFO, -1)}),
        "first row": stepping("bottom", refuse={(UWX_COPYIN_UINFO, TABLE)}),
    },
    uwx.UWX_ERR_COPYIN_UINFO: {
        "header": stepping("bottom", refuse={(UWX_COPYIN_UINFO, INFO)}),
        "descriptors": stepping("bottom", refuse={(UWX_COPYIN_UINFO, INFO + 8)}),
    },
    uwx.UWX_ERR_COPYIN_MSTK: {
        "return pointer": stepping("memory", refuse={(UWX_COPYIN_MSTACK, STACK + 64 - 24)}),
        "frame marker": stepping("memory", refuse={(UWX_COPYIN_MSTACK, STACK + 64 - 16)}),
    },
    uwx.UWX_ERR_COPYIN_RSTK: {
        "return pointer": stepping("middle", refuse={(UWX_COPYIN_RSTACK, BACKING + 16)}),
        "frame marker": stepping("middle", refuse={(UWX_COPYIN_RSTACK, BACKING + 8)}),
    },
    uwx.UWX_ERR_COPYIN_REG: {
        "return pointer": stepping("leaf", refuse={(UWX_COPYIN_REG, UWX_REG_BR(0))}),
    },
    uwx.UWX_ERR_NOUENTRY: {"not in the table": function_start("leaf")},
    uwx.UWX_ERR_NOUDESC: {"in the table without a block": _no_block},
    uwx.UWX_ERR_BADUDESC: {
        "body first": stepping("", functions=[b"\x81\x02\x03\x3f"]),
        "cut off": stepping("", functions=[b"\x03\xe0\x01\x02\xff\xff\xff\xff"]),
        "unknown kind": stepping("", functions=[b"\x03\xf0\x7f\x01" + BODY]),
        "endless number": stepping("", functions=[b"\x03\xe4" + b"\xff" * 13]),
    },
    uwx.UWX_ERR_NOMEM: {"refused": _no_memory},
    uwx.UWX_ERR_PROLOG_UF: {
        "two of one": stepping("", functions=[b"\x01\x23\xc1\x00\x01\x3f"]),
    },
    uwx.UWX_ERR_UNDEFLABEL: {
        "no label": stepping("", functions=[b"\x01\x3f\xa3"]),
        "another label": stepping("", functions=[b"\x01\x22\x84\x3f\xf8\x05"]),
    },
    uwx.UWX_ERR_BADREGID: {"registers": _bad_register},
    uwx.UWX_ERR_CANTUNWIND: {
        "frame size": stepping("middle", **answer(uwx.UWX_LKUP_FDESC, 1, 64, 0)),
        "spill": stepping("middle", **answer(uwx.UWX_LKUP_FDESC, 2 | 4 << 4, 64, 0)),
    },
    uwx.UWX_ERR_NOCALLBACKS: {"none": _no_callbacks},
    uwx.UWX_ERR_NOCONTEXT: {"none": _no_context},
    uwx.UWX_ERR_UCACCESS: {"HP-UX": _no_access},
    uwx.UWX_ERR_NOSYM: {"no file": _no_symbol},
}


def test_every_error_is_provoked() -> None:
    errors = {value for name, value in vars(uwx).items() if name.startswith("UWX_ERR_")}
    assert set(PROVOKED) == errors == set(range(-21, 0))


@pytest.mark.parametrize(
    ("status", "how"),
    [
        pytest.param(status, how, id=f"{status} {name}")
        for status, hows in PROVOKED.items()
        for name, how in hows.items()
    ],
)
def test_status(status: int, how: Callable[[], Iterator[int]]) -> None:
    seen = list(how())
    assert seen
    assert set(seen) == {status}
