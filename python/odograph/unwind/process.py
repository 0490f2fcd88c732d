"""Stacks of the threads of a live process of Linux. The process is stopped while they are read."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from odograph._native import RawStoppedThread
from odograph.code.memory import Memory, ProcessMemory, ask
from odograph.code.objects import build_id, mapped_build_id, object_file
from odograph.code.vdso import NAME as VDSO
from odograph.errors import ImageError, PtError
from odograph.symbols import Module, Symbols
from odograph.symbols.modules import MemoryModule
from odograph.symbols.perfmap import read_perf_map
from odograph.unwind.core import whole_vdso
from odograph.unwind.notes import MACHINES, registers_of
from odograph.unwind.target import Target, Thread

__all__ = ["open_process"]

_ROUNDS = 100


@contextmanager
def open_process(pid: int) -> Iterator[Target]:
    """A live 64-bit process of x86-64 or AArch64: a ``with`` block during which its threads stand still.

    Signals on their way to it arrive afterwards. However this process ends, the other one goes on. The
    block must end in the thread that began it.

    :raises ImageError: ``bad_file``: there is no such process, it may not be traced, or is traced
        already; ``bad_image``: it is no such process.
    """
    program = object_file(f"/proc/{pid}/exe")
    machine = MACHINES.get(program.machine) if program is not None and program.bits == 64 else None
    if machine is None:
        if program is None:
            raise ImageError(f"cannot look at process {pid}: {_reason(pid)}", code=PtError.bad_file)
        raise ImageError(
            f"process {pid} is not a 64-bit x86-64 or AArch64 program; only those are read",
            code=PtError.bad_image,
        )
    with ExitStack() as cleanup:
        threads = _held(pid, machine, cleanup)
        memory = cleanup.enter_context(ProcessMemory(pid))
        modules, missing = _modules(pid, memory)
        symbols = Symbols(modules, read_perf_map(pid, (f"/proc/{pid}/root/tmp", "/tmp")))
        yield Target(machine, memory, symbols, threads, pid, tuple(missing))


def _reason(pid: int) -> str:
    try:
        os.stat(f"/proc/{pid}")
        os.readlink(f"/proc/{pid}/exe")
    except PermissionError:
        return "no permission; use the account it runs under, or root"
    except OSError:
        return "there is no such process"
    return "it runs no program of its own"


def _held(pid: int, machine: str, cleanup: ExitStack) -> list[Thread]:
    """Stops all threads; those that begin meanwhile as well."""
    threads: dict[int, Thread] = {}
    for _ in range(_ROUNDS):
        try:
            new = [tid for tid in sorted(map(int, os.listdir(f"/proc/{pid}/task"))) if tid not in threads]
        except OSError:
            new = []
        if not new:
            break
        for tid in new:
            try:
                held = RawStoppedThread(tid)
            except OSError as error:
                if error.errno == errno.ESRCH:
                    continue
                raise ImageError(_refusal(pid, error), code=PtError.bad_file) from error
            cleanup.callback(_let_go, held)
            with suppress(OSError):
                words = tuple(held._registers())
                threads[tid] = Thread(tid, registers_of(machine, words), _name(pid, tid))
    if not threads:
        raise ImageError(f"cannot look at process {pid}: it has ended", code=PtError.bad_file)
    return sorted(threads.values(), key=lambda thread: (thread.tid != pid, thread.tid))


def _refusal(pid: int, error: OSError) -> str:
    if error.errno == errno.EPERM:
        try:
            with open(f"/proc/{pid}/status") as file:
                tracer = next((line.split()[1] for line in file if line.startswith("TracerPid:")), "0")
        except OSError:
            tracer = "0"
        if tracer != "0":
            return f"cannot look at process {pid}: process {tracer} traces it already"
        hint = "use root, or see /proc/sys/kernel/yama/ptrace_scope"
        return f"cannot look at process {pid}: no permission; {hint}"
    return f"cannot look at process {pid}: {error.strerror}"


def _let_go(held: RawStoppedThread) -> None:
    with suppress(OSError):
        held._release()


def _name(pid: int, tid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/task/{tid}/comm", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return None


def _modules(pid: int, memory: Memory) -> tuple[list[Module], list[str]]:
    modules: list[Module] = []
    missing: dict[str, None] = {}
    identity: dict[str, bytes | None] = {}
    try:
        with open(f"/proc/{pid}/maps", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        lines = []
    for line in lines:
        words = line.split(maxsplit=5)
        start, end = (int(word, 16) for word in words[0].split("-"))
        name, offset = words[5] if len(words) > 5 else "", int(words[2], 16)
        if name == VDSO:
            image = whole_vdso(memory, start)
            if image:
                modules.append(MemoryModule(VDSO, start, start + len(image), image=image))
        elif name.startswith("/"):
            if offset == 0:
                identity[name] = mapped_build_id(lambda at, size: ask(memory, at, size), start)
            path = _file(pid, words[0], name, identity.get(name))
            if path is None and "x" in words[1]:
                missing[f"{name} is not there, or is another file now"] = None
            plain = os.path.basename(name.removesuffix(" (deleted)"))
            modules.append(Module(plain, start, end, offset, path))
    return modules, list(missing)


def _file(pid: int, addresses: str, name: str, identity: bytes | None) -> str | None:
    """Where a mapped file can be opened: at its path as the process sees it, or through the mapping."""
    for path in (f"/proc/{pid}/root{name}", name, f"/proc/{pid}/map_files/{addresses}"):
        if not os.path.isfile(path) or not os.access(path, os.R_OK):
            continue
        # Without a build id only the name tells which file it was.
        if build_id(path) == identity if identity else not name.endswith(" (deleted)"):
            return name if path != name and _is_same(path, name) else path
    return None


def _is_same(one: str, other: str) -> bool:
    with suppress(OSError):
        return os.path.samefile(one, other)
    return False
