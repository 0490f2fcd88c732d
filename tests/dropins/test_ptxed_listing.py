"""What odograph-ptxed prints for a trace: code and packets in, text out, the same for both decoders."""

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
    call,
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
    tsc,
    tsx,
)

# Instruction lines.

SIMPLE = b"\x48\x89\xc3" + jz(1) + HLT + b"\x8b\x04\x08" + HLT
SIMPLE_PACKETS = [*start(), tnt("!"), fup(ORG + 9), pgd()]


@pytest.mark.parametrize("decoder", ["--block-decoder", "--insn-decoder"])
def test_text_of_instructions(listed: List, decoder: str) -> None:
    assert listed(SIMPLE, SIMPLE_PACKETS, decoder) == (
        "0000000000001000  mov rbx, rax\n"
        "0000000000001003  jz 0x1006\n"
        "0000000000001006  mov eax, dword ptr [rax+rcx*1]\n"
        "[disabled]\n"
    )
    assert listed(SIMPLE, SIMPLE_PACKETS, decoder, "--att") == (
        "0000000000001000  mov %rax, %rbx\n"
        "0000000000001003  jz 0x1006\n"
        "0000000000001006  mov (%rax,%rcx,1), %eax\n"
        "[disabled]\n"
    )


@pytest.mark.parametrize("decoder", ["--block-decoder", "--insn-decoder"])
def test_bytes_of_instructions(listed: List, decoder: str) -> None:
    assert listed(SIMPLE, SIMPLE_PACKETS, decoder, "--raw-insn") == (
        "0000000000001000 48 89 c3" + 12 * "   " + "  mov rbx, rax\n"
        "0000000000001003 74 01" + 13 * "   " + "  jz 0x1006\n"
        "0000000000001006 8b 04 08" + 12 * "   " + "  mov eax, dword ptr [rax+rcx*1]\n"
        "[disabled]\n"
    )
    assert listed(SIMPLE, SIMPLE_PACKETS, decoder, "--raw-insn", "--no-inst") == (
        lines(ORG, ORG + 3, ORG + 6) + "[disabled]\n"
    )


def test_offset_is_that_of_the_packet_at_hand(listed: List) -> None:
    # PSB+ ends at 1d, the TNT at 1e; a decoder holds the next packet as soon as it has used one.
    shown = listed(SIMPLE, SIMPLE_PACKETS, "--no-inst", "--offset", "--block-decoder")
    columns = [line.split() for line in shown.splitlines()]
    assert [column[-1] for column in columns] == [f"{ip:016x}" for ip in (ORG, ORG + 3, ORG + 6)] + [
        "disabled]"
    ]
    offsets = [int(column[0].strip("["), 16) for column in columns]
    assert offsets == sorted(offsets)
    assert all(len(column[0].strip("[")) == 16 for column in columns)


def test_time_is_that_of_the_last_event(listed: List) -> None:
    code = SYSCALL + NOP + HLT
    packets = [*start(ORG, tsc(0x10)), pgd(), tsc(0x20), pge(ORG + 2), tsc(0x30), fup(ORG + 3), pgd()]
    assert by_both(listed, code, packets, "--time", "--event:time") == (
        "0000000000000010  0000000000001000\n"
        "[0000000000000010  disabled]\n"
        "[0000000000000020  resumed]\n"
        "0000000000000020  0000000000001002\n"
        "[0000000000000030  disabled]\n"
    )
    # Packets that are no event do not move it.
    code = JMP_RAX + JMP_RAX + SYSCALL
    packets = [*start(ORG, tsc(0x10)), tsc(0x20), tip(ORG + 2), tsc(0x30), tip(ORG + 4), pgd()]
    assert by_both(listed, code, packets, "--time") == (
        "0000000000000010  0000000000001000\n"
        "0000000000000010  0000000000001002\n"
        "0000000000000010  0000000000001004\n"
        "[disabled]\n"
    )
    # Without a TSC there is nothing to show.
    code = SYSCALL + NOP + HLT
    packets = [*start(), pgd()]
    assert by_both(listed, code, packets, "--event:time") == lines(ORG) + "[disabled]\n"


def test_code_of_other_modes(listed: List) -> None:
    code = b"\x40\x90" + HLT
    packets = [*start(bits=32), fup(ORG + 2), pgd()]
    assert listed(code, packets) == "0000000000001000  inc eax\n0000000000001001  nop\n[disabled]\n"
    packets = [*start(bits=16), fup(ORG + 2), pgd()]
    assert listed(code, packets) == "0000000000001000  inc ax\n0000000000001001  nop\n[disabled]\n"


def test_transactions_are_marked(listed: List) -> None:
    code = NOP * 3 + HLT
    packets = [*start(), tsx(intx=True), fup(ORG + 1), tsx(intx=False), fup(ORG + 2), fup(ORG + 3), pgd()]
    assert by_both(listed, code, packets) == (
        lines(ORG)
        + "[begin transaction]\n"
        + f"? {ORG + 1:016x}\n"
        + "[committed]\n"
        + lines(ORG + 2)
        + "[disabled]\n"
    )


#: An instruction for the core's decoder that iced-x86 does not accept: LOCK NOP.
BAD = b"\xf0\x90"


def test_what_cannot_be_disassembled(listed: List) -> None:
    code = NOP + BAD + NOP + HLT
    packets = [*start(), fup(ORG + 4), pgd()]
    error = " f0 90 [xed decode error: (2) GENERAL_ERROR]\n"
    by_instruction = listed(code, packets, "--insn-decoder")
    assert by_instruction == (
        f"0000000000001000  nop\n0000000000001001{error}0000000000001003  nop\n[disabled]\n"
    )
    assert listed(code, packets, "--insn-decoder", "--no-inst") == (
        lines(ORG, ORG + 1, ORG + 3) + "[disabled]\n"
    )
    # The block decoder's listing goes from one instruction to the next by decoding them.
    by_block = listed(code, packets, "--block-decoder")
    cut = r"0000000000001000  nop\n0000000000001001" + re.escape(error)
    assert re.fullmatch(
        cut + r"\[[0-9a-f]+, 1001: reconstruct error: decoder out of sync\]\n\[disabled\]\n", by_block
    )
    shorter = listed(code, packets, "--block-decoder", "--no-inst")
    assert shorter == by_block.replace("  nop", "")


def test_findings_of_a_second_decoder(listed: List) -> None:
    packets = [*start(), fup(ORG + 4), pgd()]
    for decoder in ("--insn-decoder", "--block-decoder"):
        out = listed(NOP + BAD + NOP + HLT, packets, decoder, "--no-inst", "--check", "--quiet")
        assert re.fullmatch(r"\[[0-9a-f]+, 1001: xed error: \(2\) GENERAL_ERROR\]\n", out)
        assert listed(NOP * 4 + HLT, packets, decoder, "--no-inst", "--check", "--quiet") == ""


# Blocks.


def test_blocks(listed: List) -> None:
    code = jmp(1) + HLT + call(0) + NOP + jz(0) + NOP + HLT
    packets = [*start(), tnt("."), fup(ORG + 12), pgd()]

    def blocks(*options: str) -> list[list[int]]:
        out = listed(code, packets, "--no-inst", "--block:show-blocks", *options)
        assert out.startswith("[block]\n")
        assert out.endswith("[disabled]\n")
        parts = out.removesuffix("[disabled]\n").split("[block]\n")[1:]
        return [[int(line, 16) - ORG for line in part.splitlines()] for part in parts]

    assert blocks() == [[0, 3, 8, 9], [11]]
    assert blocks("--block:end-on-jump") == [[0], [3, 8, 9], [11]]
    assert blocks("--block:end-on-call") == [[0, 3], [8, 9], [11]]
    assert blocks("--block:end-on-call", "--block:end-on-jump") == [[0], [3], [8, 9], [11]]


def test_numbers_of_blocks(listed: List) -> None:
    code = jz(0) * 11 + HLT
    packets = [*start(), tnt("....."), tnt("......"), fup(ORG + 22), pgd()]
    out = listed(code, packets, "--no-inst", "--block:show-blocks", "--stat:blocks")
    numbers = re.findall(r"^\[block (.*)\]$", out, re.MULTILINE)
    assert numbers[:11] == [*"123456789ab"]
    assert re.search(r"^blocks:\s+(\d+)\.$", out, re.MULTILINE).group(1) == str(int(numbers[-1], 16))  # type: ignore[union-attr]
    assert "[block" not in listed(code, packets, "--no-inst", "--block:show-blocks", "--insn-decoder")


# Events.


def test_off_and_on(listed: List) -> None:
    code = SYSCALL + NOP + HLT
    packets = [*start(), pgd(), pge(ORG + 2), fup(ORG + 3), pgd(0x5000)]
    assert by_both(listed, code, packets, "--event:ip") == (
        lines(ORG)
        + "[disabled]\n"
        + "[resumed, ip: 0000000000001002]\n"
        + lines(ORG + 2)
        + "[disabled, at: 0000000000001003, ip: 0000000000005000]\n"
    )
    packets = [*start(), fup(ORG), pgd(), pge(ORG + 2), fup(ORG + 3), pgd()]
    assert by_both(listed, code, packets) == "[disabled]\n[enabled]\n" + lines(ORG + 2) + "[disabled]\n"


def test_interrupts(listed: List) -> None:
    code = NOP + HLT + NOP + SYSCALL
    packets = [*start(), fup(ORG + 1), tip(ORG + 2), pgd()]
    assert by_both(listed, code, packets, "--event:ip") == (
        lines(ORG)
        + "[interrupt, from: 0000000000001001, to: 0000000000001002]\n"
        + lines(ORG + 2, ORG + 3)
        + "[disabled]\n"
    )


def test_branches_through_the_trace(listed: List) -> None:
    # l0: call l4; l1: jz l1; l2: jmp rax; l3: hlt; l4: ret
    code = call(5) + jz(-2) + JMP_RAX + HLT + RET
    packets = [*start(), tnt("!!!."), tip(ORG + 10), tnt("!"), fup(ORG + 9), pgd()]
    out = by_both(listed, code, packets, "--event:ip")
    jumps = lines(ORG, ORG + 10, ORG + 5, ORG + 5, ORG + 5, ORG + 7, ORG + 10)
    # The second return has no call to return to.
    assert out.startswith(jumps)
    assert out.removeprefix(jumps) == "[28, 100b: error: compressed return without call]\n"


def test_ptwrite_and_flags_of_events(listed: List) -> None:
    code = PTWRITE + SYSCALL
    packets: list[Packet] = [*start(), ("ptw", {"payload": 0xABC, "plc": 1, "ip": False}), pgd()]
    assert by_both(listed, code, packets, "--event:ip") == (
        lines(ORG) + "[ptwrite: abc]\n" + lines(ORG + 4) + "[disabled]\n"
    )


def test_status_updates_are_not_events(listed: List) -> None:
    code = NOP * 2 + HLT
    again = start(ORG + 1, tsc(5), ("pip", {"cr3": 0xA00, "nr": False}), ("cbr", {"ratio": 9}))
    packets = [*start(), *again, ("cbr", {"ratio": 0x1F}), fup(ORG + 2), pgd()]
    assert by_both(listed, code, packets) == (lines(ORG) + "[cbr: 1f]\n" + lines(ORG + 1) + "[disabled]\n")


def test_ticks(listed: List) -> None:
    code = jz(0) + JMP_RAX + HLT
    packets = [*start(ORG, tsc(0x10)), tsc(0x20), tnt("."), tsc(0x30), tip(ORG + 4), fup(ORG + 4), pgd()]
    plain = lines(ORG, ORG + 2) + "[disabled]\n"
    assert by_both(listed, code, packets) == plain
    ticked = by_both(listed, code, packets, "--event:tick", "--event:time", "--event:ip")
    assert ticked == (
        lines(ORG)
        + "[0000000000000020  tick, ip: 0000000000001002]\n"
        + lines(ORG + 2)
        + "[0000000000000030  tick, ip: 0000000000001002]\n"
        + "[0000000000000030  disabled, at: 0000000000001004]\n"
    )


def test_flags_of_interrupts_only_if_wanted(listed: List) -> None:
    code = NOP + HLT
    allowed: Packet = ("mode.exec", {"csl": True, "csd": False, "iflag": True})
    packets = [*start(), allowed, fup(ORG + 1), fup(ORG + 1), pgd()]
    plain = lines(ORG) + "[disabled]\n"
    assert by_both(listed, code, packets) == plain
    assert by_both(listed, code, packets, "--event:iflags") == (
        lines(ORG) + "[interrupts enabled]\n" + "[disabled]\n"
    )


# The end.


def test_the_end_of_a_trace_that_is_on(listed: List) -> None:
    code = NOP + CALL_RAX + HLT
    # What ran behind the last packet is not listed.
    assert by_both(listed, code, start()) == "[end of trace]\n"
    assert by_both(listed, code, [*start(), tip(ORG)]) == lines(ORG, ORG + 1) + "[end of trace]\n"


def test_the_end_of_a_trace_that_is_off(listed: List) -> None:
    assert by_both(listed, NOP, start(None)) == ""
    assert by_both(listed, SYSCALL, [*start(), pgd()]) == lines(ORG) + "[disabled]\n"


def test_nothing_is_said_about_nothing(listed: List) -> None:
    assert by_both(listed, NOP, ["pad"]) == ""
    assert by_both(listed, NOP, ["psb"]) == ""
    assert by_both(listed, NOP, ["psb", fup(ORG), mode()]) == ""


def test_quiet(listed: List) -> None:
    code = NOP + SYSCALL
    packets = [*start(), pgd(), pge(0x5000), pgd()]
    for option in ("--quiet", "-q"):
        out = by_both(listed, code, packets, option)
        assert out == "[28, 5000: error: no memory mapped at this address]\n"
    assert listed(code, [*start()], "--quiet", "--block:show-blocks", "--event:tick") == ""
