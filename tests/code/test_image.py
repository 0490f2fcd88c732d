"""The rules of images: adding, overlap, address spaces, copying, removing, reading."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from odograph import Asid, Image, ImageError, InvalidArgument, OdographError, PtError, Section, SectionCache

ANY = Asid()
TOP = 1 << 64


def mapped(image: Image) -> list[tuple[int, int, int]]:
    """Address, size and offset of each section."""
    return [(section.vaddr, section.size, section.offset) for section in image.sections]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(bytes(range(256)))
    return path


# Asids


@pytest.mark.parametrize(
    ("one", "two", "match"),
    [
        (Asid(), Asid(1, 2), True),
        (Asid(cr3=1), Asid(vmcs=2), True),
        (Asid(cr3=1), Asid(1, 2), True),
        (Asid(cr3=1), Asid(2, 2), False),
        (Asid(1, 2), Asid(1, 3), False),
        (Asid(0), Asid(None), True),
        (Asid(0), Asid(1), False),
    ],
)
def test_asids_match_in_the_fields_both_provide(one: Asid, two: Asid, match: bool) -> None:
    assert one.matches(two) is match
    assert two.matches(one) is match


def test_an_asid_is_a_value() -> None:
    assert Asid(cr3=0x1000) == Asid(0x1000, None) != Asid(0x1000, 0)
    assert len({Asid(1), Asid(1), Asid(vmcs=1)}) == 2
    assert repr(Asid(0x1000, 2)) == "Asid(cr3=0x1000, vmcs=0x2)"
    assert repr(Asid()) == "Asid()"
    assert pickle.loads(pickle.dumps(Asid(5))) == copy.copy(Asid(5)) == Asid(5)
    assert Asid() != (None, None)
    with pytest.raises(AttributeError):
        Asid().cr3 = 1  # type: ignore[misc]


@pytest.mark.parametrize("wrong", [-1, TOP])
def test_asid_fields_have_64_bits(wrong: int) -> None:
    with pytest.raises(InvalidArgument):
        Asid(cr3=wrong)
    with pytest.raises(TypeError):
        Asid(cr3="1")  # type: ignore[arg-type]


# Adding


def test_a_file_section_shows_what_was_given(file: Path) -> None:
    image = Image("kernel")
    image.add_file(file, 0x10, 0x20, 0x1000, Asid(cr3=7))
    assert image.name == "kernel"
    assert image.sections == [Section(str(file), 0x10, 0x20, 0x1000, Asid(cr3=7), 0)]
    assert image.read(0x1004, 4, Asid(cr3=7)) == bytes([0x14, 0x15, 0x16, 0x17])


def test_a_size_is_silently_cut_at_the_end_of_the_file(file: Path) -> None:
    image = Image()
    image.add_file(file, 0xF0, TOP - 1, 0x1000)
    assert mapped(image) == [(0x1000, 0x10, 0xF0)]


@pytest.mark.parametrize("offset", [256, 257, TOP - 1])
def test_an_offset_past_the_end_is_invalid(file: Path, offset: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Image().add_file(file, offset, 1, 0x1000)
    assert caught.value.code is PtError.invalid


def test_files_that_cannot_be_read_are_bad_files(tmp_path: Path) -> None:
    for name in (tmp_path / "nothing here", tmp_path, "", "/dev/null"):
        with pytest.raises(ImageError) as caught:
            Image().add_file(name, 0, 1, 0)
        assert caught.value.code is PtError.bad_file
    with pytest.raises(ImageError, match="No such file"):
        Image().add_file(tmp_path / "nothing here", 0, 1, 0)


def test_a_size_of_0_adds_an_empty_section(file: Path) -> None:
    image = Image()
    image.add_bytes(b"abcdef", 0x1000)
    image.add_file(file, 0, 0, 0x1003)
    image.add_bytes(b"", TOP - 1)
    assert mapped(image) == [(0x1000, 6, 0), (0x1003, 0, 0), (TOP - 1, 0, 0)]
    assert image.read(0x1000, 6) == b"abcdef"
    assert image.remove_by_filename(file) == 1


def test_a_section_may_end_at_the_top_but_not_beyond(file: Path) -> None:
    image = Image()
    image.add_file(file, 0, 256, TOP - 256)
    assert image.read(TOP - 1, 8) == b"\xff"
    with pytest.raises(InvalidArgument):
        image.add_file(file, 0, 256, TOP - 255)
    with pytest.raises(InvalidArgument):
        image.add_bytes(b"ab", TOP - 1)
    cache = SectionCache()
    with pytest.raises(InvalidArgument):
        cache.add_file(file, 0, 256, TOP - 255)
    assert len(image.sections) == 1


@pytest.mark.parametrize("wrong", [-1, TOP])
@pytest.mark.parametrize("place", range(3))
def test_numbers_have_64_bits(file: Path, wrong: int, place: int) -> None:
    numbers = [0, 1, 2]
    numbers[place] = wrong
    with pytest.raises(InvalidArgument):
        Image().add_file(file, numbers[0], numbers[1], numbers[2])
    with pytest.raises(ValueError, match="does not lie between"):
        SectionCache().add_file(file, *numbers)


def test_wrong_types_are_type_errors(file: Path) -> None:
    image = Image()
    for call in (
        lambda: image.add_file(None, 0, 1, 0),  # type: ignore[arg-type]
        lambda: image.add_file(file, 0.0, 1, 0),  # type: ignore[arg-type]
        lambda: image.add_file(file, 0, 1, 0, 7),  # type: ignore[arg-type]
        lambda: image.add_bytes("text", 0),  # type: ignore[arg-type]
        lambda: image.add_cached(None, 1),  # type: ignore[arg-type]
        lambda: image.copy_from(None),  # type: ignore[arg-type]
        lambda: image.set_callback(7),  # type: ignore[arg-type]
        lambda: image.read("0", 1),  # type: ignore[arg-type]
        lambda: image.remove_by_filename(3),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            call()
    assert image.sections == []


def test_bytes_are_copied() -> None:
    data = bytearray(b"abc")
    image = Image()
    image.add_bytes(data, 0)
    image.add_bytes(memoryview(b"a-b-c")[::2], 0x10)
    data[:] = b"xyz"
    assert image.read(0, 3) == b"abc"
    assert image.read(0x10, 9) == b"abc"


# Overlap


def test_a_new_section_truncates_and_splits_old_ones() -> None:
    image = Image()
    image.add_bytes(b"aaaaaaaa", 0x100, name="a")
    image.add_bytes(b"bb", 0x103, name="b")
    assert mapped(image) == [(0x100, 3, 0), (0x105, 3, 5), (0x103, 2, 0)]
    image.add_bytes(b"cccc", 0x0FE, name="c")
    assert mapped(image) == [(0x102, 1, 2), (0x105, 3, 5), (0x103, 2, 0), (0xFE, 4, 0)]
    image.add_bytes(b"d" * 0x100, 0x80, name="d")
    assert [section.filename for section in image.sections] == ["d"]


def test_a_remainder_reads_from_its_place_in_the_file(file: Path) -> None:
    image = Image()
    image.add_file(file, 0x10, 0x40, 0x1000)
    image.add_bytes(b"\xcc", 0x1008)
    assert image.read(0x1009, 2) == b"\x19\x1a"
    assert image.read(0x1007, 4) == b"\x17"


def test_only_sections_of_matching_address_spaces_make_room() -> None:
    image = Image()
    image.add_bytes(b"one!", 0, Asid(cr3=1))
    image.add_bytes(b"two!", 0, Asid(cr3=2))
    image.add_bytes(b"?", 0, Asid(vmcs=5, cr3=1))
    assert image.read(0, 4, Asid(cr3=2)) == b"two!"
    assert image.read(1, 4, Asid(cr3=1)) == b"ne!"
    image.add_bytes(b"all!", 0)
    assert [section.asid for section in image.sections] == [ANY]


def test_an_incomplete_asid_reads_the_section_added_last() -> None:
    image = Image()
    image.add_bytes(b"1", 0, Asid(cr3=1))
    image.add_bytes(b"2", 0, Asid(cr3=2))
    assert image.read(0, 1) == b"2"
    assert image.read(0, 1, Asid(cr3=1)) == b"1"
    assert image.read(0, 1) == b"2", "reading moves nothing to the front"
    image.add_bytes(b"3", 0, Asid(cr3=1))
    assert image.read(0, 1, Asid(vmcs=9)) == b"3"


def test_a_section_that_is_split_does_not_become_younger() -> None:
    image = Image()
    image.add_bytes(b"1111", 0, Asid(cr3=1))
    image.add_bytes(b"2222", 0, Asid(cr3=2))
    image.add_bytes(b"x", 0, Asid(cr3=1))
    assert image.read(1, 1) == b"2"


# Reading


def test_a_read_is_short_at_the_end_of_the_section_it_began_in() -> None:
    image = Image()
    image.add_bytes(b"abcd", 0x1000)
    image.add_bytes(b"efgh", 0x1004)
    assert image.read(0x1002, 15) == b"cd"
    assert image.read(0x1004, 2) == b"ef"
    assert image.read(0x1000, 0) == b""


def test_nothing_there_is_nomap_and_says_where() -> None:
    image = Image()
    image.add_bytes(b"abcd", 0x1000, Asid(cr3=1))
    for address, asid in ((0xFFF, Asid(1)), (0x1004, None), (0x1000, Asid(2))):
        with pytest.raises(ImageError, match=f"{address:#x}") as caught:
            image.read(address, 4, asid)
        assert caught.value.code is PtError.nomap
        assert (caught.value.ip, caught.value.asid) == (address, asid or ANY)


def test_an_address_space_is_a_memory() -> None:
    image = Image()
    space = image.address_space(Asid(cr3=1))
    assert space.read(0x1000, 4) == b""
    image.add_bytes(b"abcd", 0x1000, Asid(cr3=1))
    image.add_bytes(b"wxyz", 0x1000, Asid(cr3=2))
    assert space.read(0x1002, 9) == b"cd"
    assert image.address_space(None).read(0x1000, 4) == b"wxyz"
    assert (space.next_start(0), space.next_start(0x1001)) == (0x1000, None)


def test_only_what_can_be_there_needs_room() -> None:
    image = Image()
    image.add_bytes(b"abcd", 0)
    image.set_callback(lambda address, size, asid: bytes(size))
    assert image.read(1, TOP - 1) == b"bcd"
    assert image.read(0x1F00, TOP - 1) == bytes(0x100)


# Copying


def test_copy_takes_the_visible_parts_but_not_name_and_callback(file: Path) -> None:
    cache = SectionCache()
    source = Image("source")
    source.add_cached(cache, cache.add_file(file, 0, 0x80, 0x1000))
    source.add_bytes(b"!", 0x1010, Asid(cr3=3), name="patch")
    source.set_callback(lambda address, size, asid: b"?" * size)
    image = Image("target")
    assert image.copy_from(source) == 0
    assert image.name == "target"
    assert image.sections == source.sections
    assert image.read(0x1011, 2) == b"\x11\x12"
    with pytest.raises(ImageError):
        image.read(0x2000, 1)


def test_copied_sections_win_over_what_was_there() -> None:
    source, image = Image(), Image()
    image.add_bytes(b"aaaa", 0)
    source.add_bytes(b"b", 1)
    source.add_bytes(b"c", 2, Asid(cr3=1))
    assert image.copy_from(source) == 0
    assert mapped(image) == [(0, 1, 0), (3, 1, 3), (1, 1, 0), (2, 1, 0)]


def test_copy_to_itself_changes_nothing() -> None:
    image = Image()
    image.add_bytes(b"aaaa", 0, Asid(cr3=1))
    image.add_bytes(b"", 0)
    before = image.sections, image.version
    assert image.copy_from(image) == 0
    assert (image.sections, image.version) == before


# Removing


def test_remove_by_filename_compares_the_name_as_given(file: Path) -> None:
    image = Image()
    other = f"{file.parent}/./{file.name}"
    image.add_file(file, 0, 0x10, 0x1000)
    image.add_file(str(file).encode(), 0, 0x10, 0x2000, Asid(cr3=1))
    image.add_file(other, 0, 0x10, 0x3000)
    image.add_bytes(b"x", 0x1008)
    assert image.remove_by_filename(file, Asid(cr3=2)) == 2, "both parts of the first"
    assert image.remove_by_filename(str(file), Asid(vmcs=2)) == 1
    assert image.remove_by_filename(str(file)) == 0
    assert image.remove_by_filename(other) == 1
    assert mapped(image) == [(0x1008, 1, 0)]


def test_remove_by_asid_knows_wildcards() -> None:
    image = Image()
    for vaddr, asid in enumerate((Asid(cr3=1), Asid(cr3=2), Asid(), Asid(vmcs=5))):
        image.add_bytes(b"x", vaddr, asid)
    image.add_bytes(b"", 9, Asid(cr3=2))
    assert image.remove_by_asid(Asid(cr3=1)) == 3
    assert [section.asid for section in image.sections] == [Asid(cr3=2), Asid(cr3=2)]
    assert image.remove_by_asid() == 2
    assert image.remove_by_asid() == 0


# Versions and snapshots


def test_every_change_makes_a_new_version(file: Path) -> None:
    image = Image()
    cache = SectionCache()
    isid = cache.add_file(file, 0, 16, 0x3000)
    other = Image()
    other.add_bytes(b"z", 0x4000)
    versions = [image.version]
    for change in (
        lambda: image.add_file(file, 0, 16, 0x1000),
        lambda: image.add_bytes(b"x", 0x2000),
        lambda: image.add_cached(cache, isid),
        lambda: image.copy_from(other),
        lambda: image.invalidate(0x5000, 1),
        lambda: image.set_callback(None),
        lambda: image.remove_by_filename(file),
        lambda: image.remove_by_asid(),
    ):
        change()
        versions.append(image.version)
    assert len(set(versions)) == len(versions)
    image.remove_by_asid()
    image.invalidate(0, 0)
    with pytest.raises(OdographError):
        image.add_cached(cache, 99)
    assert image.version == versions[-1], "what changes nothing keeps the version"


def test_invalidate_has_bounds() -> None:
    image = Image()
    image.invalidate(0, TOP - 1)
    image.invalidate(TOP - 1, 1, Asid(cr3=1))
    for address, size in ((2, TOP - 1), (-1, 1), (0, -1), (TOP, 0)):
        with pytest.raises(InvalidArgument):
            image.invalidate(address, size)


def test_a_snapshot_does_not_see_later_changes() -> None:
    image = Image("program")
    image.add_bytes(b"a", 0)
    image.set_callback(lambda address, size, asid: b"callback"[:size])
    before = image.snapshot()
    image.add_bytes(b"b", 0)
    image.set_callback(None)
    assert (before.name, before.read(0, 1), before.read(9, 4)) == ("program", b"a", b"call")
    assert copy.copy(before).sections == copy.deepcopy(before).sections == before.sections
    before.remove_by_asid()
    assert image.read(0, 1) == b"b"


def test_images_and_caches_cannot_be_pickled() -> None:
    for thing in (Image(), SectionCache()):
        with pytest.raises(TypeError):
            pickle.dumps(thing)


def test_an_image_says_what_it_is() -> None:
    image = Image("vmlinux")
    image.add_bytes(b"a", 0)
    assert repr(image) == "<Image vmlinux, 1 section>"
    assert bool(Image()), "an empty image is still an image"
    assert bool(SectionCache())


def test_many_sections_stay_fast() -> None:
    """Ten thousand sections, a snapshot after each: this takes well under a second."""
    image = Image()
    snapshots = []
    for number in range(10_000):
        image.add_bytes(bytes([number % 251]) * 16, (number * 7919 % 10_000) * 0x1000, Asid(cr3=number % 3))
        snapshots.append(image.snapshot())
    assert len(image.sections) == 10_000
    assert len(snapshots[4999].sections) == 5_000
    for number in range(0, 10_000, 7):
        address = (number * 7919 % 10_000) * 0x1000 + 8
        assert image.read(address, 100, Asid(cr3=number % 3)) == bytes([number % 251]) * 8
        assert image.read(address, 1) == bytes([number % 251])
