"""``NAME+OFFSET``: behind a function, or an address of a file; what may be either is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from odograph.code.objects import read_object
from odograph.symbols import AmbiguousName, Module, Symbols, UnknownSymbol

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

#: A library that has a function called like the program.
LIBRARY = "int parse(int n) { return n * 3 + 1; }\n"
PROGRAM = (
    "int parse(int);\nint helper(int n) { return n + 1; }\nint main(void) { return parse(helper(2)); }\n"
)
LIBRARY_AT, PROGRAM_AT = 0x7000_0000_0000, 0x4000_0000_0000


def _modules(path: Path, name: str, base: int) -> list[Module]:
    loads = read_object(path).loads
    return [
        Module(name, base + one.address, base + one.address + one.memory_size, one.offset, str(path))
        for one in loads
    ]


def _nm(path: Path, name: str) -> tuple[int, int]:
    """Address and size of a function, as ``nm`` lists them."""
    text = subprocess.run(["nm", "-S", path], capture_output=True, text=True, check=True).stdout
    ((start, size),) = re.findall(rf"^([0-9a-f]+) ([0-9a-f]+) T {name}$", text, re.MULTILINE)
    return int(start, 16), int(size, 16)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("offsets")
    (directory / "library.c").write_text(LIBRARY)
    (directory / "program.c").write_text(PROGRAM)
    library, program = directory / "libwords.so", directory / "parse"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, directory / "library.c"], check=True)
    subprocess.run(["gcc", "-o", program, directory / "program.c", library], check=True)
    return library, program


@pytest.fixture(scope="module")
def symbols(files: tuple[Path, Path]) -> Symbols:
    library, program = files
    return Symbols([*_modules(library, "libwords.so", LIBRARY_AT), *_modules(program, "parse", PROGRAM_AT)])


def test_an_offset_behind_the_end_of_the_function_means_the_file_of_that_name(
    symbols: Symbols, files: tuple[Path, Path]
) -> None:
    start, _ = _nm(files[1], "main")
    assert symbols.addresses(f"parse+{start:#x}") == [PROGRAM_AT + start]
    assert symbols.addresses(f"parse+{start:#x}+0x4") == [PROGRAM_AT + start + 4]


def test_an_offset_in_both_is_ambiguous_and_each_can_be_written(
    symbols: Symbols, files: tuple[Path, Path]
) -> None:
    start, size = _nm(files[0], "parse")
    with pytest.raises(AmbiguousName) as caught:
        symbols.addresses(f"parse+{size - 1}")
    text = str(caught.value)
    function = f"libwords.so!parse+{size - 1:#x}"
    assert function in text
    assert f"{PROGRAM_AT + size - 1:#x}" in text
    assert symbols.addresses(function) == [LIBRARY_AT + start + size - 1]
    # The last byte is in it, the one behind is not.
    assert symbols.addresses(f"parse+{size}") == [PROGRAM_AT + size]


def test_an_offset_behind_the_end_of_a_function_is_refused(
    symbols: Symbols, files: tuple[Path, Path]
) -> None:
    _, size = _nm(files[1], "main")
    assert symbols.addresses(f"main+{size - 1}")
    for text in (f"main+{size}", "parse!main+0x10000", "main+-1", "main+4+0x10000"):
        with pytest.raises(UnknownSymbol, match=rf"function parse!main: .* has {size:#x} bytes"):
            symbols.addresses(text)


def test_an_offset_that_a_file_does_not_have_is_refused(symbols: Symbols) -> None:
    for text in ("libwords.so+0x99999999", "parse+0x99999999"):
        with pytest.raises(UnknownSymbol):
            symbols.addresses(text)


def test_files_of_one_name_are_ambiguous(files: tuple[Path, Path]) -> None:
    library, program = files
    symbols = Symbols([*_modules(library, "same", LIBRARY_AT), *_modules(program, "same", PROGRAM_AT)])
    with pytest.raises(AmbiguousName) as caught:
        symbols.addresses("same+0x10")
    for part in (str(library), str(program), f"{LIBRARY_AT + 0x10:#x}", f"{PROGRAM_AT + 0x10:#x}"):
        assert part in str(caught.value)


def test_every_place_of_a_function_is_read_as_it_is_written(
    symbols: Symbols, files: tuple[Path, Path]
) -> None:
    for path, base, name in ((files[0], LIBRARY_AT, "parse"), (files[1], PROGRAM_AT, "main")):
        start, size = _nm(path, name)
        for address in range(base + start, base + start + size):
            assert symbols.addresses(str(symbols.name_of(address))) == [address]


def test_an_address_in_no_module_may_be_one_of_a_file(symbols: Symbols, files: tuple[Path, Path]) -> None:
    start, _ = _nm(files[1], "main")
    said = symbols.elsewhere(start + 4)
    assert said is not None
    assert said.startswith(f"{start + 4:#x} lies in no module")
    assert f"parse+{start + 4:#x}" in said
    assert symbols.elsewhere(0x99999999) == "0x99999999 lies in no module"
    assert symbols.elsewhere(PROGRAM_AT + start) is None
