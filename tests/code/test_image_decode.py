"""What decoding makes of images: callbacks, missing memory, files that changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from odograph import Asid, Image, ImageError, InvalidArgument, OdographError, PtError, SectionCache, decode
from odograph.compat.libipt import pt_asid, pt_image_alloc, pt_image_set_callback, pte_bad_image

PSB = b"\x02\x82" * 8
PSBEND = b"\x02\x23"
TIP_PGD = b"\x01"  # IP suppressed


def tip(ip: int) -> bytes:
    return b"\xcd" + ip.to_bytes(8, "little")


def tip_pge(ip: int) -> bytes:
    return b"\xd1" + ip.to_bytes(8, "little")


#   0x1ffd: mov eax, 0x11223344    crosses into the next page
#   0x2002: jmp rax                to 0x5000
#   0x5000: nop
#   0x5001: jmp rax                tracing ends
TRACE = PSB + PSBEND + tip_pge(0x1FFD) + tip(0x5000) + TIP_PGD
CODE = {0x1FFD: bytes.fromhex("b844332211 ffe0"), 0x5000: bytes.fromhex("90 ffe0")}
STEPS = [0x1FFD, 0x2002, 0x5000, 0x5001]


def read_code(address: int, size: int, asid: Asid) -> bytes:
    for start, code in CODE.items():
        if start <= address < start + len(code):
            return code[address - start :][:size]
    return b""


def with_callback(read_memory: Any) -> Image:
    image = Image()
    image.set_callback(read_memory)
    return image


def test_sections_or_a_callback_give_the_same_history() -> None:
    image = Image()
    for address, code in CODE.items():
        image.add_bytes(code, address)
    assert decode(TRACE, image).ips().tolist() == STEPS
    assert decode(TRACE, with_callback(read_code)).ips().tolist() == STEPS


def test_an_instruction_may_lie_in_several_sections_and_the_callback() -> None:
    image = with_callback(read_code)
    image.add_bytes(b"\xb8", 0x1FFD)
    image.add_bytes(b"\x33", 0x1FFF)
    history = decode(TRACE, image)
    assert history.ips().tolist() == STEPS
    assert history[0].raw == bytes.fromhex("b844332211")


def test_answers_of_one_byte_are_enough() -> None:
    image = with_callback(lambda address, size, asid: read_code(address, 1, asid))
    assert decode(TRACE, image).ips().tolist() == STEPS


def test_an_isid_is_that_of_the_cache(tmp_path: Path) -> None:
    cache, image = SectionCache(), with_callback(read_code)
    (tmp_path / "code").write_bytes(CODE[0x5000])
    cache.add_file(tmp_path / "code", 0, 1, 0x9000)
    isid = cache.add_file(tmp_path / "code", 0, 99, 0x5000)
    image.add_cached(cache, isid)
    assert [step.isid for step in decode(TRACE, image)] == [0, 0, isid, isid]


def test_the_image_is_the_one_of_the_call() -> None:
    image = Image()

    def read_memory(address: int, size: int, asid: Asid) -> bytes:
        image.add_bytes(b"\xf4" * 0x1000, 0x5000)
        return read_code(address, size, asid)

    image.set_callback(read_memory)
    history = decode(TRACE, image)
    assert history.ips().tolist() == STEPS
    image.remove_by_asid()
    image.set_callback(None)
    assert history[2].raw == b"\x90", "a history reads nothing later"


def test_nothing_mapped_is_a_gap() -> None:
    for image in (None, Image(), with_callback(lambda address, size, asid: b"")):
        (gap, *_) = decode(TRACE, image).gaps()
        assert (gap.step, gap.code, gap.ip) == (0, PtError.nomap, 0x1FFD)
        with pytest.raises(OdographError) as caught:
            decode(TRACE, image, on_error="raise")
        assert caught.value.code is PtError.nomap


@pytest.mark.parametrize("on_error", ["gap", "raise"])
def test_a_callback_used_wrongly_raises_in_any_case(on_error: Any) -> None:
    with pytest.raises(InvalidArgument):
        decode(TRACE, with_callback(lambda address, size, asid: bytes(size + 1)), on_error=on_error)
    with pytest.raises(TypeError):
        decode(TRACE, with_callback(lambda address, size, asid: None), on_error=on_error)


@pytest.mark.parametrize(
    "error", [KeyError("mine"), KeyboardInterrupt(), ImageError("x", code=PtError.nomap)]
)
def test_an_exception_comes_out_of_decode_as_the_same_object(error: BaseException) -> None:
    def read_memory(address: int, size: int, asid: Asid) -> bytes:
        if address >= 0x5000:
            raise error
        return read_code(address, size, asid)

    with pytest.raises(type(error)) as caught:
        decode(TRACE, with_callback(read_memory))
    assert caught.value is error


def test_a_file_that_changed_is_a_gap_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "code"
    path.write_bytes(CODE[0x1FFD])
    image = with_callback(read_code)
    image.add_file(path, 0, 99, 0x1FFD)
    os.truncate(path, 2)
    (gap, *_) = decode(TRACE, image).gaps()
    assert (gap.step, gap.code, gap.ip) == (0, PtError.bad_image, 0x1FFD)


def test_the_status_of_a_libipt_callback_is_the_code_of_the_gap() -> None:
    def callback(buffer: memoryview, size: int, asid: pt_asid, ip: int, context: object) -> int:
        if ip >= 0x5000:
            return -pte_bad_image
        data = read_code(ip, size, Asid())
        buffer[: len(data)] = data
        return len(data)

    image = pt_image_alloc("image")
    pt_image_set_callback(image, callback, None)
    history = decode(TRACE, image.image)
    assert history.ips().tolist() == STEPS[:2]
    (gap, *_) = history.gaps()
    assert (gap.step, gap.code, gap.ip) == (2, PtError.bad_image, 0x5000)
