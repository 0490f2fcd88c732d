"""What records do to contexts and images, and when."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from odograph.code.image import Image, SectionCache
from odograph.dropins.pevent import Context, Session, Settings, SidebandRecord, Stream, TracePoint, text
from odograph.errors import ImageError, PtError
from support.sidebandrecords import (
    EXEC,
    KERNEL,
    OUT,
    TID,
    TIME,
    aux,
    comm,
    itrace_start,
    lost,
    mmap,
    mmap2,
    switch,
    switch_cpu_wide,
    task,
    time,
    who,
)

KERNEL_START = 0xFFFFFFFF80000000


class Scene:
    """A session over streams made here, and the list of what it reported."""

    def __init__(
        self, directory: Path, kernel: Image | None = None, cache: SectionCache | None = None
    ) -> None:
        self.directory = directory
        self.said: list[str] = []
        self.session = Session(
            kernel, cache=cache, on_record=self._record, on_error=self._error, on_switch=self._switch
        )

    def _record(self, stream: Stream, record: SidebandRecord) -> None:
        self.said.append(text(record, verbose=False).split()[0].removeprefix("PERF_RECORD_"))

    def _error(self, stream: Stream, offset: int, what: PtError | str, is_warning: bool) -> None:
        said = what if isinstance(what, str) else what.name
        self.said.append(f"{offset:x}: {'warning' if is_warning else 'error'}: {said}")

    def _switch(self, context: Context) -> None:
        self.said.append(f"-> {context.pid:x}")

    def add(self, data: bytes, *, primary: bool = True, **settings: object) -> None:
        path = self.directory / f"{len(list(self.directory.iterdir()))}.sb"
        path.write_bytes(data)
        options = {"sample_type": TIME, "kernel_start": KERNEL_START} | settings
        self.session.add_stream(str(path), 0, None, primary, Settings(**options))  # type: ignore[arg-type]

    def event(self, kind: str, tsc: int, ip: int | None = None, to: int | None = None) -> Image | None:
        return self.session.event(TracePoint(kind, ip, to, tsc))

    def heard(self) -> list[str]:
        said, self.said = self.said, []
        return said


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "code"
    path.write_bytes(bytes(range(64)))
    return str(path)


def byte(image: Image | None, address: int) -> int | None:
    assert image is not None
    try:
        return image.read(address, 1)[0]
    except ImageError:
        return None


def elf_file(path: Path, bits: int, machine: int, content: bytes = b"") -> str:
    path.write_bytes(
        b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9) + struct.pack("<HH", 2, machine) + content
    )
    return str(path)


def test_maps_and_the_first_context(scene: Scene, file: str) -> None:
    scene.add(
        mmap(1, 0x1000, 8, 4, file, time(0))
        + itrace_start(1, time(0))
        + mmap2(1, 0x1004, 8, 0, file, time(5))
    )
    assert scene.session.next_tsc == 0
    image = scene.event("exec_mode", 1, 0x1000)
    assert scene.heard() == ["MMAP", "ITRACE_START", "-> 1"]
    assert [byte(image, a) for a in (0x1000, 0x1007, 0x1008)] == [4, 11, None]
    assert scene.session.next_tsc == 5
    assert scene.event("tick", 4, 0x1000) is None
    again = scene.event("tick", 5, 0x1000)
    assert [byte(again, a) for a in (0x1000, 0x1004, 0x100B)] == [4, 0, 7]
    assert (scene.heard(), scene.session.next_tsc) == (["MMAP2"], None)


def test_streams_are_merged_by_time(scene: Scene, file: str) -> None:
    scene.add(mmap(1, 0x9000, 8, 0, file, time(2)) + itrace_start(3, time(4)) + lost(time(6)), primary=False)
    scene.add(itrace_start(1, time(2)) + comm(1, "x", time(3)) + aux(0, time(5)))
    scene.session.advance(1)
    assert scene.heard() == []
    scene.session.advance(3)
    assert scene.heard() == ["MMAP", "ITRACE_START", "COMM"]
    scene.session.finish()
    # Listing has no effects: nothing is switched, and what was lost is just a record.
    assert scene.heard() == ["ITRACE_START", "AUX", "LOST"]
    assert scene.session.current is None


def test_secondary_streams_map_but_never_switch(scene: Scene, file: str) -> None:
    scene.add(itrace_start(1, who(1, 1, 0)), sample_type=TID | TIME)
    scene.add(
        itrace_start(2, who(2, 2, 1))
        + switch(who(3, 3, 1))
        + switch_cpu_wide(4, who(5, 5, 1), OUT)
        + mmap(1, 0x1000, 8, 0, file, who(1, 1, 1)),
        primary=False,
        sample_type=TID | TIME,
    )
    image = scene.event("enabled", 2, 0x1000)
    assert byte(image, 0x1001) == 1
    assert scene.heard() == [
        "ITRACE_START",
        "-> 1",
        "ITRACE_START",
        "SWITCH.IN",
        "SWITCH_CPU_WIDE.OUT",
        "MMAP",
    ]
    assert not scene.session.pending_switch


def test_fork_copies_and_exec_replaces(scene: Scene, file: str) -> None:
    kernel = Image()
    kernel.add_bytes(b"K", KERNEL_START)
    scene = Scene(scene.directory, kernel)
    scene.add(
        mmap(1, 0x1000, 8, 0, file, time(0))
        + itrace_start(1, time(0))
        + task(7, 2, 1, time(1))
        + task(7, 1, 1, time(1))
        + mmap(1, 0x2000, 8, 0, file, time(2))
        + comm(1, "new name", time(3))
        + comm(1, "new program", time(4), EXEC)
        + mmap(1, 0x3000, 8, 0, file, time(5))
    )
    parent = scene.event("enabled", 3, 0x1000)
    child = scene.session.contexts.get(2).image
    places = (0x1001, 0x2001, 0x3001, KERNEL_START)
    assert [byte(parent, a) for a in places] == [1, 1, None, ord("K")]
    assert [byte(child, a) for a in places] == [1, None, None, ord("K")]
    replaced = scene.event("enabled", 5, 0x3000)
    assert [byte(replaced, a) for a in places] == [None, None, 1, ord("K")]
    assert scene.heard()[-3:] == ["COMM.EXEC", "MMAP", "-> 1"]


def test_an_exec_elsewhere_leaves_the_current_image_alone(scene: Scene, file: str) -> None:
    scene.add(mmap(1, 0x1000, 8, 0, file, time(0)) + itrace_start(1, time(0)))
    scene.add(comm(2, "x", time(1), EXEC) + comm(1, "x", time(1), EXEC), primary=False)
    assert byte(scene.event("enabled", 1, 0x1000), 0x1001) == 1
    assert scene.event("enabled", 2, 0x1000) is None


def test_an_exec_moves_a_switch_that_waits(scene: Scene, file: str) -> None:
    scene.add(
        itrace_start(1, who(1, 1, 0))
        + mmap(2, 0x1000, 8, 0, file, who(2, 2, 0))
        + switch(who(2, 2, 1))
        + comm(2, "x", who(2, 2, 2), EXEC),
        sample_type=TID | TIME,
    )
    scene.event("tick", 1, 0x1000)
    assert scene.session.pending_switch
    scene.event("tick", 2, 0x1000)
    assert byte(scene.event("disabled", 3), 0x1000) is None
    assert scene.session.current is scene.session.contexts.get(2)


@pytest.mark.parametrize(
    ("kind", "ip", "to", "switches"),
    [
        ("enabled", 0x1000, None, True),
        ("disabled", None, None, True),
        ("async_disabled", 0x1000, None, True),
        ("overflow", 0x1000, None, True),
        ("paging", None, None, True),
        ("async_paging", 0x1000, None, True),
        ("stop", None, None, True),
        ("tick", 0x1000, None, False),
        ("tick", None, None, True),
        ("tick", KERNEL_START, None, True),
        ("ptwrite", KERNEL_START - 1, None, False),
        ("cbr", None, None, True),
        ("async_branch", 0x1000, 0x2000, False),
        ("async_branch", 0x1000, KERNEL_START + 5, True),
        ("async_branch", KERNEL_START + 5, 0x1000, True),
        ("async_branch", 0x1000, None, True),
    ],
)
def test_a_prepared_switch_waits_for_the_kernel(
    scene: Scene, kind: str, ip: int | None, to: int | None, switches: bool
) -> None:
    scene.add(itrace_start(1, who(1, 1, 0)) + switch(who(2, 2, 5)), sample_type=TID | TIME)
    scene.event("enabled", 1, 0x1000)
    scene.heard()
    assert (scene.event(kind, 5, ip, to) is not None) == switches
    assert scene.heard() == ["SWITCH.IN", "-> 2"][: 2 if switches else 1]
    assert scene.session.pending_switch != switches


def test_the_last_prepared_switch_counts(scene: Scene) -> None:
    scene.add(
        itrace_start(1, who(1, 1, 0))
        + switch(who(1, 1, 2), OUT)
        + switch(who(3, 3, 3))
        + switch_cpu_wide(2, who(3, 3, 4), OUT)
        + switch_cpu_wide(9, who(2, 2, 4))
        + switch(who(1, 1, 7)),
        sample_type=TID | TIME,
    )
    scene.event("enabled", 1, 0x1000)
    assert scene.event("tick", 3, 0x1000) is None
    assert scene.event("tick", 4, 0x1000) is None
    scene.heard()
    assert scene.event("disabled", 5) is scene.session.contexts.get(2).image
    assert scene.heard() == ["-> 2"]
    # To another process and back: nothing to do.
    scene.add(switch(who(5, 5, 8)) + switch(who(2, 2, 9)), sample_type=TID | TIME)
    scene.event("tick", 8, 0x1000)
    scene.event("tick", 9, 0x1000)
    assert not scene.session.pending_switch
    assert scene.event("disabled", 9) is None


def test_a_switch_needs_to_know_the_process(scene: Scene) -> None:
    scene.add(switch(time(0)) + switch_cpu_wide(7, time(0)))
    assert scene.event("enabled", 1, 0x1000) is None
    scene.add(switch_cpu_wide(7, time(0), OUT))
    assert scene.event("enabled", 1, 0x1000) is not None
    assert scene.heard()[-1] == "-> 7"


def test_mappings_without_a_file_lose_their_section(scene: Scene, file: str) -> None:
    names = ("//anon", "[heap]", "/lib/x (deleted)")
    data = b"".join(mmap(1, 0x1000, 8, 0, name, time(0)) for name in names)
    scene.add(data + mmap(-1, KERNEL_START, 8, 0, "[kernel.kallsyms]_text", time(0), KERNEL))
    scene.event("enabled", 1)
    assert scene.heard() == [
        *("MMAP", "0: warning: image section lost"),
        *("MMAP", "38: warning: image section lost"),
        *("MMAP", "70: warning: image section lost"),
        "MMAP",
    ]


def test_losses_are_warnings(scene: Scene) -> None:
    scene.add(lost(time(0)) + aux(0, time(0)) + aux(1, time(0)))
    scene.event("enabled", 1)
    assert scene.heard() == [
        *("LOST", "0: warning: sideband lost"),
        *("AUX", "AUX.TRUNCATED", "48: warning: trace lost"),
    ]


def test_files_that_cannot_be_mapped(scene: Scene, file: str, tmp_path: Path) -> None:
    scene.add(
        mmap(1, 0x1000, 8, 0, "nowhere", time(0))
        + mmap(1, 0x1000, 8, 64, file, time(0))
        + mmap(1, (1 << 64) - 4, 8, 0, file, time(0))
        + mmap(1, 0x1000, 8, 0, file, time(0))
    )
    scene.event("enabled", 1)
    errors = [said.split(": ", 1)[1] for said in scene.heard() if "error" in said]
    assert errors == ["error: bad_file", "error: invalid", "error: invalid"]
    assert byte(scene.session.contexts.get(1).image, 0x1000) == 0


def test_a_stream_that_makes_no_sense_is_dropped(scene: Scene) -> None:
    scene.add(itrace_start(1, time(0)) + switch(time(1))[:-1] + b"\0\0\0\0\0\0\0\0\0" + lost(time(1)))
    broken = struct.pack("<IHH", 14, 0, 9) + b"\0"
    scene.add(lost(time(2)) + broken + lost(time(2)), primary=False)
    scene.event("enabled", 9)
    assert scene.heard() == [
        "ITRACE_START",
        "-> 1",
        "SWITCH.IN",
        "LOST",
        "0: warning: sideband lost",
        "20: error: nosync",
    ]
    assert scene.session.next_tsc is None


@pytest.mark.parametrize(
    ("bits", "machine", "option"), [(64, 62, "vdso_x64"), (32, 62, "vdso_x32"), (32, 3, "vdso_ia32")]
)
def test_the_vdso_goes_by_the_first_elf_file(
    scene: Scene, tmp_path: Path, bits: int, machine: int, option: str
) -> None:
    text_file = tmp_path / "text"
    text_file.write_bytes(b"no ELF file at all, but long enough")
    program = elf_file(tmp_path / "program", bits, machine)
    other = elf_file(tmp_path / "other", 96 - bits, 3)
    vdso = elf_file(tmp_path / "vdso", bits, machine, b"VDSO")
    scene.add(
        mmap(1, 0x1000, 8, 0, str(text_file), time(0))
        + mmap(1, 0x9000, 24, 0, "[vdso]", time(0))
        + mmap(1, 0x2000, 8, 0, program, time(0))
        + mmap(1, 0x3000, 8, 0, other, time(0))
        + mmap(1, 0x9000, 24, 0, "[vdso]", time(0))
        + task(7, 2, 1, time(0))
        + mmap(2, 0xA000, 24, 0, "[vdso]", time(0)),
        **{option: vdso},
    )
    scene.event("enabled", 1)
    said = scene.heard()
    assert said[:2] == ["MMAP", "MMAP"]
    assert said[2].endswith("error: bad_config")
    assert not any("error" in later for later in said[3:])
    assert scene.session.contexts.get(1).image.read(0x9014, 4) == b"VDSO"
    assert scene.session.contexts.get(2).image.read(0xA014, 4) == b"VDSO"


def test_a_class_without_its_vdso(scene: Scene, tmp_path: Path) -> None:
    program = elf_file(tmp_path / "program", 64, 62)
    scene.add(
        mmap(1, 0x2000, 8, 0, program, time(0)) + mmap(1, 0x9000, 24, 0, "[vdso]", time(0)), vdso_ia32=program
    )
    scene.event("enabled", 1)
    assert scene.heard()[-1].endswith("error: bad_config")


def test_sysroot_and_settings_of_their_own_for_each_stream(scene: Scene, file: str, tmp_path: Path) -> None:
    name = "/" + Path(file).name
    scene.add(mmap(1, 0x1000, 8, 0, name, time(0)), sysroot=str(tmp_path))
    scene.add(mmap(1, 0x2000, 8, 0, file, time(8)), time_shift=0, time_mult=4, time_zero=4)
    assert scene.session.next_tsc == 0
    scene.event("enabled", 1)
    assert byte(scene.session.contexts.get(1).image, 0x1003) == 3
    assert byte(scene.session.contexts.get(1).image, 0x2003) == 3
    assert scene.heard() == ["MMAP", "MMAP"]


def test_kcore_is_in_contexts_that_begin_later(scene: Scene, tmp_path: Path, file: str) -> None:
    core = tmp_path / "kcore"
    header = (
        b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 120, KERNEL_START, 0, 4, 4, 1)
    core.write_bytes(header + load + b"CORE")
    cache = SectionCache()
    scene = Scene(tmp_path, Image(), cache)
    assert scene.session.add_kcore(str(core))
    assert scene.session.add_kcore(str(core), KERNEL_START + 0x100)
    assert not scene.session.add_kcore(file)
    scene.add(itrace_start(1, time(0)))
    image = scene.event("enabled", 1, KERNEL_START)
    assert image is not None
    assert image.read(KERNEL_START, 4) == image.read(KERNEL_START + 0x100, 4) == b"CORE"
    assert {section.isid for section in image.sections} == {1, 2}
