"""What valgrind's callgrind says of a program's calls and costs, and where a recording says something else.

Functions of the program's own file are compared by their addresses. What callgrind counts by other rules is a
closed list: :class:`Kind`.
"""

from __future__ import annotations

import bisect
import enum
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import odograph
from odograph import History
from odograph.views import function_costs
from odograph.views.costs import merged_costs

__all__ = ["CallCost", "Difference", "File", "Kind", "callgrind", "callgrind_by_name", "differences"]

Key = tuple[str, str]
"""A file and a function in it: in the program's own file "" and its first name there."""


class Kind(enum.Enum):
    """Why callgrind's number may differ. Each has a minimal program in ``test_costs_judged.py``."""

    RECURSION = "callgrind adds up calls that are open inside each other"
    LIBRARY = "libraries choose their code by processor, and the loader's work differs"
    HANDLER = (
        "callgrind's handlers are not called, not below what they interrupted, and end before they return"
    )
    SWITCH = "callgrind takes a switch to another stack for a call"
    THUNK = "a thunk is a part of the call through it, and callgrind's own function"
    NO_SIZE = "callgrind sees no call between functions whose symbols have no size"
    FAULT = "callgrind counts nothing of a block that ends with a fault"
    FORK = "callgrind's child begins with what its parent had counted"


@dataclass(slots=True)
class CallCost:
    """What callgrind says of a function: instructions of its own and with its callees, and calls of it."""

    own: int = 0
    inclusive: int = 0
    callers: Counter[Key] = field(default_factory=Counter)
    """Calls by caller."""
    callees: set[Key] = field(default_factory=set)
    reached: set[Key] = field(default_factory=set)
    """Its callees and theirs."""

    @property
    def calls(self) -> int:
        return sum(self.callers.values())


class File:
    """A program's file: which function an address in it belongs to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._symbols: dict[int, str] = {}
        self.sized: set[str] = set()
        """Functions whose symbols have a size."""
        for line in _said("nm", "-S", "--defined-only", path):
            found = re.fullmatch(r"(\w+) (?:(\w+) )?([tTwWiuV]) (.*)", line)
            if found is not None:
                name = self._symbols.setdefault(int(found[1], 16), found[4])
                self.sized |= {name} if found[2] is not None else set()
        self._starts = sorted(self._symbols)
        self.has_thunks = any("pause" in line for line in _said("objdump", "-d", path))
        """Whether it has code that only thunks have."""
        self._text = range(0)
        self._stubs: list[range] = []
        for line in _said("readelf", "-SW", path):
            found = re.search(r"\] (\.plt\S*|\.text) +\S+ +(\w+) +\w+ +(\w+)", line)
            if found is not None:
                start = int(found[2], 16)
                section = range(start, start + int(found[3], 16))
                if found[1] == ".text":
                    self._text = section
                else:
                    self._stubs.append(section)

    def key(self, address: int) -> Key:
        """The function; code that a compiler put elsewhere belongs to the one that jumps there."""
        if any(address in stubs for stubs in self._stubs):
            return "stub", ""
        if address not in self._text:
            return "start", ""
        name = self._symbols[self._starts[bisect.bisect_right(self._starts, address) - 1]]
        if re.match(r"__x86_.*_thunk", name):
            return "thunk", ""
        return "", re.sub(r"\.cold(\.\d+)?$", "", name)

    def begins(self, address: int) -> bool:
        """Whether a function begins there."""
        return not self._symbols.get(address, ".cold").endswith(".cold")

    def repeated(self) -> dict[int, int]:
        """Instructions that repeat themselves, and those before them."""
        found: dict[int, int] = {}
        before = 0
        for line in _said("objdump", "-dw", "--no-show-raw-insn", self.path):
            at = re.match(r" *([0-9a-f]+):\t(\S+)", line)
            if at is not None:
                if at[2] in ("rep", "repz", "repnz") and not re.search(r"\bret", line):
                    found[int(at[1], 16)] = before
                before = int(at[1], 16)
        return found


def _said(*words: object) -> list[str]:
    run = subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True)
    return run.stdout.splitlines()


def callgrind(command: Sequence[object], folder: Path, file: File) -> dict[Key, CallCost]:
    """What callgrind says of a run of a program: its functions, and those of libraries by file and name."""
    return parsed(ran(command, folder)[0], file)


def ran(command: Sequence[object], folder: Path) -> list[Path]:
    """Runs a program below callgrind, however it ends. What was written: of the program, then of children."""
    line = [
        "valgrind",
        "--tool=callgrind",
        f"--callgrind-out-file={folder}/callgrind.%p",
        "--trace-children=yes",
    ]
    line += ["--dump-instr=yes", "--compress-pos=no", "--compress-strings=no", "--demangle=no"]
    line += ["--separate-recs=1", "--skip-plt=no", "--show-below-main=yes", "--smc-check=all"]
    line += [str(word) for word in command]
    subprocess.run(line, check=False, capture_output=True, timeout=300)
    written = folder.glob("callgrind.*[0-9]")
    return sorted(written, key=lambda path: int(path.suffix[1:]))


def parsed(path: Path, file: File) -> dict[Key, CallCost]:
    costs: dict[Key, CallCost] = {}
    executed: Counter[int] = Counter()
    ob = name = cob = cfn = ""
    called: tuple[int, int] | None = None
    for line in path.read_text().splitlines():
        word, _, value = line.partition("=")
        if word == "ob":
            ob = value
        elif word == "fn":
            name = value
        elif word == "cob":
            cob = value
        elif word == "cfn":
            cfn = value
        elif word == "calls":
            count, target, *_ = value.split()
            called = int(count), int(target, 16)
        elif line.startswith("0x"):
            place, _, amount = line.split()
            address, cost = int(place, 16), int(amount)
            here = file.key(address) if ob == str(file.path) else (Path(ob).name, name.split("'")[0])
            of = costs.setdefault(here, CallCost())
            if called is None:
                of.own += cost
                if ob == str(file.path):
                    executed[address] += cost
            else:
                count, target = called
                mine = (cob or ob) == str(file.path)
                callee = file.key(target) if mine else (Path(cob or ob).name, cfn.split("'")[0])
                if callee != here or (mine and file.begins(target)):
                    to = costs.setdefault(callee, CallCost())
                    if not mine or file.begins(target) or callee[0]:
                        to.callers[here] += count
                    of.callees.add(callee)
                if callee != here:
                    of.inclusive += cost
                called, cob = None, ""
    for address, before in file.repeated().items():
        costs.setdefault(file.key(address), CallCost()).own -= executed[address] - executed[before]
    for key, of in costs.items():
        of.inclusive += of.own
        of.reached = _reached(costs, key)
    return costs


def callgrind_by_name(program: Path, folder: Path) -> dict[str, CallCost]:
    """The functions of the program's own file, by name."""
    costs = callgrind([program], folder, File(program))
    return {name: cost for (module, name), cost in costs.items() if not module}


def _reached(costs: dict[Key, CallCost], key: Key) -> set[Key]:
    found: set[Key] = set()
    pending = list(costs[key].callees)
    while pending:
        callee = pending.pop()
        if callee not in found:
            found.add(callee)
            pending += costs[callee].callees
    return found


@dataclass(slots=True)
class _Ours:
    """What a recording says of a function."""

    own: int = 0
    inclusive: int = 0
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """A number that is not callgrind's."""

    function: str
    what: str
    judged: int
    found: int
    kind: Kind | None

    def __str__(self) -> str:
        why = "no reason known" if self.kind is None else self.kind.name
        return f"{self.function}: {self.what} {self.found:,}, callgrind {self.judged:,} ({why})"


_BLOCK = 50
"""The most instructions without a branch that are expected here."""
_SWITCHES = frozenset({"swapcontext", "setcontext", "__start_context", "switch_to"})


def costs_of(histories: Iterable[History], file: File) -> dict[Key, _Ours]:
    lists = [function_costs(history.functions(), history.symbols) for history in histories]
    found: dict[Key, _Ours] = {}
    for row in merged_costs(lists):
        key = (
            file.key(row.offset)
            if row.module == file.path.name
            else (row.module or "elsewhere", row.name or "?")
        )
        of = found.setdefault(key, _Ours())
        of.own, of.calls, of.inclusive = of.own + row.own, of.calls + row.calls, of.inclusive + row.inclusive
    return found


@dataclass(slots=True)
class _Odd:
    """Functions whose calls begin or end otherwise than by calls and returns."""

    handlers: Counter[Key] = field(default_factory=Counter)
    """Calls by interrupts."""
    interrupted: set[Key] = field(default_factory=set)
    """Were on the stack meanwhile."""
    left_open: set[Key] = field(default_factory=set)
    """The innermost ones at the ends of threads."""


def _odd(histories: Iterable[History], file: File) -> _Odd:
    odd = _Odd()
    for history in histories:
        symbols, pairs, paths = history.symbols, history.pairs(), history.calls()
        assert symbols is not None

        def key(ip: int, symbols: odograph.Symbols = symbols) -> Key:
            module = symbols.module_of(ip)
            is_own = module is not None and module.name == file.path.name
            return file.key(module.inside(ip)) if module is not None and is_own else ("elsewhere", "")

        callees = np.asarray(pairs["callee"])
        entries = callees[np.asarray(pairs["kind"]) == "interrupt"].tolist()
        odd.handlers.update(key(ip) for ip in entries)
        odd.left_open.update(key(ip) for ip in callees[np.asarray(pairs["end"]) < 0][-1:].tolist())
        ips, parents = paths["ip"].tolist(), paths["parent"].tolist()
        for row in np.flatnonzero(np.isin(paths["ip"], entries)).tolist():
            while row := parents[row]:
                odd.interrupted.add(key(ips[row]))
    return odd


def differences(
    histories: Sequence[History],
    judged: dict[Key, CallCost],
    file: File,
    parents: Sequence[History] = (),
) -> tuple[list[Difference], int]:
    """Where the program's own functions differ, and how many numbers were compared and are the same.

    ``histories`` are those of a process, ``parents`` those of the one that made it.
    """
    found = costs_of(histories, file)
    why = _Reasons(judged, found, file, _odd(histories, file), costs_of(parents, file))
    same, said = 0, []
    for key in sorted(judged.keys() | found.keys()):
        if key[0]:
            continue
        theirs, ours = judged.get(key, CallCost()), found.get(key, _Ours())
        for what, number, expected in (
            ("calls", ours.calls, theirs.calls),
            ("own", ours.own, theirs.own),
            ("inclusive", ours.inclusive, theirs.inclusive),
        ):
            if number == expected:
                same += 1
            else:
                kind = getattr(why, what)(key, theirs, number)
                before = getattr(why.before.get(key, _Ours()), what)
                if kind is None and number < expected <= number + before:
                    kind = Kind.FORK
                said.append(Difference(key[1], what, expected, number, kind))
    return said, same


@dataclass(frozen=True, slots=True)
class _Reasons:
    """Knows why a number may be another one than callgrind's; None if it may not."""

    judged: dict[Key, CallCost]
    found: dict[Key, _Ours]
    file: File
    odd: _Odd
    before: dict[Key, _Ours]
    """What the process that made this one executed."""

    def calls(self, key: Key, theirs: CallCost, number: int) -> Kind | None:
        if key in self.odd.left_open and number == theirs.calls + 1:
            return Kind.FAULT
        if number == theirs.calls + self.odd.handlers[key]:
            return Kind.HANDLER
        if key[1] not in self.file.sized:
            return Kind.NO_SIZE
        return Kind.THUNK if self.file.has_thunks else None

    def own(self, key: Key, theirs: CallCost, number: int) -> Kind | None:
        # What a handler returns to asks the kernel to go back: two instructions.
        if number == theirs.own + 2 * self.odd.handlers[key]:
            return Kind.HANDLER
        if key in self.odd.left_open and theirs.own < number <= theirs.own + _BLOCK:
            return Kind.FAULT
        return Kind.THUNK if self.file.has_thunks else None

    def inclusive(self, key: Key, theirs: CallCost, number: int) -> Kind | None:
        if any(callee[1] in _SWITCHES for callee in (*theirs.reached, *theirs.callers)):
            return Kind.SWITCH
        if key in self.odd.interrupted and number > theirs.inclusive:
            return Kind.HANDLER
        if key[1] not in self.file.sized:
            return Kind.NO_SIZE
        if any(_differs(self.judged, self.found, callee) for callee in theirs.reached):
            return Kind.LIBRARY
        if key in theirs.reached:
            return Kind.RECURSION
        own = self.found[key].own if key in self.found else 0
        if number - theirs.inclusive == own - theirs.own:
            return self.own(key, theirs, own)
        return Kind.THUNK if self.file.has_thunks else None


def _differs(judged: dict[Key, CallCost], found: dict[Key, _Ours], key: Key) -> bool:
    """Whether code outside of the program's file executed otherwise."""
    if not key[0]:
        return False
    ours = found.get(key)
    return ours is None or (ours.own, ours.calls) != (judged[key].own, judged[key].calls)
