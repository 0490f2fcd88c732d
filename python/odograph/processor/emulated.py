"""A processor that executes, on Unicorn."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Literal

from odograph._native import disassemble
from odograph.errors import InvalidArgument, UnsupportedOperation
from odograph.processor.breakpoints import BreakpointFlags, Handle, dispatch
from odograph.processor.databreakpoints import DataBreakpoints
from odograph.processor.emulatorrecording import recorded
from odograph.processor.filters import Question
from odograph.processor.processor import Processor
from odograph.processor.stop import Stop, StopReason
from odograph.processor.unicornlibrary import register, unicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["EmulatedProcessor"]

_PAGE = 4096
_LONGEST = 15
_UNDECODABLE = 0xF1F1F1F1
"""The size that Unicorn tells of bytes that are no instruction."""
_MODES = {16: 1, 32: 2, 64: 3}


class EmulatedProcessor(Processor):
    """An emulated x86 CPU with nothing but memory; Unicorn executes (``pip install 'odograph[emulator]'``).

    ``bits`` is 16, 32 or 64. Map memory, write code, set ``pc``, and run; it ends before the instruction at
    ``end``, behind a HLT, or with an error at an instruction that cannot be executed. ``step`` counts
    executed instructions; a repeated string instruction is one. ``pc`` and breakpoints are virtual
    addresses, offsets in the code segment; one with :attr:`BreakpointFlags.LINEAR` means, and tells its
    callback, linear ones. It cannot go back.
    """

    def __init__(self, bits: Literal[16, 32, 64] = 64) -> None:
        super().__init__()
        if bits not in _MODES:
            raise InvalidArgument(f"an x86 CPU has 16, 32 or 64 bits, not {bits!r}")
        library, x86 = unicorn()
        self.bits = bits
        self.end: int | None = None
        """The virtual address of an instruction before which everything ends."""
        self._data_breakpoints = DataBreakpoints(self)
        self._library = library
        self._x86 = x86
        self._uc = library.Uc(library.UC_ARCH_X86, getattr(library, f"UC_MODE_{bits}"))
        self._pc_register = register({16: "ip", 32: "eip", 64: "rip"}[bits])
        self._step = 0
        self._serial = 0
        """Counts what changes the position without executing."""
        self._executing: int | None = None
        """Linear address of the instruction that has begun and is not known to be complete."""
        self._members: dict[Question, tuple[Handle, ...]] = {}
        self._members_version = -1
        self._base_of: tuple[int, int] = (-1, 0)
        self._raised: BaseException | None = None
        self._ended: tuple[StopReason, list[Handle]] | None = None
        self._executing_bytes = b""
        self._observer: Callable[[int, bytes], None] | None = None
        self._last_step: int | None = None
        self._dispatching = False
        self._uc.hook_add(library.UC_HOOK_CODE, self._on_instruction)
        self._uc.hook_add(library.UC_HOOK_MEM_READ | library.UC_HOOK_MEM_WRITE, self._on_access)

    # What it holds

    def map(self, address: int, size: int, data: bytes = b"") -> None:
        """Maps memory, in whole pages around ``address`` and ``size``, and writes ``data`` at ``address``.

        Addresses are linear. Raises :class:`~odograph.InvalidArgument` if something is mapped there.
        """
        first = address - address % _PAGE
        end = address + max(size, len(data), 1)
        with _Errors(self._library):
            self._uc.mem_map(first, end - first + -(end - first) % _PAGE)
            self._uc.mem_write(address, data)

    def read_memory(self, address: int, size: int) -> bytes:
        """Bytes at a linear address; InvalidArgument where nothing is mapped."""
        with _Errors(self._library):
            return bytes(self._uc.mem_read(address, size))

    def write_memory(self, address: int, data: bytes) -> None:
        """Writes to a linear address; InvalidArgument where nothing is mapped."""
        with _Errors(self._library):
            self._uc.mem_write(address, bytes(data))

    def read_register(self, name: str) -> Any:
        """The value of a register by its name, ``"rax"``, ``"eflags"``, ``"cs"``."""
        return self._uc.reg_read(register(name))

    def write_register(self, name: str, value: Any) -> None:
        """Changes a register. The instruction pointer is changed by :attr:`pc`."""
        number = register(name)
        if number == self._pc_register:
            self.pc = value
        else:
            self._uc.reg_write(number, value)

    @property
    def data_breakpoints(self) -> DataBreakpoints:
        return self._data_breakpoints

    @property
    def pc(self) -> int:
        return int(self._uc.reg_read(self._pc_register))

    @pc.setter
    def pc(self, address: int) -> None:
        self._refuse_inside()
        self._uc.reg_write(self._pc_register, address)
        self._serial += 1

    @property
    def step(self) -> int:
        return self._step

    @property
    def step_stamp(self) -> int:
        return self._serial << 64 | self._step

    @property
    def code_base(self) -> int:
        """Linear address of the code segment's first byte."""
        if self.bits == 64:
            return 0
        selector = int(self._uc.reg_read(self._x86.UC_X86_REG_CS))
        if self._base_of[0] != selector or selector == 0:
            self._base_of = (selector, selector << 4 if self.bits == 16 else self._descriptor_base(selector))
        return self._base_of[1]

    def _descriptor_base(self, selector: int) -> int:
        """The base of a segment in the global descriptor table; 0 without one (SDM volume 3A, 3.4.5)."""
        _, table, limit, _ = self._uc.reg_read(self._x86.UC_X86_REG_GDTR)
        at = selector & ~7
        if selector & 4 or at + 7 > limit or limit == 0:
            return 0
        entry = int.from_bytes(self.read_memory(table + at, 8), "little")
        return entry >> 16 & 0xFFFFFF | entry >> 32 & 0xFF000000

    def opcode(self, address: int) -> bytes:
        linear = address + self.code_base
        for size in range(1, _LONGEST + 1):
            try:
                opcode = self.read_memory(linear, size)
            except InvalidArgument:
                break
            if disassemble(opcode, address, _MODES[self.bits]) != "(bad)":
                return opcode
        raise InvalidArgument(f"there is no instruction at {address:#x}")

    def disassemble(self, opcode: bytes, address: int = 0, mode: int | None = None) -> str:
        return super().disassemble(opcode, address, _MODES[self.bits] if mode is None else mode)

    def close(self) -> None:
        super().close()
        self.data_breakpoints.close()

    def record(self, path: str | os.PathLike[str], name: str = "emulated") -> AbstractContextManager[None]:
        """Records what is executed in a ``with`` block as Intel PT, in a perf.data file.

        Its replay meets the same breakpoints.
        """
        return recorded(self, path, name)

    @contextmanager
    def observed(
        self, executed: Callable[[int, bytes], None], stopped: Callable[[int], None]
    ) -> Iterator[None]:
        """Tells of every instruction that is executed: address and bytes; and where it stopped."""
        self._refuse_inside()
        if self._observer is not None:
            raise UnsupportedOperation("this processor is being recorded already; end that recording first")
        self._observer = executed
        try:
            yield
        finally:
            self._observer = None
            stopped(self.pc + self.code_base)

    # How it runs

    def _run(self, limit: int | None, reverse: bool, across_gaps: bool) -> Stop:
        return self._execute(limit, True)

    def _step_insn(self, n: int, reverse: bool) -> Stop:
        return self._execute(n, False)

    def _execute(self, limit: int | None, dispatching: bool) -> Stop:
        if limit == 0:
            return self._stop(StopReason.STEPS)
        self._last_step = None if limit is None else self._step + limit
        self._dispatching = dispatching
        self._ended = None
        self._raised = None
        self._executing = None
        base = self.code_base
        end = (1 << 64) - 1 if self.end is None else self.end + base
        if self.end is not None and self.pc == self.end:
            return self._stop(StopReason.END)
        failure = None
        try:
            self._uc.emu_start(self.pc + base if self.bits == 16 else self.pc, end)
        except self._library.UcError as error:
            failure = error
        if self._executing is not None and self.pc + base != self._executing:
            self._complete()
        if self._raised is not None:
            raised, self._raised = self._raised, None
            try:
                raise raised
            finally:
                # The traceback knows this frame, and would keep the exception alive.
                del raised
        if self._ended is not None:
            reason, hits = self._ended
            return self._stop(reason, hits)
        if failure is not None:
            # The instruction did not complete.
            self._executing = None
            self._messages.append(f"{failure} at {self.pc:#x}")
            return self._stop(StopReason.ERROR)
        self._complete()
        if self._stopping:
            return self._stop(StopReason.BREAK)
        if self._last_step is not None and self._step >= self._last_step:
            return self._stop(StopReason.STEPS)
        return self._stop(StopReason.END)

    def _complete(self) -> None:
        """The instruction that has begun is complete."""
        if self._executing is not None:
            if self._observer is not None:
                self._observer(self._executing, self._executing_bytes)
            self._executing = None
            self._step += 1

    def _on_instruction(self, _uc: Any, address: int, size: int, _data: object) -> None:
        try:
            self._arrive(address, size)
        except BaseException as error:  # it goes through C, and out of run()
            self._raised = error
            self._uc.emu_stop()

    def _end(self, reason: StopReason, hits: list[Handle] | None = None) -> None:
        self._ended = (reason, hits or [])
        self._uc.emu_stop()

    def _arrive(self, linear: int, size: int) -> None:
        if self._raised is not None or self._ended is not None:
            # A callback of the instruction before has raised; or it was told to stop and is told again.
            self._complete_before(linear)
            self._uc.emu_stop()
            return
        if self._executing == linear and self._goes_on(linear, size):
            return
        self._complete()
        if self._stopping:
            self._end(StopReason.BREAK)
            return
        if self._last_step is not None and self._step >= self._last_step:
            self._end(StopReason.STEPS)
            return
        if size == _UNDECODABLE or size > _LONGEST:
            self._messages.append(f"no instruction at {self.pc:#x}")
            self._end(StopReason.ERROR)
            return
        if self._dispatching and len(self.breakpoints):
            called = self._meet(linear, size)
            if self._stopping:
                self._end(StopReason.BREAK, called)
                return
        if self._observer is not None:
            # It may change itself.
            self._executing_bytes = self.read_memory(linear, size)
        self._executing = linear

    def _complete_before(self, linear: int) -> None:
        if self._executing is not None and self._executing != linear:
            self._complete()

    def _goes_on(self, linear: int, size: int) -> bool:
        """Unicorn tells of each turn of a repeated instruction, and twice of one that changes its block."""
        if size == _UNDECODABLE or size > _LONGEST:
            return False
        text = disassemble(self.read_memory(linear, size), linear, _MODES[self.bits])
        return not text.startswith(("j", "loop", "call", "ret", "iret"))

    def _meet(self, linear: int, size: int) -> list[Handle]:
        virtual = linear - self.code_base
        last = size - 1
        near = [
            handle
            for handle in self.breakpoints
            if (at := linear if handle.flags & BreakpointFlags.LINEAR else virtual) <= handle.last
            and at + last >= handle.first
        ]
        if not near:
            return []
        opcode = self.read_memory(linear, size)
        question = Question(opcode, disassemble(opcode, virtual, _MODES[self.bits]))
        members = [handle for handle in near if handle.verdict(self, question)]
        if self.code_base == 0:
            return dispatch(self, members, virtual, size)
        called = []
        for handle in members:
            at = linear if handle.flags & BreakpointFlags.LINEAR else virtual
            called += dispatch(self, [handle], at, size)
        return called

    def _on_access(self, _uc: Any, access: int, address: int, size: int, value: int, _data: object) -> None:
        if not len(self.data_breakpoints) or self._raised is not None or not self._dispatching:
            return
        kind = "write" if access == self._library.UC_MEM_WRITE else "read"
        try:
            for handle in self.data_breakpoints:
                if handle.access != kind or address > handle.last or address + size - 1 < handle.first:
                    continue
                if kind == "write":
                    handle.meet(self, address, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))
                else:
                    handle.meet(self, address, size)
        except BaseException as error:  # it comes out behind the instruction
            self._raised = error


class _Errors:
    """Turns Unicorn's errors about arguments into ours."""

    def __init__(self, library: Any) -> None:
        self._error = library.UcError

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, self._error):
            raise InvalidArgument(f"Unicorn says: {error}") from error
