"""Snapshots of executed programs through files, snapshots and uwx's own names.

Each program is tried as it is, and rewritten for big-endian machines: as a Linux file, as HP-UX's of 64 bits,
and as HP-UX's of 32 bits with all its code moved to where swizzled pointers lead.
"""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from odograph import BytesMemory, LayeredMemory
from odograph.compat import uwx
from odograph.compat.uwx import UWX_BOTTOM, UWX_OK, UWX_REG_BR, UWX_REG_FR, UWX_REG_GR
from odograph.unwind.ia64 import Modules, Snapshot
from odograph.unwind.ia64.elf import ElfFile
from odograph.unwind.ia64.table import block, listings
from support.ia64elf import Code, executable
from support.sharedtraces import no_shared, shared_paths

EVERY = 12
"""One snapshot of so many is looked at."""
TEXT = 0x4000000000000000
SCRATCH_PREDICATES = 0xFFC0
STATUS_FLAGS = sum(0x3F << shift for shift in (13, 26, 39, 52))
KINDS: dict[str, dict[str, Any] | None] = {
    "as it is": None,
    "big-endian": {"big": True},
    "HP-UX, 64 bits": {"big": True, "hpux": True},
    "HP-UX, 32 bits": {"big": True, "hpux": True, "wide": False, "base": 0x80000000},
}
PROGRAMS = shared_paths("ia64/vectors/*.elf") or [
    pytest.param(None, marks=pytest.mark.skip(reason=no_shared("ia64/vectors")))
]


def rewritten(path: Path, **kind: Any) -> bytes:
    """A program for another kind of machine: its functions at the same distance from the text's start."""
    file = ElfFile(path)
    (listing,) = listings(file)
    codes = []
    for number, entry in enumerate(sorted(listing.entries, key=lambda entry: entry.start)):
        name = f"f{number}"
        bundles = (entry.end - entry.start) // 16
        codes.append(Code(name, bundles, block(file, entry, listing.narrow)[8:], at=entry.start - TEXT))
    return executable(codes, **kind).data


def registers(row: dict[str, Any], moved: Callable[[int], int]) -> dict[str, int | tuple[int, int]]:
    """The registers of a snapshot by their names."""
    result: dict[str, int | tuple[int, int]] = {
        name: row[name] for name in ("sp", "bsp", "pfs", "pr", "unat", "lc", "fpsr", "rnat")
    }
    result |= {"ip": moved(row["ip"]), "cfm": row["cfm"] | row["ec"] << 52, "bspstore": row["rbs_end"]}
    result |= {f"gr{number}": moved(value) for number, value in enumerate(row["gr"], 1)}
    result |= {f"br{number}": moved(value) for number, value in enumerate(row["br"])}
    return result | {f"fr{number}": (value[0], value[1]) for number, value in row["fr"].items()}


def stack(packed: tuple[int, str], moved: Callable[[int], int], big: bool) -> BytesMemory:
    """One of the two stacks, in the byte order of the machine."""
    base, text = packed
    data = zlib.decompress(base64.b64decode(text))
    words = (int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8))
    swapped = (moved(word).to_bytes(8, "big" if big else "little") for word in words)
    return BytesMemory(b"".join(swapped), base)


def read_back(snapshot: Snapshot, disp: int) -> int | tuple[int, int] | None:
    """What lies at a spill location; None if it is no place."""
    code = uwx.UWX_GET_DISP_CODE(disp)
    if code == uwx.UWX_DISP_REG:
        regid = uwx.UWX_GET_DISP_REGID(disp)
        if regid >> 8 == 2:
            data = snapshot.copy_in(uwx.UWX_COPYIN_REG, regid, 16)
            assert data is not None
            return int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")
        data = snapshot.copy_in(uwx.UWX_COPYIN_REG, regid, 8)
    elif code in (uwx.UWX_DISP_MSTK, uwx.UWX_DISP_RSTK):
        request = uwx.UWX_COPYIN_MSTACK if code == uwx.UWX_DISP_MSTK else uwx.UWX_COPYIN_RSTACK
        data = snapshot.copy_in(request, uwx.UWX_GET_DISP_OFFSET(disp), 8)
    else:
        assert disp == uwx.UWX_DISP_NONE
        return None
    assert data is not None
    return int.from_bytes(data, "little")


def check(
    env: uwx.uwx_env, snapshot: Snapshot, regid: int, expected: int | tuple[int, int], mask: int
) -> None:
    """The register has this value, and its place too."""
    status, value = uwx.uwx_get_reg(env, regid)
    assert status == UWX_OK
    if isinstance(expected, int):
        assert isinstance(value, int)
        assert (value ^ expected) & mask == 0
    else:
        assert value == expected
    status, disp = uwx.uwx_get_spill_loc(env, regid)
    assert status == UWX_OK
    assert disp is not None
    if regid >> 8 == 2 and uwx.UWX_GET_DISP_CODE(disp) == uwx.UWX_DISP_MSTK:
        at = uwx.UWX_GET_DISP_OFFSET(disp)
        words = [snapshot.copy_in(uwx.UWX_COPYIN_MSTACK, at + half, 8) for half in (0, 8)]
        assert tuple(int.from_bytes(word or b"", "little") for word in words) == value
        return
    found = read_back(snapshot, disp)
    # A floating-point register may hold what an integer register held: its significand.
    if isinstance(found, tuple) and isinstance(value, int):
        found = found[0]
    assert found is None or found == value


def compare(
    env: uwx.uwx_env,
    snapshot: Snapshot,
    frame: dict[str, Any],
    imprecise: set[str],
    moved: Callable[[int], int],
) -> None:
    """The frame that an environment stands at is the one that was executed."""
    everything = (1 << 64) - 1
    for name, regid in [("ip", 0), ("sp", 1), ("bsp", 2), ("cfm", 3)]:
        expected = moved(frame[name]) if name == "ip" else frame[name]
        assert uwx.uwx_get_reg(env, regid) == (UWX_OK, expected)
    specials = [
        ("pr", uwx.UWX_REG_PREDS, ~SCRATCH_PREDICATES),
        ("lc", uwx.UWX_REG_LC, everything),
        ("unat", uwx.UWX_REG_UNAT, everything),
        ("fpsr", uwx.UWX_REG_FPSR, ~STATUS_FLAGS),
    ]
    for name, regid, mask in specials:
        if name not in imprecise:
            check(env, snapshot, regid, frame[name], mask)
    for names, first, make, letter in [
        ("gr", 4, UWX_REG_GR, "r"),
        ("stacked", 32, UWX_REG_GR, "r"),
        ("br", 1, UWX_REG_BR, "b"),
    ]:
        for number, value in enumerate(frame[names], first):
            if f"{letter}{number}" not in imprecise:
                check(env, snapshot, make(number), moved(value), everything)
    for number, value in frame["fr"].items():
        if f"f{number}" not in imprecise:
            check(env, snapshot, UWX_REG_FR(int(number)), (value[0], value[1]), everything)
    for number, nat in enumerate(frame["snat"], 32):
        assert uwx.uwx_get_nat(env, UWX_REG_GR(number)) == (UWX_OK, nat)


def unwind(row: dict[str, Any], modules: Modules, moved: Callable[[int], int]) -> int:
    """Steps to the bottom, comparing each frame; returns how many there were."""
    memory = LayeredMemory(*(stack(row[name], moved, modules.big) for name in ("mstack", "rstack")))
    snapshot = Snapshot(memory, registers(row, moved), modules)

    def copyin(request: int, loc: memoryview, rem: int, len: int, tok: object) -> int:
        data = snapshot.copy_in(request, rem, len)
        if data is None:
            return 0
        loc[:] = data
        return len

    def lookupip(request: int, ip: int, tok: object, uvec: list[Any]) -> int:
        return snapshot.lookup_ip(request, ip, uvec)

    env = uwx.uwx_init()
    assert env is not None
    assert uwx.uwx_set_remote(env, modules.big) == UWX_OK
    assert uwx.uwx_register_callbacks(env, None, copyin, lookupip) == UWX_OK
    assert uwx.uwx_init_context(env, *snapshot.start) == UWX_OK
    for number, frame in enumerate(row["frames"], 1):
        assert uwx.uwx_step(env) == UWX_OK
        compare(env, snapshot, frame, set(row["imprecise"].get(str(number), ())), moved)
    assert uwx.uwx_step(env) == UWX_BOTTOM
    return len(row["frames"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path and path.stem)
def test_callers_are_those_that_called(path: Path, kind: str, tmp_path: Path) -> None:
    changes = KINDS[kind]
    program = path
    if changes is not None:
        program = tmp_path / "program"
        program.write_bytes(rewritten(path, **changes))
    modules = Modules()
    module = modules.add(program)
    size = path.stat().st_size
    distance = module.text - TEXT
    assert bool(distance) == (kind == "HP-UX, 32 bits")

    def moved(word: int) -> int:
        return word + distance if TEXT <= word < TEXT + size else word

    with gzip.open(path.with_suffix(".jsonl.gz"), "rt") as lines:
        frames = sum(
            unwind(json.loads(line), modules, moved) for line in itertools.islice(lines, 0, None, EVERY)
        )
    assert frames >= 15
