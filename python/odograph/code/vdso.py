"""The shared object that the kernel maps into every process; each class of process has its own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from odograph.code.objects import MACHINE_386, MACHINE_X86_64, object_class

__all__ = ["NAME", "process_class", "vdso_files"]

NAME = "[vdso]"

_CLASSES = {
    (64, MACHINE_X86_64): "x64",
    (32, MACHINE_X86_64): "x32",
    (32, MACHINE_386): "ia32",
}

#: Their names where Linux distributions install them.
_FILES = {"x64": "vdso64.so", "x32": "vdsox32.so", "ia32": "vdso32.so"}


def process_class(path: str | os.PathLike[str]) -> str | None:
    """``x64``, ``x32`` or ``ia32`` by a file that the process maps; None if that is no ELF file for x86."""
    found = object_class(path)
    return None if found is None else _CLASSES.get(found)


def vdso_files(root: Path, release: str, wanted: str | None, known_by_id: bool) -> Iterable[Path]:
    """Where the kernel's build installs its vdso below ``root``: the running kernel's was ``release``.

    ``wanted`` is the class of the process, None = not known. Where a build id tells which one is right
    (``known_by_id``), those of all kernels and classes are candidates.
    """
    names = [_FILES[wanted]] if wanted is not None else list(_FILES.values()) if known_by_id else []
    modules = root / "lib" / "modules"
    if release and "/" not in release and "\0" not in release:
        yield from (modules / release / "vdso" / name for name in names)
    if known_by_id and modules.is_dir():
        for kernel in sorted(modules.iterdir()):
            yield from (kernel / "vdso" / name for name in names)
