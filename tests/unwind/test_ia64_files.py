"""ELF files of IA-64: where they have unwind tables, what modules made of them answer."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from odograph import ImageError, InvalidArgument, OdographError, PtError
from odograph.unwind.ia64.elf import ElfFile
from odograph.unwind.ia64.modules import Module, Modules
from odograph.unwind.ia64.names import Answer, Key, Lookup
from odograph.unwind.ia64.table import block, linked_table, listings
from support.ia64elf import NARROW, Code, Written, executable

CODES = [Code("start", 2, b"\x02\x24"), Code("leaf", 1, None), Code("main", 4, b"\x04\x28", flags=1)]
#: wide, big, hpux, base, base as the process sees it.
KINDS = [
    (True, False, False, 0x4000000000000000, 0x4000000000000000),
    (True, True, False, 0x4000000000000000, 0x4000000000000000),
    (True, True, True, 0x4000000000000000, 0x4000000000000000),
    (False, True, True, 0x04000000, 0x04000000),
    (False, True, True, 0x40000000, 0x2000000040000000),
    (False, False, False, 0xC0010000, 0x60000000C0010000),
]


def written(path: Path, wide: bool, big: bool, hpux: bool, base: int) -> Written:
    result = executable(CODES, wide=wide, big=big, hpux=hpux, base=base)
    path.write_bytes(result.data)
    return result


@pytest.mark.parametrize(("wide", "big", "hpux", "base", "loaded"), KINDS)
def test_tables_of_every_kind_of_file(
    tmp_path: Path, wide: bool, big: bool, hpux: bool, base: int, loaded: int
) -> None:
    path = tmp_path / "program"
    program = written(path, wide, big, hpux, base)
    file = ElfFile(path)
    assert (file.wide, file.big, file.is_object) == (wide, big, False)
    table = linked_table(file)
    assert table is not None
    assert (table.text, table.start, table.end) == (base, *program.table)
    assert table.row_size == (24 if wide else 12)
    assert table.flags & 3 == (2 if hpux else 0)
    assert [function.name for function in file.functions] == ["start", "leaf", "main"]

    (listing,) = listings(file)
    assert [entry.start for entry in listing.entries] == [
        program.functions["start"],
        program.functions["main"],
    ]
    assert [entry.end - entry.start for entry in listing.entries] == [32, 64]
    assert [block(file, entry, listing.narrow)[8:10] for entry in listing.entries] == [
        b"\x02\x24",
        b"\x04\x28",
    ]

    module = Module(path)
    assert module.text == loaded
    keys = module.unwind_table()
    assert keys[:4] == [Key.TBASE, loaded, Key.UFLAGS, table.flags]
    assert keys[5] - loaded == table.start - base
    assert keys[7] - keys[5] == table.end - table.start
    # The first row, as the process has it: in the file's byte order.
    word = 8 if wide else 4
    first = module.read(keys[5], word)
    assert first is not None
    assert int.from_bytes(first, "big" if big else "little") == program.functions["start"] - base


@pytest.mark.parametrize(("wide", "big", "hpux", "base", "loaded"), KINDS)
def test_a_file_anywhere_in_a_process(
    tmp_path: Path, wide: bool, big: bool, hpux: bool, base: int, loaded: int
) -> None:
    path = tmp_path / "library"
    program = written(path, wide, big, hpux, base)
    text, seen = (0x2000000000330000, 0x2000000000330000) if wide else (0x78810000, 0x2000000078810000)
    modules = Modules()
    module = modules.add(path, text)
    assert module.text == seen
    assert modules.big is big
    main = seen + program.functions["main"] - base
    uvec: list[object] = [Key.VERSION, 3, Key.END]
    assert modules.lookup_ip(Lookup.LOOKUP, main + 2, uvec) is Answer.UTABLE
    assert uvec == [*module.unwind_table(), Key.END]
    assert uvec[1] == seen
    assert modules.lookup_ip(Lookup.FREE, main + 2, uvec) is Answer.NOTFOUND
    assert uvec[1] == seen
    assert modules.lookup_ip(Lookup.MODULE, main, uvec) is Answer.SYMINFO
    assert uvec == [Key.MODULE, str(path), Key.TBASE, seen, Key.END]
    assert modules.lookup_ip(Lookup.SYMBOLS, main + 0x21, uvec) is Answer.SYMINFO
    assert uvec == [Key.MODULE, str(path), Key.FUNC, "main", Key.FUNCSTART, main, Key.END]
    before = list(uvec)
    assert modules.lookup_ip(Lookup.LOOKUP, seen - 16, uvec) is Answer.NOTFOUND
    assert modules.lookup_ip(Lookup.SYMBOLS, seen - 16, uvec) is Answer.NOTFOUND
    assert modules.lookup_ip(Lookup.SYMBOLS, seen, uvec) is Answer.NOTFOUND
    assert modules.lookup_ip(99, main, uvec) is Answer.ERR
    assert uvec == before
    assert modules.read(seen - 8, 8) is None
    assert modules.read(module.unwind_table()[7], 1 << 20) is None
    if not wide:
        assert Module(path, seen).text == seen


def test_copied_code_is_looked_up_where_the_original_is(tmp_path: Path) -> None:
    path = tmp_path / "program"
    program = written(path, True, False, False, 0x4000000000000000)
    modules = Modules()
    modules.add(path)
    main = program.functions["main"]
    modules.add_copy(0x9000, 0x9040, main)
    uvec: list[object] = [Key.VERSION, 3, 0]
    assert modules.lookup_ip(Lookup.LOOKUP, 0x9012, uvec) is Answer.REMAP
    assert uvec == [Key.NEWIP, main + 0x12, Key.END]
    assert modules.lookup_ip(Lookup.LOOKUP, 0x9040, uvec) is Answer.NOTFOUND
    for start, end, original in [(16, 16, 0), (32, 16, 0), (0, 24, 0), (0, 16, 8), (-16, 16, 0)]:
        with pytest.raises(InvalidArgument, match="no bundles"):
            modules.add_copy(start, end, original)


def test_modules_have_one_byte_order_and_do_not_overlap(tmp_path: Path) -> None:
    little, big = tmp_path / "little", tmp_path / "big"
    written(little, True, False, False, 0x4000000000000000)
    written(big, True, True, False, 0x4000000000000000)
    modules = Modules()
    modules.add(little)
    with pytest.raises(InvalidArgument, match="byte order"):
        modules.add(big, 0x2000000000000000)
    with pytest.raises(InvalidArgument, match="overlaps"):
        modules.add(little)
    with pytest.raises(InvalidArgument, match="no address"):
        modules.add(little, 1 << 64)
    modules.add(little, 0x2000000000000000)
    assert [module.text for module in modules] == [0x4000000000000000, 0x2000000000000000]
    found = modules.find(0x2000000000000010)
    assert found is not None
    assert found.text == 0x2000000000000000


def test_a_file_without_a_table_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "program"
    data = bytearray(executable(CODES, symbols=False).data)
    (programs,) = struct.unpack_from("<Q", data, 32)
    (sections,) = struct.unpack_from("<Q", data, 40)
    struct.pack_into("<I", data, programs + 56, 0)
    for index in range(4):
        struct.pack_into("<I", data, sections + 64 * (index + 1) + 4, 1)
    path.write_bytes(data)
    assert list(listings(ElfFile(path))) == []
    module = Module(path)
    assert module.unwind_table()[::2] == [Key.TBASE, Key.UFLAGS, Key.USTART, Key.UEND]
    assert module.unwind_table()[1::2] == [module.text, 0, module.text, module.text]
    assert module.function(module.text) is None


def test_a_table_is_found_by_its_section_where_segments_do_not_name_it(tmp_path: Path) -> None:
    path = tmp_path / "program"
    program = executable(CODES)
    data = bytearray(program.data)
    struct.pack_into("<I", data, 64 + 56, 0)
    path.write_bytes(data)
    table = linked_table(ElfFile(path))
    assert table is not None
    assert (table.start, table.end) == program.table


def test_a_64_bit_file_may_have_a_table_of_32_bits(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(executable(CODES, big=True, hpux=True, table_flags=NARROW | 2).data)
    file = ElfFile(path)
    (listing,) = listings(file)
    assert listing.narrow
    assert [block(file, entry, listing.narrow)[8:10] for entry in listing.entries] == [
        b"\x02\x24",
        b"\x04\x28",
    ]


def broken(change: str) -> bytes:
    """A file with one thing wrong."""
    data = bytearray(executable(CODES).data)
    if change == "machine":
        data[18] = 62
    elif change == "class":
        data[4] = 3
    elif change == "order":
        data[5] = 0
    elif change == "programs":
        struct.pack_into("<H", data, 54, 8)
    elif change == "count":
        struct.pack_into("<H", data, 56, 0xFFFE)
    elif change == "sections":
        struct.pack_into("<Q", data, 40, len(data) - 8)
    elif change == "nowhere":
        struct.pack_into("<Q", data, 64 + 56 + 16, 0x1000)
    elif change == "beyond":
        struct.pack_into("<Q", data, 64 + 56 + 32, 0x100000)
    elif change == "rows":
        (size,) = struct.unpack_from("<Q", data, 64 + 56 + 32)
        struct.pack_into("<Q", data, 64 + 56 + 32, size - 1)
    elif change == "segment":
        struct.pack_into("<QQ", data, 64 + 8, len(data) + 1, 0x4000000000000000)
    return bytes(data)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not an ELF file"),
        (b"\x7fELF", "unknown ELF class"),
        (b"\x7fELF\2\1" + bytes(20), "header is cut off"),
        (broken("machine"), "for machine 62, not for IA-64"),
        (broken("class"), "unknown ELF class"),
        (broken("order"), "unknown ELF class or byte order"),
        (broken("programs"), "program headers of 8 bytes"),
        (broken("count"), "program headers are cut off"),
        (broken("sections"), "section headers are cut off"),
        (broken("nowhere"), "lies in no segment"),
        (broken("beyond"), "table is cut off"),
        (broken("rows"), "with rows of 24"),
        (broken("segment"), "a segment does not lie in the file"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "program"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=sentence) as caught:
        Module(path)
    assert caught.value.code is PtError.bad_image
    assert str(path) in str(caught.value)


def test_files_that_cannot_be_read_or_placed(tmp_path: Path) -> None:
    for name in (tmp_path / "nothing", tmp_path):
        with pytest.raises(ImageError) as caught:
            Module(name)
        assert caught.value.code is PtError.bad_file
    path = tmp_path / "object"
    data = bytearray(executable(CODES).data)
    data[16] = 1
    path.write_bytes(data)
    with pytest.raises(InvalidArgument, match="not linked"):
        Module(path)


@pytest.mark.parametrize(("wide", "big", "hpux"), [(True, False, False), (False, True, True)])
def test_damaged_files_raise_only_our_own_errors(tmp_path: Path, wide: bool, big: bool, hpux: bool) -> None:
    source = random.Random(7)
    base = 0x4000000000000000 if wide else 0x4000000
    sound = executable(CODES, wide=wide, big=big, hpux=hpux, base=base).data
    path = tmp_path / "program"
    refused = 0
    for _ in range(500):
        data = bytearray(sound)
        for _ in range(source.choice([1, 2, 8])):
            data[source.randrange(len(data))] = source.choice([0, 1, 0x7F, 0x80, 0xFF])
        path.write_bytes(data[: source.choice([len(data), source.randrange(len(data))])])
        try:
            file = ElfFile(path)
            for listing in listings(file):
                blocks = [block(file, entry, listing.narrow) for entry in listing.entries]
                assert all(len(found) <= len(data) for found in blocks)
            if not file.is_object:
                module = Module(path)
                module.function(module.text + 0x100)
        except OdographError:
            refused += 1
    assert 100 < refused < 500
