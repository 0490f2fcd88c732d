"""What the benchmarks compute with: figures, tables, inputs and repeated traces."""

from __future__ import annotations

import pytest

import inputs
import odograph
import scale
from report import report
from result import Result, mean
from subjects import spans


def measured() -> Result:
    return Result(
        "loop",
        size=2_000_000,
        instructions=30_000_000,
        tnt_bits=10_000_000,
        cpu={"odograph cold": [0.2, 0.1], "odograph warm": [0.05], "libipt block": [1.5, 2.0]},
        wall={"one thread cold": [0.1], "two threads cold": [0.06], "two processes cold": [0.114]},
        peak={"odograph cold": 7_000_000},
        address_rate=4e8,
    )


def test_the_least_of_the_rounds_counts() -> None:
    one = measured()
    assert one.best("odograph cold") == 0.1
    assert one.ratio("libipt block", "odograph cold") == pytest.approx(15)
    assert one.ratio("perf script", "odograph cold") is None


def test_two_threads_are_compared_with_one_and_with_two_processes() -> None:
    one = measured()
    assert one.speedup("cold") == pytest.approx(0.1 / 0.06)
    assert one.share("cold") == pytest.approx(0.95)
    assert one.share("warm") is None


def test_means_are_geometric_and_leave_out_what_is_unknown() -> None:
    assert mean([2.0, None, 8.0]) == pytest.approx(4)
    assert mean([None]) is None


def test_the_report_names_what_was_measured() -> None:
    text = "\n".join(report([measured()]))
    assert (
        "loop          2.0      30 odograph cold         0.100    20.0       300       10.00        7" in text
    )
    assert "libipt insn" not in text.split("Ratios")[0]
    assert "cold / libipt block" in text
    assert "open / perf" not in text


def test_sections_that_touch_are_put_together() -> None:
    assert spans([(8, 4), (0, 8), (20, 0), (16, 2), (9, 1)]) == [(0, 12), (16, 18)]


def test_a_repeated_trace_is_cut_at_psbs() -> None:
    encoder = odograph.PacketEncoder()
    for payload in range(3):
        encoder.add(odograph.Packet("psb")).add(odograph.Packet("psbend"))
        encoder.add(odograph.Packet("cbr", ratio=payload))
    trace = bytes(encoder.data)
    piece = len(trace) // 3
    assert b"".join(scale.repeated(trace, 5 * piece)) == trace[: 2 * piece] * 2 + trace[:piece]
    assert b"".join(scale.repeated(trace, 5 * piece - 1)) == trace[: 2 * piece] * 2
    with pytest.raises(ValueError, match="two PSBs"):
        list(scale.repeated(trace[:piece], 100))


def test_inputs_are_the_same_every_time() -> None:
    assert inputs.c_source(3) == inputs.c_source(3)
    assert 1000 <= len(inputs.text(1000)) < 1200
    assert b"f2(u64 a, int n)" in inputs.c_source(3)
