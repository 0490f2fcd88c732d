"""The shared test data: what it is, where it lies, and the images of its recordings."""

from __future__ import annotations

import lzma
import os
from pathlib import Path

from odograph import Image
from support.paths import ROOT

REPOSITORY = ROOT
SHARED = Path(os.environ.get("ODOGRAPH_SHARED", REPOSITORY.parent / "shared"))

#: The folders of the shared test data, which is too large for the repository. Tests skip where it is missing.
KINDS = {
    "bench": "generated traces with the steps that were executed",
    "conformance": "libipt's test cases for ptdump and ptxed",
    "ia64": "IA-64 files and snapshots",
    "traces": "recordings of real processors",
}


def no_shared(name: str = "") -> str:
    """Why a test that needs ``name`` of the shared data is skipped: what the data is and how to name it."""
    kind = name.partition("/")[0]
    what = f"shared/{name} ({KINDS[kind]})" if kind in KINDS else f"shared data ({', '.join(KINDS.values())})"
    return f"needs {what}, not in this repository: ODOGRAPH_SHARED names its directory (now {SHARED})"


def shared_is_here() -> bool:
    """Whether the directory holds the shared test data, and is not just one of that name."""
    return all((SHARED / kind).is_dir() for kind in KINDS)


def shared_paths(pattern: str) -> list[Path]:
    """Paths below the shared folder, sorted; none where it is absent."""
    return sorted(SHARED.glob(pattern)) if SHARED.is_dir() else []


class Unpacker:
    """Calling it with a path gives the path of the unpacked file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, path: Path) -> Path:
        if path.suffix != ".xz":
            return path
        target = self.folder / path.parent.name / path.stem
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            with lzma.open(path) as packed:
                target.write_bytes(packed.read())
        return target


def bench_image(folder: Path, workload: str, unpacked: Unpacker) -> Image:
    """The code of a generated trace: lines ``vaddr size offset perm path path-offset``."""
    code = unpacked(folder / f"{workload}.img.xz")
    image = Image()
    for line in (folder / f"{workload}.map").read_text().splitlines():
        vaddr, size, offset = (int(word, 16) for word in line.split()[:3])
        image.add_file(code, offset, size, vaddr)
    return image


def mapped_image(folder: Path) -> Image:
    """The code of a hardware recording: lines ``file file-offset size vaddr``."""
    image = Image()
    for line in (folder / "image.map").read_text().splitlines():
        name, offset, size, vaddr = line.split()
        image.add_file(folder / name, int(offset, 16), int(size, 16), int(vaddr, 16))
    return image
