"""Generated traces whose executed instructions are known: counts and hashes must agree exactly.

`pytest` runs a fixed sample; `pytest -m acceptance` runs everything.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from odograph import History, PacketDecoder, decode
from support.sharedtraces import Unpacker, bench_image, shared_paths

NAMES = [path.name.removesuffix(".gt") for path in shared_paths("bench/*.gt")]
INDEXED = [path.name.removesuffix(".idx.xz") for path in shared_paths("bench/*.idx.xz")]
SAMPLE = ("gzip-s-def", "py-s-irq", "py-s-mix", "pt-py-s-cyc", "xz-s-norc")
MULTIPLIER = 0x9E3779B97F4A7C15
WORD = (1 << 64) - 1


def workload(name: str) -> str:
    """``py-s-def`` is a trace of ``py``, ``pt-py-s-cyc`` one of ``pt-py``."""
    return name.rsplit("-", 2)[0]


def ground_truth(folder: Path, name: str) -> dict[str, str]:
    lines = (folder / f"{name}.gt").read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines if " " in line)


class Mark(NamedTuple):
    """A PSB: its offset, and the number and hash of the instructions before it."""

    offset: int
    instructions: int
    hash: int


def marks(path: Path) -> list[Mark]:
    return [Mark(*fields) for fields in struct.iter_unpack("<QQQ", path.read_bytes())]


def hash_onto(start: int, ips: object) -> int:
    """Continues the hash of bench/README.md."""
    h = start
    for ip in ips:  # type: ignore[attr-defined]
        h = ((((h << 5) | (h >> 59)) & WORD) ^ int(ip)) * MULTIPLIER & WORD
    return h


@pytest.fixture(scope="module")
def bench(shared: Path) -> Path:
    return shared / "bench"


def check_whole(bench: Path, name: str, unpacked: Unpacker) -> None:
    truth = ground_truth(bench, name)
    path, image = unpacked(bench / f"{name}.pt.xz"), bench_image(bench, workload(name), unpacked)
    for threads in (1, 2, 5):
        history = decode(path, image, threads=threads)
        assert history.gaps() == []
        assert len(history) == int(truth["insns"])
        assert history.hash() == int(truth["hash"], 16)


def check_segments(bench: Path, name: str, unpacked: Unpacker, most: int | None) -> None:
    """Each PSB segment alone, closed by the PSB+ that follows, whose FUP ends it.

    A sample is compared with the hashes of the index; all of them with the whole trace's steps,
    which have the right hash.
    """
    path = unpacked(bench / f"{name}.pt.xz")
    trace = path.read_bytes()
    image = bench_image(bench, workload(name), unpacked)
    all_marks = marks(unpacked(bench / f"{name}.idx.xz"))
    chosen = list(range(len(all_marks) - 1))
    whole = None
    if most is not None:
        chosen = sorted(random.Random(name).sample(chosen, min(most, len(chosen))))
    else:
        whole = decode(path, image)
    for nth in chosen:
        here, after = all_marks[nth], all_marks[nth + 1]
        end = end_of_psb_plus(trace, after.offset)
        segment = decode(trace[here.offset : end], image)
        reached = last_status_step(segment, after.offset - here.offset)
        assert reached == after.instructions - here.instructions, (name, nth, segment.gaps())
        if whole is None:
            assert hash_onto(here.hash, segment.ips(0, reached)) == after.hash, (name, nth)
        else:
            expected = whole.ips(here.instructions, after.instructions)
            assert np.array_equal(segment.ips(0, reached), expected), (name, nth)


def end_of_psb_plus(trace: bytes, offset: int) -> int:
    """Where the PSB+ at this offset ends; the bytes of PSBEND may also stand inside another packet."""
    decoder = PacketDecoder(trace)
    decoder.sync_set(offset)
    for packet in decoder:
        if packet.kind == "psbend":
            assert decoder.offset is not None
            return decoder.offset
    raise AssertionError("the PSB+ does not end")


def last_status_step(segment: History, offset: int) -> int:
    """Instructions before the PSB+ at this offset: the step of its first status event."""
    table = segment.events()
    steps, offsets, status = (table[name] for name in ("step", "offset", "status_update"))
    for step, at, is_status in zip(steps, offsets, status, strict=True):
        if is_status and at == offset:
            return int(step)
    raise AssertionError("the PSB+ at the end shows no event")


@pytest.mark.parametrize("name", [name for name in NAMES if name in SAMPLE])
def test_a_sample_of_the_traces_decodes_to_count_and_hash(bench: Path, name: str, unpacked: Unpacker) -> None:
    check_whole(bench, name, unpacked)


@pytest.mark.parametrize("name", [name for name in INDEXED if name in SAMPLE])
def test_some_segments_alone_give_the_differences_of_the_index(
    bench: Path, name: str, unpacked: Unpacker
) -> None:
    check_segments(bench, name, unpacked, 8)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", NAMES)
def test_every_trace_decodes_to_count_and_hash(bench: Path, name: str, unpacked: Unpacker) -> None:
    check_whole(bench, name, unpacked)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", INDEXED)
def test_every_segment_alone_gives_the_difference_of_the_index(
    bench: Path, name: str, unpacked: Unpacker
) -> None:
    check_segments(bench, name, unpacked, None)
