"""libipt's image functions, as its manual pages have them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from odograph import Image, ImageError, PtError
from odograph.compat import libipt
from odograph.compat.libipt import (
    pt_asid,
    pt_asid_init,
    pt_asid_no_cr3,
    pt_asid_no_vmcs,
    pt_errcode,
    pt_errstr,
    pt_image,
    pt_image_add_cached,
    pt_image_add_file,
    pt_image_alloc,
    pt_image_copy,
    pt_image_free,
    pt_image_name,
    pt_image_remove_by_asid,
    pt_image_remove_by_filename,
    pt_image_set_callback,
    pt_iscache_add_file,
    pt_iscache_alloc,
    pt_iscache_free,
    pt_iscache_name,
    pt_iscache_read,
    pt_iscache_set_limit,
    pt_library_version,
    pte_bad_file,
    pte_bad_image,
    pte_invalid,
    pte_nomap,
)
from odograph.compat.libipt.errors import returns_status

TOP = 1 << 64


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "program"
    path.write_bytes(bytes(range(256)))
    return str(path)


def inner(image: pt_image) -> Image:
    assert image.image is not None
    return image.image


@returns_status
def read(image: pt_image, ip: int, size: int) -> bytes:
    """Read as a decoder function does: bytes or a negative status."""
    return inner(image).read(ip, size)


# Errors and asids


def test_constants_are_positive_and_statuses_negative() -> None:
    for error in PtError:
        assert getattr(libipt, f"pte_{error.name}") == error
    assert pt_errcode(-pte_nomap) == pte_nomap
    assert pt_errcode(0) == pt_errcode(7) == 0


def test_errors_have_sentences() -> None:
    assert pt_errstr(0) == "OK"
    assert pt_errstr(pte_nomap) == "no memory mapped at this address"
    assert pt_errstr(27) == "unknown cpu"
    assert pt_errstr(28) == pt_errstr(-1) == "internal error."


def test_an_asid_carries_all_ones_for_unknown() -> None:
    asid = pt_asid()
    assert (asid.size, asid.cr3, asid.vmcs) == (24, pt_asid_no_cr3, pt_asid_no_vmcs)
    assert pt_asid_no_cr3 == pt_asid_no_vmcs == TOP - 1
    asid.cr3 = 0x1000
    pt_asid_init(asid)
    assert asid == pt_asid()


def test_a_field_the_size_does_not_cover_is_unknown(file: str) -> None:
    image = pt_image_alloc("image")
    assert pt_image_add_file(image, file, 0, 16, pt_asid(size=16, cr3=1, vmcs=2), 0x1000) == 0
    assert pt_image_add_file(image, file, 0, 16, pt_asid(size=8, cr3=1, vmcs=2), 0x2000) == 0
    asids = [section.asid for section in inner(image).sections]
    assert [(asid.cr3, asid.vmcs) for asid in asids] == [(1, None), (None, None)]


def test_the_library_has_a_version() -> None:
    version = pt_library_version()
    assert version.major == 2
    assert version._fields == ("major", "minor", "patch", "build", "ext")


# Images


def test_names() -> None:
    assert pt_image_name(pt_image_alloc("kernel")) == "kernel"
    assert pt_image_name(pt_image_alloc(None)) is None
    assert pt_image_name(None) is None
    assert pt_iscache_name(pt_iscache_alloc("cache")) == "cache"
    assert pt_iscache_name(None) is None


def test_add_file(file: str) -> None:
    image = pt_image_alloc("image")
    assert pt_image_add_file(image, file, 0x10, TOP - 1, None, 0x1000) == 0
    assert read(image, 0x1000, 4) == b"\x10\x11\x12\x13"
    assert len(inner(image).read(0x1000, 999)) == 0xF0
    assert pt_image_add_file(None, file, 0, 1, None, 0) == -pte_invalid
    assert pt_image_add_file(image, None, 0, 1, None, 0) == -pte_invalid
    assert pt_image_add_file(image, file, 256, 1, None, 0) == -pte_invalid
    assert pt_image_add_file(image, file, 0, 256, None, TOP - 1) == -pte_invalid
    assert pt_image_add_file(image, file, -1, 256, None, 0) == -pte_invalid
    assert pt_image_add_file(image, file + "x", 0, 1, None, 0) == -pte_bad_file
    with pytest.raises(TypeError):
        pt_image_add_file(image, file, 0, 1, 7, 0)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        pt_image_add_file(file, file, 0, 1, None, 0)  # type: ignore[arg-type]


def test_add_cached(file: str) -> None:
    image, iscache = pt_image_alloc("image"), pt_iscache_alloc("cache")
    isid = pt_iscache_add_file(iscache, file, 0, 16, 0x1000)
    assert isid == 1
    assert pt_image_add_cached(image, iscache, isid, pt_asid(cr3=5)) == 0
    assert [(section.isid, section.asid.cr3) for section in inner(image).sections] == [(1, 5)]
    assert pt_image_add_cached(image, iscache, 2, None) == -pte_bad_image
    assert pt_image_add_cached(image, iscache, -1, None) == -pte_bad_image
    assert pt_image_add_cached(None, iscache, isid, None) == -pte_invalid
    assert pt_image_add_cached(image, None, isid, None) == -pte_invalid


def test_copy(file: str) -> None:
    image, src = pt_image_alloc("image"), pt_image_alloc("src")
    pt_image_add_file(src, file, 0, 16, None, 0x1000)
    assert pt_image_copy(image, src) == 0
    assert pt_image_copy(image, image) == 0
    assert inner(image).sections == inner(src).sections
    assert pt_image_copy(None, src) == pt_image_copy(image, None) == -pte_invalid


def test_remove(file: str) -> None:
    image = pt_image_alloc("image")
    for cr3 in (1, 2, 3):
        pt_image_add_file(image, file, 0, 16, pt_asid(cr3=cr3), 0x1000)
    assert pt_image_remove_by_filename(image, "other", None) == 0
    assert pt_image_remove_by_filename(image, file, pt_asid(cr3=1)) == 1
    assert pt_image_remove_by_asid(image, pt_asid(cr3=2)) == 1
    assert pt_image_remove_by_asid(image, None) == 1
    assert pt_image_remove_by_asid(None, None) == -pte_invalid
    assert pt_image_remove_by_filename(None, file, None) == -pte_invalid
    assert pt_image_remove_by_filename(image, None, None) == -pte_invalid


def test_a_freed_object_is_refused_like_none(file: str) -> None:
    image, iscache = pt_image_alloc("image"), pt_iscache_alloc("cache")
    isid = pt_iscache_add_file(iscache, file, 0, 16, 0x1000)
    pt_image_add_cached(image, iscache, isid, None)
    pt_iscache_free(iscache)
    assert read(image, 0x1001, 1) == b"\x01", "an image keeps its sections"
    assert pt_iscache_add_file(iscache, file, 0, 16, 0x1000) == -pte_invalid
    pt_image_free(image)
    pt_image_free(image)
    assert pt_image_add_file(image, file, 0, 1, None, 0) == -pte_invalid
    pt_image_free(None)
    pt_iscache_free(None)


# The section cache


def test_iscache_read_fills_a_buffer(file: str, tmp_path: Path) -> None:
    iscache = pt_iscache_alloc(None)
    isid = pt_iscache_add_file(iscache, file, 0x10, 0x20, 0x1000)
    buffer = bytearray(b"........")
    assert pt_iscache_read(iscache, buffer, 4, isid, 0x1001) == 4
    assert buffer == b"\x11\x12\x13\x14...."
    assert pt_iscache_read(iscache, buffer, 8, isid, 0x101E) == 2, "cut at the end of the section"
    assert pt_iscache_read(iscache, None, 8, isid, 0x1000) == -pte_invalid
    assert pt_iscache_read(None, buffer, 8, isid, 0x1000) == -pte_invalid
    assert pt_iscache_read(iscache, buffer, 0, isid, 0x1000) == -pte_invalid
    assert pt_iscache_read(iscache, buffer, 9, isid, 0x1000) == -pte_invalid
    assert pt_iscache_read(iscache, buffer, 8, isid, 0x1020) == -pte_nomap
    assert pt_iscache_read(iscache, buffer, 8, 0, 0x1000) == -pte_bad_image
    assert pt_iscache_read(iscache, buffer, 8, 2, 0x1000) == -pte_bad_image
    with pytest.raises(TypeError):
        pt_iscache_read(iscache, b"........", 8, isid, 0x1000)
    os.truncate(file, 100)
    assert pt_iscache_read(iscache, buffer, 8, isid, 0x1000) == -pte_bad_image
    big = tmp_path / "big"
    big.write_bytes(bytes(70_000))
    isid = pt_iscache_add_file(iscache, big, 0, 70_000, 0)
    assert pt_iscache_read(iscache, bytearray(70_000), 70_000, isid, 0) == 0xFFFF


def test_iscache_errors(file: str) -> None:
    iscache = pt_iscache_alloc("cache")
    assert pt_iscache_add_file(None, file, 0, 1, 0) == -pte_invalid
    assert pt_iscache_add_file(iscache, None, 0, 1, 0) == -pte_invalid
    assert pt_iscache_add_file(iscache, file, 999, 1, 0) == -pte_invalid
    assert pt_iscache_add_file(iscache, file + "x", 0, 1, 0) == -pte_bad_file
    assert pt_iscache_set_limit(iscache, 0) == 0
    assert pt_iscache_set_limit(iscache, TOP - 1) == 0
    assert pt_iscache_set_limit(None, 0) == -pte_invalid


# The callback


def with_callback(callback: Any, context: Any = None) -> pt_image:
    image = pt_image_alloc("image")
    assert pt_image_set_callback(image, callback, context) == 0
    return image


def test_the_callback_fills_the_buffer() -> None:
    seen = []

    def read_memory(buffer: memoryview, size: int, asid: pt_asid, ip: int, context: object) -> int:
        assert (len(buffer), buffer.readonly, buffer.format) == (size, False, "B")
        seen.append((size, asid, ip, context))
        buffer[:3] = b"abc"
        return 3

    context = object()
    image = with_callback(read_memory, context)
    assert read(image, 0x1FFC, 15) == b"abc"
    assert seen == [(4, pt_asid(), 0x1FFC, context)]
    assert pt_image_set_callback(image, None, None) == 0
    assert read(image, 0x1FFC, 15) == -pte_nomap
    assert pt_image_set_callback(None, read_memory, None) == -pte_invalid
    with pytest.raises(TypeError):
        pt_image_set_callback(image, 7, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "status"),
    [(-pte_nomap, -pte_nomap), (-pte_bad_image, -pte_bad_image), (-1000, -1000), (0, -pte_nomap), (9, -2)],
)
def test_a_status_of_the_callback_is_what_the_call_returns(answer: int, status: int) -> None:
    image = with_callback(lambda buffer, size, asid, ip, context: answer)
    assert read(image, 0x1000, 8) == status


@pytest.mark.parametrize("exception", [KeyError("mine"), ImageError("mine", code=PtError.nomap)])
def test_an_exception_in_the_callback_propagates(exception: Exception) -> None:
    def read_memory(buffer: memoryview, size: int, asid: pt_asid, ip: int, context: object) -> int:
        raise exception

    with pytest.raises(type(exception)) as caught:
        read(with_callback(read_memory), 0x1000, 8)
    assert caught.value is exception


def test_a_callback_must_return_an_integer() -> None:
    with pytest.raises(TypeError):
        read(with_callback(lambda buffer, size, asid, ip, context: b"abc"), 0x1000, 8)
