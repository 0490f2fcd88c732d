"""Feeds damaged sideband streams to a session: only records and reported errors may come out.

    python tests/fuzz_pevent.py --seconds 60 [--seed N]

Every mutant follows from (seed, number) alone; --only NUMBER makes one again.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from odograph.dropins.pevent import Session, Settings, SidebandRecord, Stream, TracePoint, prefix, text
from odograph.errors import PtError
from support import sidebandrecords as write

KINDS = ("enabled", "disabled", "async_branch", "paging", "tick", "overflow")


def seeds() -> list[bytes]:
    """Sound streams with every kind of record, by the samples they have."""
    made = []
    for samples in (write.time, lambda tsc: write.who(tsc % 4, 1, tsc), write.everything):
        names = (
            __file__,
            "/dev/null",
            "/dev/zero",
            "[vdso]",
            "[heap]",
            "//anon",
            "/x (deleted)",
            sys.executable,
        )
        stream = b"".join(write.mmap(i % 3, i << 12, 64, i, name, samples(i)) for i, name in enumerate(names))
        stream += write.itrace_start(1, samples(3)) + write.mmap2(1, 0x1000, 64, 0, __file__, samples(4))
        stream += write.task(7, 2, 1, samples(5)) + write.comm(2, "x", samples(6), write.EXEC)
        stream += write.switch(samples(7)) + write.switch(samples(8), write.OUT)
        stream += write.switch_cpu_wide(2, samples(9), write.OUT) + write.switch_cpu_wide(1, samples(9))
        stream += write.lost(samples(9)) + write.aux(1, samples(9)) + write.lost_samples(samples(9))
        stream += (
            write.throttle(5, samples(10)) + write.task(4, 2, 1, samples(11)) + write.record(79, bytes(24))
        )
        made.append(stream)
    return made


def mutant(found: list[bytes], seed: int, number: int) -> tuple[bytes, bytes, Settings]:
    """Two streams, of which one is damaged, and settings that mostly fit."""
    chance = random.Random(seed * 1_000_003 + number)
    at = chance.randrange(len(found))
    data = bytearray(found[at])
    for _ in range(chance.choice((0, 1, 1, 2, 5, 30))):
        place = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[place] = chance.randrange(256)
            case 1:
                data[place : place + 8] = chance.choice((b"\0", b"\xff", b"\x80")) * 8
            case 2:
                del data[place : place + chance.randrange(1, 40)]
            case _:
                data[place:place] = data[chance.randrange(len(data)) :][: chance.randrange(1, 80)]
        if not data:
            break
    fitting = (write.TIME, write.TID | write.TIME, write.EVERYTHING)
    settings = Settings(
        sample_type=fitting[at] if chance.random() < 0.8 else chance.getrandbits(17),
        time_zero=chance.choice((0, 0, 5, 1 << 63)),
        time_shift=chance.choice((0, 0, 31, 65535)),
        time_mult=chance.choice((1, 1, 3, 0)),
        tsc_offset=chance.choice((0, 0, 3, (1 << 64) - 3)),
        kernel_start=chance.choice((0, 1 << 63)),
        sample_configs=chance.choice(({}, {}, {0xEE: write.IDENTIFIER | write.TIME}, {5: 0})),
        sysroot=chance.choice(("", "", "/", "/nowhere")),
        vdso_x64=chance.choice((None, __file__)),
    )
    return bytes(data), chance.choice(found), settings


def examine(directory: Path, damaged: bytes, sound: bytes, settings: Settings, seed: int) -> int:
    """Runs a session over both streams and returns how many records it gave."""
    records = 0

    def note(stream: Stream, record: SidebandRecord) -> None:
        nonlocal records
        records += 1
        for verbose in (False, True):
            line = prefix(stream, record, filename=True, offset=True, time=True)
            assert (line + text(record, verbose=verbose)).count("PERF_RECORD_") >= 1

    def failed(stream: Stream, offset: int, what: PtError | str, is_warning: bool) -> None:
        assert isinstance(what, str) == is_warning
        assert 0 <= offset <= len(damaged) + len(sound)

    chance = random.Random(seed)
    for only_list in (True, False):
        session = Session(on_record=note, on_error=failed)
        for number, data in enumerate((damaged, sound)):
            path = directory / str(number)
            path.write_bytes(data)
            session.add_stream(str(path), 0, None, number == chance.randrange(2), settings)
        while not only_list and (tsc := session.next_tsc) is not None:
            place = chance.choice((None, 0, 1 << 63))
            image = session.event(TracePoint(chance.choice(KINDS), place, place, tsc))
            if image is not None:
                assert session.current is not None
                assert session.current.image is image
                assert len(image.sections) < 100_000
        session.finish()
        assert session.next_tsc is None
    return records


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    found = seeds()
    records = number = 0
    with tempfile.TemporaryDirectory() as directory:
        for number in range(options.only or 0, 1 << 60):
            signal.alarm(20)
            try:
                records += examine(Path(directory), *mutant(found, options.seed, number), number)
            except Exception:
                print(f"--seed {options.seed} --only {number}", file=sys.stderr)
                raise
            signal.alarm(0)
            if options.only is not None or time.monotonic() > end:
                break
    print(f"{number + 1} streams, {records} records")
    return 0


if __name__ == "__main__":
    sys.exit(main())
