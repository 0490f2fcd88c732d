"""Stacks of x86-64 and AArch64, by DWARF's call frame information and frame pointers."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Mapping

from odograph._native import RawCfiUnwinder, RawFrameTables
from odograph.code.memory import Memory
from odograph.errors import InvalidArgument, PtError
from odograph.frame import Found, Frame, Stack
from odograph.symbols import Module, Symbols
from odograph.symbols.modules import MemoryModule
from odograph.symbols.place import Name
from odograph.text.counted import counted
from odograph.unwind.tailcalls import TailCalls

__all__ = ["DEFAULT_LIMIT", "MACHINES", "CfiUnwinder"]

#: ``e_machine`` of an ELF file by the names of machines.
MACHINES = {"x86-64": 62, "aarch64": 183}

#: So many frames a stack has at most, unless more are asked for.
DEFAULT_LIMIT = 1 << 16

_TOP = 1 << 64
_PC = {"x86-64": "rip", "aarch64": "pc"}
_FOUND = {one.value: one for one in Found}


_NAMELESS = Name()


class CfiUnwinder:
    """Unwinds stacks of one process.

    ``symbols`` has its modules: their files give the unwind information, their names and their source lines.
    ``machine`` is "x86-64" or "aarch64". What is learned of code is kept, so one unwinder for many stacks of
    a process is quicker. A process that maps or unmaps files needs a new one.
    """

    def __init__(self, symbols: Symbols, machine: str = "x86-64") -> None:
        """:raises InvalidArgument: there is no such machine."""
        if machine not in MACHINES:
            message = f"no stacks of {machine!r} are unwound, only of {', '.join(MACHINES)}"
            raise InvalidArgument(message, code=PtError.invalid)
        self.machine = machine
        self.symbols = symbols
        self._raw = RawCfiUnwinder(MACHINES[machine])
        self._registers = frozenset(self._raw._names())
        self._tails = TailCalls(symbols)
        self._lock = threading.RLock()
        for start, end, module in _whole(symbols.modules):
            tables = _tables_of(module)
            if tables is not None:
                self._raw._add_module(start, end, module.bias % _TOP, tables)

    def stack(
        self,
        registers: Mapping[str, int],
        memory: Memory,
        *,
        limit: int = DEFAULT_LIMIT,
        names: bool = True,
    ) -> Stack:
        """The stack that ends where these registers are.

        ``registers`` are by name: "rip", "rsp", "rbp", …; "pc", "sp", "x29", "x30", …. The first two of a
        machine must be known, others help. Other names than a machine's are ignored. ``memory`` is read a
        page at a time; it need not hold code, unless code has no unwind information. ``names`` False leaves
        out functions, modules and lines, and calls that jumped, which leave nothing on the stack; debug
        information tells some of those (:attr:`Found.TAIL_CALL <odograph.frame.Found.TAIL_CALL>`).

        The stack ends with a reason where memory is missing or makes no sense. An exception that ``memory``
        raises comes out as the same object.

        :raises InvalidArgument: a needed register is missing, a value is invalid, or memory gave more than it
            was asked for.
        :raises Reentered: ``memory`` used this unwinder.
        """
        known = {name: value for name, value in registers.items() if name in self._registers}
        for name in (_PC[self.machine], "rsp" if self.machine == "x86-64" else "sp"):
            if name not in known:
                raise InvalidArgument(f"the register {name} is missing; give its value", code=PtError.invalid)
        with self._lock:
            rows, end = self._raw._stack(known, memory.read, max(limit, 0))
        frames: list[Frame] = []
        inner = None
        for address, found, is_return, is_guess, its in rows:
            if names and is_return and inner is not None:
                for behind in self._tails.between(inner, address):
                    frames.append(self._frame(behind, Found.TAIL_CALL, True, is_guess, {}, names))
            frames.append(self._frame(address, _FOUND[found], is_return, is_guess, its, names))
            inner = address - is_return
        return Stack(frames, end)

    def _frame(
        self, address: int, found: Found, is_return: bool, is_guess: bool, its: dict[str, int], names: bool
    ) -> Frame:
        where = self.symbols.describe(address - is_return) if names else _NAMELESS
        function, offset, module, file, line, inlined, known_by = where
        # The constructor of a frozen class takes longer than all the rest of a frame.
        frame = object.__new__(Frame)
        vars(frame).update(
            address=address,
            found=found,
            is_return=is_return,
            is_guess=is_guess,
            function=function,
            offset=offset + is_return if function is not None else 0,
            module=module,
            file=file,
            line=line,
            inlined=inlined,
            registers=its,
            step=None,
            known_by=known_by,
        )
        return frame

    def __repr__(self) -> str:
        return f"<CfiUnwinder for {self.machine}: {counted(len(self.symbols.modules), 'module')}>"


def _whole(modules: list[Module]) -> list[tuple[int, int, Module]]:
    """Where each file lies as a whole: its parts are mapped one behind the other."""
    found: list[tuple[int, int, Module]] = []
    for module in modules:
        if found:
            start, end, last = found[-1]
            same = module.path is not None and module.path == last.path and module.bias == last.bias
            if same and end <= module.address:
                found[-1] = (start, module.end, last)
                continue
        found.append((module.address, module.end, module))
    return found


def _tables_of(module: Module) -> RawFrameTables | None:
    if isinstance(module, MemoryModule):
        return RawFrameTables._of_bytes(module.image)
    if module.path is None:
        return None
    try:
        status = os.stat(module.path)
    except (OSError, ValueError):
        return None
    return _tables(module.path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _tables(path: str, _size: int, _mtime: int) -> RawFrameTables:
    return RawFrameTables._of_file(path)
