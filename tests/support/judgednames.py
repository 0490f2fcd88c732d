"""Programs whose steps have names, and what gdb and readelf call the places in their files."""

from __future__ import annotations

import bisect
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import odograph
from odograph.history.history import History
from odograph.symbols import Place
from support.paths import PROGRAMS

#: What gdb does, for addresses of one file: the address, where the function begins that has code of its own
#: there, and its name; -1 and "" where it knows none.
_ASK = """
import gdb
for line in open({addresses!r}):
    address = int(line)
    start, name = -1, ""
    block = gdb.block_for_pc(address)
    while block is not None and not block.is_global and not block.is_static:
        if block.function is not None:
            start, name = block.start, block.function.linkage_name or block.function.name
        block = block.superblock
    if start < 0:
        text = gdb.execute("info symbol " + hex(address), to_string=True)
        found = __import__("re").match(r"(.+?)(?: \\+ (\\d+))? in section ", text)
        if found:
            start, name = address - int(found[2] or 0), found[1]
    print("named", address, start, name)
"""


def asked_gdb(path: str, addresses: list[int], folder: Path) -> dict[int, tuple[int, str]]:
    """(start, name) by address, as ``gdb -batch`` knows them from one file."""
    listed, script = folder / "addresses", folder / "ask.py"
    listed.write_text("".join(f"{address}\n" for address in addresses))
    script.write_text(_ASK.format(addresses=str(listed)))
    run = subprocess.run(
        ["gdb", "-batch", "-nx", "-ex", "set debuginfod enabled off", path, "-ex", f"source {script}"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = {}
    for line in run.stdout.splitlines():
        if line.startswith("named "):
            _, address, start, *name = line.split(" ", 3)
            found[int(address)] = (int(start), name[0] if name else "")
    return found


@dataclass(frozen=True)
class Listed:
    """What readelf lists of a file: entries of call frame information, and the sizes of symbols by start."""

    path: str

    @cached_property
    def frames(self) -> list[tuple[int, int]]:
        """(start, end) of each entry, ascending."""
        text = subprocess.run(
            ["readelf", "--debug-dump=frames", self.path], capture_output=True, text=True, check=False
        ).stdout
        found = re.findall(r" FDE .*pc=([0-9a-f]+)\.\.([0-9a-f]+)", text)
        return sorted((int(start, 16), int(end, 16)) for start, end in found)

    @cached_property
    def sizes(self) -> dict[int, int]:
        """The largest size of the symbols that begin at an address."""
        text = subprocess.run(
            ["readelf", "-sW", self.path], capture_output=True, text=True, check=False
        ).stdout
        found: dict[int, int] = {}
        for start, size in re.findall(r"^ *\d+: ([0-9a-f]+) +(0x[0-9a-f]+|\d+) ", text, re.MULTILINE):
            found[int(start, 16)] = max(found.get(int(start, 16), 0), int(size, 0))
        return found

    def frame(self, address: int) -> tuple[int, int] | None:
        """The entry that covers an address."""
        at = bisect.bisect_right(self.frames, (address, 1 << 64)) - 1
        return self.frames[at] if at >= 0 and address < self.frames[at][1] else None

    def is_stretched(self, start: int, address: int) -> bool:
        """Whether gdb takes an address for a part of a symbol that ends before it.

        It takes the nearest symbol before an address, also if that says where it ends, or has no size and
        another function begins in between.
        """
        size = self.sizes.get(start, 0)
        if size:
            return start + size <= address
        at = bisect.bisect_right(self.frames, (start, 1 << 64))
        return at < len(self.frames) and self.frames[at][0] <= address


@dataclass(frozen=True)
class Step:
    """A step: the file it lies in, its address there, and what we call it."""

    what: str
    path: str
    address: int
    place: Place


def steps_of(path: Path, name: str, chosen: dict[int, list[int]] | None = None) -> Iterator[Step]:
    """Steps of a recording with the names they had; ``chosen`` are steps by thread, None for all."""
    recording = odograph.open(path)
    for thread in recording.threads:
        history = recording.history(thread.tid)
        steps = range(len(history)) if chosen is None else chosen.get(thread.tid, ())
        yield from _of_history(history, steps, f"{name}, thread {thread.tid}")


def _of_history(history: History, steps: object, what: str) -> Iterator[Step]:
    ips = history.ips()
    for step in steps:  # type: ignore[attr-defined]
        symbols = history.symbols_at(step)
        assert symbols is not None
        address = int(ips[step])
        module, place = symbols.module_of(address), symbols.name_of(address)
        assert module is not None, f"{what}, step {step}: {address:#x} lies in no module"
        assert place is not None, f"{what}, step {step}: {address:#x} has no place"
        if module.path is not None:
            yield Step(f"{what}, step {step}", module.path, module.inside(address), place)


def disagreements(steps: list[Step], folder: Path) -> list[str]:
    """Where gdb, or readelf for functions without a name, says something else."""
    said = []
    by_path: dict[str, list[Step]] = {}
    for step in steps:
        by_path.setdefault(step.path, []).append(step)
    for path, those in by_path.items():
        listed = Listed(path)
        judged = asked_gdb(path, sorted({step.address for step in those}), folder)
        for step in those:
            start, name = judged[step.address]
            place = step.place
            if place.known_by == "fde":
                frame = listed.frame(step.address)
                if frame is None or frame[0] != place.start or place.name is not None:
                    said.append(f"{step.what}: {place}, readelf has {frame}")
            if start < 0 or listed.is_stretched(start, step.address):
                # The table of stubs has one entry for all of its stubs, and its head no name.
                if place.known_by == "symbol" and not str(place.name).endswith("@plt"):
                    said.append(f"{step.what}: {place}, gdb knows nothing")
            elif place.start != start:
                said.append(f"{step.what}: {place}, gdb has {name} at {start:#x}")
    return said


def build(folder: Path) -> dict[str, tuple[Path, list[str]]]:
    """Programs by what they show: their path and arguments."""
    if shutil.which("gcc") is None or shutil.which("objcopy") is None:
        return {}

    def compiled(name: str, source: Path, *options: str) -> Path:
        path = folder / name
        subprocess.run(["gcc", "-g", "-O1", *options, str(source), "-o", str(path)], check=True)
        return path

    def tool(*words: object) -> None:
        subprocess.run([str(word) for word in words], check=True)

    made: dict[str, tuple[Path, list[str]]] = {}
    whole = compiled("whole", PROGRAMS / "fib.c")
    made["symbols"] = (whole, ["6"])
    stripped = folder / "stripped"
    tool("strip", "--strip-all", "-o", stripped, whole)
    made["stripped"] = (stripped, ["6"])
    static = folder / "static-symbols-only-by-dwarf"
    tool("objcopy", "--strip-all", "--keep-section=.debug*", whole, static)
    made["dwarf only"] = (static, ["6"])
    family = compiled("family", PROGRAMS / "family.c")
    made["forked and exec'd"] = (family, [str(whole)])
    made["exec'd stripped"] = (family, [str(stripped)])
    no_statics = folder / "family-without-statics"
    tool("objcopy", "--strip-symbol=sum", "--strip-symbol=prepare", "--strip-debug", family, no_statics)
    made["without static symbols"] = (no_statics, [])
    libraries = []
    for number, name in enumerate(("first", "second")):
        source = folder / f"{name}.c"
        source.write_text(
            "__attribute__((noinline)) static int inner(int x) { volatile int y = x + 1; return y; }\n"
            + "int padding(int x) { return inner(x) * 2; }\n" * number
            + f"int {name}(int x) {{ return inner(x) + {number}; }}\n"
        )
        libraries.append(str(compiled(f"lib{name}.so", source, "-shared", "-fPIC")))
    made["reloaded"] = (compiled("reloaded", PROGRAMS / "reloaded.c", "-ldl"), libraries)
    made["static"] = (compiled("static", PROGRAMS / "fib.c", "-static"), ["5"])
    made["signals"] = (compiled("signals", PROGRAMS / "signals.c"), [])
    if shutil.which("xz") is not None:
        made["MiniDebugInfo"] = (mini(folder, whole), ["6"])
    return made


def mini(folder: Path, whole: Path) -> Path:
    """A program whose symbols are in its MiniDebugInfo."""
    symbols, path = folder / "mini.symbols", folder / "mini"
    subprocess.run(["objcopy", "-S", "--keep-section=.symtab", "--strip-debug", whole, symbols], check=True)
    subprocess.run(["objcopy", "--only-keep-debug", "--strip-debug", whole, symbols], check=True)
    subprocess.run(["xz", "--force", symbols], check=True)
    subprocess.run(["strip", "--strip-all", "-o", path, whole], check=True)
    subprocess.run(
        ["objcopy", "--add-section", f".gnu_debugdata={symbols}.xz", path], check=True, capture_output=True
    )
    return path
