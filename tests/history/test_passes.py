"""Questions asked of histories on any number of threads: the answers are the same, and Ctrl-C ends them."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from odograph import History, Image, InvalidArgument, TraceConfig, decode

BASE = 0x1000
PSB = b"\x02\x82" * 8 + b"\xdd" + BASE.to_bytes(8, "little") + b"\x02\x23"

# 1000 nop; 1001 jne 1000; 1003 call 1009; 1008 hlt; 1009 ret
CODE = b"\x90" + b"\x75\xfd" + b"\xe8\x01\x00\x00\x00" + b"\xf4" + b"\xc3"
OFF = b"\xc1"


def image() -> Image:
    made = Image()
    made.add_bytes(CODE, BASE)
    return made


def laps(count: int, psb_every: int, seed: int) -> bytes:
    """A loop of random laps, then the call and its return to where tracing goes off, again and again."""
    rng = random.Random(seed)
    trace = bytearray()
    for nth in range(count):
        if nth % psb_every == 0:
            trace += PSB
        else:
            trace += b"\xd1" + BASE.to_bytes(8, "little")
        for _ in range(rng.randrange(4)):
            trace.append((1 << (rng.randrange(1, 6) + 1)) * 2 - 2)
        trace += b"\x04"
        trace += OFF + (BASE + 8).to_bytes(8, "little")
    return bytes(trace)


QUESTIONS: dict[str, Callable[[History], object]] = {
    "ips": lambda history: history.ips().tolist(),
    "find": lambda history: history.find(BASE).tolist(),
    "find some": lambda history: history.find([BASE, BASE + 9]).tolist(),
    "find first": lambda history: history.find((BASE, BASE + 1), limit=1000).tolist(),
    "counts": lambda history: history.counts().to_dict(),
    "blocks": lambda history: history.blocks().to_dict(),
    "events": lambda history: history.events().to_dict(),
    "instructions": lambda history: history.instructions(1000, -1000).to_dict(),
    "coverage": lambda history: history.coverage().blocks.to_dict(),
    "edges": lambda history: history.edges().to_dict(),
    "calls": lambda history: history.calls().to_dict(),
    "pairs": lambda history: history.pairs().to_dict(),
    "functions": lambda history: history.functions(5, -5).to_dict(),
    "a part": lambda history: history.part(100, -100).pairs().to_dict(),
    "hash": lambda history: history.hash(),
}


@pytest.fixture(scope="module")
def histories() -> list[History]:
    """The same trace, large enough for several pieces, decoded on 1, 2 and 5 threads."""
    trace = laps(20_000, 37, 1)
    return [decode(trace, image(), threads=threads) for threads in (1, 2, 5)]


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_answer_does_not_depend_on_the_number_of_threads(histories: list[History], question: str) -> None:
    first, *others = [QUESTIONS[question](history) for history in histories]
    assert first
    assert all(other == first for other in others)


def test_the_answers_are_those_that_the_addresses_give(histories: list[History]) -> None:
    for history in histories:
        ips = history.ips()
        assert (
            history.find([BASE + 9, BASE, 5]).tolist()
            == np.flatnonzero(np.isin(ips, [BASE, BASE + 9])).tolist()
        )
        counts = history.counts()
        counted = dict(zip(counts["ip"].tolist(), counts["count"].tolist(), strict=True))
        assert counted == dict(Counter(ips.tolist()))
        assert counts["ip"].tolist() == sorted(counted)


def test_coverage_is_each_block_once(histories: list[History]) -> None:
    for history in histories:
        blocks = history.blocks()
        rows = Counter(zip(*(blocks[name].tolist() for name in ("ip", "end_ip", "ninsn")), strict=True))
        coverage = history.coverage()
        table = coverage.blocks
        found = zip(*(table[name].tolist() for name in ("ip", "end_ip", "ninsn")), strict=True)
        assert dict(zip(found, table["count"].tolist(), strict=True)) == dict(rows)
        assert {(row["from"], row["to"]) for row in coverage.edges} == {(0x1001, 0x1000), (0x1001, 0x1003)}


def test_calls_end_with_the_return_that_goes_back(histories: list[History]) -> None:
    for history in histories:
        ips = history.ips()
        pairs = history.pairs()
        assert pairs["call"].tolist() == np.flatnonzero(ips == BASE + 3).tolist()
        assert pairs["end"].tolist() == np.flatnonzero(ips == BASE + 9).tolist()
        assert set(pairs["caller"].tolist()) == {BASE + 3}
        assert set(pairs["callee"].tolist()) == {BASE + 9}
        assert set(pairs["depth"].tolist()) == {0}
        outside, called = history.functions()
        number = len(pairs)
        assert (outside["own"], outside["inclusive"]) == (len(history) - number, len(history))
        assert (called["ip"], called["calls"]) == (BASE + 9, number)
        assert (called["own"], called["inclusive"]) == (number, number)


@pytest.mark.parametrize(("start", "stop"), [(0, 50), (37, 38), (1000, 5000), (70_000, None), (10, 10)])
def test_a_part_is_a_history_of_its_own(histories: list[History], start: int, stop: int | None) -> None:
    for history in histories:
        part = history.part(start, stop)
        end = len(history) if stop is None else stop
        assert part.ips().tolist() == history.ips(start, stop).tolist()
        assert len(part) == end - start
        assert part.counts().to_dict() == history.counts(start, stop).to_dict()
        assert part.pairs()["callee"].tolist() == history.pairs(start, stop)["callee"].tolist()
        assert part.find(BASE).tolist() == (history.find(BASE, start, stop) - start).tolist()
        assert part.part(3, 9).ips().tolist() == history.ips(start, stop)[3:9].tolist()
        steps = history.events()["step"]
        inside = (steps >= start) & ((steps < end) | (stop is None))
        assert (part.events()["step"] + start).tolist() == steps[inside].tolist()


def test_parts_share_out_events_and_gaps() -> None:
    trace = (laps(300, 7, 2) + b"\x02\xf3" + PSB + b"\x99") * 3 + PSB
    history = decode(trace, image())
    assert len(history.gaps()) > 3
    cuts = [0, 1, 99, 100, 1000, len(history)]
    parts = [history.part(*cut) for cut in pairwise(cuts)]
    events = [offset for part in parts for offset in part.events()["offset"].tolist()]
    assert events == history.events()["offset"].tolist()
    assert [gap.offset for part in parts for gap in part.gaps()] == [gap.offset for gap in history.gaps()]


def test_between_times_lies_what_ran_then() -> None:
    def tsc(ticks: int) -> bytes:
        return b"\x19" + ticks.to_bytes(7, "little")

    trace = PSB[:16] + tsc(2400) + PSB[16:] + b"\x06" + tsc(4800) + b"\x06\x06" + tsc(7200) + b"\x06"
    history = decode(trace, image(), TraceConfig(nom_freq=24))
    assert [history.time(step) for step in range(len(history))] == [1000] * 2 + [2000] * 4 + [3000] * 4
    part = history.between(2000, 3000)
    assert [step.time for step in part] == [2000] * 4
    assert part.time_range() == (2000, 2000)
    assert part.at_time(2000) == 0
    assert len(history.between(3001, 9999)) == 0
    with pytest.raises(InvalidArgument):
        decode(trace, image()).between(0, 1)


def test_a_limit_gives_the_first_hits(histories: list[History]) -> None:
    for history in histories:
        every = history.find(BASE + 3)
        for limit in (0, 1, 100, len(every), len(every) + 1):
            assert history.find(BASE + 3, limit=limit).tolist() == every[:limit].tolist()


@pytest.mark.parametrize("threads", [1, 2])
def test_control_c_ends_a_question_soon(threads: int) -> None:
    # Timing packets between the bits keep decoding itself from being quick.
    trace = PSB + (b"\xfe\x59\x01" * 4_000_000 + PSB) * 3
    history = decode(trace, image(), threads=threads)
    main = threading.main_thread().ident
    assert main is not None
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        signal.pthread_kill(main, signal.SIGINT)

    def ask() -> None:
        while True:
            history.hash()
            history.counts()

    timer = threading.Timer(0.15, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        ask()
    assert time.monotonic() - sent[0] < 0.5
    timer.join()
