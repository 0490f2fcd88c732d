"""Makes the corpus: small recordings of every kind, which every later version of Odograph must open.

    python tests/corpus/make.py DIRECTORY

The recordings beside this file were made once and stay as they are, whatever the format becomes: never make
them again. When a format changes, add a new set beside them. The programs are built and recorded in
/tmp/corpus, so that no recording holds a path of the machine. Needs gcc, qemu-user and zstandard.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import odograph
from odograph.perfdata.executed import read_trailer, trailer_bytes
from odograph.perfdata.format import FILE_HEADER, RecordType
from odograph.recorder.record import record
from support.opened import describe
from support.pipe import compress, to_pipe

HERE = Path(__file__).parent
WORK = Path("/tmp/corpus")
PROGRAMS = ("static", "dynamic", "threads", "children", "selfwritten", "signal", "crash")
GCC = (
    *("gcc", "-O1", "-g0", "-nostdlib", "-fno-builtin", "-fno-stack-protector", "-fcf-protection=none"),
    *("-fno-tree-loop-distribute-patterns", "-Wl,--build-id=none,-z,noseparate-code"),
)


def build() -> None:
    """The programs, and the library of one of them."""

    def gcc(*words: str) -> None:
        subprocess.run([*GCC, *words], cwd=WORK, check=True)

    sources = HERE / "programs"
    for name in PROGRAMS:
        if name != "dynamic":
            gcc("-static", "-no-pie", "-o", name, str(sources / f"{name}.c"))
    library = str(WORK / "libanswer.so")
    gcc("-fPIC", "-shared", f"-Wl,-soname,{library}", "-o", library, str(sources / "library.c"))
    gcc("-fPIE", "-pie", "-o", "dynamic", str(sources / "dynamic.c"), library)


def neutral(data: bytes) -> bytes:
    """The recording without the kernel's version, which is the machine's."""
    release = os.uname().release.encode()
    return data.replace(release + b"\0", b"6.1.0".ljust(len(release), b"\0") + b"\0")


def directory_form(data: bytes) -> tuple[bytes, bytes]:
    """The main file of a recording and the part of a processor: the trace and all records behind it."""
    fields = list(FILE_HEADER.unpack_from(data))
    start, size = fields[5:7]
    at = start
    while struct.unpack_from("<I", data, at)[0] not in (RecordType.AUX, RecordType.AUXTRACE):
        at += struct.unpack_from("<H", data, at + 6)[0]
    fields[6] = at - start
    fields[9:13] = [0] * 4
    facts = read_trailer(data)
    assert facts is not None
    main = FILE_HEADER.pack(*fields) + data[FILE_HEADER.size : at]
    return main + b"".join(trailer_bytes(facts, facts.code, len(main))), data[at : start + size]


def main(target: Path) -> None:
    if any(target.glob("*.data")):
        sys.exit(f"{target} holds recordings; they are kept as they are")
    target.mkdir(parents=True, exist_ok=True)
    WORK.mkdir(mode=0o700)
    try:
        build()
        for program in PROGRAMS:
            for recorder in ("qemu", "ptrace"):
                path = target / f"{program}.{recorder}.data"
                record([str(WORK / program)], path, backend=recorder, env={})
                path.write_bytes(neutral(path.read_bytes()))
        (target / "files").mkdir(exist_ok=True)
        shutil.copy(WORK / "static", target / "files" / "static")
    finally:
        shutil.rmtree(WORK)
    sound = (target / "static.qemu.data").read_bytes()
    (target / "static.pipe.data").write_bytes(to_pipe(sound))
    (target / "static.compressed.data").write_bytes(compress(sound, 100, True))
    directory = target / "static.directory.data"
    directory.mkdir()
    (directory / "data").write_bytes((parts := directory_form(sound))[0])
    (directory / "data.0").write_bytes(parts[1])
    indexed = target / "signal.indexed.data"
    shutil.copy(target / "signal.qemu.data", indexed)
    odograph.open(indexed).save_index()
    expected = {path.name: describe(path) for path in sorted(target.glob("*.data"))}
    text = json.dumps(expected, separators=(",", ":")).replace('},"', '},\n"')
    (target / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
