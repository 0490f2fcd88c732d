"""Small files that claim much: each is a recording of the corpus with one thing blown up."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from odograph.perfdata.format import FILE_HEADER, RecordType
from odograph.perfdata.writer import PerfDataWriter
from support.container import CODE, FACTS, Container, Part, Section
from support.paths import CORPUS

PSB = bytes.fromhex("0282") * 8 + bytes.fromhex("0223")
MIB = 1 << 20
Maker = Callable[[Path], bytes]
HOSTILE: dict[str, Maker] = {}


def hostile(maker: Maker) -> Maker:
    HOSTILE[maker.__name__] = maker
    return maker


def sound() -> Container:
    return Container.parse((CORPUS / "static.qemu.data").read_bytes())


def pid_of(container: Container) -> int:
    code = next(section for section in container.sections if section.kind == CODE)
    pid: int = struct.unpack_from("<i", code.raw)[0]
    return pid


def zeros(size: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(size // MIB)) + packer.flush()


def entry(pid: int, tsc: int, address: int, data: bytes) -> bytes:
    return struct.pack("<iIQQ", pid, len(data), tsc, address) + data


def stamp(pid: int, tsc: int) -> bytes:
    return struct.pack("<iiQQ", pid, pid, tsc, 1002)


def with_code(raw: Callable[[int], bytes]) -> bytes:
    container = sound()
    container.sections.append(Section(CODE, raw(pid_of(container))))
    return container.pack()


def with_records(record: Callable[[int, int], Part], count: int) -> bytes:
    container = sound()
    pid = pid_of(container)
    container.records += [record(pid, number) for number in range(count)]
    return container.pack()


# The trailer --------------------------------------------------------------------------------------------


@hostile
def a_million_empty_code_entries(_: Path) -> bytes:
    return with_code(lambda pid: entry(pid, 5, 0x400000, b"") * 1_000_000)


@hostile
def a_million_entries_of_a_byte(_: Path) -> bytes:
    return with_code(lambda pid: entry(pid, 5, 0x400000, b"\x90") * 1_000_000)


@hostile
def code_that_changes_all_the_time(_: Path) -> bytes:
    def raw(pid: int) -> bytes:
        return b"".join(entry(pid, n // 2, 0x400000 + n % 2, bytes([n & 255])) for n in range(10_000))

    return with_code(raw)


@hostile
def code_that_changes_in_many_places(_: Path) -> bytes:
    """No trace lies between the changes."""

    def raw(pid: int) -> bytes:
        return b"".join(entry(pid, n, 0x400000 + n % 1000, bytes([n // 1000])) for n in range(20_000))

    return with_code(raw)


@hostile
def a_byte_in_each_of_many_pages(_: Path) -> bytes:
    return with_code(lambda pid: b"".join(entry(pid, 5, n << 12, b"\x90") for n in range(100_000)))


@hostile
def large_sections_of_code(_: Path) -> bytes:
    container = sound()
    container.sections += [Section(CODE, b"", zeros(256 * MIB), 256 * MIB)] * 8
    return container.pack()


@hostile
def large_sections_of_no_kind(_: Path) -> bytes:
    container = sound()
    container.sections += [Section(9, b"", zeros(256 * MIB), 256 * MIB)] * 8
    return container.pack()


@hostile
def many_facts(_: Path) -> bytes:
    container = sound()
    container.sections = [Section(FACTS, b'{"gaps":[' + b"{}," * 3_000_000 + b"{}]}")]
    return container.pack()


@hostile
def deep_facts(_: Path) -> bytes:
    container = sound()
    container.sections = [Section(FACTS, b"[" * 1_000_000)]
    return container.pack()


# The header ---------------------------------------------------------------------------------------------


@hostile
def attributes_that_share_their_ids(_: Path) -> bytes:
    data = (CORPUS / "static.qemu.data").read_bytes()
    fields = list(FILE_HEADER.unpack_from(data))
    body = data[FILE_HEADER.size : fields[5] + fields[6]]
    attribute = data[fields[3] : fields[3] + fields[2] - 16]
    count, at = 8000, FILE_HEADER.size + len(body)
    size = (at + count * fields[2]) & ~7
    fields[3], fields[4] = at, count * fields[2]
    fields[9:13] = [0] * 4
    return FILE_HEADER.pack(*fields) + body + (attribute + struct.pack("<QQ", 0, size)) * count


# Records ------------------------------------------------------------------------------------------------


def compressed(raw: bytes, count: int) -> bytes:
    import zstandard

    packed = zstandard.ZstdCompressor(level=19).compress(raw)
    return with_records(lambda pid, number: Part(RecordType.COMPRESSED, 0, packed), count)


@hostile
def compressed_names(_: Path) -> bytes:
    one = Part(RecordType.COMM, 0, struct.pack("<ii8s", 5, 5, b"name") + stamp(5, 10)).pack()
    return compressed(one * (60 * MIB // len(one)), 1)


@hostile
def compressed_nothing(_: Path) -> bytes:
    return compressed(Part(68, 0, b"").pack() * (4 * MIB), 30)


@hostile
def compressed_zeros(_: Path) -> bytes:
    return compressed(bytes(60 * MIB), 30)


def mmap2(pid: int, tsc: int, address: int, length: int, name: bytes = b"/bin/true\0\0\0\0\0\0\0") -> Part:
    body = struct.pack("<ii3Q24sII", pid, pid, address, length, 0, bytes(24), 5, 2) + name
    return Part(RecordType.MMAP2, 2, body + stamp(pid, tsc))


@hostile
def maps_at_many_times(_: Path) -> bytes:
    return with_records(lambda pid, n: mmap2(pid, 10 + n, 0x10_0000 + n * 0x2000, 0x1000), 2000)


@hostile
def maps_in_many_places(_: Path) -> bytes:
    return with_records(lambda pid, n: mmap2(pid, 10 + n, 0x10_0000 + n * 0x2000, 0x1000), 20_000)


@hostile
def code_that_runs_between_many_maps(directory: Path) -> bytes:
    """Tracing is switched on and off again after each map."""

    def packets(number: int) -> bytes:
        return b"\x19" + (10 + number).to_bytes(7, "little") + bytes.fromhex("d14000100000000000 01")

    container = Container.parse(maps_in_many_places(directory))
    trace = PSB + bytes.fromhex("9901") + b"".join(map(packets, range(20_000)))
    at = next(at for at, record in enumerate(container.records) if record.kind == RecordType.AUXTRACE)
    record = container.records[at]
    container.records[at] = Part(
        record.kind, record.misc, struct.pack("<Q", len(trace)) + record.body[8:], trace
    )
    return container.pack()


@hostile
def maps_over_each_other(_: Path) -> bytes:
    return with_records(lambda pid, n: mmap2(pid, 10 + n, 0x1000_0000 - n * 16, 0x10000), 2000)


@hostile
def maps_of_the_vdso(_: Path) -> bytes:
    return with_records(
        lambda pid, n: mmap2(pid, 10 + n, 0x10_0000 + n * 0x2000, 0x1000, b"[vdso]\0\0"), 5000
    )


@hostile
def kernel_symbols_that_come_and_go(_: Path) -> bytes:
    def record(_: int, number: int) -> Part:
        place = (1 << 63) + number % 1000 * 64
        body = struct.pack("<QIHH8s", place, 64, 1, number // 1000 & 1, b"bpf_x")
        return Part(RecordType.KSYMBOL, 0, body + stamp(-1, 10 + number))

    return with_records(record, 2000)


def with_trace(payload: Callable[[int], bytes]) -> Callable[[int, int], Part]:
    """A buffer for a thread of its own."""

    def record(_: int, number: int) -> Part:
        trace = payload(number)
        body = struct.pack("<QQQIIII", len(trace), 0, 1, 10 + number, 10 + number, 0xFFFFFFFF, 0)
        return Part(RecordType.AUXTRACE, 0, body, trace)

    return record


@hostile
def threads_with_nothing_to_decode(_: Path) -> bytes:
    return with_records(with_trace(lambda number: bytes(8)), 1500)


@hostile
def threads_with_little_to_decode(_: Path) -> bytes:
    return with_records(with_trace(lambda number: PSB + bytes(6)), 1000)


@hostile
def a_line_of_forks(_: Path) -> bytes:
    def record(pid: int, number: int) -> Part:
        if number % 2:
            return with_trace(lambda _: PSB + bytes(6))(pid, 90 + number // 2)
        child, parent = 100 + number // 2, 99 + number // 2 if number else pid
        body = struct.pack("<iiiiQ", child, parent, child, parent, number)
        return Part(RecordType.FORK, 0, body + stamp(child, 1 << 62))

    return with_records(record, 1000)


def on_a_processor(directory: Path, fill: Callable[[PerfDataWriter], None]) -> bytes:
    path = directory / "processor"
    with PerfDataWriter(path, timed=True, per_cpu=True) as writer:
        writer.add_comm(10, 10, "ten")
        fill(writer)
        writer.add_trace(-1, -1, PSB + bytes(6), cpu=0, tsc=100)
    return path.read_bytes()


@hostile
def switches_between_many_threads(directory: Path) -> bytes:
    def fill(writer: PerfDataWriter) -> None:
        for number in range(3000):
            writer.add_switch(0, 10 + number, 10 + number, tsc=100 + number)

    return on_a_processor(directory, fill)


@hostile
def many_children_with_many_maps(directory: Path) -> bytes:
    def fill(writer: PerfDataWriter) -> None:
        for number in range(500):
            writer.add_mmap2(10, 10, 0x100000 + 0x2000 * number, 0x1000, 0, "/bin/true", build_id=None)
        for number in range(500):
            writer.add_fork(11 + number, 10, 11 + number, 10, tsc=50)
            writer.add_switch(0, 11 + number, 11 + number, tsc=100 + number)

    return on_a_processor(directory, fill)


# Packets ------------------------------------------------------------------------------------------------


def raw_trace(packet: str, count: int) -> Maker:
    def maker(_: Path) -> bytes:
        return PSB + bytes.fromhex(packet) * count

    return maker


_ON = "9901 d10010400000000000"
for name, packet, count in (
    ("overflows", "02f3", 300_000),
    ("stops", "0283", 300_000),
    ("execution_modes", "9901 9902", 150_000),
    ("starts_and_ends", "310010 01", 150_000),
    ("places_that_are_no_packets", "ff" + PSB.hex(), 30_000),
    ("synchronisation_points", PSB.hex(), 30_000),
    ("spaces", "024300100000 0000 024300200000 0000", 40_000),
    ("branches_of_nothing", "fe", 300_000),
):
    HOSTILE[name] = raw_trace(packet, count)


# Marks of rounds ----------------------------------------------------------------------------------------

SPIN = 0x401000


def spinning(path: Path, marks: int, steps: int = 1 << 19) -> Path:
    """A jump to itself that is interrupted: few bytes say that it ran ``steps`` times before each."""
    begin = b"\x31" + SPIN.to_bytes(8, "little")[:2]
    mark = b"\x02\xc3\x88" + (steps | int.from_bytes(b"ODO", "little") << 40).to_bytes(8, "little")
    once = mark + b"\x3d" + SPIN.to_bytes(8, "little")[:2] + b"\x01"
    full = b"\xd1" + SPIN.to_bytes(8, "little")
    trace = PSB[:16] + b"\x99\x01" + PSB[16:] + full + once
    trace += (begin + once) * (marks - 1)
    with PerfDataWriter(path) as writer:
        writer.add_comm(7, 7, "spin")
        writer.add_code(7, 0, SPIN, b"\xeb\xfe")
        writer.set_truth(7, marks * steps, 0)
        writer.add_trace(7, 7, trace)
    return path


@hostile
def marks_of_many_rounds(folder: Path) -> bytes:
    return spinning(folder / "spinning", 4000).read_bytes()
