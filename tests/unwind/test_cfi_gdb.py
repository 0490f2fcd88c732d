"""Stacks of C, C++ and Rust programs, judged by gdb at the same stops."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.gdbstacks import Report, compared, sampled, sampled_aarch64
from support.paths import PROGRAMS

FUNCTIONS = {
    "stacks.c": ["handled", "leaf", "realigned", "leave", "qsort", "variadic", "last_call"],
    "stacks.cpp": ["road::Circle::area", "road::Guard::~Guard", "road::written", "_Unwind_RaiseException"],
    "stacks.rs": ["stacks::sorted", "_Unwind_RaiseException", "malloc"],
}
#: Name of a build: source, compiler and options.
BUILDS: dict[str, tuple[str, list[str]]] = {
    **{
        f"{source} {compiler} {' '.join(options)}": (source, [compiler, *options])
        for source, compiler in (("stacks.c", "gcc"), ("stacks.cpp", "g++"))
        for options in (
            ["-O0"],
            ["-O1"],
            ["-O1", "-fno-omit-frame-pointer"],
            ["-O2"],
            ["-O2", "-fno-omit-frame-pointer"],
            ["-O3"],
            ["-O3", "-fno-omit-frame-pointer"],
        )
    },
    "stacks.c static": ("stacks.c", ["gcc", "-O2", "-static"]),
    "stacks.c lazy": ("stacks.c", ["gcc", "-O2", "-no-pie", "-fcf-protection=full", "-Wl,-z,lazy,-z,ibtplt"]),
    "stacks.c .debug_frame": ("stacks.c", ["gcc", "-O2", "-fno-asynchronous-unwind-tables"]),
    "stacks.c native": ("stacks.c", ["gcc", "-O3", "-mavx2", "-mno-red-zone"]),
    "stacks.cpp sections": ("stacks.cpp", ["g++", "-O2", "-ffunction-sections", "-Wl,--gc-sections"]),
    "stacks.rs -O0": ("stacks.rs", ["rustc", "-Copt-level=0"]),
    "stacks.rs -O1": ("stacks.rs", ["rustc", "-Copt-level=1"]),
    "stacks.rs -O2": ("stacks.rs", ["rustc", "-Copt-level=2"]),
    "stacks.rs -O3": ("stacks.rs", ["rustc", "-Copt-level=3"]),
    "stacks.rs -O3 frame pointers": ("stacks.rs", ["rustc", "-Copt-level=3", "-Cforce-frame-pointers"]),
    "stacks.c clang": ("stacks.c", ["clang", "-O2"]),
    "stacks.cpp clang": ("stacks.cpp", ["clang++", "-O2", "-fno-omit-frame-pointer"]),
}
#: Every test run looks at these, and at few points.
SAMPLE = ["stacks.c gcc -O2", "stacks.cpp g++ -O3 -fno-omit-frame-pointer", "stacks.rs -O2"]


def built(name: str, directory: Path) -> Path:
    source, command = BUILDS[name]
    if not shutil.which(command[0]):
        pytest.skip(f"there is no {command[0]} here")
    program = directory / "stacks"
    subprocess.run([*command, "-g", "-o", program, PROGRAMS / source], check=True, capture_output=True)
    return program


def judged(name: str, directory: Path, count: int, seed: int) -> Report:
    if not shutil.which("gdb"):
        pytest.skip("there is no gdb here")
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("the programs are for x86-64 Linux")
    program = built(name, directory)
    return compared(sampled(program, count=count, seed=seed, functions=FUNCTIONS[BUILDS[name][0]]))


@pytest.mark.parametrize("name", SAMPLE)
def test_stacks_are_gdbs(name: str, tmp_path: Path) -> None:
    report = judged(name, tmp_path, 40, 1)
    assert report.total == 40
    assert report.equal >= 39, f"{report}\n{list(report.examples.values())[:1]}"


def test_the_comparison_finds_what_differs(tmp_path: Path) -> None:
    if not shutil.which("gdb") or os.uname().machine != "x86_64":
        pytest.skip("needs gdb on x86-64 Linux")
    program = built("stacks.c gcc -O2", tmp_path)
    rows = sampled(program, count=4, seed=5, functions=[])
    assert compared(rows).equal == 4
    kind, name, pc = rows[1]["frames"][-2]
    rows[1]["frames"][-2] = (kind, name, pc + 1)
    kind, name, pc = rows[2]["frames"][-2]
    rows[2]["frames"][-2] = (kind, f"{name}_other", pc)
    del rows[3]["frames"][-1]
    rows[4]["frames"].append(("normal", "more", 1))
    report = compared(rows)
    assert report.equal == 0
    assert {reason.split(":")[0] for reason in report.differences} == {
        "the address of a caller",
        "the name of a caller",
        "gdb ends before",
        "gdb goes on",
    }


def cross_built(options: list[str], directory: Path) -> Path:
    for tool in ("aarch64-linux-gnu-gcc", "qemu-aarch64", "gdb-multiarch"):
        if not shutil.which(tool):
            pytest.skip(f"there is no {tool} here")
    program = directory / "stacks"
    source = PROGRAMS / "stacks.c"
    command = ["aarch64-linux-gnu-gcc", "-g", "-static", "-no-pie", *options, "-o", program, source]
    subprocess.run(command, check=True)
    return program


#: Without vector registers of other sizes than gdb 13 knows in signal frames, and without signed pointers,
#: which it cannot read without the emulator's help.
PLAIN_AARCH64 = "cortex-a57"
SIGNING_AARCH64 = "max,sve=off"


@pytest.mark.parametrize(
    "options",
    [
        ["-O2"],
        pytest.param(["-O0"], marks=pytest.mark.acceptance),
        pytest.param(["-O1"], marks=pytest.mark.acceptance),
        pytest.param(["-O3", "-fomit-frame-pointer"], marks=pytest.mark.acceptance),
    ],
    ids=" ".join,
)
def test_stacks_of_aarch64_are_gdbs(options: list[str], tmp_path: Path) -> None:
    program = cross_built(options, tmp_path)
    functions = FUNCTIONS["stacks.c"]
    rows = sampled_aarch64(program, processor=PLAIN_AARCH64, count=30, seed=2, functions=functions)
    report = compared(rows, "aarch64")
    assert report.total == 30
    assert report.equal >= 29, f"{report}\n{list(report.examples.values())[:1]}"


def test_signed_return_addresses_are_understood(tmp_path: Path) -> None:
    program = cross_built(["-O2", "-mbranch-protection=standard"], tmp_path)
    functions = FUNCTIONS["stacks.c"]
    rows = sampled_aarch64(program, processor=PLAIN_AARCH64, count=30, seed=2, functions=functions)
    assert compared(rows, "aarch64").equal >= 29
    # The same stops on a processor that signs them; only gdb's frames are those of the other run.
    signed = sampled_aarch64(program, processor=SIGNING_AARCH64, count=30, seed=2, functions=functions)
    assert any(
        len(row["frames"]) < len(other["frames"])
        for row, other in zip(signed, rows, strict=True)
        if "frames" in row
    )
    for row, other in zip(signed[1:], rows[1:], strict=True):
        assert row["registers"]["pc"] == other["registers"]["pc"]
        row["frames"] = other["frames"]
    assert compared(signed, "aarch64").equal >= 29


@pytest.mark.acceptance
def test_stacks_of_many_builds_are_gdbs(tmp_path: Path) -> None:
    whole = Report()
    for seed, name in enumerate(BUILDS):
        directory = tmp_path / str(seed)
        directory.mkdir()
        try:
            report = judged(name, directory, 110, seed)
        except pytest.skip.Exception as skipped:
            print(f"{name}: {skipped}")
            continue
        print(f"{name}: {report}")
        whole.add(report)
    print(f"all: {whole}")
    assert whole.total >= 2000
    assert whole.equal >= 0.99 * whole.total, str(whole)
