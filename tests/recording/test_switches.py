"""Whose events, gaps and times they are, where threads take turns on a CPU."""

from __future__ import annotations

from pathlib import Path

import odograph
from odograph.perfdata.writer import PerfDataWriter
from support.loop import BASE, LOOP, loop_trace, timed
from support.recordings import PSB

PSBEND = b"\x02\x23"


def tsc(ticks: int) -> bytes:
    return b"\x19" + ticks.to_bytes(7, "little")


def mnt(payload: int) -> bytes:
    """A maintenance packet: an event with a number, for which no code is needed."""
    return b"\x02\xc3\x88" + payload.to_bytes(8, "little")


def enabled(ip: int) -> bytes:
    return b"\xd1" + ip.to_bytes(8, "little")


def turns(path: Path, trace: bytes, *switches: tuple[int, int]) -> odograph.Recording:
    """A recording of one CPU: ``switches`` are (tsc, thread); a thread has the number of its process."""
    with PerfDataWriter(path, timed=True, per_cpu=True) as writer:
        before = 0
        for ticks, tid in switches:
            writer.add_switch(0, tid, tid, tsc=ticks, previous=(before, before))
            before = tid
        writer.add_trace(-1, -1, trace, cpu=0, tsc=switches[-1][0] + 1000)
    return odograph.open(path)


def payloads(history: odograph.History) -> list[int]:
    events = history.events()
    return events["value"][events["kind"] == "mnt"].tolist()


def test_events_without_any_code_belong_to_one_thread_each(tmp_path: Path) -> None:
    trace = PSB + tsc(150) + PSBEND + mnt(1) + tsc(1100) + mnt(2) + mnt(3) + tsc(2100) + mnt(4)
    recording = turns(tmp_path / "a", trace, (100, 7), (1000, 9), (2000, 7))
    histories = recording.histories()
    assert {tid: payloads(history) for tid, history in histories.items()} == {7: [1, 4], 9: [2, 3]}
    for history in histories.values():
        assert len(history) == 0
        times = history.events()["time"].tolist()
        assert times == sorted(times)


def test_gaps_without_any_code_belong_to_one_thread_each(tmp_path: Path) -> None:
    lost = enabled(BASE) + b"\x06" + b"\x01"  # one branch of code that nobody knows, then disabled
    trace = PSB + tsc(150) + PSBEND + lost + tsc(1100) + lost + lost + tsc(2100) + lost
    recording = turns(tmp_path / "a", trace, (100, 7), (1000, 9), (2000, 7))
    found = {tid: history.gaps() for tid, history in recording.histories().items()}
    assert {tid: [gap.cause for gap in gaps] for tid, gaps in found.items()} == {
        7: ["memory"] * 2,
        9: ["memory"] * 2,
    }
    offsets = sorted(gap.offset for gaps in found.values() for gap in gaps)
    assert len(set(offsets)) == 4
    assert [gap.offset for gap in found[9]] == offsets[1:3]


def test_the_time_of_a_thread_is_not_that_of_its_cpu(tmp_path: Path) -> None:
    trace = PSB + tsc(150) + PSBEND + mnt(1) + tsc(1100) + mnt(2) + tsc(2100) + mnt(3)
    recording = turns(tmp_path / "a", trace, (100, 7), (1000, 9), (2000, 5))
    conversion = recording.source.time_conversion
    assert conversion is not None

    def ticks(tid: int) -> list[int]:
        return [0 if ns is None else conversion.to_tsc(ns) for ns in recording.history(tid).time_range()]

    for tid, expected in ((7, [150, 1000]), (9, [1000, 2000]), (5, [2000, 2100])):
        assert all(abs(had - want) <= 2 for had, want in zip(ticks(tid), expected, strict=True)), tid


def test_steps_and_events_keep_together(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with PerfDataWriter(path, timed=True, per_cpu=True) as writer:
        for number, tid in enumerate((7, 9, 7, 9)):
            begin = 1000 * number
            writer.add_switch(0, tid, tid, tsc=begin + 100)
            writer.add_trace(-1, -1, timed(loop_trace(2 + number), begin + 200), cpu=0, tsc=begin + 300)
        for pid in (7, 9):
            writer.add_code(pid, 0, BASE, LOOP)
    for tid, rounds in ((7, (2, 4)), (9, (3, 5))):
        history = odograph.open(path).history(tid)
        assert len(history) == sum(2 * count + 2 for count in rounds)
        events = history.events()
        happened = ~events["status_update"]
        kinds = events["kind"][happened].tolist()
        ends = [2 * rounds[0] + 2, len(history)]
        assert list(zip(kinds, events["step"][happened].tolist(), strict=True)) == [
            *(("enabled", 0), ("disabled", ends[0])),
            *(("enabled", ends[0]), ("disabled", ends[1])),
        ]
        times = history.instructions()["time"].tolist()
        assert times == sorted(times)
        assert len(set(times)) == 2


KERNEL = 0xFFFFFFFF81000000


def tip(ip: int) -> bytes:
    return b"\xcd" + ip.to_bytes(8, "little")


def user_code(jump: int) -> bytes:
    """A loop of a conditional branch over ``jump`` bytes, then an indirect jump into the kernel."""
    return bytes([0x75, jump]) + bytes(jump) + bytes.fromhex("ffe0")


def test_a_thread_stays_until_the_kernel_is_reached(tmp_path: Path) -> None:
    """Time runs ahead: by its packets, thread 9 is on while 7 is still to be seen in its own code."""
    path = tmp_path / "a"
    with PerfDataWriter(path, timed=True, per_cpu=True, exclude_kernel=False) as writer:
        writer.add_switch(0, 7, 7, tsc=100)
        writer.add_switch(0, 9, 9, tsc=1000, previous=(7, 7))
        for pid, jump in ((7, 2), (9, 5)):
            writer.add_code(pid, 0, BASE, user_code(jump))
            writer.add_code(pid, 0, KERNEL, b"\x90\xff\xe0")
        head = PSB + tsc(200) + bytes.fromhex("9901") + PSBEND
        trace = head + enabled(BASE) + tsc(1100) + b"\x06" + tip(KERNEL) + tip(BASE) + b"\x06" + tip(KERNEL)
        writer.add_trace(-1, -1, trace + b"\x01", cpu=0, tsc=1300)
    histories = odograph.open(path).histories()
    assert all(not history.gaps() for history in histories.values())
    assert histories[7].ips().tolist() == [BASE, BASE + 4]
    assert histories[9].ips().tolist() == [KERNEL, KERNEL + 1, BASE, BASE + 7, KERNEL, KERNEL + 1]


def test_what_disables_tracing_still_runs_in_the_old_thread(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with PerfDataWriter(path, timed=True, per_cpu=True) as writer:
        writer.add_switch(0, 7, 7, tsc=100)
        writer.add_switch(0, 9, 9, tsc=1000, previous=(7, 7))
        for pid, size in ((7, 3), (9, 5)):
            writer.add_code(pid, 0, BASE, b"\x90" * size + b"\x0f\x05")
        trace = PSB + tsc(200) + bytes.fromhex("9901") + PSBEND
        trace += enabled(BASE) + tsc(1001) + b"\x01" + enabled(BASE) + b"\x01"
        writer.add_trace(-1, -1, trace, cpu=0, tsc=1300)
    histories = odograph.open(path).histories()
    assert all(not history.gaps() for history in histories.values())
    for tid, size in ((7, 3), (9, 5)):
        history = histories[tid]
        assert history.ips().tolist() == [*range(BASE, BASE + size + 1)]
        events = history.events()
        assert events["kind"][~events["status_update"]].tolist() == ["enabled", "disabled"]
