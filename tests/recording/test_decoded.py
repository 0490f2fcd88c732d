"""From a written recording to the instructions of its threads."""

from __future__ import annotations

from pathlib import Path

import pytest

import odograph
from odograph.perfdata.writer import PerfDataWriter
from support.loop import BASE, LOOP, loop_trace, timed


def steps(rounds: int) -> list[int]:
    """Addresses of the instructions of LOOP."""
    return [BASE, BASE + 2] * rounds + [BASE + 4, BASE + 9]


def test_code_comes_from_the_recording_alone(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    with PerfDataWriter(path) as writer:
        writer.add_mmap2(7, 7, BASE, 0x1000, 0, "/gone", build_id=None)
        writer.add_trace(7, 7, loop_trace(5))
        writer.add_trace(8, 7, loop_trace(3))
        writer.add_code(7, 0, BASE, LOOP)
    recording = odograph.open(path)
    assert {tid: h.ips().tolist() for tid, h in recording.histories().items()} == {7: steps(5), 8: steps(3)}


def test_two_threads_share_a_cpu(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    with PerfDataWriter(path, timed=True, per_cpu=True) as writer:
        writer.add_switch(0, 7, 7, tsc=100)
        writer.add_trace(-1, -1, timed(loop_trace(2), 200), cpu=0, tsc=300)
        writer.add_switch(0, 9, 9, tsc=1000, previous=(7, 7))
        writer.add_trace(-1, -1, timed(loop_trace(4), 1200), cpu=0, tsc=1300)
        for pid in (7, 9):
            writer.add_code(pid, 0, BASE, LOOP)
    recording = odograph.open(path)
    assert {tid: h.ips().tolist() for tid, h in recording.histories().items()} == {7: steps(2), 9: steps(4)}


def test_code_that_changes(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    changed = LOOP.replace(bytes.fromhex("ffc9"), bytes.fromhex("9090"))
    with PerfDataWriter(path, timed=True) as writer:
        writer.add_code(7, 0, BASE, LOOP)
        writer.add_code(7, 1000, BASE, changed)
        writer.add_trace(7, 7, timed(loop_trace(2), 200), tsc=300)
        writer.add_trace(7, 7, timed(loop_trace(2), 1200), tsc=1300)
    history = odograph.open(path).history()
    nops = [BASE, BASE + 1, BASE + 2] * 2 + [BASE + 4, BASE + 9]
    assert history.ips().tolist() == steps(2) + nops


def test_memory_from_a_callback_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    with PerfDataWriter(path) as writer:
        writer.add_trace(7, 7, loop_trace(5))
    image = odograph.Image()
    asked = []

    def read_memory(address: int, size: int, asid: odograph.Asid) -> bytes:
        asked.append(address)
        return LOOP[address - BASE :][:size] if BASE <= address < BASE + len(LOOP) else b""

    image.set_callback(read_memory)
    assert odograph.open(path, image=image).history().ips().tolist() == steps(5)
    assert asked
    assert odograph.open(path).history().ips().tolist() == []


def test_an_exception_of_the_users_callback_comes_out(tmp_path: Path) -> None:
    path = tmp_path / "perf.data"
    with PerfDataWriter(path) as writer:
        writer.add_trace(7, 7, loop_trace(5))
    image = odograph.Image()
    error = KeyError("mine")

    def read_memory(address: int, size: int, asid: odograph.Asid) -> bytes:
        raise error

    image.set_callback(read_memory)
    with pytest.raises(KeyError) as caught:
        odograph.open(path, image=image).history()
    assert caught.value is error
