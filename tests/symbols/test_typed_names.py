"""What people type for a place in a program: functions, lines, shortened C++ names."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import odograph
from odograph.code.objects import read_object
from odograph.history.history import History
from odograph.recorder import qemu
from odograph.recorder.record import record
from odograph.symbols import AmbiguousName, Module, Symbols, UnknownSymbol

needs_cpp = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
needs_qemu = pytest.mark.skipif(qemu.unavailable() is not None, reason="no QEMU")

SOURCE = """\
#include <cstdlib>

static inline __attribute__((always_inline)) int folded(int number)
{
    volatile int kept = number;
    return kept * 3;
}

namespace road {
struct Map {
    __attribute__((noinline)) int find(int key) const;
    __attribute__((noinline)) int size() const;
};
int Map::find(int key) const
{
    return folded(key) + 1;
}
int Map::size() const
{
    return folded(2);
}
__attribute__((noinline)) int length(int number) { volatile int kept = number; return kept; }
}

namespace rail {
__attribute__((noinline)) int length(double number) { volatile double kept = number; return kept > 1; }
}

int main(int argc, char **)
{
    road::Map map;
    int sum = 0;
    for (int round = 0; round < 3; round++)
        sum += map.find(round) + map.size() + road::length(argc) + rail::length(argc);
    exit(sum == 0);
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("typed")
    (folder / "road.cpp").write_text(SOURCE)
    path = folder / "road"
    subprocess.run(["g++", "-g", "-O1", str(folder / "road.cpp"), "-o", str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def symbols(program: Path) -> Symbols:
    loads = read_object(program).loads
    return Symbols(
        Module("road", one.address, one.address + one.memory_size, one.offset, str(program)) for one in loads
    )


@pytest.fixture(scope="module")
def history(program: Path) -> History:
    path = program.parent / "road.data"
    record([str(program)], str(path), backend="qemu")
    return odograph.open(path).history()


def rows_of(program: Path, line: int) -> set[int]:
    """The addresses of the rows that readelf lists for a line."""
    words = ["readelf", "--debug-dump=decodedline", str(program)]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return {int(at, 16) for at in re.findall(rf"^road\.cpp +{line} +(0x[0-9a-f]+)", text, re.MULTILINE)}


@needs_cpp
def test_a_cpp_name_needs_neither_namespace_nor_parameters(symbols: Symbols) -> None:
    start = symbols.resolve("road::Map::find(int) const")
    for text in (
        "road::Map::find",
        "Map::find",
        "find",
        "find(int) const",
        "road!find",
        " Map::find(int) const",
    ):
        assert symbols.addresses(text) == [start], text
    assert symbols.addresses("find+4") == [start + 4]


@needs_cpp
def test_an_ambiguous_name_lists_the_candidates(symbols: Symbols) -> None:
    with pytest.raises(
        AmbiguousName, match=r"'length' may be any of: rail::length\(double\); road::length\(int\)"
    ):
        symbols.addresses("length")
    assert symbols.addresses("rail::length") != symbols.addresses("road::length")
    with pytest.raises(KeyError):
        symbols.resolve("length")


@needs_cpp
def test_a_line_means_where_its_code_begins(symbols: Symbols, program: Path) -> None:
    number = SOURCE.splitlines().index("    return folded(key) + 1;") + 1
    found = symbols.addresses(f"road.cpp:{number}")
    assert set(found) <= rows_of(program, number)
    assert symbols.addresses(f"{program.parent}/road.cpp:{number}") == found
    assert symbols.addresses(f"road!road.cpp:{number}") == found
    with pytest.raises(UnknownSymbol, match=r"no code of line 4000 of road.cpp"):
        symbols.addresses("road.cpp:4000")


@needs_cpp
def test_an_inlined_function_is_all_places_where_it_was_inlined(symbols: Symbols) -> None:
    places = symbols.addresses("folded")
    assert len(places) == 2
    outer = {str(symbols.describe(place).function) for place in places}
    assert outer == {"road::Map::find(int) const", "road::Map::size() const"}
    for place in places:
        assert [one.function for one in symbols.describe(place).inlined] == ["folded"]


@needs_cpp
def test_functions_are_listed_with_start_size_and_module(symbols: Symbols, program: Path) -> None:
    listed = {one.name: one for one in symbols.functions()}
    text = subprocess.run(["nm", "-CS", program], capture_output=True, text=True, check=True).stdout
    sized = re.findall(r"^([0-9a-f]+) ([0-9a-f]+) [tT] (.+)$", text, re.MULTILINE)
    assert len(sized) > 5
    for start, size, name in sized:
        found = listed[name]
        assert (found.start, found.size) == (int(start, 16), int(size, 16))
        assert (found.module, found.known_by) == ("road", "symbol")
    starts = [one.start for one in symbols.functions()]
    assert starts == sorted(starts)


@needs_cpp
@needs_qemu
def test_steps_are_found_by_every_name(history: History) -> None:
    assert len(history.find("Map::find")) == 3
    assert len(history.find("folded")) == 6
    assert len(history.find(["Map::find", "size"])) == 6
    number = SOURCE.splitlines().index("    return folded(2);") + 1
    assert len(history.find(f"road.cpp:{number}")) == 3
    with pytest.raises(AmbiguousName):
        history.find("length")


@needs_cpp
@needs_qemu
def test_an_interval_may_be_named(history: History) -> None:
    symbols = history.symbols
    assert symbols is not None
    first, last = symbols.resolve("main"), symbols.resolve("exit")
    assert history.find(("main", "exit")).tolist() == history.find((first, last)).tolist() != []
    assert history.find(("main", last)).tolist() == history.find((first, "exit")).tolist()
    with pytest.raises(KeyError):
        history.find(("main", "nowhere"))


@needs_cpp
@needs_qemu
def test_without_a_symbol_table_debug_information_knows_names(program: Path, tmp_path: Path) -> None:
    bare = tmp_path / "road"
    subprocess.run(["objcopy", "--strip-all", "--keep-section=.debug*", program, bare], check=True)
    loads = read_object(bare).loads
    symbols = Symbols(
        Module("road", one.address, one.address + one.memory_size, one.offset, str(bare)) for one in loads
    )
    whole = Symbols(
        Module("road", one.address, one.address + one.memory_size, one.offset, str(program)) for one in loads
    )
    for name in ("road::Map::find(int) const", "Map::find", "main", "rail::length"):
        assert symbols.resolve(name) == whole.resolve(name)
    place = symbols.name_of(whole.resolve("Map::find") + 1)
    assert place is not None
    assert (place.name, place.offset, place.known_by) == ("road::Map::find(int) const", 1, "dwarf")


def test_an_unknown_name_tells_which_files_are_not_at_hand() -> None:
    here = Module("here", 0x1000, 0x2000, path=shutil.which("true"))
    gone = [Module("gone1", 0x8000, 0x9000), Module("gone2", 0x9000, 0xA000)]
    anonymous = Module("[anonymous]", 0x20000, 0x21000)
    for text in ("nobody_here", "nobody.c:12"):
        with pytest.raises(
            UnknownSymbol, match=r"not found here: gone1, gone2 \(odograph info says what to do"
        ):
            Symbols([here, *gone, anonymous]).addresses(text)
        with pytest.raises(UnknownSymbol) as caught:
            Symbols([here, anonymous]).addresses(text)
        assert "not found here" not in str(caught.value)
