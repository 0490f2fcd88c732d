"""decode, History and Table."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import odograph
from odograph import History, Image, TraceConfig, decode
from odograph.history.instruction import ExecMode, InstructionClass

PSB = b"\x02\x82" * 8
PSBEND = b"\x02\x23"
BASE = 0x1000

# 1000 nop; 1001 jne 1000; 1003 call 1009; 1008 hlt; 1009 ret
CODE = b"\x90" + b"\x75\xfd" + b"\xe8\x01\x00\x00\x00" + b"\xf4" + b"\xc3"


def fup(ip: int) -> bytes:
    return b"\xdd" + ip.to_bytes(8, "little")


def tip(ip: int) -> bytes:
    return b"\xcd" + ip.to_bytes(8, "little")


def tnt(bits: str) -> bytes:
    return bytes([int("1" + bits, 2) << 1])


def start(ip: int) -> bytes:
    return PSB + fup(ip) + PSBEND


def image(data: bytes = CODE) -> Image:
    made = Image()
    made.add_bytes(data, BASE)
    return made


LOOP = start(BASE) + tnt("110") + tip(0x9000)
STEPS = [0x1000, 0x1001, 0x1000, 0x1001, 0x1000, 0x1001, 0x1003, 0x1009]


@pytest.fixture
def history() -> History:
    """Two laps, then the call; its RET goes to where nothing is mapped."""
    return decode(LOOP, image())


def test_a_history_is_a_sequence_of_steps(history: History) -> None:
    assert len(history) == 8
    assert [step.ip for step in history] == STEPS
    assert [step.step for step in history] == list(range(8))
    assert history[-1] == history[7]
    first = history[0]
    assert (first.size, first.raw, first.iclass) == (1, b"\x90", InstructionClass.other)
    assert (first.mode, first.isid, first.truncated, first.speculative) == (ExecMode.bits_64, 0, False, False)
    assert first.asid == odograph.Asid()
    assert first.time is None
    assert history[7].iclass is InstructionClass.ret


@pytest.mark.parametrize(
    "part",
    [slice(2, 5), slice(None, None, -1), slice(-3, None), slice(6, 1, -2), slice(5, 2), slice(0, 99, 3)],
)
def test_slices_follow_pythons_rules(history: History, part: slice) -> None:
    assert [step.ip for step in history[part]] == STEPS[part]
    if part.step is None:
        assert history.ips(part.start or 0, part.stop).tolist() == STEPS[part]


@pytest.mark.parametrize("step", [8, -9, 1 << 70])
def test_steps_out_of_range_are_index_errors(history: History, step: int) -> None:
    with pytest.raises(IndexError):
        history[step]


def test_a_step_is_a_whole_number(history: History) -> None:
    with pytest.raises(TypeError):
        history["0"]  # type: ignore[call-overload]


def test_find_by_address_and_by_interval(history: History) -> None:
    assert history.find(0x1000).tolist() == [0, 2, 4]
    assert history.find(0x1002).tolist() == []
    assert history.find((0x1002, 0x1002)).tolist() == [1, 3, 5]
    assert history.find((0, (1 << 64) - 1), 2, 5).tolist() == [2, 3, 4]
    assert history.find(0x1000, limit=1).tolist() == [0]
    assert history.find(0x1000, -5).tolist() == [4]
    assert history.find(0x1000).dtype == np.int64


def test_find_says_what_is_misused(history: History) -> None:
    for wrong in ((5, 4), -1, 1 << 64):
        with pytest.raises(odograph.InvalidArgument):
            history.find(wrong)
    with pytest.raises(odograph.InvalidArgument):
        history.find(0x1000, limit=-1)
    with pytest.raises(TypeError):
        history.find(1.5)  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        history.find("main")


def test_counts_calls_and_blocks(history: History) -> None:
    counted = {row["ip"]: row["count"] for row in history.counts()}
    assert counted == {0x1000: 3, 0x1001: 3, 0x1003: 1, 0x1009: 1}
    assert history.calls().to_dict() == {
        "parent": [0, 0],
        "ip": [0, 0x1009],
        "calls": [0, 1],
        "own": [7, 1],
        "own_time": [None, None],
    }
    blocks = history.blocks()
    assert blocks["ninsn"].tolist() == [2, 2, 2, 2]
    assert blocks["end_ip"].tolist() == [0x1001, 0x1001, 0x1001, 0x1009]


def test_damage_is_a_gap_and_can_be_an_error(history: History) -> None:
    (gap,) = history.gaps()
    assert (gap.step, gap.cause, gap.code, gap.ip) == (8, "memory", odograph.PtError.nomap, 0x9000)
    with pytest.raises(odograph.TraceError) as caught:
        decode(LOOP, image(), on_error="raise")
    assert caught.value.code == odograph.PtError.nomap
    assert caught.value.ip == 0x9000
    assert caught.value.offset is not None


def test_resync_at_the_next_ip_or_only_at_the_next_psb() -> None:
    trace = start(0x8000) + tnt("1") + tip(0x1003) + tnt("1") + start(BASE) + tnt("0")
    after_ip = decode(trace, image())
    after_psb = decode(trace, image(), resync="psb")
    assert after_ip.ips().tolist()[:2] == [0x1003, 0x1009]
    assert after_psb.ips().tolist()[:2] == [0x1000, 0x1001]
    assert after_psb.gaps()[0].bytes_lost > after_ip.gaps()[0].bytes_lost


@pytest.mark.parametrize("trace", [b"", b"\x00" * 100, b"\x99" * 5, PSB[:15]])
def test_a_trace_without_psb_is_an_empty_history(trace: bytes) -> None:
    history = decode(trace, image())
    assert len(history) == 0
    assert list(history) == []
    assert len(history.events()) == 0
    assert history.ips().tolist() == []
    assert history.find(0x1000).tolist() == []
    with pytest.raises(IndexError):
        history[0]


@pytest.mark.parametrize("options", [{"on_error": "ignore"}, {"resync": "tip"}])
def test_unknown_words_are_invalid_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(odograph.InvalidArgument):
        decode(LOOP, image(), **options)


def test_the_columns_arrow_sees_are_those_of_numpy(history: History) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    for table in (history.instructions(), history.events(), history.blocks(), history.counts()):
        seen = pyarrow.table(table)
        assert seen.num_rows == len(table)
        assert {name: seen[name].to_pylist() for name in seen.column_names} == table.to_dict()


def asked(answer: Callable[[int, int], Any]) -> Image:
    made = Image()
    made.set_callback(lambda address, size, asid: answer(address, size))
    return made


def read_code(address: int, size: int) -> bytes:
    at = address - BASE
    return CODE[at : at + size] if 0 <= at < len(CODE) else b""


@pytest.mark.parametrize("most", [1, 2, 4096])
def test_a_callback_alone_decodes_the_same_and_is_not_asked_later(history: History, most: int) -> None:
    questions: list[int] = []

    def answer(address: int, size: int) -> bytes:
        questions.append(address)
        return read_code(address, min(size, most))

    told = decode(LOOP, asked(answer))
    before = len(questions)
    assert [(step.ip, step.raw) for step in told] == [(step.ip, step.raw) for step in history]
    assert told.gaps() == history.gaps()
    assert told.find(0x1000).tolist() == [0, 2, 4]
    assert len(questions) == before


def test_an_exception_in_the_callback_comes_out_as_it_is() -> None:
    failure = RuntimeError("the debugger went away")

    def answer(address: int, size: int) -> bytes:
        raise failure

    with pytest.raises(RuntimeError) as caught:
        decode(LOOP, asked(answer))
    assert caught.value is failure


def test_wrong_answers_are_errors_and_empty_ones_are_gaps() -> None:
    with pytest.raises(odograph.InvalidArgument):
        decode(LOOP, asked(lambda address, size: b"\x90" * (size + 1)))
    with pytest.raises(TypeError):
        decode(LOOP, asked(lambda address, size: "nops"))
    gaps = decode(LOOP, asked(lambda address, size: b"")).gaps()
    assert {gap.cause for gap in gaps} == {"memory"}


def long_trace(laps: int) -> bytes:
    # Timing packets between the bits: bits alone are decoded before anybody could interrupt that.
    return start(BASE) + (tnt("111111") + b"\x59\x01") * laps


def test_control_c_ends_a_long_decode_soon() -> None:
    trace = long_trace(20_000_000)
    main = threading.main_thread().ident
    assert main is not None
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        signal.pthread_kill(main, signal.SIGINT)

    timer = threading.Timer(0.1, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        decode(trace, image())
    assert time.monotonic() - sent[0] < 0.5
    timer.join()


def test_progress_is_told_in_order_and_its_exception_comes_out() -> None:
    trace = long_trace(10_000_000)
    offsets: list[int] = []
    decode(trace, image(), progress=offsets.append)
    assert offsets == sorted(offsets)
    assert offsets
    assert offsets[-1] <= len(trace)
    failure = ValueError("enough")

    def stop(offset: int) -> None:
        raise failure

    with pytest.raises(ValueError, match="enough") as caught:
        decode(trace, image(), progress=stop)
    assert caught.value is failure


def test_time_needs_a_clock(history: History) -> None:
    with pytest.raises(odograph.InvalidArgument):
        history.at_time(0)
    assert history.time(0) is None
    with pytest.raises(IndexError):
        history.time(99)
    tsc = b"\x19" + (2400).to_bytes(7, "little")
    trace = PSB + tsc + fup(BASE) + PSBEND + tnt("1") + b"\x19" + (4800).to_bytes(7, "little") + tnt("10")
    clocked = decode(trace, image(), TraceConfig(nom_freq=24))
    assert [clocked.time(step) for step in (0, 2)] == [1000, 2000]
    assert clocked.at_time(1001) == 2
    assert clocked.at_time(0) == 0
    assert clocked.at_time(10**9) == len(clocked)


def many_psbs(count: int) -> bytes:
    """Laps and the call, with a PSB each; tracing is off between them."""
    return (start(BASE) + tnt("110") + tip(BASE + 8) + fup(BASE + 8) + b"\x01") * count


@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_gap_is_what_is_raised_however_long_the_trace(threads: int) -> None:
    data = many_psbs(200) + LOOP + many_psbs(20_000)
    gaps = decode(data, image(), threads=threads).gaps()
    with pytest.raises(odograph.TraceError) as caught:
        decode(data, image(), on_error="raise", threads=threads)
    assert (caught.value.code, caught.value.offset) == (gaps[0].code, gaps[0].offset)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_exception_from_progress_ends_decoding_on_any_number_of_threads(threads: int) -> None:
    class Enough(Exception):
        pass

    def enough(offset: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        decode(many_psbs(400_000), image(), threads=threads, progress=enough)


def test_gaps_are_kept_in_a_few_bytes_each() -> None:
    """Overflows, and packets that contradict what came before."""
    from resource import RUSAGE_SELF, getrusage

    data = start(BASE) + bytes.fromhex("02f3 9901 01") * 500_000
    before = getrusage(RUSAGE_SELF).ru_maxrss
    lost = decode(data, image())
    assert lost.gap_count == 1_000_000
    assert getrusage(RUSAGE_SELF).ru_maxrss - before < 30_000


def test_gaps_can_be_asked_for_by_step_and_without_notes() -> None:
    lost = decode(many_psbs(3) + LOOP + bytes.fromhex("02f3") * 5 + LOOP, image())
    gaps = lost.gaps()
    steps = sorted({gap.step for gap in gaps})
    assert lost.gap_count == len(gaps) >= 6
    assert list(lost.gap_steps()) == steps
    assert lost.gaps_before(steps[0], steps[0], 2) == [gap for gap in gaps if gap.step == steps[0]][:2]
    assert lost.gaps_before(0, len(lost), 100, notes=False) == gaps
    assert lost.gaps_before(0, len(lost), 100, notes=True) == []
    counts = [lost.count_gaps_before(0, len(lost), notes=notes) for notes in (None, False, True)]
    assert counts == [len(gaps), len(gaps), 0]
