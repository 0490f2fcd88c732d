"""Registers as gdb and lldb number them, and the documents that say so."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["GDB", "LLDB", "OTHER_PROGRAM", "Register", "target_xml"]


class Register(NamedTuple):
    """A register: its name, size in bits, type, and the ABI's (DWARF's) number if that is needed."""

    name: str
    bits: int
    type: str
    dwarf: int | None = None
    generic: str | None = None
    group: str | None = None


#: For commands.gdb: not 0 where gdb has the names of another program than the one that runs; 2 if the file
#: of that one is not at hand.
OTHER_PROGRAM = "other_program"


def _core() -> list[Register]:
    names = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16))]
    registers = [Register(name, 64, "data_ptr" if name in ("rbp", "rsp") else "int64") for name in names]
    registers += [Register("rip", 64, "code_ptr"), Register("eflags", 32, "int32")]
    registers += [Register(name, 32, "int32") for name in ("cs", "ss", "ds", "es", "fs", "gs")]
    registers += [Register(f"st{n}", 80, "i387_ext") for n in range(8)]
    names = ["fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop"]
    return registers + [Register(name, 32, "int") for name in names]


_SSE = [*(Register(f"xmm{n}", 128, "vec128") for n in range(16)), Register("mxcsr", 32, "int")]
_LINUX = [Register("orig_rax", 64, "int")]

#: gdb refuses less than all of the core, takes no shared libraries without the last, and makes no core file
#: without the one in the middle.
_FEATURES = [
    ("org.gnu.gdb.i386.core", _core()),
    ("org.gnu.gdb.i386.sse", _SSE),
    ("org.gnu.gdb.i386.linux", _LINUX),
    ("org.odograph.program", [Register(OTHER_PROGRAM, 32, "int", group="odograph")]),
]

GDB = [register for _, registers in _FEATURES for register in registers]
#: lldb shows registers that are not known as numbers, so it is told of no others.
LLDB = [
    Register("rip", 64, "code_ptr", 16, "pc"),
    Register("rsp", 64, "data_ptr", 7, "sp"),
    Register("rbp", 64, "data_ptr", 6, "fp"),
]

_VEC128 = (
    '<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>'
    '<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>'
    '<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>'
    '<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>'
    '<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/>'
    '<field name="v4_int32" type="v4i32"/><field name="v2_int64" type="v2i64"/>'
    '<field name="uint128" type="uint128"/></union>'
)


def target_xml(*, for_lldb: bool) -> str:
    """The target description; see the GDB manual, "Target Descriptions"."""
    features = [("org.gnu.gdb.i386.core", LLDB)] if for_lldb else _FEATURES
    number = 0
    text = ""
    for name, registers in features:
        text += f'<feature name="{name}">'
        text += _VEC128 if name.endswith("sse") else ""
        for register in registers:
            text += _element(register, number)
            number += 1
        text += "</feature>"
    return (
        '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target version="1.0">'
        f"<architecture>i386:x86-64</architecture><osabi>GNU/Linux</osabi>{text}</target>"
    )


def _element(register: Register, number: int) -> str:
    more = ""
    if register.dwarf is not None:
        more = (
            f' dwarf_regnum="{register.dwarf}" ehframe_regnum="{register.dwarf}" generic="{register.generic}"'
        )
        more += ' encoding="uint" format="hex" group="general"'
    if register.group is not None:
        more += f' group="{register.group}"'
    kind = f'bitsize="{register.bits}" type="{register.type}" regnum="{number}"'
    return f'<reg name="{register.name}" {kind}{more}/>'
