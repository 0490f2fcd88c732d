"""Snapshots of threads: what they answer, and that a stack comes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from odograph import BytesMemory, InvalidArgument, LayeredMemory
from odograph.unwind.ia64 import Modules, Register, Request, Snapshot, br, fr, gr, unwind
from support.ia64elf import Code, executable

BOTTOM = b"\x00\xe4\x00\xb0\x80\x3f"
MIDDLE = b"\x06\xe6\x00\xb1\x21\xe4\x01\xb0\xa2\xe0\x02\x02\x3f"
STACK, BACKING = 0x6000000000010000, 0x6000000000800100
START = {"ip": 0x4000000000000000, "sp": STACK, "bsp": BACKING, "cfm": 0x288}


def modules(tmp_path: Path, *, big: bool = False) -> Modules:
    path = tmp_path / "program"
    codes = [Code("start", 12, BOTTOM), Code("middle", 12, MIDDLE), Code("leaf", 2, None)]
    path.write_bytes(executable(codes, big=big, hpux=big).data)
    result = Modules()
    result.add(path)
    return result


@pytest.mark.parametrize("big", [False, True])
def test_a_stack_from_memory_registers_and_a_file(tmp_path: Path, big: bool) -> None:
    known = modules(tmp_path, big=big)
    (module,) = known
    start, middle, leaf = (function.address for function in module.file.functions)
    order = "big" if big else "little"
    # The caller of leaf is middle, whose frame has five locals below; two of them hold ar.pfs and b0.
    words = {1: 3 | 2 << 7, 2: start + 0x21}
    backing = b"".join(words.get(index, 0).to_bytes(8, order) for index in range(8))
    memory = LayeredMemory(BytesMemory(bytes(64), STACK), BytesMemory(backing, BACKING - 40))
    registers = START | {"ip": leaf + 0x11, "br0": middle + 0x31, "pfs": 8 | 5 << 7}
    stack = unwind(Snapshot(memory, registers, known))
    assert [(frame.function, frame.offset) for frame in stack] == [
        ("leaf", 0x11),
        ("middle", 0x31),
        ("start", 0x21),
    ]
    assert stack.is_complete
    assert stack[2].registers["sp"] == STACK + 32


def test_what_is_copied_in(tmp_path: Path) -> None:
    memory = LayeredMemory(BytesMemory(bytes(range(1, 17)), STACK), BytesMemory(bytes(8), 0x1F8))
    registers = START | {"gr4": 44, "fr2": (5, 0x1003E), "pfs": 7, "pr": 8, "rnat": 99, "bspstore": 0x3F8}
    for big in (False, True):
        snapshot = Snapshot(memory, registers, modules(tmp_path, big=big))
        assert snapshot.big is big
        assert snapshot.start == (START["ip"], STACK, BACKING, START["cfm"])
        word = bytes(range(1, 9))
        assert snapshot.copy_in(Request.MSTACK, STACK, 8) == (word[::-1] if big else word)
        assert snapshot.copy_in(Request.MSTACK, STACK + 12, 8) is None
        assert snapshot.copy_in(Request.MSTACK, 0, 8) is None
        assert snapshot.copy_in(Request.REG, gr(4), 8) == (44).to_bytes(8, "little")
        assert snapshot.copy_in(Request.REG, gr(5), 8) is None
        assert snapshot.copy_in(Request.REG, br(0), 8) is None
        assert snapshot.copy_in(Request.REG, 0x999, 8) is None
        assert snapshot.copy_in(Request.REG, fr(2), 8) is None
        pair = (5).to_bytes(8, "little") + (0x1003E).to_bytes(8, "little")
        assert snapshot.copy_in(Request.REG, fr(2), 16) == pair
        for number in (Register.PFS, Register.AR_PFS):
            assert snapshot.copy_in(Request.REG, number, 8) == (7).to_bytes(8, "little")
        assert snapshot.copy_in(Request.REG, Register.PREDS, 8) == (8).to_bytes(8, "little")
        # NaT bits are in memory below bspstore, and in the register from there on.
        assert snapshot.copy_in(Request.RSTACK, 0x1F8, 8) == bytes(8)
        assert snapshot.copy_in(Request.RSTACK, 0x3F8, 8) == (99).to_bytes(8, "little")
        assert snapshot.copy_in(Request.RSTACK, 0x3F0, 8) is None
        (module,) = snapshot.modules
        assert snapshot.copy_in(Request.UINFO, module.text, 4) == b"\x7fELF"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ip": None}, "needs the register ip"),
        ({"cfm": None}, "needs the register cfm"),
        ({"gr4": -1}, "cannot be a value of the register gr4"),
        ({"gr4": 1 << 64}, "cannot be a value of the register gr4"),
        ({"gr4": (1, 2)}, "cannot be a value of the register gr4"),
        ({"fr2": 5}, "cannot be a value of the register fr2"),
        ({"fr2": (0, 1 << 64)}, "cannot be a value of the register fr2"),
    ],
)
def test_registers_that_cannot_be(
    tmp_path: Path, change: dict[str, int | tuple[int, int] | None], sentence: str
) -> None:
    registers = {name: value for name, value in (START | change).items() if value is not None}
    with pytest.raises(InvalidArgument, match=sentence):
        Snapshot(BytesMemory(b""), registers, modules(tmp_path))
