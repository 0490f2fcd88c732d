"""Recordings made by real processors: the instructions and packets that libipt found in them.

`pytest` runs a fixed sample; `pytest -m acceptance` runs every recording.
"""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from odograph import History, TraceConfig, _native, decode
from support.sharedtraces import mapped_image, shared_paths

RECORDINGS = ["/".join(path.parts[-3:-1]) for path in shared_paths("traces/set*/*/meta.json")]
SAMPLE = (
    "set01/multi-core-45",
    "set02/static-59234",
    "set04/control_flow-20180515T180451",
    "set06/avscript_32",
    "set06/dyn_test",
    "set07/hello",
)
MAPPED = [name for name in RECORDINGS if shared_paths(f"traces/{name}/image.map")]


@pytest.fixture(scope="module")
def traces(shared: Path) -> Path:
    return shared / "traces"


def reference(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "meta.json").read_text())["reference"]
    return facts


def configurations(folder: Path) -> list[TraceConfig]:
    """What the stream shows by itself, and the row of the processor where it is known."""
    named = json.loads((folder / "meta.json").read_text()).get("cpu_for_libipt")
    if named is None:
        return [TraceConfig(), TraceConfig(cpu=None)]
    family, model, stepping = (int(part) for part in named.split("/"))
    return [TraceConfig(), TraceConfig(cpu=(family, model, stepping))]


def stretches(path: Path) -> list[np.ndarray[Any, np.dtype[np.uint64]]]:
    """The reference's instructions, cut where libipt reported an error."""
    parts: list[list[int]] = [[]]
    with lzma.open(path, "rt") as lines:
        for line in lines:
            if line.startswith("E"):
                parts.append([])
            else:
                parts[-1].append(int(line, 16))
    return [np.array(part, dtype=np.uint64) for part in parts]


def check_clean(history: History, facts: dict[str, Any]) -> None:
    assert len(history) == facts["libipt_instructions"]
    assert history._raw.hash(True) == int(facts["ipseq_fnv1a64"], 16)
    assert {gap.cause for gap in history.gaps()} <= {"overflow"}


def check_damaged(history: History, folder: Path, facts: dict[str, Any], resync: str) -> None:
    """Nothing before the first error differs, and nothing after it is missing.

    Each stretch of the reference must stand in one piece in the history, in order; decoding may resume
    earlier than libipt did, so there may be more in between, behind a gap.
    """
    assert len(history.gaps()) >= 1
    ips = history.ips()
    gaps = {gap.step for gap in history.gaps()}
    parts = stretches(folder / "ref" / "ips.txt.xz")
    first = parts[0]
    assert np.array_equal(ips[: len(first)], first)
    assert len(first) in gaps
    at = len(first)
    for part in parts[1:]:
        start = find_sequence(ips, part, at)
        assert start is not None, f"a stretch of {len(part)} instructions is missing after step {at}"
        assert start == at or any(at <= step <= start for step in gaps)
        at = start + len(part)
    if resync == "psb":
        assert at == len(ips) == facts["libipt_instructions"]


def find_sequence(
    ips: np.ndarray[Any, np.dtype[np.uint64]], part: np.ndarray[Any, np.dtype[np.uint64]], at: int
) -> int | None:
    if len(part) == 0:
        return at
    for start in np.flatnonzero(ips[at:] == part[0]) + at:
        if np.array_equal(ips[start : start + len(part)], part):
            return int(start)
    return None


def check_checkpoints(history: History, folder: Path, facts: dict[str, Any]) -> None:
    """Where the reference keeps only every 100000th address: each is there, gaps or not."""
    assert len(history) >= facts["libipt_instructions"]
    for line in (folder / "ref" / "checkpoints.txt").read_text().splitlines():
        number, ip, *_ = line.split()
        assert history.ips(int(number) - 1, int(number))[0] == int(ip.removeprefix("ip="), 16)


def check_recording(folder: Path) -> None:
    facts = reference(folder)
    for config in configurations(folder):
        image = mapped_image(folder)
        if facts["libipt_errors"] == 0:
            check_clean(decode(folder / "pt.bin", image, config), facts)
        elif (folder / "ref" / "ips.txt.xz").exists():
            for resync in ("ip", "psb"):
                history = decode(folder / "pt.bin", image, config, resync=resync)  # type: ignore[arg-type]
                check_damaged(history, folder, facts, resync)
        else:
            check_checkpoints(decode(folder / "pt.bin", image, config, resync="psb"), folder, facts)


def check_packets(folder: Path) -> None:
    kinds, errors = _native.count_packets((folder / "pt.bin").read_bytes(), TraceConfig().for_native())
    facts = reference(folder)
    counted = {kind: count for kind, count in kinds if count}
    assert counted == {kind: count for kind, count in facts["packet_kinds"].items() if count}
    assert errors == facts["packet_errors"]


@pytest.mark.parametrize("name", [name for name in MAPPED if name in SAMPLE])
def test_a_sample_executes_what_libipt_says(traces: Path, name: str) -> None:
    check_recording(traces / name)


@pytest.mark.parametrize("name", [name for name in RECORDINGS if name in SAMPLE])
def test_a_sample_holds_the_packets_libipt_counts(traces: Path, name: str) -> None:
    check_packets(traces / name)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", MAPPED)
def test_every_recording_executes_what_libipt_says(traces: Path, name: str) -> None:
    check_recording(traces / name)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", RECORDINGS)
def test_every_recording_holds_the_packets_libipt_counts(traces: Path, name: str) -> None:
    check_packets(traces / name)
