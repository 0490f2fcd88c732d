"""The judges judge right: libipt and perf find the known truth, and Odograph finds the same."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

import odograph
from support.judges import libipt, libipt_decode, libipt_harness
from support.sharedtraces import SHARED, no_shared

PSB = b"\x02\x82" * 8
PSBEND = b"\x02\x23"
MODE_64 = b"\x99\x01"
TIP_PGD = b"\x01"


def tip_pge(ip: int) -> bytes:
    return b"\xd1" + ip.to_bytes(8, "little")


#   0x1000: nop
#   0x1001: jne 0x1000     taken, taken, not taken
#   0x1003: ret            tracing ends
TRACE = PSB + PSBEND + MODE_64 + tip_pge(0x1000) + b"\x1c" + TIP_PGD
CODE = bytes.fromhex("90 75fd c3")
STEPS = [0x1000, 0x1001, 0x1000, 0x1001, 0x1000, 0x1001, 0x1003]


def test_libipt_and_odograph_see_the_same_loop() -> None:
    judgement = libipt_decode(TRACE, [(0x1000, CODE)])
    image = odograph.Image()
    image.add_bytes(CODE, 0x1000)
    history = odograph.decode(TRACE, image)
    assert judgement.ips == STEPS
    assert judgement.count == len(STEPS)
    assert history.ips().tolist() == STEPS


def test_libipt_goes_on_behind_a_hole_in_memory() -> None:
    # libipt reads a few packets ahead, so the next PSB must not follow at once.
    hole = PSB + PSBEND + MODE_64 + (tip_pge(0x9000) + TIP_PGD) * 4
    assert libipt_decode(hole + TRACE, [(0x1000, CODE)]).ips == STEPS


@pytest.mark.parametrize("name", ["pt-py-s-cyc", "sql-s-def"])
def test_libipt_finds_the_ground_truth(name: str, tmp_path: Path) -> None:
    bench = SHARED / "bench"
    if not bench.is_dir():
        pytest.skip(no_shared("bench"))
    workload = name.rsplit("-", 2)[0]
    code = tmp_path / "img"
    code.write_bytes(lzma.decompress((bench / f"{workload}.img.xz").read_bytes()))
    trace = tmp_path / "pt"
    trace.write_bytes(lzma.decompress((bench / f"{name}.pt.xz").read_bytes()))
    truth = dict(line.split(None, 1) for line in (bench / f"{name}.gt").read_text().splitlines())
    regions = libipt.read_map(bench / f"{workload}.map", code)
    found = libipt.run(libipt_harness(), "insn", trace, regions)
    assert (found["instructions"], found["hash"]) == (truth["insns"], truth["hash"])
    found = libipt.run(libipt_harness(), "block", trace, regions)
    assert found["instructions"] == truth["insns"]
