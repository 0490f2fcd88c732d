"""Section files: read piece by piece, and never trusted to stay what they were."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from odograph import Image, ImageError, PtError, SectionCache

TOP = 1 << 64


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of a few pieces that was last changed a while ago."""
    path = tmp_path / "program"
    path.write_bytes(os.urandom(100_000))
    os.utime(path, (1_000_000, 1_000_000))
    return path


@pytest.fixture(params=["image", "cache"])
def image(request: pytest.FixtureRequest, file: Path) -> Image:
    """An image of the whole file at 0x400000, with or without a section cache."""
    image = Image()
    if request.param == "image":
        image.add_file(file, 0, TOP - 1, 0x400000)
    else:
        cache = SectionCache()
        image.add_cached(cache, cache.add_file(file, 0, TOP - 1, 0x400000))
    return image


def fails_with_bad_image(image: Image) -> None:
    with pytest.raises(ImageError, match="program has changed, shrunk or vanished") as caught:
        image.read(0x400010, 16)
    assert caught.value.code is PtError.bad_image
    assert caught.value.ip == 0x400010


def test_every_byte_is_the_file_s(image: Image, file: Path) -> None:
    data = file.read_bytes()
    assert image.read(0x400000, 200_000) == data
    for offset in (0, 1, 4095, 16383, 16384, 65535, 99_999):
        assert image.read(0x400000 + offset, 5) == data[offset : offset + 5]


@pytest.mark.parametrize("read_before", [False, True])
@pytest.mark.parametrize("damage", ["shrink", "grow", "touch", "rewrite", "replace", "vanish", "directory"])
def test_a_file_that_is_another_one_is_a_bad_image(
    image: Image, file: Path, damage: str, read_before: bool
) -> None:
    if read_before:
        assert image.read(0x400010, 16) == file.read_bytes()[0x10:0x20]
    match damage:
        case "shrink":
            os.truncate(file, 8)
            os.utime(file, (1_000_000, 1_000_000))
        case "grow":
            os.truncate(file, 200_000)
            os.utime(file, (1_000_000, 1_000_000))
        case "touch":
            os.utime(file, ns=(1_000_000 * 10**9 + 1, 1_000_000 * 10**9 + 1))
        case "rewrite":
            file.write_bytes(bytes(100_000))
        case "replace":
            other = file.with_name("other")
            other.write_bytes(bytes(100_000))
            other.replace(file)
        case "vanish":
            file.unlink()
        case "directory":
            file.unlink()
            file.mkdir()
    fails_with_bad_image(image)


def test_a_file_that_comes_back_as_it_was_is_good_again(image: Image, file: Path) -> None:
    aside = file.with_name("aside")
    file.rename(aside)
    fails_with_bad_image(image)
    aside.rename(file)
    assert image.read(0x400010, 16) == file.read_bytes()[0x10:0x20]


def test_a_new_image_reads_the_file_of_now(file: Path) -> None:
    """Even if the file was rewritten so quickly that its modification time is the same."""
    images = []
    for letter in (b"a", b"b", b"c"):
        file.write_bytes(letter * 100)
        image = Image()
        image.add_file(file, 0, 100, 0)
        images.append(image)
        assert image.read(0, 1) == letter


def test_a_relative_name_belongs_to_the_directory_it_was_given_in(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    image = Image()
    image.add_file("program", 0, 16, 0)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert image.read(0, 16) == file.read_bytes()[:16]
    assert image.sections[0].filename == "program"
    assert image.remove_by_filename(b"program") == 1


def test_odd_names_are_names(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\xfe \xc3\xa9\n"
    Path(os.fsdecode(name)).write_bytes(b"content")
    image = Image()
    image.add_file(name, 3, 4, 0)
    assert image.read(0, 9) == b"tent"
    assert image.sections[0].filename == os.fsdecode(name)
    assert image.remove_by_filename(os.fsdecode(name)) == 1


def test_a_name_that_cannot_be_one_is_invalid() -> None:
    for name in ("x" * 5000, "a\0b"):
        with pytest.raises(ValueError, match="cannot be a file name"):
            Image().add_file(name, 0, 1, 0)


def test_a_named_pipe_is_a_bad_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="not a regular file") as caught:
        Image().add_file(tmp_path / "pipe", 0, 1, 0)
    assert caught.value.code is PtError.bad_file


def test_a_section_beyond_4_gib_is_read_where_asked_only(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    size = 6 << 30
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(5 << 30)
        file.write(b"far away")
    cache = SectionCache()
    isid = cache.add_file(path, 0, TOP - 1, 0x1000)
    image = Image()
    image.add_cached(cache, isid)
    assert image.sections[0].size == size
    assert image.read(0x1000 + (5 << 30), 8) == b"far away"
    assert image.read(0x1000 + size - 1, 8) == b"\0"
    assert cache.kept <= 2 * 16384


def test_any_number_of_files_can_be_in_use(tmp_path: Path) -> None:
    """More files than a process may have open."""
    image = Image()
    for number in range(1500):
        path = tmp_path / f"file{number}"
        path.write_bytes(number.to_bytes(4))
        image.add_file(path, 0, 4, number * 0x1000)
    for number in range(1500):
        assert image.read(number * 0x1000, 4) == number.to_bytes(4)


def test_threads_read_and_change_one_image(file: Path) -> None:
    data = file.read_bytes()
    cache = SectionCache(limit=40_000)
    isid = cache.add_file(file, 0, TOP - 1, 0x400000)
    image = Image()
    image.add_cached(cache, isid)
    wrong: list[object] = []
    done = threading.Event()

    def read(seed: int) -> None:
        offset = seed
        try:
            for _ in range(2000):
                offset = (offset * 1103515245 + 12345) % 99_000
                if image.read(0x400000 + offset, 64) != data[offset : offset + 64]:
                    wrong.append(offset)
        except BaseException as error:
            wrong.append(error)

    def change() -> None:
        while not done.is_set():
            image.add_bytes(b"JIT code", 0x10000, name="jit")
            image.remove_by_filename("jit")
            cache.limit = 0 if cache.limit else 60_000

    changer = threading.Thread(target=change)
    changer.start()
    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in readers:
        thread.start()
    for thread in readers:
        thread.join()
    done.set()
    changer.join()
    assert wrong == []
