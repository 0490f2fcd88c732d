"""What uwx asks its callbacks, how often, and what it gives back.

This file is long because it holds a test for each answer of the look-up callback.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from odograph import Reentered
from odograph.compat import uwx
from odograph.compat.uwx import (
    UWX_ABI_FRAME,
    UWX_BOTTOM,
    UWX_COPYIN_REG,
    UWX_COPYIN_UINFO,
    UWX_LKUP_FREE,
    UWX_LKUP_LOOKUP,
    UWX_LKUP_MODULE,
    UWX_LKUP_SYMBOLS,
    UWX_OK,
    UWX_REG_BR,
    UWX_REG_FR,
    UWX_REG_GR,
)
from support.ia64elf import Code, executable
from support.uwxprocess import (
    BACKING,
    CALLER_FRAME,
    FUNCTIONS,
    INFO,
    OF,
    STACK,
    TABLE,
    TEXT,
    TOKEN,
    Process,
    context,
    process,
)


def walk(target: Process, where: str) -> uwx.uwx_env:
    """Steps from a function to the bottom."""
    env = target.environment(target.address(OF[where], 12))
    status = UWX_OK
    while status == UWX_OK:
        status = uwx.uwx_step(env)
    assert status == UWX_BOTTOM
    return env


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("where", ["bottom", "middle", "memory", "leaf", "empty", "floats"])
def test_every_answer_is_given_back_once(where: str, big: bool, narrow: bool) -> None:
    source = process()
    target = Process(list(FUNCTIONS), big, narrow, source.words, source.registers)
    walk(target, where)
    assert target.asked[0][0] == UWX_LKUP_LOOKUP
    for vector in target.answered:
        assert sum(vector is freed for freed in target.freed) == 1
    assert len(target.freed) == len(target.answered)
    # What is given back is the answer, and the address it was for.
    for (request, ip), (after, freed_ip) in zip(target.asked[::2], target.asked[1::2], strict=True):
        assert (request, after) == (UWX_LKUP_LOOKUP, UWX_LKUP_FREE)
        assert ip == freed_ip
    assert all(vector == target.table() for vector in target.freed)


def test_a_look_up_begins_with_the_version_and_known_predicates() -> None:
    seen = []

    def lookupip(request: int, ip: int, tok: object, uvec: list[Any]) -> int:
        seen.append(list(uvec))
        return uwx.UWX_LKUP_NOTFOUND

    target = process()
    env = target.environment(target.address(OF["middle"]))
    assert uwx.uwx_register_callbacks(env, TOKEN, target.copyin, lookupip) == UWX_OK
    assert uwx.uwx_step(env) == uwx.UWX_ERR_IPNOTFOUND
    assert uwx.uwx_set_reg(env, uwx.UWX_REG_PREDS, 0x81) == UWX_OK
    assert uwx.uwx_step(env) == uwx.UWX_ERR_IPNOTFOUND
    version = [uwx.UWX_KEY_VERSION, 3]
    assert seen == [[*version, 0], [*version, uwx.UWX_KEY_PREDS, 0x81, 0]]


@pytest.mark.parametrize("result", [uwx.UWX_LKUP_NOTFOUND, uwx.UWX_LKUP_ERR, 99])
def test_nothing_is_given_back_where_nothing_was_answered(result: int) -> None:
    target = process()
    target.result = result
    env = target.environment(target.address(OF["middle"]))
    assert uwx.uwx_step(env) < 0
    assert [request for request, _ in target.asked] == [UWX_LKUP_LOOKUP]


@pytest.mark.parametrize("refused", [TABLE, INFO, INFO + 8])
def test_an_answer_is_given_back_if_reading_it_fails(refused: int) -> None:
    target = process()
    target.refuse = {(UWX_COPYIN_UINFO, refused)}
    env = target.environment(target.address(OF["bottom"], 12))
    for _ in range(3):
        assert uwx.uwx_step(env) in (uwx.UWX_ERR_COPYIN_UTBL, uwx.UWX_ERR_COPYIN_UINFO)
    assert len(target.freed) == len(target.answered) == 3
    # And once it can be read all is well.
    target.refuse.clear()
    assert uwx.uwx_step(env) == UWX_BOTTOM


@pytest.mark.parametrize(
    "vector",
    [[uwx.UWX_KEY_TBASE, TEXT, 0], [55, 1, 0], [uwx.UWX_KEY_TBASE], [], [uwx.UWX_KEY_TBASE, TEXT]],
)
def test_a_bad_answer_is_given_back_too(vector: list[int]) -> None:
    target = process()
    target.result, target.vector = uwx.UWX_LKUP_UTABLE, vector
    env = target.environment(target.address(OF["middle"]))
    assert uwx.uwx_step(env) == uwx.UWX_ERR_BADKEY
    assert len(target.freed) == 1
    assert target.freed[0] is target.answered[0]
    assert target.freed[0] == vector


def test_a_final_zero_may_be_missing() -> None:
    target = process()
    target.result, target.vector = uwx.UWX_LKUP_UTABLE, target.table()[:-1]
    env = target.environment(target.address(OF["middle"], 12))
    assert uwx.uwx_step(env) == UWX_OK


def test_what_lies_behind_the_final_zero_is_not_read() -> None:
    target = process()
    target.result, target.vector = uwx.UWX_LKUP_UTABLE, [*target.table(), 55, 1, "anything"]
    env = target.environment(target.address(OF["middle"], 12))
    assert uwx.uwx_step(env) == UWX_OK


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("where", ["middle", "memory", "leaf", "empty", "floats"])
def test_copy_ins_have_their_class_their_length_and_are_aligned(where: str, narrow: bool, big: bool) -> None:
    source = process()
    target = Process(list(FUNCTIONS), big, narrow, source.words, source.registers)
    env = walk(target, where)
    for number in range(128):
        uwx.uwx_get_reg(env, UWX_REG_GR(number))
        uwx.uwx_get_reg(env, UWX_REG_FR(number))
        uwx.uwx_get_nat(env, UWX_REG_GR(number))
    for number in range(16):
        uwx.uwx_get_reg(env, number)
    for number in range(8):
        uwx.uwx_get_reg(env, UWX_REG_BR(number))
    assert {request for request, _, _ in target.copied} >= {1, 3, 4}
    for request, rem, length in target.copied:
        if request == UWX_COPYIN_UINFO:
            assert length in (4, 8)
            assert rem % length == 0
            assert TABLE <= rem < TABLE + 0x1000 or INFO <= rem < INFO + 0x1000
        elif request == UWX_COPYIN_REG:
            assert length == (16 if rem >> 8 == 2 else 8)
        else:
            assert length == 8
            assert rem % 8 == 0
            low, high = (STACK, STACK + 0x1000) if request == 2 else (BACKING - 0x1000, BACKING + 0x1000)
            assert low <= rem < high
    asked = {rem for request, rem, _ in target.copied if request == UWX_COPYIN_REG}
    special = {uwx.UWX_REG_PFS, uwx.UWX_REG_AR_PFS, uwx.UWX_REG_PREDS, uwx.UWX_REG_RNAT}
    special |= {uwx.UWX_REG_UNAT, uwx.UWX_REG_FPSR, uwx.UWX_REG_LC, uwx.UWX_REG_BSPSTORE}
    general = {UWX_REG_GR(number) for number in range(1, 32)}
    floating = {UWX_REG_FR(number) for number in range(2, 128)}
    assert asked <= special | general | floating | {UWX_REG_BR(number) for number in range(8)}


def test_warm_frames_read_no_unwind_information() -> None:
    target = process()
    start = target.address(OF["memory"], 12)
    env = target.environment(start)
    counts = []
    for _ in range(3):
        target.copied.clear()
        assert uwx.uwx_init_context(env, start, STACK, BACKING, CALLER_FRAME) == UWX_OK
        assert [uwx.uwx_step(env) for _ in range(3)] == [UWX_OK, UWX_OK, UWX_BOTTOM]
        counts.append(sum(request == UWX_COPYIN_UINFO for request, _, _ in target.copied))
    assert counts[0] > 0
    assert counts[1:] == [0, 0]


def test_a_float_on_the_memory_stack_is_two_reads() -> None:
    target = process()
    place = STACK + 64 + 16 - 16
    target.words[place], target.words[place + 8] = 0xABCD << 48, 0x2FFFE
    env = target.environment(target.address(OF["floats"], 12))
    assert uwx.uwx_step(env) == UWX_OK
    target.copied.clear()
    status, disp = uwx.uwx_get_spill_loc(env, UWX_REG_FR(2))
    assert status == UWX_OK
    assert uwx.UWX_GET_DISP_CODE(disp or 0) == uwx.UWX_DISP_MSTK
    at = uwx.UWX_GET_DISP_OFFSET(disp or 0)
    assert uwx.uwx_get_reg(env, UWX_REG_FR(2)) == (UWX_OK, (0xABCD << 48, 0x2FFFE))
    assert at == place
    assert all(length == 8 for request, _, length in target.copied if request == 2)


def test_ar_pfs_is_asked_twice_if_the_first_reads_nothing() -> None:
    target = process()
    target.refuse = {(UWX_COPYIN_REG, uwx.UWX_REG_PFS)}
    target.registers[uwx.UWX_REG_AR_PFS] = CALLER_FRAME
    env = target.environment(target.address(OF["leaf"]))
    assert uwx.uwx_step(env) == UWX_OK
    assert uwx.uwx_get_reg(env, uwx.UWX_REG_CFM) == (UWX_OK, CALLER_FRAME)
    asked = [rem for request, rem, _ in target.copied if request == UWX_COPYIN_REG]
    assert asked[-2:] == [uwx.UWX_REG_PFS, uwx.UWX_REG_AR_PFS]
    target.refuse.add((UWX_COPYIN_REG, uwx.UWX_REG_AR_PFS))
    env = target.environment(target.address(OF["leaf"]))
    assert uwx.uwx_step(env) == uwx.UWX_ERR_COPYIN_REG


def test_a_signal_frame_and_the_bottom_leave_the_context() -> None:
    target = process()
    env = target.environment(target.address(OF["signal"], 12))
    assert uwx.uwx_get_abi_context_code(env) == 0
    before = context(env)
    for _ in range(2):
        assert uwx.uwx_step(env) == UWX_ABI_FRAME
        assert uwx.uwx_get_abi_context_code(env) == uwx.UWX_ABI_HPUX_SIGCONTEXT
        assert context(env) == before
    env = walk(target, "middle")
    before = context(env)
    assert uwx.uwx_step(env) == UWX_BOTTOM
    assert context(env) == before


def test_a_look_up_may_say_that_a_frame_is_the_systems() -> None:
    target = process()
    target.result, target.vector = uwx.UWX_LKUP_FDESC, [uwx.UWX_KEY_CONTEXT, 0x0373, 0]
    env = target.environment(target.address(OF["middle"]))
    before = context(env)
    assert uwx.uwx_step(env) == UWX_ABI_FRAME
    assert uwx.uwx_get_abi_context_code(env) == 0x0373
    assert context(env) == before
    assert len(target.freed) == len(target.answered)
    # Nothing else may be there.
    target.vector = [uwx.UWX_KEY_CONTEXT, 0x0373, uwx.UWX_KEY_GP, 1, 0]
    assert uwx.uwx_init_context(env, target.address(1), STACK, BACKING, CALLER_FRAME) == UWX_OK
    assert uwx.uwx_step(env) in (uwx.UWX_ERR_BADKEY, uwx.UWX_ERR_CANTUNWIND)


def test_a_function_described_without_unwind_information_is_a_leaf() -> None:
    target = process()
    names = [uwx.UWX_KEY_MODULE, "mod", uwx.UWX_KEY_FUNC, "stub", uwx.UWX_KEY_FUNCSTART, TEXT + 0x100]
    target.result, target.vector = uwx.UWX_LKUP_FDESC, [*names, uwx.UWX_KEY_GP, 77, 0]
    env = target.environment(TEXT + 0x121)
    assert uwx.uwx_get_reg(env, uwx.UWX_REG_GP) == (UWX_OK, 77)
    assert uwx.uwx_get_funcstart(env) == (UWX_OK, TEXT + 0x100)
    assert uwx.uwx_get_sym_info(env) == (UWX_OK, "mod", "stub", 0x21)
    assert uwx.uwx_step(env) == UWX_OK
    assert uwx.uwx_get_reg(env, uwx.UWX_REG_IP) == (UWX_OK, target.address(OF["middle"], 9))


def test_a_look_up_may_name_the_block_itself() -> None:
    target = process()
    start = target.address(OF["memory"])
    row = TABLE + 24 * OF["memory"] + 16
    place = int.from_bytes(b"".join(target.unwind[row + at] for at in range(8)), "little")
    names = [uwx.UWX_KEY_MODULE, b"mod", uwx.UWX_KEY_FUNC, b"memory", uwx.UWX_KEY_UFLAGS, 0]
    info = [uwx.UWX_KEY_UINFO, TEXT + place, uwx.UWX_KEY_FUNCSTART, start]
    target.result, target.vector = uwx.UWX_LKUP_UINFO, [*info, *names, 0]
    env = target.environment(target.address(OF["memory"], 12))
    assert uwx.uwx_get_sym_info(env) == (UWX_OK, "mod", "memory", 0x40)
    assert uwx.uwx_step(env) == UWX_OK
    assert uwx.uwx_get_reg(env, uwx.UWX_REG_SP) == (UWX_OK, STACK + 64)


def test_copied_code_is_asked_about_once_more() -> None:
    target = process()
    real = target.address(OF["memory"], 12)
    copy = 0x5000_0000_0000_0000

    def lookupip(request: int, ip: int, tok: object, uvec: list[Any]) -> int:
        if request == UWX_LKUP_LOOKUP and copy <= ip < copy + 0x100:
            target.asked.append((request, ip))
            uvec[:] = [uwx.UWX_KEY_NEWIP, TEXT + 0x100 * OF["memory"] + ip - copy, 0]
            return uwx.UWX_LKUP_REMAP
        return target.lookupip(request, ip, tok, uvec)

    env = target.environment(copy + (real & 0xFF))
    assert uwx.uwx_register_callbacks(env, TOKEN, target.copyin, lookupip) == UWX_OK
    assert uwx.uwx_step(env) == UWX_OK
    assert uwx.uwx_get_reg(env, uwx.UWX_REG_SP) == (UWX_OK, STACK + 64)
    assert [request for request, _ in target.asked] == [UWX_LKUP_LOOKUP, UWX_LKUP_LOOKUP, UWX_LKUP_FREE]
    assert target.asked[1][1] == real

    def circular(request: int, ip: int, tok: object, uvec: list[Any]) -> int:
        target.asked.append((request, ip))
        uvec[:] = [uwx.UWX_KEY_NEWIP, ip, 0]
        return uwx.UWX_LKUP_REMAP

    target.asked.clear()
    env = target.environment(copy)
    assert uwx.uwx_register_callbacks(env, TOKEN, target.copyin, circular) == UWX_OK
    assert uwx.uwx_step(env) == uwx.UWX_ERR_LOOKUPERR
    assert len(target.asked) == 2


def test_names_are_asked_for_when_they_are_wanted() -> None:
    target = process()
    start = target.address(OF["memory"])
    answered: list[list[Any]] = []

    def lookupip(request: int, ip: int, tok: object, uvec: list[Any]) -> int:
        if request not in (UWX_LKUP_MODULE, UWX_LKUP_SYMBOLS):
            return target.lookupip(request, ip, tok, uvec)
        target.asked.append((request, ip))
        assert uvec == [uwx.UWX_KEY_VERSION, 3, uwx.UWX_KEY_FUNCSTART, start, 0]
        answered.append(uvec)
        if request == UWX_LKUP_MODULE:
            uvec[:] = [uwx.UWX_KEY_MODULE, "libc.so", uwx.UWX_KEY_TBASE, TEXT, 0]
        else:
            uvec[:] = [uwx.UWX_KEY_MODULE, b"libc.so", uwx.UWX_KEY_FUNC, b"qsort", uwx.UWX_KEY_FUNCSTART]
            uvec.append(start)
        return uwx.UWX_LKUP_SYMINFO

    env = target.environment(target.address(OF["memory"], 12))
    assert uwx.uwx_register_callbacks(env, TOKEN, target.copyin, lookupip) == UWX_OK
    assert uwx.uwx_get_funcstart(env) == (UWX_OK, start)
    assert [request for request, _ in target.asked] == [UWX_LKUP_LOOKUP, UWX_LKUP_FREE]
    assert uwx.uwx_get_module_info(env) == (UWX_OK, "libc.so", TEXT)
    assert uwx.uwx_get_sym_info(env) == (UWX_OK, "libc.so", "qsort", 0x40)
    requests = [request for request, _ in target.asked]
    assert requests.count(UWX_LKUP_FREE) == 1 + len(answered)
    assert set(requests) >= {UWX_LKUP_SYMBOLS}
    before = len(target.asked)
    assert uwx.uwx_get_sym_info(env) == (UWX_OK, "libc.so", "qsort", 0x40)
    assert uwx.uwx_get_module_info(env) == (UWX_OK, "libc.so", TEXT)
    assert len(target.asked) == before


def test_unknown_names_give_an_error_status() -> None:
    target = process()
    env = target.environment(target.address(OF["memory"], 12))
    status, *values = uwx.uwx_get_sym_info(env)
    assert status < 0
    assert values == [None, None, None]
    assert uwx.uwx_step(env) == UWX_OK


class Mine(Exception):
    """Of the caller's own."""


@pytest.mark.parametrize("where", ["lookup", "free", "copyin", "copyin of descriptors"])
def test_an_exception_in_a_callback_comes_out_and_the_context_stays(where: str) -> None:
    target = process()
    error = Mine(where)
    armed = True

    def lookupip(request: int, ip: int, tok: object, uvec: list[Any]) -> int:
        if armed and where == ("free" if request == UWX_LKUP_FREE else "lookup"):
            raise error
        return target.lookupip(request, ip, tok, uvec)

    def copyin(request: int, loc: memoryview, rem: int, len: int, tok: object) -> int:
        if armed and (where == "copyin" or (where.startswith("copyin of") and rem >= INFO)):
            raise error
        return target.copyin(request, loc, rem, len, tok)

    env = target.environment(target.address(OF["middle"], 12))
    before = context(env)
    assert uwx.uwx_register_callbacks(env, TOKEN, copyin, lookupip) == UWX_OK
    for _ in range(2):
        with pytest.raises(Mine) as caught:
            uwx.uwx_step(env)
        assert caught.value is error
    armed = False
    assert context(env) == before
    assert uwx.uwx_step(env) == UWX_OK


@pytest.mark.parametrize("answer", [None, "8", 8.0, object()])
def test_a_callback_that_returns_no_number_is_a_type_error(answer: object) -> None:
    target = process()
    env = target.environment(target.address(OF["middle"], 12))
    bad: Any = lambda *arguments: answer  # noqa: E731
    assert uwx.uwx_register_callbacks(env, TOKEN, bad, target.lookupip) == UWX_OK
    with pytest.raises(TypeError):
        uwx.uwx_step(env)
    assert uwx.uwx_register_callbacks(env, TOKEN, target.copyin, bad) == UWX_OK
    with pytest.raises(TypeError):
        uwx.uwx_step(env)


@pytest.mark.parametrize("count", [-8, -1, 0, 1, 7, 9, 16, 1 << 40])
def test_a_copy_in_of_another_length_counts_as_failed(count: int) -> None:
    target = process()
    env = target.environment(target.address(OF["leaf"]))

    def copyin(request: int, loc: memoryview, rem: int, len: int, tok: object) -> int:
        return target.copyin(request, loc, rem, len, tok) and count

    assert uwx.uwx_register_callbacks(env, TOKEN, copyin, target.lookupip) == UWX_OK
    assert uwx.uwx_step(env) == uwx.UWX_ERR_COPYIN_UTBL


def test_an_environment_is_not_used_from_inside_its_callbacks() -> None:
    target = process()
    env = target.environment(target.address(OF["middle"], 12))
    caught: list[Exception] = []

    def copyin(request: int, loc: memoryview, rem: int, len: int, tok: object) -> int:
        try:
            uwx.uwx_step(env)
        except Reentered as error:
            caught.append(error)
        return target.copyin(request, loc, rem, len, tok)

    assert uwx.uwx_register_callbacks(env, TOKEN, copyin, target.lookupip) == UWX_OK
    assert uwx.uwx_step(env) == UWX_OK
    assert caught


def test_an_environment_can_begin_again() -> None:
    target = process()
    env = walk(target, "memory")
    start = target.address(OF["leaf"], 2)
    assert uwx.uwx_init_context(env, start, STACK, BACKING, CALLER_FRAME) == UWX_OK
    assert uwx.uwx_get_reg(env, uwx.UWX_REG_IP) == (UWX_OK, start)
    assert uwx.uwx_step(env) == UWX_OK
    assert uwx.uwx_step(env) == UWX_OK
    assert uwx.uwx_step(env) == UWX_BOTTOM


def test_registers_that_were_set_are_not_asked_for() -> None:
    target = process()
    env = target.environment(target.address(OF["leaf"]))
    assert uwx.uwx_set_reg(env, UWX_REG_GR(4), 44) == UWX_OK
    assert uwx.uwx_set_reg(env, UWX_REG_BR(5), 55) == UWX_OK
    assert uwx.uwx_set_reg(env, UWX_REG_GR(12), STACK + 16) == UWX_OK
    assert uwx.uwx_set_reg(env, uwx.UWX_REG_LC, 66) == UWX_OK
    assert uwx.uwx_set_fr(env, UWX_REG_FR(31), (77, 0x1003E)) == UWX_OK
    assert uwx.uwx_get_reg(env, UWX_REG_GR(4)) == (UWX_OK, 44)
    assert uwx.uwx_get_reg(env, UWX_REG_BR(5)) == (UWX_OK, 55)
    assert uwx.uwx_get_reg(env, uwx.UWX_REG_SP) == (UWX_OK, STACK + 16)
    assert uwx.uwx_get_reg(env, uwx.UWX_REG_LC) == (UWX_OK, 66)
    assert uwx.uwx_get_reg(env, UWX_REG_FR(31)) == (UWX_OK, (77, 0x1003E))
    assert uwx.uwx_get_reg(env, UWX_REG_FR(0)) == (UWX_OK, (0, 0))
    assert uwx.uwx_get_reg(env, UWX_REG_FR(1)) == (UWX_OK, (1 << 63, 0xFFFF))
    assert uwx.uwx_get_reg(env, UWX_REG_GR(0)) == (UWX_OK, 0)
    assert uwx.uwx_get_nat(env, UWX_REG_GR(0)) == (UWX_OK, 0)
    assert target.copied == []
    assert uwx.uwx_get_spill_loc(env, UWX_REG_GR(4)) == (UWX_OK, UWX_REG_GR(4) << 4 | uwx.UWX_DISP_REG)
    assert uwx.uwx_init_history(env) == UWX_OK
    assert uwx.uwx_get_spill_loc(env, UWX_REG_BR(1)) == (UWX_OK, UWX_REG_BR(1) << 4 | uwx.UWX_DISP_REG)
    assert uwx.uwx_get_spill_loc(env, UWX_REG_GR(33)) == (UWX_OK, BACKING + 8 | uwx.UWX_DISP_RSTK)


def test_memory_is_granted_by_the_programs_allocator_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(executable([Code("first", 2), Code("second", 2)]).data)
    granted: list[object] = []
    freed: list[object] = []

    def alloc(size: int) -> object:
        granted.append(bytearray(size))
        return granted[-1]

    assert uwx.uwx_register_alloc_cb(alloc, freed.append) == UWX_OK
    try:
        env = uwx.uwx_init()
        assert len(granted) == 1
        uwx.uwx_get_module_info(env)
        uwx.uwx_get_sym_info(env)
        assert len(granted) == 2
        status, cache, symbol, offset = uwx.uwx_find_symbol(env, None, str(path), 0xD5)
        assert (status, symbol, offset) == (UWX_OK, "second", 5)
        assert len(granted) == 3
        assert uwx.uwx_find_symbol(env, cache, str(path), 0xB0) == (UWX_OK, cache, "first", 0)
        assert uwx.uwx_find_symbol(env, cache, str(path), 0xAF)[0] == uwx.UWX_ERR_NOSYM
        assert len(granted) == 3
        assert freed == []
        uwx.uwx_release_symbol_cache(env, cache)
        uwx.uwx_release_symbol_cache(env, cache)
        assert [freed[0]] == granted[2:]
        uwx.uwx_free(env)
        uwx.uwx_free(env)
        assert len(freed) == 3
        assert {id(block) for block in freed} == {id(block) for block in granted}
    finally:
        uwx.uwx_register_alloc_cb(None, None)


def test_misuse_is_a_type_error() -> None:
    wrong: Any = 7
    for call in (
        lambda: uwx.uwx_step(wrong),
        lambda: uwx.uwx_register_callbacks(uwx.uwx_init(), None, wrong, None),
        lambda: uwx.uwx_register_callbacks(uwx.uwx_init(), None, None, wrong),
        lambda: uwx.uwx_register_alloc_cb(wrong, None),
        lambda: uwx.uwx_find_symbol(uwx.uwx_init(), wrong, "name", 0),
    ):
        with pytest.raises(TypeError):
            call()


def test_what_needs_hp_ux_answers_that_it_cannot() -> None:
    loc = memoryview(bytearray(8))
    uvec = [uwx.UWX_KEY_VERSION, 3, 0]
    assert uwx.uwx_self_copyin(2, loc, 0, 8, None) == uwx.uwx_ttrace_copyin(2, loc, 0, 8, None) == 0
    assert uwx.uwx_self_lookupip(1, 0, None, uvec) == uwx.UWX_LKUP_ERR
    assert uwx.uwx_ttrace_lookupip(1, 0, None, uvec) == uwx.UWX_LKUP_ERR
    assert uwx.uwx_self_free_info(None) == uwx.uwx_ttrace_free_info(None) == UWX_OK
    env = uwx.uwx_init()
    assert uwx.uwx_register_callbacks(env, None, uwx.uwx_self_copyin, uwx.uwx_self_lookupip) == UWX_OK
    assert uwx.uwx_init_context(env, TEXT, STACK, BACKING, 0) == UWX_OK
    assert uwx.uwx_step(env) == uwx.UWX_ERR_LOOKUPERR


def test_add_to_bsp() -> None:
    backing = 0x6000000000800000
    assert uwx.uwx_add_to_bsp(backing, 8) == backing + 64
    assert uwx.uwx_add_to_bsp(backing + 61 * 8, 2) == backing + 64 * 8
    assert uwx.uwx_add_to_bsp(backing + 64 * 8, -2) == backing + 61 * 8
