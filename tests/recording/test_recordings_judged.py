"""Outside judges on our own recordings: libipt and perf see the very instructions that the history holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import odograph
from odograph.recorder.record import record
from support.judges import libipt_decode, perf_script

PROGRAMS = {
    "ls": ["/bin/ls", "-l", "/usr"],
    "perl": ["/usr/bin/perl", "-e", "print join(',', map { $_ * 2 } 1 .. 50), qq(\\n)"],
    "sh": ["/bin/sh", "-c", "for i in 1 2 3; do echo $i; done"],
    "xz": ["/usr/bin/xz", "--version"],
}


@pytest.fixture(scope="module", params=PROGRAMS)
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> odograph.Recording:
    command = PROGRAMS[request.param]
    if not shutil.which("qemu-x86_64"):
        pytest.skip("judges of recordings: qemu-user is not installed")
    if not Path(command[0]).exists():
        pytest.skip(f"judges of recordings: {command[0]} is not installed")
    path = tmp_path_factory.mktemp("judged") / "recording.perf.data"
    assert record(command, path, backend="qemu").status == 0
    opened = odograph.open(path)
    assert all(verdict.ok for verdict in opened.verify())
    return opened


def test_libipt_executes_the_same_addresses(recording: odograph.Recording) -> None:
    image = recording.image()
    sections = [(section.vaddr, image.read(section.vaddr, section.size)) for section in image.sections]
    (stream,) = recording.source.streams
    judgement = libipt_decode(bytes(stream.read()), sections)
    history = recording.history()
    assert judgement.count == len(history)
    assert judgement.hash == history.hash()
    assert np.array_equal(np.array(judgement.ips, dtype=np.uint64), history.ips())


def test_perf_executes_the_same_addresses(recording: odograph.Recording) -> None:
    ips = recording.history().ips()
    assert np.array_equal(np.array(perf_script(Path(recording.path)), dtype=np.uint64), ips)
