"""Recordings whose names do harm where they are taken at their word."""

from __future__ import annotations

import struct
from pathlib import Path

from odograph import Packet, PacketEncoder
from odograph.perfdata.writer import PerfDataWriter

#: What a name may hold: a terminal's commands (ESC, OSC with BEL and ST, CSI as C1), line ends and other
#: controls, marks that reverse or hide text, a byte that is no UTF-8, and one that is CSI by itself.
COMMANDS = "\x1b]0;owned\x07\x1b[31m\x1b\\\r\n\t\x08\x0b\x7f\u0085\u009b2J"
MARKS = "\u202e\u2066\u200b\u200d\u061c\ufeff\u2028\u00ad\U000e0041\u3164"
BYTES = "\udcff\udc9b"
EVIL = COMMANDS + MARKS + BYTES
#: The name of a thread has 15 bytes.
COMM = "c\x1b[31m\r\n\x07\u009b"
#: Symbols are UTF-8.
SYMBOL = "f" + COMMANDS + MARKS
CALLED = "g\x1b[2J\nfake line"

CODE = 0x401000
#: f: call g; ret. g, 16 bytes on: nop; ret.
CODE_BYTES = bytes.fromhex("e80b000000c3").ljust(16, b"\xcc") + bytes.fromhex("90c3")
NOWHERE = 0x500000


def elf_file(
    path: Path,
    symbols: dict[str, int],
    *,
    code: bytes = CODE_BYTES,
    address: int = CODE,
    build_id: bytes | None = None,
    kind: int = 2,
) -> Path:
    """An ELF file for x86-64: its code is one segment at an address, on a page of the file."""
    strings, table = b"\0", bytes(24)
    for name, start in symbols.items():
        table += struct.pack("<IBBHQQ", len(strings), 0x12, 0, 1, start, 16)
        strings += name.encode() + b"\0"
    note = b"" if build_id is None else struct.pack("<III4s", 4, len(build_id), 3, b"GNU\0") + build_id
    note_at = 64 + 2 * 56
    code_at = 0x1000
    symbols_at = code_at + len(code) + -len(code) % 8
    strings_at = symbols_at + len(table)
    strings += bytes(-len(strings) % 8)
    sections_at = strings_at + len(strings)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        *(b"\x7fELF\x02\x01\x01", kind, 62, 1, address, 64, sections_at, 0, 64, 56, 2, 64, 4, 3),
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, code_at, address, address, len(code), len(code), 0x1000)
    notes = struct.pack("<IIQQQQQQ", 4, 4, note_at, 0, 0, len(note), len(note), 4)
    sections = bytes(64) + b"".join(
        struct.pack("<IIQQQQIIQQ", 0, *section)
        for section in (
            (1, 6, address, code_at, len(code), 0, 0, 16, 0),
            (2, 0, 0, symbols_at, len(table), 3, 1, 8, 24),
            (3, 0, 0, strings_at, len(strings), 0, 0, 1, 0),
        )
    )
    data = (header + load + notes + note).ljust(code_at, b"\0")
    path.write_bytes((data + code).ljust(symbols_at, b"\0") + table + strings + sections)
    return path


def calling_trace(ip: int = CODE) -> bytes:
    """f calls g, which returns; then f returns to nowhere. Four instructions."""
    encoder = PacketEncoder()
    encoder.add(Packet("psb")).add(Packet("psbend"))
    encoder.add(Packet("mode.exec", csl=True, csd=False, iflag=False))
    encoder.add(Packet("tip.pge", compression=3, ip=ip))
    encoder.add(Packet("tnt8", size=1, bits=1))
    encoder.add(Packet("tip.pgd", compression=0, ip=0))
    return bytes(encoder)


def recorded(
    path: Path,
    program: str | Path,
    *,
    comm: str = "calling",
    keeps_code: bool = False,
    build_id: bytes | None = None,
    **more: str,
) -> Path:
    """A recording of such a call; ``more`` maps other files, each at a page of its own behind 0x500000."""
    with PerfDataWriter(path, command_line=[str(program)], recorder="test") as writer:
        writer.add_comm(42, 42, comm, exec=True)
        writer.add_mmap2(42, 42, CODE, 0x1000, 0x1000, str(program), build_id=build_id or "file")
        for number, name in enumerate(more.values()):
            writer.add_mmap2(42, 42, NOWHERE + 0x1000 * number, 0x1000, 0, name, build_id=None)
        writer.add_itrace_start(42, 42)
        writer.add_trace(42, 42, calling_trace())
        if keeps_code:
            writer.add_code(42, 0, CODE, CODE_BYTES[:6])
            writer.add_code(42, 0, CODE + 16, CODE_BYTES[16:])
    return path


def hostile_recording(folder: Path) -> Path:
    """Every name in it is hostile: of threads, files, symbols, in facts of the recorder; code is missing."""
    program = elf_file(folder / f"p{EVIL}.so", {SYMBOL: CODE, CALLED: CODE + 16})
    path = folder / f"r{EVIL}.data"
    with PerfDataWriter(path, command_line=[EVIL, "x"], recorder=f"recorder{EVIL}") as writer:
        writer.add_comm(42, 42, COMM, exec=True)
        writer.add_mmap2(42, 42, CODE, 0x1000, 0x1000, str(program))
        writer.add_mmap2(42, 42, NOWHERE, 0x1000, 0, f"/nowhere/{EVIL}", build_id=None)
        writer.add_fork(42, 42, 43, 42)
        writer.add_comm(42, 43, COMM)
        writer.add_itrace_start(42, 42)
        writer.add_itrace_start(42, 43)
        writer.add_trace(42, 42, calling_trace())
        writer.add_trace(43, 42, calling_trace(NOWHERE))
        writer.add_gap("native", f"ran without being recorded: {EVIL}", tid=42)
        writer.set_truth(42, 5, 7)
    return path
