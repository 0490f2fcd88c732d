"""Opens damaged recordings: nothing but OdographError may come out, and nothing may hang or fill memory.

    python tests/fuzz_perfdata.py --seconds 600 [--seed N] [--keep DIR]

Every mutant follows from (seed, number) alone, so a finding can be made again with --only NUMBER.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from odograph.errors import OdographError
from odograph.perfdata.format import FILE_HEADER, RecordType
from odograph.perfdata.writer import PerfDataWriter
from odograph.recording.opening import open_recording
from support.pipe import compress, to_pipe
from support.recordings import TRACE, small_recording
from support.sharedtraces import SHARED

#: Numbers at which checks like to fail.
EDGES = (0, 1, 7, 8, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 32, 1 << 62, 1 << 63, (1 << 64) - 1)


def seeds(directory: Path) -> list[bytes]:
    """Sound recordings of every form, small so that mutants are many."""
    small = small_recording(directory / "small").read_bytes()
    timed = small_recording(directory / "timed", timed=True, mtc_period=3).read_bytes()
    path = directory / "cpus"
    with PerfDataWriter(path, timed=True, per_cpu=True, command_line=["x"]) as writer:
        writer.add_comm(10, 10, "ten")
        writer.add_mmap2(10, 10, 0x1000, 0x3000, 0, "/bin/true")
        writer.add_fork(11, 10, 11, 10, tsc=50)
        writer.add_fork(12, 11, 12, 11, tsc=60)
        for tsc in range(100, 1000, 100):
            writer.add_switch(tsc // 100 % 2, 10 + tsc // 100 % 3, 10 + tsc // 100 % 3, tsc=tsc)
            writer.add_mmap2(10 + tsc // 100 % 3, 10, tsc << 12, 0x2000, 0, "/bin/sh", tsc=tsc)
            writer.add_trace(-1, -1, TRACE, cpu=tsc // 100 % 2, tsc=tsc, truncated=tsc % 300 == 0)
            writer.add_code(11, tsc, tsc << 12, b"\x90" * 9)
    cpus = path.read_bytes()
    found = [small, timed, cpus, to_pipe(small), to_pipe(cpus), _kernel_records(cpus), _sampled(timed)]
    found += [compress(small, 100, True), compress(cpus, 64, False)]
    real = SHARED / "traces/set03/file.perf.data"
    if real.exists():
        data = real.read_bytes()
        # The head holds all kinds of sideband; the trace of the second CPU would only make mutants slow.
        found.append(data[:0x29C0] + data[0x2980:0x29C0])
    return found


def _kernel_records(data: bytes) -> bytes:
    """The recording with kernel symbols, code patches, lost records and old-style maps inserted."""
    stamp = struct.pack("<iiQIIQ", 10, 10, 500, 1, 0, 1002)
    bodies = [
        (RecordType.KSYMBOL, 0, struct.pack("<QIHH8s", 0xFFFFFFFFC0000000, 64, 1, 0, b"bpf_x")),
        (RecordType.KSYMBOL, 0, struct.pack("<QIHH8s", 0xFFFFFFFFC0000000, 64, 1, 1, b"bpf_x")),
        (RecordType.TEXT_POKE, 1, struct.pack("<QHH12s", 0xFFFFFFFF81000000, 5, 5, b"\x90" * 10)),
        (RecordType.LOST, 0, struct.pack("<QQ", 1002, 3)),
        (RecordType.MMAP, 1, struct.pack("<ii3Q24s", -1, 0, 1 << 63, 1 << 20, 9, b"[kernel.kallsyms]_text")),
        (RecordType.SWITCH, 0, b""),
        (RecordType.AUX, 0, struct.pack("<3Q", 24, 24, 1)),
    ]
    extra = b""
    for kind, misc, body in bodies:
        extra += struct.pack("<IHH", kind, misc, 8 + len(body) + len(stamp)) + body + stamp
    return _with_records(data, extra)


def _sampled(data: bytes, traces: Sequence[bytes] = (TRACE,)) -> bytes:
    """The recording with trace inside samples, which is filled up to eight bytes."""
    fields = FILE_HEADER.unpack_from(data)
    changed = bytearray(data)
    for at in range(fields[3], fields[3] + fields[4], fields[2]):
        (sample_type,) = struct.unpack_from("<Q", changed, at + 24)
        struct.pack_into("<Q", changed, at + 24, sample_type | 0x100000 | 0x400 | 0x20)
    records = b""
    for moment, trace in enumerate(traces, 77):
        trace += bytes(-len(trace) % 8)
        body = struct.pack("<QQiiQ", 1001, 0x1000, 42, 42, moment) + struct.pack("<Q2Q", 2, 5, 6)
        body += struct.pack("<I60s", 60, b"raw") + struct.pack("<Q", len(trace)) + trace
        records += struct.pack("<IHH", RecordType.SAMPLE, 2, 8 + len(body)) + body
    return _with_records(bytes(changed), records)


def _with_records(data: bytes, extra: bytes) -> bytes:
    fields = list(FILE_HEADER.unpack_from(data))
    end = fields[5] + fields[6]
    fields[6] += len(extra)
    fields[9:13] = [0] * 4
    return FILE_HEADER.pack(*fields) + data[FILE_HEADER.size : end] + extra


def mutant(found: list[bytes], seed: int, number: int) -> bytes:
    """The ``number``-th damaged recording."""
    chance = random.Random(seed * 1_000_003 + number)
    data = bytearray(chance.choice(found))
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8, 30))):
        _damage(data, chance, found)
    if chance.random() < 0.3:
        _repair_trailer(data)
    return bytes(data)


def _damage(data: bytearray, chance: random.Random, found: list[bytes]) -> None:
    if not data:
        return
    kind = chance.randrange(9)
    # Headers and record heads decide more than bodies: the first bytes are hit more often.
    at = chance.randrange(min(len(data), 400)) if chance.random() < 0.4 else chance.randrange(len(data))
    if kind == 0:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        data[at] = chance.randrange(256)
    elif kind in (2, 3, 4):
        size = 1 << (kind - 1)
        value = chance.choice((*EDGES, len(data), at, chance.getrandbits(64), -chance.randrange(64)))
        at -= at % size
        data[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
    elif kind == 5:
        del data[at:]
    elif kind == 6:
        del data[at : at + chance.randrange(1, 64)]
    elif kind == 7:
        size = chance.randrange(1, 200)
        start = chance.randrange(len(data))
        data[at:at] = data[start : start + size] * chance.choice((1, 1, 2, 50))
    else:
        other = chance.choice(found)
        start = chance.randrange(len(other))
        data[at:] = other[start:]


def _repair_trailer(data: bytearray) -> None:
    """Make the checksums right again, so that damage gets past them."""
    if len(data) < 48 or data[-8:] != b"ODOGRAPH":
        return
    end = len(data) - 48
    offset, size = struct.unpack_from("<QQ", data, end)
    if offset + size != end:
        struct.pack_into("<Q", data, end, max(0, end - size))
        offset = max(0, end - size)
        struct.pack_into("<Q", data, end + 8, end - offset)
    struct.pack_into("<I", data, end + 16, zlib.crc32(data[offset:end]))
    struct.pack_into("<I", data, end + 28, zlib.crc32(data[end : end + 28]))


def examine(path: Path) -> bool:
    """Open a recording and ask it everything; False if it is none. Only OdographError is fit to come out."""
    try:
        recording = open_recording(path)
        json.dumps(recording.info())
        for thread in recording.threads[:20]:
            recording.image_timeline(thread.pid)
            recording.missing(thread.pid)
            recording.mappings(thread.pid)
            recording.image(thread.tid)
        for stream in recording.streams:
            data = stream.read()
            assert len(data) == stream.size
            assert all(0 <= b.offset <= stream.size for b in stream.breaks)
            assert stream.regions
            assert [r.tsc_start for r in stream.regions] == sorted(r.tsc_start for r in stream.regions)
    except OdographError as error:
        return not str(error)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    end = time.monotonic() + options.seconds
    opened = number = slowest = failures = 0
    with tempfile.TemporaryDirectory() as directory:
        found = seeds(Path(directory))
        for seed in found:
            (Path(directory) / "seed").write_bytes(seed)
            assert examine(Path(directory) / "seed")
        path = Path(directory) / "mutant"
        numbers = range(options.only, options.only + 1) if options.only is not None else range(1 << 60)
        for number in numbers:
            data = mutant(found, options.seed, number)
            path.write_bytes(data)
            signal.alarm(20)
            start = time.monotonic()
            try:
                opened += examine(path)
            except Exception as error:
                failures += 1
                kept = options.keep / f"perfdata-{options.seed}-{number}"
                kept.write_bytes(data)
                print(f"{kept}: {type(error).__name__}: {error}", file=sys.stderr)
                if options.only is not None or failures > 20:
                    raise
            slowest = max(slowest, int(1000 * (time.monotonic() - start)))
            signal.alarm(0)
            if time.monotonic() > end:
                break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{number + 1} files, {opened} opened, {failures} failures, slowest {slowest} ms, peak {peak} MiB")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
