"""Changes whole recordings of ours and asks what users ask: each answer is quick and needs little memory.

    python tests/fuzz_recordings.py --seconds 600 [--seed N] [--keep DIR] [--only NUMBER]

Every mutant is asked ``info``, ``steps``, ``functions``, ``verify`` and ``stack``. Each may take 2 s of CPU
and 2 s for each MB of the file, and 200 MB and 20 times the file. Every mutant follows from (seed, number).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from odograph.cli.group import call
from odograph.perfdata.format import RecordType
from support.container import CODE, FACTS, Container, Part, Section
from support.paths import CORPUS
from support.pipe import compress, to_pipe

QUESTIONS = (["info"], ["steps", "--tail", "5"], ["functions"], ["verify"], ["stack"])
#: Numbers at which checks like to fail.
EDGES = (0, 1, 7, 8, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 32, 1 << 62, 1 << 63, (1 << 64) - 1)
#: Packets that few bytes make many of.
PACKETS = tuple(
    bytes.fromhex(text)
    for text in (
        "02f3",  # ovf
        "0283",  # trace stop
        "9901",  # mode.exec
        "9922",  # mode.tsx
        "5903",  # mtc
        "0b",  # cyc
        "0262",  # exstop
        "02430010000000 00",  # pip
        "0212 01000000",  # ptwrite
        "0213 0100",  # cfe
        "02a2 0000000000",  # pwrx
        "01",  # tip.pgd without an address
        "310010",  # tip.pge, 16 bits
        "fe",  # six taken branches
        "0d",  # tip without an address
        "0282" * 8 + "0223",  # psb+
        "ff",  # none
        "00",  # pad
    )
)


def seconds_allowed(size: int) -> float:
    """CPU for one question about a file of so many bytes."""
    return 2 + 2 * size / 1e6


def memory_allowed(size: int) -> float:
    """Memory for one question, in bytes."""
    return 200e6 + 20 * size


def seeds() -> list[bytes]:
    """The recordings of the corpus that are files in file form."""
    names = sorted(path.name for path in CORPUS.glob("*.data") if path.is_file())
    return [(CORPUS / name).read_bytes() for name in names if "pipe" not in name and "compressed" not in name]


def fresh(directory: Path) -> list[bytes]:
    """Recordings made now, by the recorders that work here."""
    from odograph.errors import OdographError
    from odograph.recorder.record import record

    found = []
    for backend in ("qemu", "ptrace"):
        path = directory / "fresh"
        with contextlib.suppress(OdographError):
            record(["/bin/true"], path, backend=backend)
            found.append(path.read_bytes())
    return found


# Changes ------------------------------------------------------------------------------------------------


def _number(chance: random.Random, bits: int) -> int:
    value = chance.choice((*EDGES, chance.getrandbits(64), -chance.randrange(64), chance.randrange(4096)))
    return value & (1 << bits) - 1


def _bytes(data: bytes, chance: random.Random) -> bytes:
    """Bytes with one change."""
    changed = bytearray(data)
    at = chance.randrange(len(changed)) if changed else 0
    match chance.randrange(6):
        case 0 if changed:
            changed[at] ^= 1 << chance.randrange(8)
        case 1 if changed:
            size = chance.choice((1, 2, 4, 8))
            at -= at % size
            changed[at : at + size] = _number(chance, 8 * size).to_bytes(size, "little")
        case 2:
            del changed[at:]
        case 3:
            del changed[at : at + chance.randrange(1, 64)]
        case 4:
            piece = changed[at : at + chance.randrange(1, 200)]
            changed[at:at] = piece * chance.choice((1, 1, 2, 50, 2000))
        case _:
            changed[at:at] = chance.randbytes(chance.randrange(1, 32))
    return bytes(changed)


def _change_record(container: Container, chance: random.Random) -> None:
    records = container.records
    if not records:
        return
    at = chance.randrange(len(records))
    record = records[at]
    match chance.randrange(9):
        case 0:
            del records[at]
        case 1:
            records[at:at] = [record] * chance.choice((1, 2, 100, 3000))
        case 2:
            other = chance.randrange(len(records))
            records[at], records[other] = records[other], record
        case 3:
            kind = chance.choice([*RecordType, chance.randrange(100)])
            records[at] = Part(int(kind), record.misc, record.body, record.payload)
        case 4:
            records[at] = Part(record.kind, _number(chance, 16), record.body, record.payload)
        case 5:
            size = chance.choice((0, 7, 8, 12, 16, 64, 0xFFFF, len(record.body)))
            records[at] = Part(record.kind, record.misc, record.body, record.payload, size)
        case 6:
            records[at:at] = list(_flood(record, chance))
        case _:
            records[at] = Part(record.kind, record.misc, _bytes(record.body, chance), record.payload)


def _flood(record: Part, chance: random.Random) -> list[Part]:
    """Many records that differ in one number, and in their times."""
    body = bytearray(record.body)
    fields = list(range(0, len(body) - 3, 4))
    if not fields:
        return [record] * 100
    counted = chance.sample(fields, min(len(fields), chance.choice((1, 1, 2, 3))))
    step = chance.choice((1, 8, 64, 4096))
    flood = []
    for number in range(chance.choice((10, 300, 3000))):
        for at in counted:
            struct.pack_into("<I", body, at, (struct.unpack_from("<I", body, at)[0] + step) & 0xFFFFFFFF)
        flood.append(Part(record.kind, record.misc, bytes(body), record.payload if number < 300 else b""))
    return flood


def _change_trace(container: Container, chance: random.Random) -> None:
    traces = [at for at, record in enumerate(container.records) if record.kind == RecordType.AUXTRACE]
    if not traces:
        return
    at = chance.choice(traces)
    record = container.records[at]
    payload = bytearray(record.payload)
    where = chance.randrange(len(payload) + 1)
    if chance.random() < 0.4:
        packets = b"".join(chance.choices(PACKETS, k=chance.choice((1, 1, 2, 3))))
        payload[where:where] = packets * chance.choice((1, 10, 1000, 20000))
    else:
        payload = bytearray(_bytes(bytes(payload), chance))
    body = struct.pack("<Q", len(payload)) + record.body[8:]
    container.records[at] = Part(record.kind, record.misc, body, bytes(payload))


def _change_trailer(container: Container, chance: random.Random) -> None:
    sections = container.sections
    match chance.randrange(8):
        case 0:
            count = chance.choice((1, 8, 24))
            kind = chance.choice((CODE, FACTS, 9, chance.randrange(1 << 32)))
            sections += [Section(kind, b"", _zeros(24), 1 << 24)] * count
        case 1 if sections:
            sections.append(chance.choice(sections))
        case 2 if sections:
            section = chance.choice(sections)
            section.size = _number(chance, 64)
        case 3:
            code = next((section for section in sections if section.kind == CODE), None)
            if code is not None and len(code.raw) >= 24:
                pid, size, tsc, address = struct.unpack_from("<iIQQ", code.raw)
                entry = code.raw[24 : 24 + size] if chance.random() < 0.5 else b""
                number = chance.choice((100, 20_000, 200_000))
                step, apart = chance.choice(((0, 0), (1, 0), (0, 4096), (1, 1), (1, 4096)))
                code.raw += b"".join(
                    struct.pack(
                        "<iIQQ", pid, len(entry), tsc + step * index, (address + apart * index) % (1 << 63)
                    )
                    + entry
                    for index in range(number)
                )
        case 4:
            container.version = chance.choice((0, 2, 1 << 31))
        case 5:
            facts = next((section for section in sections if section.kind == FACTS), None)
            if facts is not None:
                with contextlib.suppress(ValueError):
                    document = json.loads(facts.raw)
                    key = chance.choice(list(document) or [""])
                    document[key] = chance.choice((None, [], {}, "", -1, [[]] * 1000, {"1": [1]}, 1 << 70))
                    facts.raw = json.dumps(document).encode()
        case _ if sections:
            section = chance.choice(sections)
            section.raw = _bytes(section.raw, chance)


def _zeros(bits: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 16)) for _ in range(1 << bits - 16)) + packer.flush()


def mutant(found: list[bytes], seed: int, number: int) -> bytes:
    """The ``number``-th changed recording."""
    chance = random.Random(seed * 1_000_003 + number)
    data = chance.choice(found)
    container = Container.parse(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        chance.choice((_change_record, _change_record, _change_trace, _change_trailer))(container, chance)
    data = container.pack()
    if chance.random() < 0.1:
        with contextlib.suppress(struct.error, IndexError, OverflowError):
            data = to_pipe(data) if chance.random() < 0.5 else compress(data, chance.choice((64, 4096)), True)
    if chance.random() < 0.25:
        for _ in range(chance.choice((1, 1, 5))):
            data = _bytes(data, chance)
    return data


# Questions ----------------------------------------------------------------------------------------------


class Asker:
    """Asks about files, each in a process of its own that is forked from one which holds nothing else."""

    def __init__(self) -> None:
        words = [sys.executable, __file__, "--serve"]
        self._server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, path: Path, questions: Sequence[list[str]] = QUESTIONS) -> list[str]:
        """What is wrong with the answers; nothing if all is well."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([str(path), questions]) + "\n")
        self._server.stdin.flush()
        wrong: list[str] = json.loads(self._server.stdout.readline())
        return wrong

    def close(self) -> None:
        """Ends the process."""
        self._server.communicate()


def serve() -> None:
    """Answers an :class:`Asker` on standard input and output."""
    for line in sys.stdin:
        path, questions = json.loads(line)
        print(json.dumps(_ask(Path(path), questions)), flush=True)


def _ask(path: Path, questions: Sequence[list[str]]) -> list[str]:
    size = path.stat().st_size
    allowed = seconds_allowed(size)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(path, questions, writing, allowed)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read().decode()
    _, status, usage = os.wait4(child, 0)
    wrong = [line for line in told.splitlines() if line]
    if os.WIFSIGNALED(status):
        wrong.append(f"killed by {signal.Signals(os.WTERMSIG(status)).name}")
    peak = usage.ru_maxrss * 1024
    if peak > memory_allowed(size):
        wrong.append(f"{peak / 1e6:.0f} MB for {size} bytes, {memory_allowed(size) / 1e6:.0f} MB are allowed")
    return wrong


def _answer(path: Path, questions: Sequence[list[str]], writing: int, allowed: float) -> None:
    """In the child: asks, tells what went wrong, and ends."""
    most = int(len(questions) * allowed) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 2))
    resource.setrlimit(resource.RLIMIT_DATA, (4 << 30, 4 << 30))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = io.StringIO()
    wrong = []
    for words in questions:
        start = time.process_time()
        try:
            status = call([*words, str(path)])
            if status not in (0, 1, 2):
                wrong.append(f"{words[0]}: status {status}")
        except BaseException:
            wrong.append(f"{words[0]}: " + traceback.format_exc().replace("\n", " | "))
        took = time.process_time() - start
        if took > allowed:
            wrong.append(f"{words[0]}: {took:.1f} s of CPU, {allowed:.1f} s are allowed")
    os.write(writing, "\n".join(wrong).encode("utf-8", "replace"))
    os._exit(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    asker = Asker()
    end = time.monotonic() + options.seconds
    failures = number = 0
    found = seeds()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "mutant"
        if options.only is None:
            path.write_bytes(found[0])
            assert asker.ask(path) == []
            fresh_ones = fresh(Path(directory))
        numbers = range(options.only, options.only + 1) if options.only is not None else range(1 << 60)
        for number in numbers:
            # Every fifth is of a recording made now, which differs from run to run.
            now = options.only is None and number % 5 == 4 and fresh_ones
            data = mutant(fresh_ones if now else found, options.seed, number)
            path.write_bytes(data)
            wrong = asker.ask(path)
            if wrong:
                failures += 1
                kept = options.keep / f"recording-{options.seed}-{number}"
                kept.write_bytes(data)
                print(f"{kept}: {'; '.join(wrong)}", file=sys.stderr, flush=True)
            if time.monotonic() > end or failures > 50:
                break
    asker.close()
    print(f"{number + 1} recordings, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
