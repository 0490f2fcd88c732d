"""True call stacks of a stepped program, from stack pointers and never from addresses that are returned to.

The stepper writes down the stack pointer before each instruction where ``ODOGRAPH_STACK_POINTERS`` names a
directory. A call puts its entry at the address that the stack pointer has behind it; the entry is gone when
the stack pointer has risen above that. Ranges of memory that the program prints ("stack FIRST LAST") are
stacks of their own, and everything else is the first one. Between an instruction that loads the stack
pointer and the branch that follows, the stack is that from before. A return address that was popped into a
register is on the stack until the jump to that register. A call whose function pops at once what it pushed,
or overwrites it with where a thunk is to go, is none.
"""

from __future__ import annotations

import bisect
import enum
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from odograph import History
from odograph.frame import Found, Frame, Stack

__all__ = ["TrueStacks", "Verdict", "compare", "judge", "record_with_pointers", "returned_to"]

_SIGNAL = (1 << 64) - 1
_OTHER, _CALL, _RETURN, _JUMP, _FAR_CALL = 1, 2, 3, 4, 6


def record_with_pointers(
    command: list[str], folder: Path
) -> tuple[Path, dict[int, Path], list[tuple[int, int]]]:
    """Records a program by single steps: the recording, stack pointers by thread, the stacks it printed."""
    recording = folder / "stacks.perf"
    line = [
        sys.executable,
        "-m",
        "odograph",
        "record",
        "--with",
        "ptrace",
        "-o",
        str(recording),
        "--",
        *command,
    ]
    environment = {**os.environ, "ODOGRAPH_STACK_POINTERS": str(folder)}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300, check=True)
    words = [text.split() for text in done.stdout.splitlines() if text.startswith("stack ")]
    pointers = {int(path.stem): path for path in folder.glob("*.pointers")}
    return recording, pointers, [(int(first), int(last)) for _, first, last in words]


class Entry(NamedTuple):
    """A frame around the innermost one: where in memory it was noted, and where it goes on."""

    slot: int
    address: int
    is_signal: bool
    #: The stack that a handler on a stack of its own interrupted.
    interrupted: int | None = None


class TrueStacks:
    """The true stacks of one thread: ``frames[step]`` are the frames around the innermost one, the innermost
    first, each an address and whether it was interrupted there. ``before``: a thread that ended before, and
    left stacks that this one may run.
    """

    def __init__(
        self,
        history: History,
        pointers: Path,
        stacks: list[tuple[int, int]],
        before: TrueStacks | None = None,
    ) -> None:
        self._ranges = sorted(stacks)
        self._firsts = [first for first, _ in self._ranges]
        #: Entries by stack, the oldest first; -1 is the stack the thread began with.
        self._entries: dict[int, list[Entry]] = {}
        if before is not None:
            self._entries.update((at, list(of)) for at, of in before._entries.items() if at != -1)
        self.frames: list[tuple[tuple[int, bool], ...]] = []
        self._follow(history, pointers)

    def _stack_of(self, pointer: int) -> int:
        at = bisect.bisect_right(self._firsts, pointer) - 1
        return at if at >= 0 and pointer <= self._ranges[at][1] else -1

    def _follow(self, history: History, path: Path) -> None:
        events = _events(path)
        waiting: int | None = None
        now: tuple[tuple[int, bool], ...] = ()
        changed, popped = True, False
        # The step of the last pop into each register since the last branch.
        pops: dict[int, int] = {}
        for ip, raw, iclass in _instructions(history):
            # Signals and repetitions stand between.
            for address, pointer in events:
                if address == _SIGNAL:
                    waiting = pointer
                    continue
                if waiting is not None:
                    self._interrupt(waiting, pointer)
                    waiting, changed = None, True
                if not self._loaded:
                    # It may be interrupted before it is executed.
                    changed |= self._rise(self._stack_of(pointer), pointer)
                if address == ip:
                    break
            else:
                raise AssertionError(f"no stack pointer is known of {ip:#x}, step {len(self.frames)}")
            stack = self._stack_of(pointer)
            if not self._loaded:
                changed |= stack != self._current
                self._current = stack
            if changed:
                now = self._listed(stack if not self._loaded else self._current)
                changed = False
            self.frames.append(now)
            if popped and (_pops(raw) or _overwrites(raw)):
                self.frames[-1] = self.frames[-2]
            if (register := _jumps_to(raw)) in pops:
                first = pops[register]
                self.frames[first + 1 :] = [self.frames[first]] * (len(self.frames) - first - 1)
            if iclass != _OTHER:
                pops.clear()
            elif (register := _popped(raw)) is not None:
                pops[register] = len(self.frames) - 1
            if popped and _overwrites(raw):
                self._entries[stack].pop()
                changed = True
            popped = iclass == _CALL
            if iclass == _CALL and not _asks_where(raw):
                slot = pointer - 8
                entries = self._entries.setdefault(stack, [])
                entries.append(Entry(slot, ip + len(raw), False))
                changed = True
            if _loads(raw):
                self._loaded = True
            elif iclass in (_CALL, _RETURN, _JUMP):
                self._loaded = False

    _loaded = False
    _current = -1

    def _rise(self, stack: int, pointer: int) -> bool:
        entries = self._entries.get(stack, [])
        before = len(entries)
        while entries and entries[-1].slot < pointer:
            entries.pop()
        return len(entries) != before

    def _interrupt(self, interrupted: int, pointer: int) -> None:
        stack, before = self._stack_of(pointer), self._current
        if stack != before:
            self._entries[stack] = []
        # The return address of the handler lies on top; it is gone when the handler's system call is.
        other = before if stack != before else None
        self._entries.setdefault(stack, []).append(Entry(pointer + 8, interrupted, True, other))
        self._loaded = False
        self._current = stack

    def _listed(self, stack: int) -> tuple[tuple[int, bool], ...]:
        found = []
        while True:
            entries = self._entries.get(stack, [])
            found += [(entry.address, entry.is_signal) for entry in reversed(entries)]
            if not entries or entries[0].interrupted is None:
                return tuple(found)
            stack = entries[0].interrupted


def _events(path: Path) -> Iterator[tuple[int, int]]:
    yield from struct.iter_unpack("<QQ", path.read_bytes())


def _instructions(history: History) -> Iterator[tuple[int, bytes, int]]:
    for start in range(0, len(history), 1 << 14):
        for row in history.instructions(start, start + (1 << 14)):
            yield row["ip"], row["raw"], row["iclass"]


def _loads(raw: bytes) -> bool:
    """mov to the stack pointer from memory or a register that does not survive calls; xchg; pop."""
    code = raw[1:] if 0x40 <= raw[0] <= 0x4F else raw
    rex = raw[0] if code is not raw else 0
    if code[0] == 0x5C and not rex & 1:
        return True
    if len(code) < 2 or code[0] not in (0x8B, 0x89, 0x87):
        return False
    mode, reg, base = code[1] >> 6, (code[1] >> 3 & 7) | (rex << 1 & 8), (code[1] & 7) | (rex << 3 & 8)
    saved = (3, 5, 12, 13, 14, 15)
    if code[0] == 0x8B:
        return reg == 4 and not (mode == 3 and base in saved)
    if code[0] == 0x89:
        return mode == 3 and base == 4 and reg not in saved
    return mode == 3 and 4 in (reg, base)


def _pops(raw: bytes) -> bool:
    return _popped(raw) is not None


def _popped(raw: bytes) -> int | None:
    """The register that is popped, if it is not the stack pointer."""
    code = raw[1:] if 0x40 <= raw[0] <= 0x4F else raw
    if not 0x58 <= code[0] <= 0x5F or code[0] == 0x5C:
        return None
    return (code[0] & 7) | (8 if code is not raw and raw[0] & 1 else 0)


def _jumps_to(raw: bytes) -> int | None:
    """The register that holds where an indirect jump goes."""
    code = raw[1:] if 0x40 <= raw[0] <= 0x4F else raw
    if len(code) != 2 or code[0] != 0xFF or not 0xE0 <= code[1] <= 0xE7:
        return None
    return (code[1] & 7) | (8 if code is not raw and raw[0] & 1 else 0)


def _overwrites(raw: bytes) -> bool:
    """mov of a register to where the return address is."""
    return (
        len(raw) == 4 and raw[0] in (0x48, 0x4C) and raw[1] == 0x89 and raw[2] & 0xC7 == 4 and raw[3] == 0x24
    )


def _asks_where(raw: bytes) -> bool:
    """A call of what comes next."""
    return raw == b"\xe8\x00\x00\x00\x00"


def compare(history: History, truth: TrueStacks, steps: list[int]) -> dict[str, Any]:
    """How many stacks are right, wrong though sure, and wrong where they say that they may be."""
    right = unsure = 0
    wrong = []
    for step in steps:
        true = [Frame(0), *(Frame(address, is_return=not signal) for address, signal in truth.frames[step])]
        verdict = judge(history.stack(step), true)
        right += verdict is Verdict.RIGHT
        unsure += verdict is Verdict.UNSURE
        if verdict is Verdict.WRONG:
            wrong.append(step)
    return {"right": right, "unsure": unsure, "wrong": wrong}


class Verdict(enum.Enum):
    """What a stack is worth."""

    RIGHT = enum.auto()
    #: Some frames are guesses or missing, and the stack says so.
    UNSURE = enum.auto()
    WRONG = enum.auto()


def returned_to(stack: Sequence[Frame]) -> Stack:
    """The same without functions that left by a jump: those have nothing on the stack."""
    end = stack.end if isinstance(stack, Stack) else "bottom"
    return Stack([frame for frame in stack if frame.found is not Found.TAIL_CALL], end)


def judge(stack: Stack, true: Sequence[Frame]) -> Verdict:
    """Compares a stack with all frames of the true one, the innermost frame of which does not matter.

    Frames before the first guess must be the true ones; a stack whose end was seen must have all of them. The
    first function of a stack that a program made may return to something that called nothing: that may be
    listed, too. Jumps that one of them does not know of are left out of both.
    """
    stack, true = returned_to(stack), returned_to(true)
    found = [(frame.address, frame.is_return) for frame in stack[1:]]
    wanted = [(frame.address, frame.is_return) for frame in true[1:]]
    sure = next((at for at, frame in enumerate(stack[1:]) if frame.is_guess), len(found))
    if found[:sure] != wanted[:sure] and found[: sure - 1] != wanted:
        return Verdict.WRONG
    if sure < len(found):
        return Verdict.RIGHT if found == wanted else Verdict.UNSURE
    if sure < len(wanted):
        return Verdict.WRONG if stack.is_complete else Verdict.UNSURE
    return Verdict.RIGHT
