"""The section cache: identity, sharing, limit."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from odograph import Asid, Image, ImageError, InvalidArgument, PtError, Section, SectionCache

TOP = 1 << 64
PIECE = 16384


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "lib.so"
    path.write_bytes(os.urandom(10 * PIECE))
    return path


def test_the_same_section_gets_the_same_isid(file: Path) -> None:
    cache = SectionCache("libraries")
    isid = cache.add_file(file, 0x10, 0x20, 0x1000)
    assert (cache.name, isid) == ("libraries", 1)
    assert cache.add_file(str(file), 0x10, 0x20, 0x1000) == isid
    others = [
        cache.add_file(file, 0x10, 0x20, 0x2000),
        cache.add_file(file, 0x11, 0x20, 0x1000),
        cache.add_file(file, 0x10, 0x21, 0x1000),
        cache.add_file(f"{file.parent}//{file.name}", 0x10, 0x20, 0x1000),
    ]
    assert others == [2, 3, 4, 5]
    whole = cache.add_file(file, 0, TOP - 1, 0)
    assert cache.add_file(file, 0, 10 * PIECE, 0) == whole, "the size counts after it was cut"


def test_a_file_that_changed_is_another_file(file: Path) -> None:
    cache = SectionCache()
    old = cache.add_file(file, 0, 0x20, 0x1000)
    file.write_bytes(b"new content, shorter")
    new = cache.add_file(file, 0, 0x20, 0x1000)
    assert new != old
    assert cache.read(new, 0x1000, 3) == b"new"
    with pytest.raises(ImageError) as caught:
        cache.read(old, 0x1000, 3)
    assert caught.value.code is PtError.bad_image


def test_another_vaddr_shares_the_file(file: Path) -> None:
    cache = SectionCache()
    one = cache.add_file(file, 0, 0x1000, 0x1000)
    two = cache.add_file(file, 0, 0x1000, 0x900000)
    assert cache.read(one, 0x1004, 8) == cache.read(two, 0x900004, 8)
    assert cache.kept == PIECE


def test_reading_has_its_rules(file: Path) -> None:
    cache = SectionCache()
    isid = cache.add_file(file, 0x10, 0x20, 0x1000)
    assert cache.read(isid, 0x101C, 100) == file.read_bytes()[0x2C:0x30]
    assert cache.read(isid, 0x101C, TOP - 1) == file.read_bytes()[0x2C:0x30]
    for address in (0xFFF, 0x1020, TOP - 1):
        with pytest.raises(ImageError) as caught:
            cache.read(isid, address, 1)
        assert (caught.value.code, caught.value.ip) == (PtError.nomap, address)
    with pytest.raises(InvalidArgument):
        cache.read(isid, 0x1000, 0)
    for unknown in (0, -1, 2, TOP, -TOP):
        with pytest.raises(ImageError) as caught:
            cache.read(unknown, 0x1000, 1)
        assert caught.value.code is PtError.bad_image


def test_an_image_takes_address_and_isid_from_the_cache(file: Path) -> None:
    cache = SectionCache()
    isid = cache.add_file(file, 0x10, 0x20, 0x1000)
    image = Image()
    image.add_cached(cache, isid, Asid(cr3=3))
    image.add_bytes(b"!", 0x1010)
    expected = [
        Section(str(file), 0x10, 0x10, 0x1000, Asid(cr3=3), isid),
        Section(str(file), 0x21, 0x0F, 0x1011, Asid(cr3=3), isid),
        Section(None, 0, 1, 0x1010, Asid(), 0),
    ]
    assert image.sections == expected
    assert cache.section(isid) == Section(str(file), 0x10, 0x20, 0x1000, Asid(), isid)
    del cache
    assert image.read(0x1000, 2, Asid(cr3=3)) == file.read_bytes()[0x10:0x12]


def test_an_unknown_isid_is_a_bad_image() -> None:
    for isid in (0, 1, -1, TOP):
        with pytest.raises(ImageError) as caught:
            Image().add_cached(SectionCache(), isid)
        assert caught.value.code is PtError.bad_image


def test_the_limit_bounds_what_is_kept_and_nothing_else(file: Path) -> None:
    cache = SectionCache(limit=3 * PIECE)
    isid = cache.add_file(file, 0, TOP - 1, 0)
    assert cache.read(isid, 0, TOP - 1) == file.read_bytes()
    assert (cache.limit, cache.kept) == (3 * PIECE, 3 * PIECE)
    cache.limit = PIECE
    assert cache.kept == PIECE, "a new limit holds at once"
    cache.limit = 0
    assert cache.read(isid, 5 * PIECE, 9) == file.read_bytes()[5 * PIECE : 5 * PIECE + 9]
    assert cache.kept == 0
    cache.limit = None
    assert cache.read(isid, 0, TOP - 1) == file.read_bytes()
    assert cache.kept == 10 * PIECE


def test_limits_have_bounds() -> None:
    assert SectionCache().limit is None
    assert SectionCache(limit=0).limit == 0
    for wrong in (-1, TOP):
        with pytest.raises(InvalidArgument):
            SectionCache(limit=wrong)
        with pytest.raises(InvalidArgument):
            SectionCache().limit = wrong


def test_a_cache_serves_many_threads(file: Path) -> None:
    data = file.read_bytes()
    cache = SectionCache(limit=4 * PIECE)
    answers: list[dict[int, int]] = []

    def work() -> None:
        isids = {}
        for vaddr in range(300):
            isid = cache.add_file(file, vaddr, 0x1000, vaddr << 16)
            isids[vaddr] = isid
            assert cache.read(isid, vaddr << 16, 16) == data[vaddr : vaddr + 16]
        answers.append(isids)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert all(answer == answers[0] for answer in answers)
    assert sorted(answers[0].values()) == list(range(1, 301))
