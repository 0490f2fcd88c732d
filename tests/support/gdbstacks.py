"""Compares our stacks with gdb's at many points of a program's run."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from odograph import Image
from odograph.code.memory import BytesMemory, LayeredMemory
from odograph.code.objects import PF_X, read_object
from odograph.frame import Found, Stack
from odograph.symbols import Module, Symbols
from odograph.unwind.cfi import CfiUnwinder
from odograph.unwind.core import whole_vdso

SAMPLER = Path(__file__).with_name("gdbsampler.py")


@dataclass
class Report:
    """How many stacks there were, how many are gdb's, and what differed."""

    total: int = 0
    equal: int = 0
    frames: int = 0
    tail_calls: int = 0
    differences: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, other: Report) -> None:
        self.total += other.total
        self.equal += other.equal
        self.frames += other.frames
        self.tail_calls += other.tail_calls
        self.differences += other.differences
        for reason, example in other.examples.items():
            self.examples.setdefault(reason, example)

    def __str__(self) -> str:
        share = 100 * self.equal / self.total if self.total else 0
        lines = [f"{self.equal} of {self.total} stacks equal ({share:.2f} %), {self.frames} frames"]
        if self.tail_calls:
            lines[0] += f" ({self.tail_calls} of gdb's are tail calls)"
        lines += [f"  {count:5} {reason}" for reason, count in self.differences.most_common()]
        return "\n".join(lines)


def sampled(
    program: Path,
    *,
    count: int,
    seed: int,
    functions: list[str],
    longest: int = 400,
    gdb: str = "gdb",
    **more: Any,
) -> list[Any]:
    """What gdb says at ``count`` points of the program's run; the first row says where files are mapped."""
    output = program.with_suffix(".stacks")
    settings = {
        "output": str(output),
        "count": count,
        "seed": seed,
        "functions": functions,
        "longest": longest,
        "program": str(program),
        **more,
    }
    environment = {**os.environ, "STACKS": json.dumps(settings), "DEBUGINFOD_URLS": ""}
    command = [gdb, "-nx", "-batch", "-x", str(SAMPLER), str(program)]
    done = subprocess.run(
        command, env=environment, cwd=program.parent, capture_output=True, text=True, timeout=900, check=False
    )
    rows = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
    if len(rows) < count // 2:
        raise AssertionError(f"gdb took {len(rows)} samples: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return rows


def of_core(program: Path, core: Path) -> list[Any]:
    """What gdb says of each thread in a core: tid, frames, reason."""
    output = core.with_suffix(".stacks")
    environment = {**os.environ, "STACKS": json.dumps({"output": str(output), "core": str(core)})}
    command = ["gdb", "-nx", "-batch", "-x", str(SAMPLER), str(program)]
    subprocess.run(command, env=environment, capture_output=True, timeout=300, check=True)
    return [json.loads(line) for line in output.read_text().splitlines()]


def sampled_aarch64(
    program: Path, *, processor: str, count: int, seed: int, functions: list[str]
) -> list[Any]:
    """The same for a static AArch64 program, under QEMU, on one of its processors."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mappings = [
        (
            page,
            page + segment.memory_size + 8192,
            "r-xp",
            segment.offset - (segment.address - page),
            str(program),
        )
        for segment in read_object(program, chosen=True).loads
        if segment.flags & PF_X
        for page in [segment.address - segment.address % 4096]
    ]
    # A program that is not position-independent, so that no address depends on the emulator.
    emulator = subprocess.Popen(
        ["qemu-aarch64", "-cpu", processor, "-g", str(port), program], stdout=subprocess.DEVNULL
    )
    try:
        return sampled(
            program,
            count=count,
            seed=seed,
            functions=functions,
            longest=60,
            gdb="gdb-multiarch",
            port=port,
            mappings=mappings,
        )
    finally:
        emulator.kill()
        emulator.wait()


def loaded(mappings: list[Any], vdso: bytes) -> tuple[Symbols, Image]:
    """The modules of a process, and the memory of their files."""
    from odograph.symbols import MemoryModule

    modules: list[Module] = []
    files = Image()
    for start, end, rights, offset, name in mappings:
        if name.startswith("/"):
            modules.append(Module(os.path.basename(name), start, end, offset, name))
            if "w" not in rights:
                files.add_file(name, offset, end - start, start)
        elif name == "[vdso]" and vdso:
            modules.append(MemoryModule(name, start, start + len(vdso), image=vdso))
    return Symbols(modules), files


def own_vdso() -> bytes:
    """The vdso of this process, which is every process's."""
    from odograph.code.memory import ProcessMemory

    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("[vdso]"):
            with ProcessMemory(os.getpid()) as memory:
                return whole_vdso(memory, int(line.split("-")[0], 16))
    return b""


def compared(rows: list[Any], machine: str = "x86-64") -> Report:
    """Unwinds each sample, and compares frames, addresses and names."""
    symbols, files = loaded(rows[0]["mappings"], own_vdso())
    unwinder = CfiUnwinder(symbols, machine)
    report = Report()
    for row in rows[1:]:
        pieces = [
            BytesMemory(zlib.decompress(base64.b64decode(data)), start) for start, data in row["memory"]
        ]
        stack = unwinder.stack(row["registers"], LayeredMemory(*pieces, files.address_space()))
        report.total += 1
        report.frames += len(row["frames"])
        report.tail_calls += sum(kind == "tail call" for kind, *_ in row["frames"])
        reason = difference(row, stack, symbols)
        if reason is None:
            report.equal += 1
            continue
        report.differences[reason] += 1
        gdb = "\n".join(f"{kind:9} {pc:#018x} {name}" for kind, name, pc in row["frames"])
        report.examples.setdefault(reason, f"{gdb}\n--- {row['reason']}\n{stack}")
    return report


def difference(row: Any, stack: Stack, symbols: Symbols) -> str | None:
    """What differs first; None if nothing does.

    Calls that jumped, which both tell from debug information, are frames like others.
    """
    theirs = row["frames"]
    ours = list(_flat(stack, symbols))
    for number, ((kind, name, pc), (our_kind, names, address)) in enumerate(zip(theirs, ours, strict=False)):
        where = "the first frame" if number == 0 else "a caller"
        if pc != address:
            return f"the address of {where}"
        if kind != our_kind:
            return f"the kind of {where}: {kind}, not {our_kind}"
        if kind != "signal" and not _same(name, names):
            return f"the name of {where}: {name!r}, not {sorted(map(str, names))!r}"
    if len(theirs) > len(ours):
        return f"gdb goes on: {stack.end}"
    if len(ours) > len(theirs):
        return f"gdb ends before: {row['reason']}"
    return None


def _flat(stack: Stack, symbols: Symbols) -> Iterator[tuple[str, set[str | None], int]]:
    """Kind, possible names and address of each frame, inlined functions as frames of their own."""
    frames = list(stack)
    for frame, outer in zip(frames, [*frames[1:], None], strict=True):
        if frame.found is Found.TAIL_CALL and frame.inlined:
            # gdb shows one frame here, with the name of what was inlined.
            yield "tail call", {frame.inlined[0].function}, frame.address
            continue
        for inlined in frame.inlined:
            yield "inline", {inlined.function}, frame.address
        kind = "signal" if outer is not None and outer.found is Found.SIGNAL else "normal"
        kind = "tail call" if frame.found is Found.TAIL_CALL else kind
        names: set[str | None] = {frame.function}
        source = symbols.source_of(frame.lookup_address)
        if source is not None:
            names.add(source.function)
        yield kind, names | _aliases(symbols, frame.address - frame.offset), frame.address


def _aliases(symbols: Symbols, start: int) -> set[str | None]:
    """All names of a place: which one is shown is a matter of taste."""
    for module in symbols.modules:
        if module.address <= start < module.end:
            inside = (start - module.bias) % (1 << 64)
            return {name for names in module.table.names_at(inside) for name in names}
    return set()


def _same(name: str | None, ours: set[str | None]) -> bool:
    if name is not None and name.startswith("*ABS*+"):
        # A stub that leads to one of several functions: binutils has only an address for it.
        return any(one is not None and one.endswith("@plt") for one in ours)
    return plain(name) in {plain(one) for one in ours}


def plain(name: str | None) -> str | None:
    """The last part of a name, without parameters, template arguments and what compilers append to it.

    Demanglers and debuggers write the parts before it in their own ways, above all in Rust.
    """
    if name is None:
        return None
    name = re.sub(r"\[clone [^]]*\]|\(anonymous namespace\)|@plt$", "", name)
    name = re.sub(
        r"\{lambda\([^{}]*\)#\d+\}|<lambda\([^<>]*\)>|\{?\{closure(_env)?#?\d*\}\}?", "LAMBDA", name
    )
    name = re.sub(r"operator\s*(\(\)|<=>|<<=?|>>=?|->\*?|<=?|>=?)", "operator", name)
    name = name.replace("->", "")
    previous = None
    while previous != name:
        previous = name
        name = re.sub(r"<[^<>]*>|\([^()]*\)|\[abi:\w+\]", "", name)
    name = re.sub(r"\s+(const|noexcept|volatile|&&?)\b", "", name).strip()
    name = re.sub(r"(\.(cold|part|constprop|isra|lto_priv|llvm)(\.\d+)*)+$", "", name)
    name = re.split(r"::|\s", name.rstrip(":"))[-1]
    name = re.sub(r"^(~?)basic_", r"\1", name)
    return re.sub(r"^\{shim.*", "SHIM", name)
