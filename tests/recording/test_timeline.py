"""Memory over time: executed bytes that never change cost no new version of the image."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from odograph import Image
from odograph.code.mappings import Change, Mapping
from odograph.recording.timeline import CodeBytes, ImageMoments, Moments, image_moments


def test_touching_runs_are_joined_and_pages_do_not_cut() -> None:
    code = CodeBytes()
    code.put(0x1FFE, b"\x01\x02\x03\x04")
    code.put(0x2002, b"\x05")
    code.put(0x5000, b"\x06")
    assert list(code.runs()) == [(0x1FFE, b"\x01\x02\x03\x04\x05"), (0x5000, b"\x06")]


def test_other_bytes_at_a_known_address_conflict() -> None:
    code = CodeBytes()
    assert code.add(0x1000, b"\x90\x90")
    assert code.add(0x1000, b"\x90")
    assert not code.add(0x1001, b"\xcc")
    assert not code.add(0x1001, b"\xcc" * 0x1000)
    assert code.add(0x1001, b"\x90\xcc")
    assert list(code.runs()) == [(0x1000, b"\x90\x90\xcc")]


PIECES = st.lists(st.tuples(st.integers(0, 9000), st.binary(min_size=1, max_size=5000)), max_size=5)


@given(PIECES)
def test_runs_hold_what_was_put_last(pieces: list[tuple[int, bytes]]) -> None:
    code, first, agreed = CodeBytes(), CodeBytes(), CodeBytes()
    last: dict[int, int] = {}
    filled: dict[int, int] = {}
    added: dict[int, int] = {}
    for address, data in pieces:
        new = {address + i: byte for i, byte in enumerate(data)}
        clash = any(added.get(at, byte) != byte for at, byte in new.items())
        assert agreed.add(address, data) == (not clash)
        code.put(address, data)
        first.fill(address, data)
        last |= new
        filled = new | filled
        added |= {} if clash else new
    for noted, expected in ((code, last), (first, filled), (agreed, added)):
        assert {
            address + i: byte for address, data in noted.runs() for i, byte in enumerate(data)
        } == expected


def test_a_copy_changes_apart() -> None:
    code = CodeBytes()
    code.put(0x1000, b"\x90")
    other = code.copy()
    other.put(0x1000, b"\xcc")
    assert list(code.runs()) == [(0x1000, b"\x90")]
    assert list(other.runs()) == [(0x1000, b"\xcc")]


class Memory:
    """A recording of one process in which these executed bytes appeared: (tsc, address, bytes)."""

    def __init__(self, *code: tuple[int, int, bytes]) -> None:
        self.code = code

    user_image = None

    def image_timeline(self, pid: int, *, whole: bool) -> list[tuple[int | None, list[Change]]]:
        return [
            (tsc, [Change("add", Mapping(address, len(data), code=data))]) for tsc, address, data in self.code
        ]

    def new_image(self, uses: object = None) -> Image:
        return Image()

    def with_user_image(self, image: Image) -> Image:
        return image

    def fill(self, image: Image, mappings: list[Mapping], *, uses: object = None) -> None:
        for mapping in mappings:
            image.add_bytes(mapping.code or b"", mapping.address)


def moments(*code: tuple[int, int, bytes]) -> list[tuple[int, bytes]]:
    """What lies at 0x1000, four bytes, from which time on."""
    memory: Any = Memory(*code)
    return [
        (tsc, b"".join(image.read(address, 1) for address in range(0x1000, 0x1004)))
        for tsc, image in image_moments(memory, 1)
    ]


def test_code_that_never_changes_is_there_from_the_start() -> None:
    assert moments((5, 0x1000, b"ab"), (7, 0x1002, b"cd"), (9, 0x1001, b"bc")) == [(0, b"abcd")]


def test_replaced_code_is_there_from_its_time_on() -> None:
    assert moments((5, 0x1000, b"abcd"), (7, 0x1001, b"x")) == [(0, b"abcd"), (7, b"axcd")]


def test_seeing_replaced_code_again_does_not_change_the_past() -> None:
    seen = moments((5, 0x1000, b"abc"), (7, 0x1001, b"x"), (9, 0x1001, b"xcd"))
    assert seen == [(0, b"abcd"), (7, b"axcd")]


# Images that are kept as changes --------------------------------------------------------------------------


def numbered(number: int, times: list[int]) -> tuple[ImageMoments, list[tuple[int, bytes]]]:
    """Images of a process from these times on, and what lies at 0x1000 in each: two bytes that name it."""
    images, plain = ImageMoments(), []
    image = Image()
    for at, tsc in enumerate(times):
        if at % 50 == 49:
            image = Image()
        image.add_bytes(bytes((number, at)), 0x1000)
        image.add_bytes(b"\x90", 0x2000 + at)
        images.add(tsc, image)
        plain.append((tsc, bytes((number, at))))
    return images, plain


def test_images_over_time_are_those_that_were_added() -> None:
    images, plain = numbered(1, [0, *range(5, 800, 5)])
    assert [(tsc, image.read(0x1000, 2)) for tsc, image in images] == plain
    assert [(tsc, image.read(0x1000, 2)) for tsc, image in images[-3:]] == plain[-3:]
    assert [images.number_at(tsc) for tsc in (0, 4, 5, 794, 795, 1 << 64)] == [0, 0, 1, 158, 159, 159]


def test_an_image_over_time_has_its_callback() -> None:
    images = ImageMoments()
    for number in range(3):
        image = Image()
        if number != 1:
            image.set_callback(lambda address, size, asid, number=number: bytes((number,)))
        images.add(number, image)
    assert [image.has_callback for _, image in images] == [True, False, True]
    assert [images[number][1].read(0x1000, 1) for number in (0, 2)] == [b"\0", b"\2"]


def test_threads_that_ran_one_after_the_other_have_the_images_of_their_processes() -> None:
    for seed in range(30):
        chance = random.Random(seed)
        processes = [
            numbered(number, [0, *sorted(chance.sample(range(1, 300), chance.randrange(99)))])
            for number in range(3)
        ]
        starts = [0, *sorted(chance.choices(range(300), k=chance.randrange(20)))]
        runs = [(start, chance.randrange(3)) for start in starts]
        ends = [*starts[1:], 1 << 64]
        moments = Moments(
            (start, 100 + which, processes[which][0], end)
            for (start, which), end in zip(runs, ends, strict=True)
        )
        expected, regions = [], []
        for region, ((start, which), end) in enumerate(zip(runs, ends, strict=True)):
            plain = processes[which][1]
            first = bisect_right(plain, start, key=lambda moment: moment[0])
            last = bisect_left(plain, end, key=lambda moment: moment[0])
            for tsc, held in [(start, plain[first - 1][1]), *plain[first:last]]:
                expected.append((tsc, held, 100 + which))
                regions.append((tsc, region))
        assert [(tsc, image.read(0x1000, 2), owner) for tsc, image, owner in moments] == expected
        assert [moments.region(number) for number in range(len(moments))] == regions
