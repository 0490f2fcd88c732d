"""Errors in odograph-ptxed's listings: what is blamed, and where the listing goes on."""

from __future__ import annotations

import re

import pytest

from support.toolrun import List, by_both
from support.tracedcode import (
    CALL_RAX,
    HLT,
    JMP_RAX,
    NOP,
    ORG,
    PTWRITE,
    RET,
    SYSCALL,
    Packet,
    fup,
    jmp,
    jz,
    lines,
    mode,
    pgd,
    pge,
    start,
    tip,
    tnt,
    tsx,
)

NOMAP = "no memory mapped at this address"
QUERY = "trace stream does not match query"
#: A reserved IP compression.
NO_PACKET = b"\xad"


def without_offsets(text: str) -> str:
    return re.sub(r"^\[[0-9a-f]+, ", "[", text, flags=re.MULTILINE)


def far(address: int) -> bytes:
    """A direct jump from ORG to ``address``."""
    return b"\xe9" + (address - ORG - 5).to_bytes(4, "little", signed=True)


# What is blamed.


def test_the_address_that_has_no_memory(listed: List) -> None:
    by_jump = by_both(listed, far(0x5000), [*start(), tip(ORG)])
    assert by_jump == lines(ORG) + f"[1d, 5000: error: {NOMAP}]\n"
    by_target = by_both(listed, JMP_RAX, [*start(), tip(0x5000), tip(ORG)])
    assert by_target == lines(ORG) + f"[26, 5000: error: {NOMAP}]\n"
    falling = by_both(listed, NOP, [*start(), tip(ORG)])
    assert falling == lines(ORG) + f"[1d, 1001: error: {NOMAP}]\n"


def test_the_instruction_that_does_not_match(listed: List) -> None:
    packets = [*start(), tip(ORG), "pad"]
    assert without_offsets(by_both(listed, NOP + jz(0), packets)) == (
        lines(ORG, ORG + 1) + f"[1001: error: {QUERY}]\n"
    )
    assert without_offsets(by_both(listed, NOP + JMP_RAX, [*start(), tnt("!"), tnt("!")])) == (
        lines(ORG, ORG + 1) + f"[1001: error: {QUERY}]\n"
    )


def test_other_errors_blame_what_comes_next(listed: List) -> None:
    empty = "compressed return without call"
    assert (
        without_offsets(by_both(listed, RET, [*start(), tnt("!")]))
        == lines(ORG) + f"[1001: error: {empty}]\n"
    )
    not_compressed = "bad compressed return"
    assert without_offsets(by_both(listed, RET, [*start(), tnt(".")])) == (
        lines(ORG) + f"[1001: error: {not_compressed}]\n"
    )
    # The packets behind a branch are bad: it is taken that the branch was.
    packet = "unknown packet"
    assert without_offsets(by_both(listed, NOP + jz(6) + HLT, [*start(), tnt("."), NO_PACKET])) == (
        lines(ORG, ORG + 1) + f"[1009: error: {packet}]\n"
    )


def test_invalid_instruction_bytes_are_listed_as_bad(listed: List) -> None:
    assert without_offsets(by_both(listed, NOP + b"\x06", [*start(), tip(ORG)])) == (
        lines(ORG) + "[1001: error: unknown instruction]\n"
    )


def test_an_error_while_tracing_is_off_blames_nothing(listed: List) -> None:
    packets = [
        *start(None),
        ("evd", {"type": 1, "payload": 5}),
        ("cfe", {"type": 4, "vector": 0, "ip": False}),
    ]
    assert by_both(listed, NOP, packets) == "[1f, 0: error: unexpected packet context]\n"


# Where it goes on.


def test_without_resync_the_next_psb_is_looked_for(listed: List) -> None:
    code = jz(0) + SYSCALL
    packets = [*start(), tip(ORG + 2), *start(ORG + 2), pgd()]
    assert by_both(listed, code, packets) == (
        lines(ORG) + f"[1d, 1000: error: {QUERY}]\n" + lines(ORG + 2) + "[disabled]\n"
    )


def test_each_psb_that_cannot_be_used_is_told(listed: List) -> None:
    bad = "unexpected packet context"
    packets: list[Packet] = ["psb", tip(ORG), "psb", tnt("!"), *start(), pgd()]
    assert by_both(listed, SYSCALL, packets) == (
        f"[10, 0: sync error: {bad}]\n[29, 0: sync error: {bad}]\n" + lines(ORG) + "[disabled]\n"
    )


def test_a_sync_error_at_the_last_psb(listed: List) -> None:
    packets: list[Packet] = ["psb", NO_PACKET, "pad"]
    assert by_both(listed, NOP, packets) == "[10, 0: sync error: unknown packet]\n"
    assert by_both(listed, NOP, ["pad", "pad", "pad", *packets]) == "[13, 0: sync error: unknown packet]\n"


RESYNC = "--resync-on-error"


def test_resync_at_a_tip(listed: List) -> None:
    code = jz(0) + SYSCALL
    assert without_offsets(by_both(listed, code, [*start(), tip(ORG + 2), pgd()], RESYNC)) == (
        lines(ORG) + f"[1000: error: {QUERY}]\n" + lines(ORG + 2) + "[disabled]\n"
    )


def test_resync_at_an_interrupt(listed: List) -> None:
    code = jz(0) + SYSCALL
    packets = [*start(), fup(ORG + 8), tip(ORG + 2), pgd()]
    assert without_offsets(by_both(listed, code, packets, RESYNC, "--event:ip")) == (
        lines(ORG)
        + f"[1000: error: {QUERY}]\n"
        + "[interrupt, from: 0000000000001008, to: 0000000000001002]\n"
        + lines(ORG + 2)
        + "[disabled]\n"
    )


def test_resync_where_tracing_is_switched_off(listed: List) -> None:
    packets = [*start(), tnt("!"), pgd(ORG), pge(ORG), pgd()]
    code = CALL_RAX
    assert without_offsets(by_both(listed, code, packets, RESYNC)) == (
        lines(ORG)
        + f"[1000: error: {QUERY}]\n"
        + "[disabled]\n"
        + "[enabled]\n"
        + lines(ORG)
        + "[disabled]\n"
    )
    quiet = by_both(listed, code, packets, RESYNC, "--quiet")
    assert without_offsets(quiet) == f"[1000: error: {QUERY}]\n"


def test_resync_where_tracing_is_switched_on(listed: List) -> None:
    packets = [*start(), tnt("!"), pge(ORG + 2), pgd()]
    assert without_offsets(by_both(listed, CALL_RAX + SYSCALL, packets, RESYNC)) == (
        lines(ORG)
        + f"[1000: error: {QUERY}]\n"
        + "[disabled]\n"
        + "[enabled]\n"
        + lines(ORG + 2)
        + "[disabled]\n"
    )


def test_resync_at_a_mode(listed: List) -> None:
    packets = [*start(), tnt("!"), tsx(intx=True), fup(ORG + 2), pgd()]
    assert without_offsets(by_both(listed, CALL_RAX + SYSCALL, packets, RESYNC)) == (
        lines(ORG)
        + f"[1000: error: {QUERY}]\n"
        + "[begin transaction]\n"
        + f"? {ORG + 2:016x}\n"
        + "[disabled]\n"
    )


def test_resync_at_an_overflow(listed: List) -> None:
    packets: list[Packet] = [*start(), tnt("!"), "ovf", fup(ORG + 2), pgd()]
    assert without_offsets(by_both(listed, CALL_RAX + SYSCALL, packets, RESYNC)) == (
        lines(ORG) + f"[1000: error: {QUERY}]\n" + "[overflow]\n" + lines(ORG + 2) + "[disabled]\n"
    )


def test_resync_at_a_ptwrite(listed: List) -> None:
    ptw: Packet = ("ptw", {"payload": 0xABC, "plc": 1, "ip": True})
    code = CALL_RAX + PTWRITE + SYSCALL
    packets = [*start(), tnt("!"), ptw, fup(ORG + 2), pgd()]
    assert without_offsets(by_both(listed, code, packets, RESYNC)) == (
        lines(ORG)
        + f"[1000: error: {QUERY}]\n"
        + lines(ORG + 2)
        + "[ptwrite: abc]\n"
        + lines(ORG + 6)
        + "[disabled]\n"
    )
    # One without an address says nothing about where to go on.
    ptw = ("ptw", {"payload": 0xABC, "plc": 1, "ip": False})
    packets = [*start(), tnt("!"), ptw, tip(ORG + 6), pgd()]
    assert without_offsets(by_both(listed, code, packets, RESYNC)) == (
        lines(ORG) + f"[1000: error: {QUERY}]\n" + "[ptwrite: abc]\n" + lines(ORG + 6) + "[disabled]\n"
    )


def test_a_ptwrite_where_nothing_is_mapped_does_not_come_again_for_ever(listed: List) -> None:
    ptw: Packet = ("ptw", {"payload": 0xABC, "plc": 1, "ip": True})
    packets = [*start(), tnt("!"), ptw, fup(0x5000), *start(ORG + 2), pgd()]
    out = without_offsets(by_both(listed, CALL_RAX + SYSCALL, packets, RESYNC))
    assert out.startswith(lines(ORG) + f"[1000: error: {QUERY}]\n" + f"[5000: error: {NOMAP}]\n")
    assert out.endswith(lines(ORG + 2) + "[disabled]\n")


def test_resync_starts_again_at_a_psb(listed: List) -> None:
    packets = [*start(), tnt("!"), *start(ORG + 2), pgd()]
    assert without_offsets(by_both(listed, CALL_RAX + SYSCALL, packets, RESYNC)) == (
        lines(ORG) + f"[1000: error: {QUERY}]\n" + lines(ORG + 2) + "[disabled]\n"
    )


def test_resync_that_fails(listed: List) -> None:
    # A PSB+ that contradicts the mode, then one that does not.
    code = CALL_RAX + SYSCALL
    packets = [*start(bits=32), tip(ORG), *start(ORG + 2), tnt("!"), *start(ORG + 2), pgd()]
    contradiction = "bad status update"
    assert without_offsets(by_both(listed, code, packets, RESYNC)) == (
        lines(ORG)
        + f"[1002: error: {contradiction}]\n"
        + f"[1002: resync error: {contradiction}]\n"
        + lines(ORG + 2)
        + "[disabled]\n"
    )


@pytest.mark.parametrize("packets", [[tnt("!")], [tnt("!"), "pad"], [tnt("!"), ("mnt", {"payload": 1})]])
def test_resync_that_meets_the_end(listed: List, packets: list[Packet]) -> None:
    assert without_offsets(by_both(listed, CALL_RAX, [*start(), *packets], RESYNC)) == (
        lines(ORG) + f"[1000: error: {QUERY}]\n" + "[1000: resync error: reached end of trace stream]\n"
    )


def test_an_endless_loop_ends(listed: List) -> None:
    packets = [*start(), fup(0x5000), pgd(), *start(ORG + 2), pgd()]
    out = without_offsets(by_both(listed, jmp(-2) + SYSCALL, packets))
    assert out.startswith(lines(ORG))
    assert out.endswith(f"[1000: error: {QUERY}]\n" + lines(ORG + 2) + "[disabled]\n")


def test_an_unknown_execution_mode_is_listed_as_unknown(listed: List) -> None:
    out = listed(NOP + SYSCALL, ["psb", fup(ORG), "psbend", pgd()], "--no-inst")
    assert out == lines(ORG, ORG + 1) + "[disabled]\n"
    assert mode(16) == ("mode.exec", {"csl": False, "csd": False, "iflag": False})
