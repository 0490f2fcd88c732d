"""Symbols: names of real programs, and lookups against a naive search."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odograph import Image, _native
from odograph.code.objects import Segment, object_file
from odograph.errors import OdographError
from odograph.symbols import Function, Module, Place, Symbols, UnknownSymbol
from odograph.symbols.intervals import Layers
from odograph.symbols.perfmap import parse_perf_map, read_perf_map
from odograph.symbols.table import table_of_bytes

needs_c = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
needs_cpp = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

C_PROGRAM = """
#include <stdio.h>
static __attribute__((noinline)) int twice(int number) { return number * 2; }
__attribute__((noinline)) int thrice(int number) { return number * 3; }
int main(int argc, char **argv) { printf("%d\\n", twice(argc) + thrice(argc)); return 0; }
"""

CPP_PROGRAM = """
#include <cstdio>
namespace road {
struct Map { int size; __attribute__((noinline)) int find(int key) const { return key + size; } };
template <typename T> __attribute__((noinline)) T most(T one, T other) { return one < other ? other : one; }
}
int main(int argc, char **) { road::Map map{argc}; return road::most(map.find(1), 2) ? 0 : 1; }
"""


def compiled(directory: Path, text: str, suffix: str, *options: str) -> Path:
    source = directory / f"program{suffix}"
    source.write_text(text)
    program = directory / "program"
    compiler = "gcc" if suffix == ".c" else "g++"
    subprocess.run([compiler, "-O1", *options, "-o", program, source], check=True)
    return program


def segments(path: Path) -> list[Segment]:
    file = object_file(path)
    return [] if file is None else file.loads


def loaded(path: Path, base: int = 0) -> Symbols:
    """Symbols of an ELF file as if it had been loaded with this bias."""
    modules = [
        Module(
            path.name,
            segment.address + base,
            segment.address + base + segment.memory_size,
            segment.offset,
            str(path),
        )
        for segment in segments(path)
    ]
    return Symbols(modules)


@needs_c
def test_a_c_program_loaded_anywhere(tmp_path: Path) -> None:
    program = compiled(tmp_path, C_PROGRAM, ".c")
    base = 0x5555_5000_0000
    symbols = loaded(program, base)
    listed = subprocess.run(["nm", program], check=True, capture_output=True, text=True).stdout
    for name in ("main", "twice", "thrice", "_start"):
        (address,) = re.findall(rf"^([0-9a-f]+) [tT] {name}$", listed, re.MULTILINE)
        start = symbols.resolve(name)
        assert start == int(address, 16) + base
        assert symbols.resolve(f"program!{name}") == start
        assert symbols.resolve(f"program!{name}+3") == start + 3
        assert symbols.name_of(start) == Place("program", name, 0)
        assert symbols.name_of(start + 1) == Place("program", name, 1)
        assert str(symbols.name_of(start + 1)) == f"program!{name}+0x1"


@needs_c
def test_stubs_are_named_after_what_they_jump_to(tmp_path: Path) -> None:
    symbols = loaded(compiled(tmp_path, C_PROGRAM, ".c", "-no-pie"))
    assert symbols.name_of(symbols.resolve("printf@plt") + 2) == Place("program", "printf@plt", 2)


@needs_c
def test_without_symbols_code_has_its_address_in_the_file(tmp_path: Path) -> None:
    program = compiled(tmp_path, C_PROGRAM, ".c")
    where = loaded(program, 0x10000).resolve("main")
    subprocess.run(["strip", program], check=True)
    symbols = loaded(program, 0x10000)
    place = symbols.name_of(where)
    assert place is not None
    # Its call frame information says where it begins.
    assert (place.name, place.start, place.offset, place.known_by) == (None, where - 0x10000, 0, "fde")
    assert str(place) == f"program+{where - 0x10000:#x}"
    assert symbols.resolve(str(place)) == where
    behind = symbols.name_of(where + 3)
    assert str(behind) == f"program+{where - 0x10000:#x}+0x3"
    assert symbols.resolve(str(behind)) == where + 3


@needs_c
def test_called_addresses_divide_code_without_symbols(tmp_path: Path) -> None:
    program = compiled(tmp_path, C_PROGRAM, ".c")
    named = loaded(program, 0x10000)
    main, twice, thrice = (named.resolve(name) for name in ("main", "twice", "thrice"))
    subprocess.run(["strip", program], check=True)
    symbols = loaded(program, 0x10000)
    addresses = np.array([main + 4, twice + 1, thrice + 2, twice], dtype=np.uint64)
    which, functions = symbols.functions_of(addresses, np.array([main, twice, thrice], dtype=np.uint64))
    assert [functions[index].address for index in which] == [main, twice, thrice, twice]
    assert str(functions[which[1]]) == f"program+{twice - 0x10000:#x}"


@needs_cpp
def test_names_of_cpp_are_demangled_and_found_in_every_form(tmp_path: Path) -> None:
    symbols = loaded(compiled(tmp_path, CPP_PROGRAM, ".cpp"))
    find = symbols.resolve("road::Map::find(int) const")
    assert symbols.resolve("road::Map::find") == find
    assert symbols.resolve("_ZNK4road3Map4findEi") == find
    assert symbols.name_of(find) == Place("program", "road::Map::find(int) const", 0)
    assert symbols.resolve("road::most<int>(int, int)") == symbols.resolve("_ZN4road4mostIiEET_S1_S1_")


def test_names_of_rust_and_others() -> None:
    assert (
        _native.demangle("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE") == "core::fmt::Write::write_fmt"
    )
    assert _native.demangle("_RNvCs1234_7mycrate3foo") == "mycrate::foo"
    assert _native.demangle("_ZN4road4mostIiEET_S1_S1_@plt") == "road::most<int>(int, int)@plt"
    for plain in ("main", "_Z", "_ZZZ", "", "_R", "memcpy@plt"):
        assert _native.demangle(plain) == plain


@needs_c
def test_an_unknown_name_brings_similar_ones(tmp_path: Path) -> None:
    symbols = loaded(compiled(tmp_path, C_PROGRAM, ".c"))
    with pytest.raises(UnknownSymbol, match=r"no symbol 'thrise' in program; similar: thrice"):
        symbols.resolve("thrise")
    with pytest.raises(KeyError):
        symbols.resolve("libnone.so!main")
    with pytest.raises(OdographError, match="no module here has symbols"):
        Symbols().resolve("main")


def test_numbers_resolve_to_themselves() -> None:
    symbols = Symbols()
    assert symbols.resolve("0x401000") == 0x401000
    assert symbols.resolve(" 4096 ") == 4096
    for wrong in ("-1", hex(1 << 64)):
        with pytest.raises(UnknownSymbol):
            symbols.resolve(wrong)


@needs_c
def test_a_file_cut_or_damaged_anywhere_gives_fewer_names_but_no_error(tmp_path: Path) -> None:
    whole = compiled(tmp_path, C_PROGRAM, ".c").read_bytes()
    full = len(table_of_bytes(whole).functions())
    assert full > 5
    for size in range(0, len(whole), 97):
        assert len(table_of_bytes(whole[:size]).functions()) <= full
    generator = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(whole)
        for at in generator.integers(0, len(whole), 8).tolist():
            damaged[at] = int(generator.integers(0, 256))
        table_of_bytes(bytes(damaged)).functions()
    assert table_of_bytes(b"not an ELF file").functions() == []


rows = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 30)).map(lambda row: (row[0], row[1])), max_size=12
)


@given(rows)
def test_of_overlapping_modules_the_later_one_counts(ranges: list[tuple[int, int]]) -> None:
    intervals = [(start, start + size) for start, size in ranges]
    found = Layers(intervals).find(np.arange(100, dtype=np.uint64))
    for address in range(100):
        containing = [nth for nth, (start, end) in enumerate(intervals) if start <= address < end]
        assert int(found[address]) == (containing[-1] if containing else -1)


@given(rows, rows, st.lists(st.integers(0, 110), max_size=8))
def test_many_lookups_equal_single_ones(
    modules: list[tuple[int, int]], jitted: list[tuple[int, int]], wanted: list[int]
) -> None:
    symbols = Symbols(
        [Module(f"m{nth}", start, start + size) for nth, (start, size) in enumerate(modules)],
        [(start, start + size, f"j{nth}") for nth, (start, size) in enumerate(jitted) if size],
    )
    addresses = np.array(wanted, dtype=np.uint64)
    which, functions = symbols.functions_of(addresses)
    assert len(set(functions)) == len(functions)
    for address, index in zip(wanted, which.tolist(), strict=True):
        place = symbols.name_of(address)
        function = functions[index]
        if place is None:
            assert function.module == ""
        else:
            assert (function.module, function.name) == (place.module, place.name)
            assert function.name is None or function.address == address - place.offset
    assert symbols.names_of(addresses) == [str(symbols.name_of(address) or "") for address in wanted]


def test_the_top_of_the_address_space_has_names_too() -> None:
    top = (1 << 64) - 0x1000
    symbols = Symbols([Module("top", top, 1 << 64)])
    assert symbols.name_of((1 << 64) - 1) == Place("top", None, 0xFFF)
    assert symbols.name_of(1 << 64) is None
    assert symbols.name_of(-1) is None
    which, functions = symbols.functions_of(np.array([(1 << 64) - 1], dtype=np.uint64))
    assert functions[which[0]] == Function("top", None, top, 0)


def test_perf_maps_name_what_a_jit_compiler_made(tmp_path: Path) -> None:
    (tmp_path / "perf-77.map").write_text(
        "7f0000001000 40 old name\n0x7f0000001000 0x20 py::f:/a b.py\nnonsense\nzz 1 x\n10 0 empty\n"
    )
    entries = read_perf_map(77, (str(tmp_path / "none"), str(tmp_path)))
    assert [name for _, _, name in entries] == ["old name", "py::f:/a b.py"]
    symbols = Symbols([Module("[anonymous]", 0x7F0000000000, 0x7F0000002000)], entries)
    assert symbols.name_of(0x7F0000001010) == Place("[anonymous]", "py::f:/a b.py", 0x10)
    assert symbols.name_of(0x7F0000001030) == Place("[anonymous]", "old name", 0x30)
    assert symbols.resolve("old name") == 0x7F0000001000
    assert read_perf_map(78, (str(tmp_path),)) == []
    assert parse_perf_map("") == []


@needs_c
def test_symbols_of_an_image(tmp_path: Path) -> None:
    program = compiled(tmp_path, C_PROGRAM, ".c")
    image = Image()
    for segment in segments(program):
        image.add_file(program, segment.offset, segment.file_size, segment.address + 0x7000_0000)
    image.add_bytes(b"\x90", 0x10, name="patch")
    symbols = Symbols.of_image(image)
    assert symbols.name_of(symbols.resolve("main")) == Place("program", "main", 0)
    assert symbols.resolve("main") == loaded(program).resolve("main") + 0x7000_0000
    assert symbols.name_of(0x10) == Place("patch", None, 0)
