"""Workers that die, and clusters that are not there."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

import odograph
from odograph.cluster import Cluster
from support.clustertraces import FUNCTION, recording

pytest.importorskip("distributed")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pids_of(cluster: Cluster) -> list[int]:
    return sorted(cluster.client.run(os.getpid).values())


@pytest.mark.parametrize("victims", [1, pytest.param(2, marks=pytest.mark.acceptance)])
def test_killed_workers_cost_nothing_but_time(tmp_path: Path, victims: int) -> None:
    path = recording(tmp_path / "perf.data", 400)
    here = odograph.open(path).history()
    told = 0

    def kill(*_: object) -> None:
        nonlocal told
        told += 1
        if told == 20:
            for pid in pids[:victims]:
                os.kill(pid, signal.SIGKILL)

    with Cluster(workers=2, part_size=1, progress=kill) as cluster:
        pids = pids_of(cluster)
        [answer] = cluster.find(path, FUNCTION).answers
        cluster.client.wait_for_workers(2)
        after = pids_of(cluster)
    assert told > 40
    assert answer.steps == len(here)
    assert answer.value.tolist() == here.find(FUNCTION).tolist()
    # Those that were killed have been replaced, and now all are gone.
    assert len(after) == 2
    assert len(set(pids) - set(after)) == victims
    assert not any(is_running(pid) for pid in pids + after)


@pytest.mark.acceptance
def test_a_part_that_kills_every_worker_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odograph.cluster.sender.run_part", die)
    path = recording(tmp_path / "perf.data", 30)
    with Cluster(workers=1, part_size=1) as cluster:
        cluster.client.run_on_scheduler(allow_no_failures)
        with pytest.raises(odograph.ClusterError, match="lost with its workers"):
            cluster.history(path)


def allow_no_failures(dask_scheduler: object) -> None:
    dask_scheduler.allowed_failures = 0  # type: ignore[attr-defined]


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_no_scheduler_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odograph.cluster.connection._TIMEOUT", 1)
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{busy.getsockname()[1]}"
        with pytest.raises(odograph.ClusterError, match="no Dask scheduler"):
            Cluster(address)


def test_an_interrupt_leaves_nothing_on_its_way(tmp_path: Path, cluster: Cluster) -> None:
    path = recording(tmp_path / "perf.data", 400)
    told = 0

    def interrupt(*_: object) -> None:
        nonlocal told
        told += 1
        if told == 10:
            raise KeyboardInterrupt

    cluster.progress = interrupt
    before = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            cluster.history(path)
    finally:
        cluster.progress = None
    assert time.monotonic() - before < 5
    # The cluster goes on working.
    assert len(cluster.history(path)) == len(odograph.open(path).history())


def test_a_signal_while_waiting_ends_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odograph.cluster.sender.run_part", sleep)
    path = recording(tmp_path / "perf.data", 30)
    raised = 0.0

    def interrupt() -> None:
        nonlocal raised
        raised = time.monotonic()
        signal.raise_signal(signal.SIGINT)

    with Cluster(workers=1, part_size=1) as cluster:
        timer = threading.Timer(1.0, interrupt)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            cluster.history(path)
        assert time.monotonic() - raised < 0.5
        timer.join()


def sleep(*_: object) -> None:
    time.sleep(3)


def test_an_external_scheduler(tmp_path: Path, cluster: Cluster) -> None:
    path = recording(tmp_path / "perf.data", 50)
    address = cluster.client.scheduler.address
    assert address.startswith("tcp://127.0.0.1:")
    with Cluster(address, part_size=1) as other:
        assert len(other.history(path)) == len(odograph.open(path).history())
    assert len(pids_of(cluster)) == 2
