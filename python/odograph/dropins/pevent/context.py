"""The memory of each process, as the records tell it."""

from __future__ import annotations

from odograph.code.elfimage import add_section
from odograph.code.image import Image, SectionCache
from odograph.code.vdso import NAME, process_class
from odograph.dropins.pevent.settings import Settings
from odograph.errors import ImageError, PtError
from odograph.perfdata.records import Mmap

__all__ = ["Context", "Contexts"]


class Context:
    """One program in one process: its image, and what kind of process it is once that is known."""

    def __init__(self, pid: int, image: Image) -> None:
        self.pid = pid
        self.image = image
        self.process_class: str | None = None
        """That of the first ELF file mapped, as :func:`~odograph.code.vdso.process_class` has it."""

    def __repr__(self) -> str:
        return f"<Context pid-{self.pid:x}, {self.image!r}>"


class Contexts:
    """The contexts by pid. Each begins as a copy of the kernel's image."""

    def __init__(self, kernel: Image, cache: SectionCache | None) -> None:
        self.kernel = kernel
        self._cache = cache
        self._by_pid: dict[int, Context] = {}

    def get(self, pid: int) -> Context:
        """The context of a process, made if there is none."""
        number = pid & 0xFFFFFFFF
        found = self._by_pid.get(number)
        return self._begin(number, self.kernel) if found is None else found

    def replace(self, pid: int) -> tuple[Context | None, Context]:
        """A process runs another program: (the context it had, the one it has now)."""
        number = pid & 0xFFFFFFFF
        return self._by_pid.get(number), self._begin(number, self.kernel)

    def fork(self, parent: int, child: int) -> None:
        """A new process with the memory of ``parent``."""
        source = self.get(parent)
        self._begin(child & 0xFFFFFFFF, source.image).process_class = source.process_class

    def _begin(self, pid: int, memory: Image) -> Context:
        context = self._by_pid[pid] = Context(pid, memory.snapshot())
        return context

    def map(self, mmap: Mmap, settings: Settings) -> bool:
        """A process maps something; False if that has no file to take bytes from.

        :raises OdographError: the file cannot be used; ``bad_config``: it is the vdso of a kind of
            process for which there is no file, or that is not known yet.
        """
        context = self.get(mmap.pid)
        name = mmap.filename
        if name == NAME:
            name, recorded = _vdso(context, settings), False
        elif name == "//anon" or name.startswith("[") or " (deleted)" in name:
            return False
        else:
            name, recorded = settings.sysroot + name, True
        add_section(
            context.image, name, mmap.pgoff, mmap.length, mmap.address, self._cache, recorded=recorded
        )
        if context.process_class is None:
            context.process_class = process_class(name)
        return True


def _vdso(context: Context, settings: Settings) -> str:
    files = {"x64": settings.vdso_x64, "x32": settings.vdso_x32, "ia32": settings.vdso_ia32}
    name = None if context.process_class is None else files[context.process_class]
    if name is None:
        raise ImageError(f"no file is given for the vdso of process {context.pid}", code=PtError.bad_config)
    return name
