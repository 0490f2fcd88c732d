"""What is measured: generated traces of ``../shared/bench``, and recordings made here.

Both come as a raw trace with a map of its code, as any decoder wants them. They are kept in a folder and made
again only if they are missing.
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import inputs
import libipt

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("ODOGRAPH_SHARED", ROOT.parent / "shared")) / "bench"
GENERATED = ("py-m-def", "xz-m-def", "perl-m-def")
RECORDED = ("cc1", "sqlite", "gzip")


@dataclass(frozen=True)
class Subject:
    """One trace, the code that ran, and how many instructions that were."""

    name: str
    trace: Path
    regions: list[libipt.Region]
    instructions: int
    recording: Path | None = None
    """The perf.data file that the trace is from."""

    @property
    def size(self) -> int:
        """Bytes of trace."""
        return self.trace.stat().st_size

    def arguments(self) -> list[str]:
        """The trace and the regions as words for :mod:`probe`."""
        return [str(self.trace), *(f"{r.offset:x} {r.size:x} {r.vaddr:x} {r.path}" for r in self.regions)]


class Absent(Exception):
    """A subject cannot be had here; the text says why."""


def subjects(names: list[str], folder: Path) -> Iterator[Subject]:
    """The subjects of these names; prints why one is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            yield recorded(name, folder) if name in RECORDED else generated(name, folder)
        except Absent as absent:
            print(f"without {name}: {absent}", flush=True)


def unpack(source: Path, target: Path) -> Path:
    """``target``, made from the xz file ``source`` if it is not there yet."""
    if not target.exists():
        partial = target.with_suffix(".partial")
        with lzma.open(source) as packed, partial.open("wb") as plain:
            shutil.copyfileobj(packed, plain)
        partial.rename(target)
    return target


def generated(name: str, folder: Path) -> Subject:
    """A trace that an independent encoder made, with its ground truth."""
    if not (SHARED / f"{name}.gt").exists():
        raise Absent(f"there is no such trace in {SHARED}")
    truth = dict(line.split(None, 1) for line in (SHARED / f"{name}.gt").read_text().splitlines())
    workload = name.rsplit("-", 2)[0]
    trace = unpack(SHARED / f"{name}.pt.xz", folder / f"{name}.pt")
    code = unpack(SHARED / f"{workload}.img.xz", folder / f"{workload}.img")
    regions = libipt.read_map(SHARED / f"{workload}.map", code)
    recording = SHARED / f"{name}.perf.data.xz"
    plain = unpack(recording, folder / f"{name}.perf.data") if recording.exists() else None
    return Subject(name, trace, regions, int(truth["insns"]), plain)


def recorded(name: str, folder: Path) -> Subject:
    """A program recorded here, and what its recorder counted."""
    import odograph

    path = folder / f"{name}.perf.data"
    if not path.exists():
        record(name, folder, path)
    recording = odograph.open(path)
    (thread,) = recording.threads
    (stream,) = recording.source.streams
    if thread.truth is None:
        raise Absent("the recorder counted nothing")
    trace, code, code_map = (folder / f"{name}.{kind}" for kind in ("pt", "img", "map"))
    if not trace.exists():
        image = recording.image()
        with code.open("wb") as file, code_map.open("w") as lines:
            for start, end in spans((section.vaddr, section.size) for section in image.sections):
                lines.write(f"{start:x} {end - start:x} {file.tell():x}\n")
                while start < end:
                    data = image.read(start, end - start)
                    file.write(data)
                    start += len(data)
        trace.write_bytes(stream.read())
    return Subject(name, trace, libipt.read_map(code_map, code), thread.truth.instructions, path)


def spans(sections: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sections (address, size) that touch put together: (first, end), by address."""
    joined: list[tuple[int, int]] = []
    for start, size in sorted(sections):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], start + size))
        elif size:
            joined.append((start, start + size))
    return joined


def record(name: str, folder: Path, path: Path) -> None:
    """Records one of the programs under QEMU user mode."""
    if shutil.which("qemu-x86_64") is None:
        raise Absent("QEMU user mode is not installed (Debian: qemu-user)")
    from odograph.recorder.record import record

    command = command_of(name, folder)
    print(f"recording {name}", flush=True)
    output = os.open(os.devnull, os.O_WRONLY)
    kept = os.dup(1)
    os.dup2(output, 1)
    try:
        status = record(command, path, backend="qemu").status
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(output)
    if status:
        path.unlink(missing_ok=True)
        raise Absent(f"{' '.join(command)} ended with status {status}")


def command_of(name: str, folder: Path) -> list[str]:
    """The command line of a program, and its input in ``folder``."""
    if name == "cc1":
        if not shutil.which("gcc"):
            raise Absent("gcc is not installed")
        asked = subprocess.run(["gcc", "-print-prog-name=cc1"], capture_output=True, text=True, check=True)
        source = write(folder / "program.c", inputs.c_source(12))
        return [asked.stdout.strip(), "-quiet", "-O2", str(source), "-o", os.devnull]
    program = shutil.which({"sqlite": "sqlite3", "small": "sqlite3"}.get(name, name))
    if program is None:
        raise Absent("it is not installed")
    if name == "sqlite":
        return [program, ":memory:", "-init", str(write(folder / "script.sql", inputs.sql(4000))), ".quit"]
    if name == "small":
        return [program, "-version"]
    return [program, "-c", str(write(folder / "text", inputs.text(2_500_000)))]


def write(path: Path, data: bytes) -> Path:
    """``path``, with these bytes."""
    path.write_bytes(data)
    return path
