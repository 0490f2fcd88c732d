"""Finds the file that a mapping came from, and refuses a file that is another one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from odograph.code.evidence import Evidence
from odograph.code.mappings import Mapping
from odograph.code.objects import Segment, build_id, object_file
from odograph.code.vdso import NAME as VDSO
from odograph.code.vdso import vdso_files
from odograph.files.plainfile import is_plain

__all__ = ["Binaries", "CodeSource", "Missing"]

DEFAULT_BUILDID_DIR = "~/.debug"


class CodeSource(NamedTuple):
    """``size`` bytes at ``offset`` of the file ``path`` are what lies at ``address``.

    ``chosen``: the user named this very file; else a recording did, see :mod:`odograph.files.plainfile`.
    """

    path: str
    offset: int
    size: int
    address: int
    chosen: bool = False


class Missing(NamedTuple):
    """A mapping whose bytes are not known: why, and how to supply them.

    ``wanted`` and ``found`` are build ids (hex) where they differ or one is known, else None.
    """

    mapping: Mapping
    reason: str
    hint: str
    wanted: str | None = None
    found: str | None = None


class Binaries:
    """Searches, best first: ``sysroot`` directories, build id directories, the path itself.

    A file whose build id is not the recorded one is reported and not used, and neither is one without build
    id that ``evidence`` speaks against. ``kcore`` is a copy of the kernel's memory, ``kcore_chosen`` says
    that the user named it; ``release`` is the recorded kernel's.

    Names come from a recording, so only plain files are candidates (:mod:`odograph.files.plainfile`).
    """

    def __init__(
        self,
        sysroot: Iterable[str | os.PathLike[str]] | str | os.PathLike[str] = (),
        buildid_dirs: Iterable[str | os.PathLike[str]] | str | os.PathLike[str] = (),
        kcore: str | os.PathLike[str] | None = None,
        release: str = "",
    ) -> None:
        self.sysroot = _paths(sysroot)
        self.buildid_dirs = [*_paths(buildid_dirs), Path(DEFAULT_BUILDID_DIR).expanduser()]
        self.kcore = None if kcore is None else Path(kcore)
        self.kcore_chosen = False
        self.release = release
        self.evidence = Evidence()
        #: Files that lie there but are other ones than were recorded, by recorded name.
        self.refused: dict[str, Missing] = {}
        self._found: dict[tuple[str, bytes | None, str | None], Path | Missing] = {}
        self._kernel: dict[Path, tuple[list[Segment] | None, int | None]] = {}

    def find(self, mapping: Mapping, process_class: str | None = None) -> CodeSource | Missing:
        """Where the bytes of ``mapping`` lie on this machine; the class of the process decides its vdso."""
        if mapping.kernel:
            return self._find_kernel(mapping)
        key = (mapping.filename, mapping.build_id, process_class)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._find_user(mapping, process_class)
        if isinstance(found, Missing):
            return found._replace(mapping=mapping)
        size = found.stat().st_size if found.exists() else 0
        if mapping.pgoff >= size:
            return Missing(
                mapping,
                f"{found} ends at {size:#x}, before the mapped part at {mapping.pgoff:#x}",
                "it is not the file that was recorded; name the right one with --sysroot",
            )
        return CodeSource(
            str(found), mapping.pgoff, min(mapping.length, size - mapping.pgoff), mapping.address
        )

    def _find_user(self, mapping: Mapping, process_class: str | None) -> Path | Missing:
        name = mapping.filename
        wanted = mapping.build_id
        if _is_anonymous(name):
            return Missing(
                mapping,
                f"{name or 'this memory'} holds code that the program made while it ran",
                "record with odograph record --with qemu, which keeps the executed bytes",
            )
        refused: Missing | None = None
        for candidate, by_name_alone in self._candidates(name, wanted, process_class):
            if not _is_file(candidate):
                continue
            other = self._other_file(mapping, candidate, by_name_alone)
            if other is None:
                return candidate
            refused = refused or other
        if refused is not None:
            return self.refused.setdefault(name, refused)
        hex_id = wanted.hex() if wanted else None
        with_id = f" (build id {hex_id})" if hex_id else ""
        if name.startswith("["):
            return Missing(
                mapping,
                f"{name}{with_id} exists only in the memory of the recorded machine",
                "copy its build id directory (~/.debug) or lib/modules/*/vdso below a --sysroot, "
                "or record with odograph record",
                hex_id,
            )
        return Missing(
            mapping,
            f"{name}{with_id} is not on this machine",
            "copy it from the recorded machine and name its root directory with --sysroot",
            hex_id,
        )

    def _other_file(self, mapping: Mapping, candidate: Path, by_name_alone: bool) -> Missing | None:
        """Why a file is not the one that was mapped; None if nothing speaks against it."""
        wanted = mapping.build_id
        hint = "bring the recorded file and name its directory with --sysroot"
        reason = self.evidence.replaced(mapping.filename, candidate)
        if reason is not None:
            return Missing(mapping, reason, hint)
        if wanted is None:
            reason = self.evidence.against(mapping.filename, candidate, where_it_was=by_name_alone)
            return None if reason is None else Missing(mapping, reason, hint)
        found = build_id(candidate)
        if found is not None and _same_id(wanted, found):
            return None
        has = f"build id {found.hex()}" if found else "no build id"
        reason = f"{candidate} has {has}, recorded was {wanted.hex()}"
        hint += ", or a build id directory"
        return Missing(mapping, reason, hint, wanted.hex(), found.hex() if found else None)

    def _candidates(
        self, name: str, wanted: bytes | None, process_class: str | None
    ) -> Iterable[tuple[Path, bool]]:
        """Files to look at, and whether only the recorded name leads to them."""
        for path in self._brought(name, wanted, process_class):
            yield path, False
        # A file that was deleted while mapped is another one now, unless its build id tells otherwise.
        plain = name.removesuffix(" (deleted)")
        if not plain.startswith("[") and "\0" not in plain:
            # A file may really have such a name.
            yield Path(name), True
            if plain != name and wanted is not None:
                yield Path(plain), True

    def _brought(self, name: str, wanted: bytes | None, process_class: str | None) -> Iterable[Path]:
        """Files below directories that the user named, and installed ones that are known by their build
        id."""
        plain = name.removesuffix(" (deleted)")
        if "\0" in plain:
            return
        is_path = not plain.startswith("[")
        if is_path:
            for root in self.sysroot:
                yield root / plain.lstrip("/")
                yield root / os.path.basename(plain)
        if wanted is not None:
            text = wanted.hex()
            for directory in self.buildid_dirs:
                entry = directory / ".build-id" / text[:2] / text[2:]
                yield entry
                for inner in ("elf", "vdso", "debug"):
                    yield entry / inner
                yield directory / text[:2] / f"{text[2:]}"
        if name == VDSO:
            for root in (*self.sysroot, Path("/")):
                yield from vdso_files(root, self.release, process_class, wanted is not None)

    # The kernel ---------------------------------------------------------------------------------------

    def _find_kernel(self, mapping: Mapping) -> CodeSource | Missing:
        name = mapping.filename
        candidates = [] if self.kcore is None else [self.kcore]
        if mapping.build_id is not None:
            text = mapping.build_id.hex()
            for directory in self.buildid_dirs:
                entry = directory / ".build-id" / text[:2] / text[2:]
                candidates += [entry / "kcore", entry / "elf", entry / "vmlinux", entry]
        if name.startswith("[kernel"):
            for root in self.sysroot:
                candidates += [root / "kcore", root / "vmlinux"]
                candidates += sorted((root / "boot").glob("vmlinux*")) if root.is_dir() else []
        for path in candidates:
            source = self._kernel_source(mapping, path)
            if source is not None:
                return source
        wanted = mapping.build_id.hex() if mapping.build_id else None
        what = name or "kernel code"
        return Missing(
            mapping,
            f"the code of {what} is not known",
            "record with perf record --kcore, which keeps a copy of the kernel's code",
            wanted,
        )

    def _kernel_source(self, mapping: Mapping, path: Path) -> CodeSource | None:
        chosen = self.kcore_chosen and path == self.kcore
        if not chosen and not _is_file(path):
            return None
        if path not in self._kernel:
            found = object_file(path, chosen=chosen)
            reference = None if found is None or found.bits != 64 else found.value_of("_text", "_stext")
            self._kernel[path] = (None if found is None else found.loads, reference)
        loads, reference = self._kernel[path]
        shift = 0
        if path != self.kcore and path.name != "kcore":
            # A vmlinux only fits the kernel's own text, and only the build that was recorded.
            if not mapping.filename.startswith("[kernel") or reference is None:
                return None
            if mapping.build_id is not None and build_id(path) != mapping.build_id:
                return None
            shift = mapping.pgoff - reference
        for segment in loads or ():
            start = segment.address + shift
            end = start + segment.file_size
            if start <= mapping.address < end:
                offset = segment.offset + mapping.address - start
                size = min(mapping.length, end - mapping.address)
                return CodeSource(str(path), offset, size, mapping.address, chosen)
        return None


def _paths(given: Iterable[str | os.PathLike[str]] | str | os.PathLike[str]) -> list[Path]:
    if isinstance(given, (str, os.PathLike)):
        given = (given,)
    return [Path(path) for path in given]


def _is_file(path: Path) -> bool:
    return is_plain(path)


def _same_id(wanted: bytes, found: bytes) -> bool:
    """Build ids are kept in 20 bytes, short ones padded with zeros."""
    return wanted.ljust(20, b"\0") == found[:20].ljust(20, b"\0")


_MEMORY_NAMES = (
    "[heap]",
    "[stack",
    "[anon",
    "[uprobes]",
    "//anon",
    "/memfd:",
    "/dev/zero",
    "/SYSV",
    "anon_inode:",
)


def _is_anonymous(name: str) -> bool:
    return not name or name.startswith(_MEMORY_NAMES)
