"""The TSC of 64 bits in packets of 56: time goes on where they wrap, and threads and memory keep theirs.

Perf takes the upper bits from the reference of the buffer, as we do, and is the judge.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import odograph
from odograph.perfdata.writer import PerfDataWriter
from support.loop import BASE, LOOP, loop_trace, timed

WRAP = 1 << 56
PIDS = (10, 20)
NOPS = LOOP.replace(bytes.fromhex("ffc9"), bytes.fromhex("9090"))


class Turn:
    """``pid`` ran a loop so many times at ``tsc``; ``nops`` says which program it was."""

    def __init__(self, tsc: int, pid: int, rounds: int, nops: bool) -> None:
        self.tsc, self.pid, self.rounds, self.nops = tsc, pid, rounds, nops

    @property
    def ips(self) -> list[int]:
        once = [BASE, BASE + 1, BASE + 2] if self.nops else [BASE, BASE + 2]
        return once * self.rounds + [BASE + 4, BASE + 9]


def record(path: Path, dice: random.Random, start: int) -> list[Turn]:
    """Two processes take turns on a CPU while the TSC wraps; in between new programs lie in their memory."""
    folder = path.parent
    pages = [folder / "loop", folder / "nops"]
    for page, code in zip(pages, (LOOP, NOPS), strict=True):
        page.write_bytes(code.ljust(0x1000, b"\xcc"))
    changed = {pid: dice.randint(0, 20) for pid in PIDS}
    turns: list[Turn] = []
    with PerfDataWriter(path, timed=True, per_cpu=True) as writer:
        for pid in PIDS:
            writer.add_comm(pid, pid, "loop")
            writer.add_mmap2(pid, pid, BASE, 0x1000, 0, str(pages[0]), build_id=None)
        trace, tsc = b"", start
        for nth in range(20):
            tsc += dice.randint(2000, 6000)
            pid = dice.choice(PIDS)
            for other in PIDS:
                if changed[other] == nth:
                    writer.add_mmap2(
                        other, other, BASE, 0x1000, 0, str(pages[1]), build_id=None, tsc=tsc - 900
                    )
            writer.add_switch(0, pid, pid, tsc=tsc - 500)
            turns.append(Turn(tsc, pid, dice.randint(1, 9), changed[pid] <= nth))
            trace += timed(loop_trace(turns[-1].rounds), tsc % WRAP)
        writer.add_trace(-1, -1, trace, cpu=0, tsc=tsc + 5000)
    return turns


def theirs(path: Path) -> dict[int, list[tuple[int, int]]]:
    """Time and address of every step, by thread, as perf has them."""
    command = ["perf", "script", "-i", path, "--itrace=i0ns", "-F", "tid,time,ip", "--ns"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    steps: dict[int, list[tuple[int, int]]] = {pid: [] for pid in PIDS}
    for tid, seconds, ns, ip in re.findall(r"^\s*(\d+)\s+(\d+)\.(\d+):\s+([0-9a-f]+)", out, re.MULTILINE):
        steps[int(tid)].append((int(seconds) * 10**9 + int(ns), int(ip, 16)))
    return steps


@pytest.mark.parametrize("start", [WRAP - 40_000, 5 * WRAP - 30_000, 3 * WRAP + 77, 1000])
def test_threads_and_programs_keep_their_time_where_the_tsc_wraps(tmp_path: Path, start: int) -> None:
    path = tmp_path / "perf.data"
    for seed in range(3):
        turns = record(path, random.Random(seed), start)
        recording = odograph.open(path)
        conversion = recording.source.time_conversion
        assert conversion is not None
        judged = theirs(path) if shutil.which("perf") else None
        for pid in PIDS:
            own = [turn for turn in turns if turn.pid == pid]
            if not own:
                continue
            history = recording.history(pid)
            assert history.gaps() == []
            assert history.ips().tolist() == [ip for turn in own for ip in turn.ips]
            times = [history.time(step) for step in range(len(history))]
            assert times == [conversion.to_ns(turn.tsc) for turn in own for _ in turn.ips]
            assert judged is None or judged[pid] == list(zip(times, history.ips().tolist(), strict=True))
            first = 0
            for turn in own:
                assert history.at_time(conversion.to_ns(turn.tsc)) == first
                first += len(turn.ips)
            begin, end = conversion.to_ns(own[0].tsc), conversion.to_ns(own[-1].tsc)
            assert len(history.between(begin, end)) == first - len(own[-1].ips)
            assert history.time_bounds(0) == (begin, conversion.to_ns(own[1].tsc) if own[1:] else None)


def test_a_raw_trace_goes_on_where_the_tsc_wraps() -> None:
    image = odograph.Image()
    image.add_bytes(LOOP, BASE)
    tscs = [WRAP - 2000 + 500 * nth for nth in range(9)]
    trace = b"".join(timed(loop_trace(2), tsc % WRAP) for tsc in tscs)
    config = odograph.TraceConfig(nom_freq=10)
    history = odograph.decode(trace, image, config)
    assert [history.time(6 * nth) for nth in range(9)] == tscs
    assert [history.at_time(tsc) for tsc in tscs] == [6 * nth for nth in range(9)]
    # Packets and events one at a time say the same, and go back over the wrap.
    packets = odograph.PacketDecoder(trace, config)
    found = [packets.time for packet in packets if packet.kind == "psbend"]
    assert found == tscs
    packets.sync_backward()
    next(packet for packet in packets if packet.kind == "psbend")
    assert packets.time == tscs[-1]
    with odograph.LiveTrace(image, config) as stream:
        parts = [part for part in (stream.feed(trace), stream.close()) if len(part)]
        assert [time for part in parts for time in map(part.time, range(0, len(part), 6))] == tscs
