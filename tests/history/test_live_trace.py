"""LiveTrace: what is fed in pieces is what is decoded at once."""

from __future__ import annotations

import io
import os
import random
import signal
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import odograph
from odograph import History, Image, LiveTrace, TraceConfig, decode
from support.sharedtraces import Unpacker, bench_image, mapped_image, shared_paths

PSB = b"\x02\x82" * 8
PSBEND = b"\x02\x23"
BASE = 0x1000

# 1000 nop; 1001 jne 1000; 1003 call 1009; 1008 hlt; 1009 ret
CODE = b"\x90" + b"\x75\xfd" + b"\xe8\x01\x00\x00\x00" + b"\xf4" + b"\xc3"


def start(ip: int) -> bytes:
    return PSB + b"\xdd" + ip.to_bytes(8, "little") + PSBEND


def image(data: bytes = CODE) -> Image:
    made = Image()
    made.add_bytes(data, BASE)
    return made


LAPS = start(BASE) + b"\xfe" * 200
LOOP = LAPS * 1000


def fed(stream: LiveTrace, trace: bytes, most: int, seed: object = 0) -> list[History]:
    """Histories of a trace fed in pieces of up to ``most`` bytes."""
    dice = random.Random(str(seed))
    histories, at = [], 0
    while at < len(trace):
        size = dice.randint(0, most)
        history = stream.feed(memoryview(trace)[at : at + size])
        if history.offset < stream.offset:
            histories.append(history)
        else:
            assert len(history) == 0
        at += size
    return [*histories, stream.close()]


def check_same(parts: Iterable[History], whole: History) -> None:
    """The parts, one behind the other, are the whole."""
    step = offset = 0
    gaps: list[Any] = []
    events: dict[str, list[Any]] = {name: [] for name in whole.events().to_dict()}
    blocks = [np.empty(0, dtype=np.int64)]
    for part in parts:
        assert part.first_step == step
        assert part.offset >= offset
        assert np.array_equal(part.ips(), whole.ips(step, step + len(part)))
        gaps += [(step + gap.step, gap.cause, gap.code, gap.offset, gap.bytes_lost) for gap in part.gaps()]
        for name, column in part.events().to_dict().items():
            events[name] += [step + at for at in column] if name == "step" else column
        blocks.append(part.blocks()["step"] + step)
        step += len(part)
        offset = part.offset
    assert step == len(whole)
    assert gaps == [(gap.step, gap.cause, gap.code, gap.offset, gap.bytes_lost) for gap in whole.gaps()]
    assert events == whole.events().to_dict()
    assert np.array_equal(np.concatenate(blocks), whole.blocks()["step"])


@pytest.mark.parametrize("most", [1, 7, 4000, 1 << 20])
def test_a_trace_in_pieces_of_any_size_gives_what_it_gives_at_once(most: int) -> None:
    stream = LiveTrace(image())
    parts = fed(stream, LOOP, most)
    check_same(parts, decode(LOOP, image()))
    assert (stream.offset, stream.pending) == (len(LOOP), 0)
    assert stream.steps == sum(map(len, parts))
    assert len([part for part in parts if len(part)]) > 1


def test_a_part_is_a_history_that_knows_where_it_begins() -> None:
    stream = LiveTrace(image())
    assert len(stream.feed(LOOP[: len(LAPS) + 10])) == 0
    first = stream.flush()
    # The next PSB says where execution is; more is not certain, as it may be followed by anything.
    assert len(first) == 0
    stream.feed(LOOP[len(LAPS) + 10 : len(LAPS) + 40])
    first = stream.flush()
    assert (first.first_step, first.offset) == (0, 0)
    assert len(first) > 1000
    rest = stream.close()
    assert (rest.first_step, rest.offset) == (len(first), len(LAPS))
    assert first[0].step == rest[0].step == 0
    assert rest.events()["offset"].tolist() == [len(LAPS)]


def test_what_the_pending_bytes_cannot_change_is_given_at_once() -> None:
    stream = LiveTrace(image())
    given = [stream.feed(bytes([byte])) for byte in LOOP[:150_000]]
    assert sum(len(part) > 0 for part in given) >= 2
    assert stream.pending <= 64 << 10
    assert stream.offset + stream.pending == 150_000
    assert "bytes pending" in repr(stream)


def test_reading_a_pipe_until_it_ends() -> None:
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as file:
            file.write(LOOP)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reader, "rb") as file, LiveTrace(image()) as stream:
        parts = list(stream.read(file))
    thread.join()
    assert stream.closed
    check_same(parts, decode(LOOP, image()))
    assert list(LiveTrace(image()).read(io.BytesIO(b""))) == []


def test_a_file_that_has_nothing_now_leaves_the_stream_open() -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with os.fdopen(reader, "rb", buffering=0) as file, os.fdopen(writer, "wb", buffering=0) as other:
        stream = LiveTrace(image())
        other.write(LAPS)
        assert list(stream.read(file)) == []
        assert (stream.closed, stream.pending) == (False, len(LAPS))
        with pytest.raises(odograph.InvalidArgument):
            next(stream.read(file, 0))


def test_a_closed_stream_takes_no_more() -> None:
    stream = LiveTrace(image())
    stream.feed(LAPS)
    assert len(stream.close()) == len(decode(LAPS, image()))
    empty = stream.close()
    assert (len(empty), empty.first_step, empty.offset) == (0, stream.steps, len(LAPS))
    assert empty.events().to_dict()["kind"] == []
    assert empty.gaps() == []
    for call in (lambda: stream.feed(b""), stream.flush):
        with pytest.raises(odograph.InvalidArgument):
            call()
    with LiveTrace(image()) as left:
        left.feed(LAPS)
    assert left.closed


@pytest.mark.parametrize("wrong", ["file.pt", Path("file.pt"), 5, None])
def test_only_bytes_are_fed(wrong: Any) -> None:
    with pytest.raises(TypeError):
        LiveTrace(image()).feed(wrong)


def test_any_buffer_is_fed_and_copied() -> None:
    stream = LiveTrace(image())
    words = np.frombuffer(LOOP[: len(LOOP) // 4 * 4], dtype=np.uint32).copy()
    parts = [stream.feed(words)]
    words[:] = 0
    parts += [stream.feed(bytearray(LOOP[len(LOOP) // 4 * 4 :])), stream.close()]
    check_same(parts, decode(LOOP, image()))


@pytest.mark.parametrize("options", [{"on_error": "ignore"}, {"resync": "tip"}, {"limit": 0}])
def test_unknown_words_are_invalid_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(odograph.InvalidArgument):
        LiveTrace(image(), **options)


def test_sizes_of_unknown_packets_need_the_whole_trace() -> None:
    with pytest.raises(odograph.UnsupportedOperation):
        LiveTrace(image(), TraceConfig(unknown_packet=lambda trace, offset: 1))


@pytest.mark.parametrize("trace", [b"", b"\x00" * 100, b"\x99" * 5, PSB[:15], b"\x99" * 200_000 + PSB[:15]])
def test_a_trace_without_psb_is_what_it_is_at_once(trace: bytes) -> None:
    for most in (1 + len(trace) // 50, 1 + len(trace)):
        stream = LiveTrace(image())
        check_same(fed(stream, trace, most), decode(trace, image()))
        assert stream.offset == len(trace)


def test_more_than_the_limit_without_a_psb_is_an_error_that_says_what_helps() -> None:
    stream = LiveTrace(image(), limit=100_000)
    trace = start(BASE) + b"\x1c" * 300_000
    with pytest.raises(odograph.TraceError, match=r"close\(\).*limit") as caught:
        fed(stream, trace, 1000)
    assert caught.value.offset == 0
    assert stream.pending <= 101_000
    pending = stream.pending
    with pytest.raises(odograph.TraceError):
        stream.feed(b"\x1c")
    assert stream.pending == pending
    assert len(stream.close()) == len(decode(trace[:pending], image()))


def test_damage_is_a_gap_or_an_error_with_its_place_in_the_whole_trace() -> None:
    trace = LOOP[: 300 * len(LAPS)] + b"\x99\x99\x99" + LOOP
    whole = decode(trace, image())
    assert whole.gaps()
    check_same(fed(LiveTrace(image()), trace, 3000), whole)
    stream = LiveTrace(image(), on_error="raise")
    with pytest.raises(odograph.TraceError) as caught:
        fed(stream, trace, 3000)
    assert caught.value.offset == whole.gaps()[0].offset
    with pytest.raises(odograph.TraceError):
        stream.feed(b"")


def test_an_image_holds_from_what_was_not_given_yet() -> None:
    # The same loop at the same place, but longer.
    other = image(b"\x90" * 3 + b"\x75\xfb")
    stream = LiveTrace(image())
    before = [stream.feed(LOOP[:100_000]), stream.flush()]
    assert stream.image is not other
    stream.image = other
    assert stream.image is other
    cut = stream.offset
    after = [stream.feed(LOOP[100_000:]), stream.close()]
    assert 0 < cut < 100_000
    whole = decode(LOOP, image())
    given = sum(map(len, before))
    assert np.array_equal(np.concatenate([part.ips() for part in before]), whole.ips(0, given))
    expected = decode(LOOP[cut:], other).ips()
    assert np.array_equal(np.concatenate([part.ips() for part in after]), expected)


def test_sections_added_later_are_seen_when_the_image_is_set_again() -> None:
    growing = Image()
    stream = LiveTrace(growing)
    growing.add_bytes(CODE, BASE)
    missing = [stream.feed(LAPS * 400), stream.flush()]
    assert {gap.cause for part in missing for gap in part.gaps()} == {"memory"}
    stream.image = growing
    seen = [stream.feed(LAPS * 400), stream.close()]
    assert [gap for part in seen for gap in part.gaps()] == []
    assert sum(map(len, seen)) > 100_000


def test_a_callback_is_asked_in_order_and_never_again() -> None:
    asked: list[int] = []

    def read(address: int, size: int, asid: object) -> bytes:
        asked.append(address)
        at = address - BASE
        return CODE[at : at + size][:3] if 0 <= at < len(CODE) else b""

    def made() -> Image:
        result = Image()
        result.set_callback(read)
        return result

    whole = decode(LOOP, made())
    once = list(asked)
    asked.clear()
    parts = fed(LiveTrace(made()), LOOP, 9000)
    assert asked == once
    check_same(parts, whole)
    for part in parts:
        assert part.counts()["count"].sum() == len(part)
    assert asked == once


def test_an_exception_in_a_callback_comes_out_and_nothing_is_lost() -> None:
    broken = ValueError("no memory today")
    fails = [True]

    def read(address: int, size: int, asid: object) -> bytes:
        if fails[0]:
            raise broken
        at = address - BASE
        return CODE[at : at + size] if 0 <= at < len(CODE) else b""

    made = Image()
    made.set_callback(read)
    stream = LiveTrace(made)
    with pytest.raises(ValueError, match="today") as caught:
        stream.feed(LOOP)
    assert caught.value is broken
    fails[0] = False
    check_same([stream.feed(b""), stream.close()], decode(LOOP, image()))


def test_a_callback_that_comes_back_is_told() -> None:
    raised: list[BaseException] = []

    def read(address: int, size: int, asid: object) -> bytes:
        for call in (lambda: stream.feed(LAPS), stream.close, lambda: stream.steps):
            with pytest.raises(odograph.Reentered) as caught:
                call()
            raised.append(caught.value)
        with pytest.raises(odograph.Reentered):
            stream.image = image()
        at = address - BASE
        return CODE[at : at + size] if 0 <= at < len(CODE) else b""

    made = Image()
    made.set_callback(read)
    stream = LiveTrace(made)
    check_same([stream.feed(LOOP), stream.close()], decode(LOOP, image()))
    assert raised


def fed_for_ever(trace: bytes) -> None:
    while True:
        LiveTrace(image()).feed(trace)


def test_ctrl_c_ends_a_feed_and_the_next_goes_on() -> None:
    trace = LOOP * 400
    stream = LiveTrace(image())
    timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fed_for_ever(trace)
    stream.feed(trace[:1000])
    parts = [stream.feed(trace[1000:]), stream.close()]
    assert sum(map(len, parts)) == len(decode(trace, image()))


NAMES = [path.name.removesuffix(".gt") for path in shared_paths("bench/*.gt")]
SMALL = [name for name in NAMES if "-s-" in name]


@pytest.mark.parametrize("name", SMALL)
def test_generated_traces_arrive_in_pieces(shared: Path, name: str, unpacked: Unpacker) -> None:
    folder = shared / "bench"
    trace = unpacked(folder / f"{name}.pt.xz").read_bytes()
    code = bench_image(folder, name.rsplit("-", 2)[0], unpacked)
    whole = decode(trace, code)
    truth = dict(
        line.split(" ", 1) for line in (folder / f"{name}.gt").read_text().splitlines() if " " in line
    )
    assert len(whole) == int(truth["insns"])
    config = TraceConfig(nom_freq=24)
    whole = decode(trace, code, config)
    for most in (1000, 100_000):
        stream = LiveTrace(code, config)
        parts = fed(stream, trace, most, name)
        assert sum(len(part) > 0 for part in parts) > 3
        check_same(parts, whole)
        assert parts[-1].time_range()[1] == whole.time_range()[1]
        later = next(part for part in parts if part.first_step > 0 and len(part))
        assert later.time(len(later) // 2) == whole.time(later.first_step + len(later) // 2)


HARDWARE = ["/".join(path.parts[-3:-1]) for path in shared_paths("traces/set*/*/image.map")]
SAMPLE = ("set01/multi-core-45", "set02/static-59234", "set06/avscript_32", "set06/dyn_test", "set07/hello")


def check_hardware(folder: Path) -> None:
    code = mapped_image(folder)
    trace = (folder / "pt.bin").read_bytes()
    resync: Literal["ip", "psb"]
    for resync, most in (("ip", 200), ("psb", 9000)):
        whole = decode(trace, code, resync=resync)
        check_same(fed(LiveTrace(code, resync=resync), trace, most, folder.name), whole)


@pytest.mark.parametrize("name", [name for name in HARDWARE if name in SAMPLE])
def test_a_sample_of_the_hardware_traces_arrives_in_pieces(shared: Path, name: str) -> None:
    check_hardware(shared / "traces" / name)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", HARDWARE)
def test_hardware_traces_arrive_in_pieces(shared: Path, name: str) -> None:
    check_hardware(shared / "traces" / name)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", [name for name in NAMES if "-m-" in name])
def test_large_traces_arrive_in_pieces(shared: Path, name: str, unpacked: Unpacker) -> None:
    folder = shared / "bench"
    trace = unpacked(folder / f"{name}.pt.xz").read_bytes()
    code = bench_image(folder, name.rsplit("-", 2)[0], unpacked)
    whole = decode(trace, code)
    step = 0
    for part in fed(LiveTrace(code), trace, 300_000, name):
        assert np.array_equal(part.ips(), whole.ips(step, step + len(part)))
        step += len(part)
    assert step == len(whole)
