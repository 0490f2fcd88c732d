"""ptxed by theme. Code in several files: across borders, with holes, and later mappings over earlier ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.themes import assemble, listing, packets
from support.toolrun import List, MakeTrace, Printed, Run
from support.tracedcode import ORG

Parts = dict[int, bytes]

JUMP = assemble("nop jmpnear:8 nop nop nop hlt")
CALL = assemble("call:8 nop hlt nop ret")
LOOPS = assemble("jz:0 jz:0 nop")
NOPS = assemble("nop nop nop nop nop nop nop nop")


def split(code: bytes, *borders: int) -> Parts:
    """Code in a file of its own between any two borders."""
    ends = [*borders, len(code)]
    return {start: code[start:end] for start, end in zip([0, *borders], ends, strict=True)}


@pytest.fixture
def mapped(run: Run, trace: MakeTrace, tmp_path: Path) -> List:
    """``mapped(parts, packets)``: what both decoders list for code in several files."""

    def call(parts: Parts, given: str) -> str:
        raws: list[str] = []
        for address, code in parts.items():
            file = tmp_path / f"code{address}.bin"
            file.write_bytes(code)
            raws += ["--raw", f"{file}:{ORG + address:#x}"]
        pt = trace(*packets(given))
        outs = [
            run("ptxed", decoder, "--no-inst", "--check", *raws, "--pt", pt)
            for decoder in ("--block-decoder", "--insn-decoder")
        ]
        assert outs[0] == outs[1] == Printed(outs[0].out, "", 0)
        return outs[0].out

    return call


CASES = {
    "an instruction across a border": (split(JUMP, 3), "+0 fup:9 pgd", "0 1 8 [disabled]"),
    "an instruction across two borders": (split(JUMP, 2, 4), "+0 fup:9 pgd", "0 1 8 [disabled]"),
    "a call across a border": (split(CALL, 3), "+0 tnt:! fup:6 pgd", "0 8 5 [disabled]"),
    "a conditional branch across a border": (
        split(LOOPS, 3),
        "+0 tnt:.!.. fup:5 pgd",
        "0 2 0 2 4 [disabled]",
    ),
    "an indirect branch across a border": (
        split(assemble("nop jmp* nop hlt"), 2),
        "+0 tip:3 fup:4 pgd",
        "0 1 3 [disabled]",
    ),
    "a loop through three files": (
        {0: assemble("nop nop jz:0 nop"), 1: b"\x90"},
        "+0 tnt:!!. fup:5 pgd",
        "0 1 2 0 1 2 0 1 2 4 [disabled]",
    ),
    "an instruction that continues nowhere": (
        {0: JUMP[:3], 4: JUMP[4:]},
        "+0 fup:9 pgd",
        "0 [27, 1001: error: {bad_insn}]",
    ),
    "an instruction that begins nowhere": ({0: NOPS[:1]}, "+0 fup:9 pgd", "0 [27, 1001: error: {nomap}]"),
    "a later mapping over an instruction": ({0: JUMP, 1: NOPS[:4]}, "+0 fup:5 pgd", "0 1 2 3 4 [disabled]"),
    "a later mapping inside a block": (
        {0: NOPS, 2: assemble("jmp:2")},
        "+0 fup:6 pgd",
        "0 1 2 4 5 [disabled]",
    ),
}


@pytest.mark.parametrize(("parts", "given", "expected"), CASES.values(), ids=list(CASES))
def test_code_in_several_files(mapped: List, parts: Parts, given: str, expected: str) -> None:
    assert mapped(parts, given) == listing(expected)
