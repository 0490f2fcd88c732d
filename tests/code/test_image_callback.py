"""The read-memory callback: when it is asked, for what, and what becomes of its answer."""

from __future__ import annotations

import array
import gc
import threading
import weakref
from typing import Any

import pytest

from odograph import Asid, Image, ImageError, InvalidArgument, PtError

Call = tuple[int, int, Asid]


def answering(answer: Any) -> Image:
    image = Image()
    image.set_callback(lambda address, size, asid: answer)
    return image


@pytest.fixture
def calls() -> list[Call]:
    return []


@pytest.fixture
def image(calls: list[Call]) -> Image:
    """An image whose callback gives the low byte of each address and keeps a list of its calls."""

    def read_memory(address: int, size: int, asid: Asid) -> bytes:
        calls.append((address, size, asid))
        return bytes((address + index) & 0xFF for index in range(size))

    image = Image()
    image.set_callback(read_memory)
    return image


def test_it_is_asked_for_what_no_section_contains(image: Image, calls: list[Call]) -> None:
    image.add_bytes(b"sect", 0x1010)
    assert image.read(0x1010, 15) == b"sect", "not even for what follows the section"
    assert calls == []
    assert image.read(0x1020, 3, Asid(cr3=5)) == b"\x20\x21\x22"
    assert calls == [(0x1020, 3, Asid(cr3=5))]


def test_it_is_asked_for_at_most_the_rest_of_the_page(image: Image, calls: list[Call]) -> None:
    assert image.read(0x1FFE, 15) == b"\xfe\xff"
    assert len(image.read(0x2000, 0x5000)) == 0x1000
    assert image.read((1 << 64) - 2, 15) == b"\xfe\xff"
    assert [call[:2] for call in calls] == [(0x1FFE, 2), (0x2000, 0x1000), ((1 << 64) - 2, 2)]


def test_it_is_never_asked_into_a_section_of_that_address_space(image: Image, calls: list[Call]) -> None:
    image.add_bytes(b"xx", 0x1008, Asid(cr3=1))
    image.add_bytes(b"yy", 0x1004, Asid(cr3=2))
    image.read(0x1000, 15, Asid(cr3=1))
    image.read(0x1000, 15, Asid(cr3=2))
    image.read(0x1000, 15, Asid(cr3=3))
    image.read(0x1000, 15)
    assert [size for _, size, _ in calls] == [8, 4, 15, 4]


def test_it_is_not_asked_for_nothing(image: Image, calls: list[Call]) -> None:
    assert image.read(0x1000, 0) == b""
    assert calls == []


def test_a_short_answer_is_used() -> None:
    assert answering(b"ab").read(0x1000, 8) == b"ab"


@pytest.mark.parametrize(
    "answer",
    [
        bytearray(b"abcd"),
        memoryview(b"abcd"),
        array.array("H", [0x6261, 0x6463]),
        memoryview(b"a.b.c.d")[::2],
    ],
)
def test_anything_like_bytes_will_do(answer: Any) -> None:
    assert answering(answer).read(0x1000, 4) == b"abcd"


def test_an_empty_answer_is_nomap() -> None:
    image = answering(b"")
    with pytest.raises(ImageError) as caught:
        image.read(0x1000, 8)
    assert caught.value.code is PtError.nomap
    assert image.address_space(Asid()).read(0x1000, 8) == b""


def test_a_long_answer_is_an_invalid_argument() -> None:
    with pytest.raises(InvalidArgument, match="9 bytes, but 8 were asked for") as caught:
        answering(b"123456789").read(0x1000, 8, Asid(vmcs=2))
    assert (caught.value.code, caught.value.ip) == (PtError.invalid, 0x1000)
    assert caught.value.asid == Asid(vmcs=2)


@pytest.mark.parametrize("answer", [None, "text", 7, -13, [1, 2]])
def test_an_answer_without_the_buffer_protocol_is_a_type_error(answer: Any) -> None:
    with pytest.raises(TypeError, match="read_memory must return a bytes-like object"):
        answering(answer).read(0x1000, 8)


@pytest.mark.parametrize(
    "exception",
    [ValueError("mine"), KeyboardInterrupt(), ImageError("mine", code=PtError.nomap), StopIteration(3)],
)
def test_an_exception_comes_out_as_the_same_object(exception: BaseException) -> None:
    def read_memory(address: int, size: int, asid: Asid) -> bytes:
        raise exception

    image = Image()
    image.set_callback(read_memory)
    for read in (image.read, image.address_space(Asid()).read):
        with pytest.raises(type(exception)) as caught:
            read(0x1000, 8)
        assert caught.value is exception


def test_a_new_callback_replaces_the_old_one_and_none_removes_it() -> None:
    image = answering(b"old")
    image.set_callback(lambda address, size, asid: b"new")
    assert image.read(0, 8) == b"new"
    image.set_callback(None)
    with pytest.raises(ImageError):
        image.read(0, 8)
    image.set_callback(None)


def test_a_callback_may_change_and_read_its_own_image() -> None:
    image = Image()
    image.add_bytes(b"table", 0x8000)

    def read_memory(address: int, size: int, asid: Asid) -> bytes:
        image.add_bytes(b"added", 0x2000)
        image.set_callback(None)
        return image.read(0x8000, size)

    image.set_callback(read_memory)
    assert image.read(0x1000, 8) == b"table"
    assert image.read(0x2000, 8) == b"added"


def test_endless_recursion_ends_in_a_recursion_error() -> None:
    image = Image()
    image.set_callback(lambda address, size, asid: image.read(address, size))
    with pytest.raises(RecursionError):
        image.read(0x1000, 8)


def test_a_callback_that_refers_to_its_image_is_collected() -> None:
    def make() -> weakref.ref[Image]:
        image = Image()
        image.set_callback(lambda address, size, asid: image.read(0, 1))
        return weakref.ref(image)

    gone = make()
    gc.collect()
    assert gone() is None


def test_a_callback_dropped_by_its_image_may_use_the_image() -> None:
    image = Image()
    seen = []

    class Reader:
        def __call__(self, address: int, size: int, asid: Asid) -> bytes:
            return b"r"

        def __del__(self) -> None:
            seen.append(image.sections)

    image.set_callback(Reader())
    image.set_callback(None)
    gc.collect()
    assert seen == [[]]


def test_callbacks_run_in_the_thread_that_reads() -> None:
    image = Image()
    image.set_callback(lambda address, size, asid: threading.current_thread().name.encode())
    answers = {}

    def read(name: str) -> None:
        answers[name] = [image.read(0, 16) for _ in range(200)]

    threads = [threading.Thread(target=read, args=(name,), name=name) for name in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {name: [name.encode()] * 200 for name in ("one", "two", "three")}
