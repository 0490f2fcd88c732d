"""Questions asked of generated traces: the answers fit the known numbers, on any number of threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_ground_truth import NAMES, ground_truth, workload

from odograph import History, decode
from odograph._native import RawEntries
from support.sharedtraces import Unpacker, bench_image

SAMPLE = ("gzip-s-def", "perl-s-def", "py-s-irq", "py-s-mix")


def answers(history: History) -> dict[str, Any]:
    """Everything that is small enough to compare."""
    coverage = history.coverage()
    tables = {
        "counts": history.counts(),
        "blocks": coverage.blocks,
        "edges": coverage.edges,
        "calls": history.calls(),
        "pairs": history.pairs(),
        "functions": history.functions(),
    }
    columns = {
        f"{what} {name}": np.ma.filled(table[name], -1)
        for what, table in tables.items()
        for name in table.columns
    }
    hot = int(tables["counts"]["ip"][np.argmax(tables["counts"]["count"])])
    return {**columns, "find": history.find(hot), "find first": history.find(hot, limit=10)}


def check(bench: Path, name: str, unpacked: Unpacker) -> None:
    instructions = int(ground_truth(bench, name)["insns"])
    path, image = unpacked(bench / f"{name}.pt.xz"), bench_image(bench, workload(name), unpacked)
    first: dict[str, Any] = {}
    for threads in (1, 2, 5):
        history = decode(path, image, threads=threads)
        found = answers(history)
        first = first or found
        assert found.keys() == first.keys()
        for what, column in found.items():
            assert np.array_equal(column, first[what]), (name, threads, what)
    assert first["counts count"].sum() == instructions
    assert (first["blocks count"] * first["blocks ninsn"]).sum() == instructions
    assert first["calls own"].sum() == first["functions own"].sum() == instructions
    assert first["functions inclusive"][0] == instructions
    assert first["functions inclusive"][1:].max() < instructions
    assert first["functions calls"].sum() == first["calls calls"].sum() == len(first["pairs call"])
    assert len(first["find"]) == first["counts count"].max()
    assert first["find first"].tolist() == first["find"][:10].tolist()


@pytest.mark.parametrize("name", [name for name in NAMES if name in SAMPLE])
def test_a_sample_of_the_traces(shared: Path, name: str, unpacked: Unpacker) -> None:
    check(shared / "bench", name, unpacked)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", [name for name in NAMES if "-s-" in name])
def test_every_trace(shared: Path, name: str, unpacked: Unpacker) -> None:
    check(shared / "bench", name, unpacked)


def test_interrupts_change_no_edge_and_no_call(shared: Path, unpacked: Unpacker) -> None:
    """Two traces of one program, as far as the shorter goes; one is switched off and on all the time."""
    bench = shared / "bench"
    image = bench_image(bench, "py", unpacked)
    plain, cut = (decode(unpacked(bench / f"py-s-{kind}.pt.xz"), image) for kind in ("def", "irq"))
    length = min(len(plain), len(cut))
    same = plain.ips(0, length) == cut.ips(0, length)
    length = length if same.all() else int(np.argmin(same))
    assert length > 100_000
    # The longer one has calls behind that, and what was called anywhere is a function.
    called = sorted({one for history in (plain, cut) for one in history._stacks._made(((), (), ())).open[1]})
    assert called
    functions = RawEntries([]).with_called(called)
    plain, cut = (History(history._raw, functions=lambda: functions) for history in (plain, cut))
    for question in ("edges", "pairs", "calls"):
        one, other = (getattr(history, question)(0, length) for history in (plain, cut))
        for name in set(one.columns) - {"own_time"}:
            assert np.array_equal(one[name], other[name]), (question, name)
