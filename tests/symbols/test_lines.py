"""Source lines and inlined functions, judged by binutils' addr2line."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from odograph.code.objects import object_file
from odograph.symbols import Lines, Module, Symbols
from odograph.symbols.table import table_of_file

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

PROGRAM = """
static inline __attribute__((always_inline)) int twice(int x)
{
    return x + __builtin_popcount(x);
}
static inline __attribute__((always_inline)) int four(int x)
{
    return twice(twice(x));
}
__attribute__((noinline)) int work(int x)
{
    for (int i = 0; i < x; i++)
        x ^= four(x + i);
    return x;
}
int main(int argc, char **argv)
{
    return work(argc) & 1;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("gcc"):
        pytest.skip("there is no gcc here")
    directory = tmp_path_factory.mktemp("lines")
    (directory / "prog.c").write_text(PROGRAM)
    subprocess.run(["gcc", "-g", "-O2", "-o", "prog", "prog.c"], cwd=directory, check=True)
    return directory / "prog"


def judged(program: Path, addresses: list[int]) -> list[list[tuple[str, str, int | None]]]:
    """What addr2line says: (function, file, line) of each address, the innermost first."""
    if not shutil.which("addr2line"):
        pytest.skip("binutils' addr2line is not installed")
    words = [f"{address:#x}" for address in addresses]
    command = ["addr2line", "-a", "-i", "-f", "-C", "-e", str(program), *words]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found: list[list[tuple[str, str, int | None]]] = []
    lines = iter(output)
    for line in lines:
        if line.startswith("0x"):
            found.append([])
            continue
        place = next(lines).split(" (discriminator")[0]
        file, _, number = place.rpartition(":")
        found[-1].append((line, file, int(number) if number.isdigit() and number != "0" else None))
    return found


def ours(lines: Lines, address: int) -> list[tuple[str, str, int | None]]:
    source = lines.at(address)
    if source is None:
        return []
    return [
        *((one.function, one.file or "??", one.line) for one in source.inlined),
        (source.function or "??", source.file or "??", source.line),
    ]


def code_of(path: Path, names: tuple[str, ...]) -> list[int]:
    table = table_of_file(str(path))
    wanted = [(next(iter(table.named(name)), None), name) for name in names]
    ends = sorted(table.entries.tolist())
    addresses: list[int] = []
    for start, name in wanted:
        assert start is not None, name
        addresses += range(start, next(end for end in ends if end > start))
    return addresses


def test_every_address_has_the_lines_and_inlined_functions_that_addr2line_gives(program: Path) -> None:
    lines = Lines.of_file(program)
    addresses = code_of(program, ("work", "main"))
    # Between functions addr2line knows the symbol before, and no file.
    judged_ones = [
        (address, rows) for address, rows in zip(addresses, judged(program, addresses), strict=True)
    ]
    expected = {address: rows for address, rows in judged_ones if rows[0][1] != "??"}
    given = {address: ours(lines, address) for address in expected}
    assert given == expected
    assert len(given) > 50
    assert any(
        len(one) == 3 and [name for name, *_ in one] == ["twice", "four", "work"] for one in given.values()
    )


def test_debug_information_may_lie_in_another_file(program: Path, tmp_path: Path) -> None:
    if not shutil.which("objcopy"):
        pytest.skip("binutils' objcopy is not installed")
    alone, debug = tmp_path / "prog", tmp_path / ".debug" / "prog.debug"
    debug.parent.mkdir()
    subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True)
    subprocess.run(["objcopy", "--strip-debug", f"--add-gnu-debuglink={debug}", program, alone], check=True)
    start = code_of(program, ("work",))[0]
    assert ours(Lines.of_file(alone), start) == ours(Lines.of_file(program), start) != []
    # Another program's debug information is not used.
    source = tmp_path / "other.c"
    source.write_text("int main(void) { return 0; }")
    subprocess.run(["gcc", "-g", "-o", debug, source], check=True)
    os.utime(alone, (1, 1))
    assert not Lines.of_file(alone)


def test_compressed_debug_information_is_read(program: Path, tmp_path: Path) -> None:
    if not shutil.which("objcopy"):
        pytest.skip("binutils' objcopy is not installed")
    packed = tmp_path / "packed"
    subprocess.run(["objcopy", "--compress-debug-sections=zlib", program, packed], check=True)
    start = code_of(program, ("work",))[0]
    assert ours(Lines.of_file(packed), start) == ours(Lines.of_file(program), start)


def test_a_line_has_addresses(program: Path) -> None:
    lines = Lines.of_file(program)
    number = next(n for n, line in enumerate(PROGRAM.splitlines(), 1) if "x ^= four" in line)
    found = lines.addresses_of("prog.c", number)
    assert found is not None
    assert found[0] == number
    assert found[1]
    for address in found[1]:
        inner = ours(lines, address)
        assert number in [line for _, _, line in inner]
    first = lines.addresses_of("prog.c", 1)
    assert first is not None
    assert first[0] > 1
    assert lines.addresses_of("prog.c", 10_000) is None
    assert lines.addresses_of("other.c", 1) is None
    assert lines.addresses_of("prog.c", -1) is None


def test_what_has_no_debug_information_has_no_lines(tmp_path: Path) -> None:
    for path in ("/dev/null", "/nothing/here", os.devnull, tmp_path, __file__):
        lines = Lines.of_file(path)
        assert not lines
        assert lines.at(0x1000) is None
        assert lines.addresses_of("prog.c", 1) is None


def test_damaged_files_never_fail(program: Path, tmp_path: Path) -> None:
    whole = program.read_bytes()
    random.seed(7)
    path = tmp_path / "damaged"
    addresses = code_of(program, ("work",))[::3]
    for _ in range(150):
        damaged = bytearray(whole[: random.choice((len(whole), random.randrange(len(whole))))])
        for _ in range(random.choice((1, 8, 200))):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        path.write_bytes(damaged)
        lines = Lines(path)
        for address in addresses:
            lines.at(address)
        lines.addresses_of("prog.c", 3)


def test_symbols_know_the_source_of_an_address_in_memory(program: Path) -> None:
    start = code_of(program, ("work",))[0]
    bias = 0x5555_5555_0000
    file = object_file(program)
    loads = [] if file is None else file.loads
    segment = next(one for one in loads if one.address <= start < one.address + one.file_size)
    at = segment.address + bias
    symbols = Symbols([Module("prog", at, at + segment.memory_size, segment.offset, str(program))])
    assert symbols.source_of(start + bias) == Lines.of_file(program).at(start)
    assert symbols.source_of(at - 1) is None
    assert symbols.source_of(1 << 64) is None


def assembled(folder: Path, name: str, text: str) -> Path:
    (folder / f"{name}.s").write_text(text)
    path = folder / f"{name}.so"
    subprocess.run(["gcc", "-shared", str(folder / f"{name}.s"), "-o", str(path)], check=True)
    return path


@needs_gcc
@pytest.mark.parametrize("version", ["-gdwarf-4", "-gdwarf-5"])
def test_an_entry_that_makes_no_sense_hides_neither_lines_nor_functions(tmp_path: Path, version: str) -> None:
    source = tmp_path / "odd.c"
    source.write_text(PROGRAM)
    words = ["gcc", version, "-O2", "-fPIC", "-dA", "-S", str(source), "-o", str(tmp_path / "odd.s")]
    subprocess.run(words, check=True)
    text = (tmp_path / "odd.s").read_text()
    # The entry of an inlined function has an abbreviation that there is not.
    entries = [*re.finditer(r"\.uleb128 (0x\w+)\s+# \(DIE \(0x\w+\) DW_TAG_inlined_subroutine\)", text)]
    start, end = entries[-1].span(1)
    damaged = f"{text[:start]}0x7f{text[end:]}"
    sound, odd = assembled(tmp_path, "sound", text), assembled(tmp_path, "odd", damaged)
    known = Lines(sound), Lines(odd)
    addresses = code_of(sound, ("work", "main"))
    lost = 0
    for address in addresses:
        expected, found = (lines.at(address) for lines in known)
        if expected is None:
            # Padding between functions.
            continue
        assert found is not None, hex(address)
        assert found.function == expected.function
        if found == expected:
            continue
        lost += 1
        # What was inlined is not known, but the line is.
        _, file, line = expected.inlined[0] if expected.inlined else (None, expected.file, expected.line)
        assert (found.file, found.line) == (file, line), hex(address)
    assert lost
    for lines in known:
        assert ("main", False) in [(name, is_inlined) for _, name, is_inlined in lines.code_of("main")]
    assert known[0].addresses_of("odd.c", 15) == known[1].addresses_of("odd.c", 15)


def test_pieces_that_debuggers_step_by_are_gdbs(program: Path) -> None:
    if not shutil.which("gdb"):
        pytest.skip("needs gdb")
    pieces = Lines(program).pieces
    dice = random.Random(3)
    addresses = pieces.start.tolist()
    addresses += [dice.randrange(addresses[0] - 8, int(pieces.end[-1]) + 8) for _ in range(100)]
    words = [word for address in addresses for word in ("-ex", f"info line *{address}")]
    command = ["gdb", "-batch", "-nx", "-ex", "set width 0", *words, str(program)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    pattern = re.compile(r'Line (\d+) of ".*" starts at address (0x[0-9a-f]+).* ends at (0x[0-9a-f]+)')
    for address, text in zip(addresses, filter(None, said), strict=True):
        row = int(pieces.start.searchsorted(address, side="right")) - 1
        is_known = row >= 0 and address < pieces.end[row]
        found = (int(pieces.line[row]) & 0xFFFFFFFF, int(pieces.start[row]), int(pieces.end[row]))
        match = pattern.match(text)
        judged = (int(match[1]), int(match[2], 16), int(match[3], 16)) if match else None
        assert (found if is_known else None) == judged
