"""Any bytes give records or a reported error; tests/fuzz_pevent.py makes as many as time allows."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fuzz_pevent import examine, mutant, seeds
from odograph.dropins.pevent import Settings, Stream, text
from odograph.errors import OdographError, PtError

NUMBERS = st.integers(0, (1 << 64) - 1)
RECORD_STARTS = st.builds(
    lambda kind, misc, size, body: (
        kind.to_bytes(4, "little") + misc.to_bytes(2, "little") + bytes([size, 0]) + body
    ),
    st.integers(0, 20),
    st.sampled_from((0, 1, 2, 0x2000, 0x4000)),
    st.integers(0, 120),
    st.binary(max_size=120),
)


@given(
    st.lists(RECORD_STARTS | st.binary(max_size=50), max_size=6),
    st.builds(
        Settings,
        sample_type=st.integers(0, 1 << 18),
        time_zero=NUMBERS,
        time_shift=st.integers(0, 0xFFFF),
        time_mult=st.integers(0, 0xFFFFFFFF),
        tsc_offset=NUMBERS,
        sample_configs=st.dictionaries(NUMBERS, NUMBERS, max_size=2),
    ),
)
def test_any_bytes_are_records_or_an_error(pieces: list[bytes], settings: Settings) -> None:
    data = b"".join(pieces)
    stream = Stream("sb", data, True, settings)
    end = 0
    problem = None
    while True:
        try:
            record = stream.next()
        except OdographError as error:
            problem = error
            break
        if record is None:
            break
        assert record.raw.offset == end
        assert 0 <= record.tsc < 1 << 64
        end += record.raw.size
        assert text(record, verbose=False).startswith("PERF_RECORD_")
    assert stream.offset == end <= len(data)
    if problem is not None:
        assert problem.code in (PtError.nosync, PtError.bad_config)
        assert problem.offset == end


def test_damaged_streams(tmp_path: Path) -> None:
    found = seeds()
    records = [examine(tmp_path, *mutant(found, 7, number), number) for number in range(150)]
    assert sum(records) > 1500
