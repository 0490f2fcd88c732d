"""Each kind of record in both forms, and how streams end."""

from __future__ import annotations

from pathlib import Path

import pytest

from odograph.dropins.pevent import Settings, SidebandRecord, Stream, prefix, text
from odograph.errors import OdographError, PtError
from support.sidebandrecords import (
    EVERYTHING,
    EXEC,
    IDENTIFIER,
    OUT,
    TID,
    TIME,
    aux,
    comm,
    everything,
    itrace_start,
    lost,
    lost_samples,
    mmap,
    mmap2,
    record,
    switch,
    switch_cpu_wide,
    task,
    throttle,
    time,
    who,
)


def read(data: bytes, **settings: object) -> list[SidebandRecord]:
    stream = Stream("sb", data, True, Settings(**settings))  # type: ignore[arg-type]
    found = []
    while (next_record := stream.next()) is not None:
        found.append(next_record)
    return found


S = everything(0x13)

#: bytes, compact form without samples, verbose form without samples
RECORDS: list[tuple[bytes, str, str]] = [
    (
        mmap(1, 0x1000, 0x20, 0x30, "/bin/a", S),
        "MMAP 1/1, 1000, 20, 30, /bin/a",
        "MMAP|pid: 1|tid: 1|addr: 1000|len: 20|pgoff: 30|filename: /bin/a",
    ),
    (
        mmap(-1, 1 << 63, 0x20, 0, "a name of 31 characters, no pad", S),
        "MMAP ffffffff/ffffffff, 8000000000000000, 20, 0, a name of 31 characters, no pad",
        "MMAP|pid: ffffffff|tid: ffffffff|addr: 8000000000000000|len: 20|pgoff: 0|"
        "filename: a name of 31 characters, no pad",
    ),
    (
        mmap2(1, 0x1000, 0x20, 0x30, "/lib/b.so", S),
        "MMAP2 1/2, 1000, 20, 30, 8, 1, abc, 7, 5, 2, /lib/b.so",
        "MMAP2|pid: 1|tid: 2|addr: 1000|len: 20|pgoff: 30|maj: 8|min: 1|ino: abc|ino_generation: 7|"
        "prot: 5|flags: 2|filename: /lib/b.so",
    ),
    (lost(S), "LOST 21, 22", "LOST|id: 21|lost: 22"),
    (comm(0x1A, "sh", S), "COMM 1a/1a, sh", "COMM|pid: 1a|tid: 1a|comm: sh"),
    (comm(1, "sh", S, EXEC), "COMM.EXEC 1/1, sh", "COMM.EXEC|pid: 1|tid: 1|comm: sh"),
    (task(4, 2, 1, S), "EXIT 2/12, 1/11, 41", "EXIT|pid: 2|ppid: 1|tid: 12|ptid: 11|time: 41"),
    (task(7, 2, 1, S), "FORK 2/12, 1/11, 41", "FORK|pid: 2|ppid: 1|tid: 12|ptid: 11|time: 41"),
    (throttle(5, S), "THROTTLE 51, 52, 53", "THROTTLE|time: 51|id: 52|stream_id: 53"),
    (throttle(6, S), "UNTHROTTLE 51, 52, 53", "UNTHROTTLE|time: 51|id: 52|stream_id: 53"),
    (aux(2, S), "AUX 1000, 800, 2", "AUX|aux offset: 1000|aux size: 800|flags: 2"),
    (
        aux(3, S),
        "AUX.TRUNCATED 1000, 800, 3",
        "AUX.TRUNCATED|aux offset: 1000|aux size: 800|flags: 3",
    ),
    (itrace_start(7, S), "ITRACE_START 7/7", "ITRACE_START|pid: 7|tid: 7"),
    (lost_samples(S), "LOST_SAMPLES 61", "LOST_SAMPLES|lost: 61"),
    (switch(S), "SWITCH.IN", "SWITCH.IN"),
    (switch(S, OUT), "SWITCH.OUT", "SWITCH.OUT"),
    (
        switch_cpu_wide(9, S),
        "SWITCH_CPU_WIDE.IN 9/9",
        "SWITCH_CPU_WIDE.IN|prev pid: 9|prev tid: 9",
    ),
    (
        switch_cpu_wide(9, S, OUT),
        "SWITCH_CPU_WIDE.OUT 9/9",
        "SWITCH_CPU_WIDE.OUT|next pid: 9|next tid: 9",
    ),
]


@pytest.mark.parametrize(("data", "compact", "verbose"), RECORDS, ids=[c for _, c, _ in RECORDS])
def test_every_kind_in_both_forms(data: bytes, compact: str, verbose: str) -> None:
    (found,) = read(data, sample_type=EVERYTHING)
    assert text(found, verbose=False) == f"PERF_RECORD_{compact}  {{ 11/12 13 14 cpu-15 16 ee }}"
    name, *fields = verbose.split("|")
    samples = ["pid: 11", "tid: 12", "time: 13", "id: 14", "cpu: 15", "stream id: 16", "identifier: ee"]
    assert text(found, verbose=True).split("\n") == [
        f"PERF_RECORD_{name}",
        *(f"  {line}" for line in (*fields, *samples)),
    ]


def test_other_kinds_are_skipped_by_their_size() -> None:
    found = read(record(0x4F, bytes(21), b"", 3) + switch(time(5)), sample_type=TIME)
    assert [text(r, verbose=False) for r in found] == [
        "PERF_RECORD_UNKNOWN (4f, 3)  { }",
        "PERF_RECORD_SWITCH.IN  { 5 }",
    ]
    assert text(found[0], verbose=True) == "PERF_RECORD_UNKNOWN\n  type: 4f\n  misc: 3"


def test_a_record_without_samples() -> None:
    (found,) = read(switch())
    assert (text(found, verbose=False), text(found, verbose=True)) == (
        "PERF_RECORD_SWITCH.IN  { }",
        "PERF_RECORD_SWITCH.IN",
    )


def test_prefixes() -> None:
    stream = Stream("dir/sb", switch(time(0x10)) + lost(), True, Settings(sample_type=TIME))
    first = stream.next()
    assert first is not None

    def of(found: SidebandRecord, **wanted: bool) -> str:
        return prefix(stream, found, **{"filename": False, "offset": False, "time": False} | wanted)

    assert of(first) == ""
    assert of(first, filename=True) == "dir/sb  "
    assert of(first, offset=True) == "0000000000000000  "
    assert of(first, filename=True, offset=True) == "dir/sb:0000000000000000  "
    assert of(first, time=True) == "0000000000000010  "
    assert of(first, filename=True, offset=True, time=True) == "dir/sb:0000000000000000  0000000000000010  "
    (timeless,) = read(record(77, b"12345678"), sample_type=TIME)
    assert of(timeless, offset=True, time=True) == "0000000000000000  "


def test_the_layout_of_samples_goes_by_identifier() -> None:
    wide, narrow = TID | TIME | IDENTIFIER, TIME | IDENTIFIER
    data = switch(who(1, 2, 3) + time(0xA1)) + switch(time(4) + time(0xA2)) + switch(time(0xA3))
    found = read(data, sample_type=TIME, sample_configs={0xA1: wide, 0xA2: narrow})
    assert [text(r, verbose=False) for r in found] == [
        "PERF_RECORD_SWITCH.IN  { 1/2 3 a1 }",
        "PERF_RECORD_SWITCH.IN  { 4 a2 }",
        "PERF_RECORD_SWITCH.IN  { a3 }",
    ]


@pytest.mark.parametrize(
    ("settings", "ticks"),
    [
        ({}, 1000),
        ({"time_zero": 600}, 400),
        ({"time_mult": 3}, 333),
        ({"time_shift": 4, "time_mult": 3}, 5333),
        ({"time_shift": 1, "time_mult": 7, "time_zero": (1 << 64) - 1}, 286),
        ({"time_zero": 1001}, (1 << 64) - 1),
        ({"tsc_offset": 1}, 999),
        ({"tsc_offset": 1001}, 0),
        ({"tsc_offset": (1 << 64) - 24}, 1024),
        ({"time_zero": 1001, "tsc_offset": (1 << 64) - 24}, (1 << 64) - 1),
    ],
)
def test_time_becomes_tsc(settings: dict[str, int], ticks: int) -> None:
    (found,) = read(switch(time(1000)), sample_type=TIME, **settings)
    assert found.tsc == ticks
    (zero,) = read(switch(time(0)), sample_type=TIME, **settings | {"tsc_offset": 0})
    assert zero.tsc == 0


def test_streams_end_at_a_zero_or_a_cut_record() -> None:
    one = switch(time(1))
    assert len(read(one + record(0, bytes(8)) + one, sample_type=TIME)) == 1
    for kept in range(1, len(one)):
        assert len(read(one + one[:kept], sample_type=TIME)) == 1
    assert read(b"") == []


@pytest.mark.parametrize(
    "data",
    [
        record(14, b"", bytes(4)),
        record(14, b"", bytes(16)),
        record(14),
        record(1, bytes(31)),
        record(1, bytes(32) + b"no end!!", time(1)),
        record(1, bytes(32) + b"end\0" + bytes(12), time(1)),
        record(1, bytes(32) + b"unpadd\0", time(1)),
        record(10, bytes(64), time(1)),
        b"\1\0\0\0\0\0\7\0",
        b"\1\0\0\0\0\0\0\0",
    ],
)
def test_lengths_must_add_up(data: bytes) -> None:
    stream = Stream("sb", switch(time(1)) + data + switch(time(2)), True, Settings(sample_type=TIME))
    stream.next()
    with pytest.raises(OdographError) as caught:
        stream.next()
    assert (caught.value.code, caught.value.offset) == (PtError.nosync, 16)


def test_a_multiplier_of_nothing_is_a_bad_configuration() -> None:
    assert read(switch(time(0)), sample_type=TIME, time_mult=0)[0].tsc == 0
    with pytest.raises(OdographError) as caught:
        read(switch(time(1)), sample_type=TIME, time_mult=0)
    assert caught.value.code == PtError.bad_config


def test_a_part_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sb"
    path.write_bytes(switch(time(1)) + switch(time(2)) + switch(time(3)))
    stream = Stream.open(str(path), 16, 32, False, Settings(sample_type=TIME))
    found = stream.next()
    assert found is not None
    assert (found.tsc, found.raw.offset, stream.next()) == (2, 0, None)
    with pytest.raises(OdographError) as missing:
        Stream.open(str(tmp_path / "none"), 0, None, False, Settings())
    assert missing.value.code == PtError.bad_file
    for first, last in ((0, 49), (49, None), (3, 2)):
        with pytest.raises(OdographError) as outside:
            Stream.open(str(path), first, last, False, Settings())
        assert outside.value.code == PtError.invalid
