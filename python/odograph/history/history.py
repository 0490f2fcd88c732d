"""The history: every instruction that was executed, in order.

This file is long because it holds one class, with all that users ask a history. Each method is a few lines
that hand the question to a pass in Rust; what the answers mean is in the docstrings.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from odograph._native import RawCode, RawEntries, RawHistory, save_history
from odograph.code.image import Asid
from odograph.errors import AmbiguousName, InvalidArgument, UnsupportedOperation
from odograph.history.instruction import ExecMode, Gap, Instruction, InstructionClass, gap_of
from odograph.history.search import Where, has_names, wanted
from odograph.history.selection import ALL_ROWS, QUESTIONS, Answers, Coverage, Question, Rows, Selection
from odograph.table import Table

if TYPE_CHECKING:
    import numpy as np

    from odograph.frame import Stack
    from odograph.history.callstacks import CallStacks, UnwindTables
    from odograph.history.index import IndexUse
    from odograph.symbols import Epoch, Symbols

__all__ = ["ENTRY", "NO_CLOCK", "History", "Span"]


#: Why there may be no times.
NO_CLOCK = (
    "a trace by itself needs nom_freq, and recordings by QEMU or ptrace have no processor clock; use steps"
)

#: The name of what an index holds for a trace that was decoded by itself.
ENTRY = "trace"


@dataclass(frozen=True, slots=True)
class Span:
    """Steps from ``start`` to ``stop`` (not included) with the same names.

    ``symbols`` are those names, None without a recording. ``is_program`` says that another
    program than before begins there, and not only another library in the place of one.
    """

    start: int
    stop: int
    symbols: Symbols | None
    is_program: bool


class History(Sequence[Instruction]):
    """A sequence of the executed instructions, each a step.

    It keeps no row per instruction: questions walk the trace again from the nearest checkpoint, in
    native code and without the interpreter lock. The trace given to :func:`decode` must not change
    while its history lives.

    Example::

        >>> history = odograph.decode(trace, image)
        >>> len(history), history[-1].text
        (7, 'ret')
        >>> history.find(0x401000).tolist()
        [0, 2, 4]
        >>> history.counts()["count"].tolist()
        [3, 3, 1]
    """

    first_step: int
    """Instructions before it, if it is a part of a :class:`~odograph.LiveTrace`; else 0."""
    offset: int
    """Trace offset of its first byte, if it is a part of a :class:`~odograph.LiveTrace`; else 0."""

    def __init__(
        self,
        raw: RawHistory,
        symbols: Callable[[], Symbols] | None = None,
        index_use: IndexUse | None = None,
        *,
        first_step: int = 0,
        offset: int = 0,
        epochs: Callable[[], Sequence[Epoch]] | None = None,
        programs: Callable[[], Sequence[int]] | None = None,
        functions: Callable[[], RawEntries] | None = None,
        whole: tuple[History, int] | None = None,
        is_first: bool = False,
    ) -> None:
        self._raw = raw
        self._find_programs = programs
        self._find_functions = functions
        # The first step is the first one of its thread, as is known without looking at it.
        self._is_first = is_first
        # The history that this is a part of, and where in it.
        self._whole = whole
        self.first_step = first_step
        self.offset = offset
        self._len: int = raw.steps
        self._find_symbols = symbols
        self._find_epochs = epochs
        #: Whether it was loaded from an index, and if not, why; None if none was given.
        self.index_use = index_use

    def save(self, path: str | os.PathLike[str]) -> None:
        """Saves an index for :func:`decode`, which then has nothing to decode.

        For histories that :func:`decode` gave; ``Recording.save_index`` saves those of a recording. Raises
        :class:`~odograph.UnsupportedOperation` for others, and where a callback gave memory or sizes of
        packets; OSError if the file cannot be written.
        """
        from odograph.history.index import write_index

        if self._find_symbols is not None:
            raise UnsupportedOperation("this is a history of a recording: use Recording.save_index")
        write_index(path, {ENTRY: save_history(self._raw)})

    @property
    def symbols(self) -> Symbols | None:
        """Names of the code, if the history is one of a recording: of all that was mapped at any time.

        Where several files lay at one address, one after the other, the last one counts: see :attr:`spans`.
        """
        return None if self._find_symbols is None else self._find_symbols()

    @cached_property
    def spans(self) -> list[Span]:
        """The steps between which names stay the same, in order. They cover all steps; only an empty history
        has none.
        """
        if self._whole is not None:
            whole, before = self._whole
            return [
                Span(
                    max(one.start - before, 0), min(one.stop - before, self._len), one.symbols, one.is_program
                )
                for one in whole.spans
                if one.start < before + self._len and before < one.stop
            ]
        epochs = () if self._find_epochs is None else self._find_epochs()
        if len(epochs) < 2:
            return [Span(0, self._len, self.symbols, True)] if self._len else []
        starts = [0, *(self._raw.at_tsc(epoch.tsc) for epoch in epochs[1:]), self._len]
        found: list[Span] = []
        is_program = True
        for epoch, start, stop in zip(epochs, starts, starts[1:], strict=False):
            is_program = is_program or epoch.is_program
            if start < stop:
                found.append(Span(start, stop, epoch.symbols, is_program or not found))
                is_program = False
        return found

    def symbols_at(self, step: int) -> Symbols | None:
        """Names of the code at a step, if the history is one of a recording; behind the last one as there."""
        spans = self.spans
        if not spans:
            return self.symbols
        at = bisect_right(spans, step, key=lambda span: span.start) - 1
        return spans[max(at, 0)].symbols

    def __len__(self) -> int:
        return self._len

    @overload
    def __getitem__(self, index: int) -> Instruction: ...
    @overload
    def __getitem__(self, index: slice) -> list[Instruction]: ...
    def __getitem__(self, index: int | slice) -> Instruction | list[Instruction]:
        """The instruction at a step, or a list of them; IndexError out of range."""
        if isinstance(index, slice):
            start, stop, stride = index.indices(self._len)
            if stride == 1:
                return self._instructions(start, max(stop, start))
            steps = range(start, stop, stride)
            if not steps:
                return []
            low, high = min(steps), max(steps)
            if (high - low) <= 64 * len(steps):
                window = self._instructions(low, high + 1)
                return [window[step - low] for step in steps]
            return [self._instructions(step, step + 1)[0] for step in steps]
        try:
            step = index.__index__()
        except AttributeError:
            raise TypeError(f"a step is an int or a slice, not {type(index).__name__}") from None
        if step < 0:
            step += self._len
        if not 0 <= step < self._len:
            raise IndexError(f"step {index} is not among the {self._len} of this history")
        return self._instructions(step, step + 1)[0]

    def __iter__(self) -> Iterator[Instruction]:
        for start in range(0, self._len, 4096):
            yield from self._instructions(start, min(start + 4096, self._len))

    def _instructions(self, start: int, stop: int) -> list[Instruction]:
        table = Table(self._raw.instructions(start, stop))
        return [
            Instruction(
                step=row["step"],
                ip=row["ip"],
                size=row["size"],
                raw=row["raw"],
                iclass=InstructionClass(row["iclass"]),
                mode=ExecMode(row["mode"]),
                asid=Asid(row["cr3"], row["vmcs"]),
                isid=row["isid"],
                time=row["time"],
                speculative=row["speculative"],
                truncated=row["truncated"],
            )
            for row in table
        ]

    def _range(self, start: int | None, stop: int | None) -> tuple[int, int]:
        first, last, _ = slice(start, stop).indices(self._len)
        return first, max(first, last)

    def part(self, start: int | None = None, stop: int | None = None) -> History:
        """Some steps as a history of its own, by Python's slice rules: its steps count from 0.

        Nothing is copied or decoded. Events and gaps belong to the step they come before; those behind the
        last step of the whole history to a part that ends there.
        """
        first, last = self._range(start, stop)
        whole, before = (self, 0) if self._whole is None else self._whole
        return History(self._raw.part(first, last), self._find_symbols, whole=(whole, before + first))

    def between(self, start_ns: int, stop_ns: int) -> History:
        """What ran from one time to another in ns, as a history of its own; the first time is included.

        Raises :class:`~odograph.InvalidArgument` if no clock is known.
        """
        start = self.at_time(start_ns)
        return self.part(start, max(start, self.at_time(stop_ns)))

    def ips(self, start: int = 0, stop: int | None = None) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """Addresses of the steps ``start`` to ``stop`` (exclusive), by Python's slice rules."""
        import numpy as np

        first, last = self._range(start, stop)
        ips = np.empty(max(last - first, 0), dtype=np.uint64)
        self._raw.write_ips(first, ips.data)
        return ips

    def instructions(self, start: int | None = None, stop: int | None = None) -> Table:
        """The instructions as a table, by Python's slice rules.

        Columns: step, ip, raw, size, iclass, mode, cr3, vmcs, isid, time (ns), tsc, speculative,
        truncated.
        """
        return Table(self._raw.instructions(*self._range(start, stop)))

    def lines(
        self, start: int | None = None, stop: int | None = None, *, symbols: bool = False
    ) -> Iterator[str]:
        """The instructions as lines of text, by Python's slice rules, as ``odograph steps`` prints them.

        A line is the step, the address and the instruction; a ``*`` before the address says that it ran in a
        transaction that may have been aborted. Lines in brackets are events and gaps between the steps. With
        ``symbols``, functions are named where they begin or go on, and the targets of branches. Names from a
        recording may hold any character: see :func:`odograph.text.printable.printable`.
        """
        from odograph.history.listing import lines

        return lines(self, *self._range(start, stop), symbols)

    def blocks(self, start: int | None = None, stop: int | None = None) -> Table:
        """Blocks: instructions executed without a decision, an event or a change of section between them.

        Columns: step (of the first instruction), ip, end_ip (of the last), ninsn, iclass (of the
        last), mode, isid, time (ns), tsc, speculative.
        """
        return Table(self._raw.blocks(*self._range(start, stop)))

    def events(self) -> Table:
        """What happened besides instructions, in order.

        Columns: step (instructions executed before it), after (it belongs to the instruction just
        executed), kind (libipt's name), ip (where it binds; missing while nothing is traced), to
        (where execution went on), value (of the packet: CR3, payload, ratio, …), time (ns), tsc,
        lost_mtc and lost_cyc (what the time lacks: MTC packets since the last TSC that contradict the
        clock, CYC packets since the last MTC or TSC for which the processor's speed was not known),
        offset (of the packet), status_update (part of PSB+), resumed, detail (text).
        """
        return Table(self._raw.events())

    def gaps(self) -> list[Gap]:
        """Lost execution, in order, and notes of where some may be missing (:attr:`Gap.is_note`)."""
        return [gap_of(raw) for raw in self._raw.gaps()]

    @property
    def gap_count(self) -> int:
        """How many gaps there are, without making a list of them. Notes do not count."""
        return self._raw.gap_count()

    def gap_steps(self) -> array[int]:
        """The steps before which execution was lost, each once, ascending. Notes do not count."""
        return array("Q", self._raw.gap_steps())

    def gaps_before(self, first: int, last: int, limit: int, *, notes: bool | None = None) -> list[Gap]:
        """The gaps and notes before steps ``first`` to ``last``, both included; at most ``limit``.

        ``notes``: only notes (True), or only gaps (False).
        """
        return [gap_of(raw) for raw in self._raw.gaps(max(0, first), max(0, last), limit, notes)]

    def count_gaps_before(self, first: int, last: int, *, notes: bool | None = None) -> int:
        """How many gaps and notes stand before steps ``first`` to ``last``, both included.

        ``notes`` as for :meth:`gaps_before`.
        """
        return self._raw.count_gaps(max(0, first), max(0, last), notes)

    def gap_kinds(self, limit: int = 256) -> list[tuple[Gap, int, int]]:
        """The gaps and notes by cause, code and, where memory was missing, page.

        Each row is (the first one, number, bytes lost).
        After ``limit`` of them, pages are no longer told apart, and what is put together then has no ``ip``.
        """
        return [(gap_of(raw), count, lost) for raw, count, lost in self._raw.gap_kinds(limit)]

    def find(
        self,
        what: Where,
        start: int | None = None,
        stop: int | None = None,
        *,
        limit: int | None = None,
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Steps that execute something, in order.

        An address: the instruction that starts there. A name (``"main"``, ``"libc.so.6!malloc+4"``,
        ``"file.c:37"``): the instructions at its :meth:`~odograph.symbols.Symbols.addresses`, as they were at
        each step. A list or a set of addresses and names: the instructions that start at any of them.
        ``(first, last)``, addresses or names: any instruction of which a byte lies in that closed interval.
        ``limit`` stops after so many. Raises KeyError for an unknown name.
        """
        import numpy as np

        limit = (1 << 63) - 1 if limit is None else limit
        if limit < 0:
            raise InvalidArgument(f"limit must not be negative, not {limit}")
        begin, end = self._range(start, stop)
        found = [np.zeros(0, dtype=np.int64)]
        for first, last, (addresses, is_range) in self._wanted(what):
            first, last = max(begin, first), min(end, last)
            if first < last and limit > 0:
                steps = self._raw.find(addresses, is_range, first, last, limit)
                found.append(np.frombuffer(steps, dtype=np.int64))
                limit -= len(found[-1])
        return found[-1] if len(found) <= 2 else np.concatenate(found)

    def addresses(self, name: str) -> list[int]:
        """The addresses that a name means at any time, ascending; KeyError if it means none.

        At each step only those of :meth:`symbols_at` count, as :meth:`find` does it.
        """
        return sorted({at for *_, (addresses, _) in self._wanted(name) for at in addresses})

    def _wanted(self, what: Where) -> list[tuple[int, int, tuple[tuple[int, ...], bool]]]:
        """From step to step, which addresses are meant, and whether they are the ends of a range.

        Raises KeyError for a name that is known at no time.
        """
        if not has_names(what) or len(self.spans) < 2:
            names = self.symbols_at(0)
            return [(0, self._len, wanted(what, names))]
        found = []
        unknown: KeyError | None = None
        for span in self.spans:
            try:
                found.append((span.start, span.stop, wanted(what, span.symbols)))
            except AmbiguousName:
                # What is known at other steps would be half of the answer.
                raise
            except KeyError as error:
                unknown = unknown or error
        if unknown is not None and not found:
            raise unknown
        return found

    def elsewhere(self, address: int) -> str | None:
        """What :meth:`Symbols.elsewhere` says of an address that lies in no module at any time; else None."""
        said = [None if one.symbols is None else one.symbols.elsewhere(address) for one in self.spans]
        return said[0] if said and None not in said else None

    def counts(self, start: int | None = None, stop: int | None = None) -> Table:
        """How often each instruction was executed: columns ip (ascending) and count."""
        return self._asked("counts", start, stop)[0]

    def coverage(self, start: int | None = None, stop: int | None = None) -> Coverage:
        """How often each block, and each edge from one block to the next, was executed."""
        return Coverage(*self._asked("coverage", start, stop))

    def edges(self, start: int | None = None, stop: int | None = None) -> Table:
        """The edges of :meth:`coverage`: columns from, to and count."""
        return self.coverage(start, stop).edges

    def calls(self, start: int | None = None, stop: int | None = None) -> Table:
        """Call paths, parents before children; row 0 is what ran outside any call that was seen.

        Columns: parent (row of the caller's path), ip (entry of the callee), calls, own (instructions
        executed there without those of callees), own_time (the same in ns; see :meth:`functions`). What a
        path is, see :meth:`pairs`: handlers of signals lie below what they interrupted, and what a stack
        began with below row 0.
        """
        return self._asked("calls", start, stop)[0]

    def pairs(self, start: int | None = None, stop: int | None = None) -> Table:
        """Calls and their ends, one row a call, in order: what lies on :meth:`stack` when.

        Columns: call (step of the call), end (the last step before it was over, which is that of the return;
        -1 if the call is still open at the end), caller (address of the call), callee (address that was
        called), depth (calls of these steps open then on the same stack), kind, stack and inclusive
        (instructions executed while it was on :meth:`stack`).

        ``kind`` is ``call``; ``interrupt``, where a signal, an interrupt or a system call that is traced came
        (``call`` is the last step before it, -1 if there is none, ``caller`` the address at which execution
        is to go on, ``callee`` the handler); or ``stack``, where a stack begins that nothing called, as that
        of a coroutine does (``caller`` is the address of the branch to it); or ``tail``, where a function
        jumped to the entry of another one, which then returns for it (``caller`` is the address of the jump).
        Where no symbol and no call frame information knows a function, what was called anywhere in the whole
        history is an entry.
        Stubs of calls to other files and thunks are no calls: ``callee`` is what they lead to.

        ``stack`` is the number of the stack that the call lies on. A call that is no ``tail`` is on
        :meth:`stack` before the steps behind ``call``, up to ``end``, whenever its stack runs: see
        :meth:`switches`.

        After a longjmp or an exception calls end where the calls below them go on; those on a stack that is
        left for another one stay open. A call to code that is not traced ends where tracing goes on. Where
        it turns out later which of several stacks went on, the ends say what is known then. Only some 2**20
        open calls of a stack are remembered. Calls from before ``start`` have no row.
        """
        return self._asked("pairs", start, stop)[0]

    def switches(self, start: int | None = None, stop: int | None = None) -> Table:
        """From which step on which stack runs: columns step and stack, a number as in :meth:`pairs`.

        The first row is the stack that runs at ``start``.
        """
        return self._asked("pairs", start, stop)[1]

    def ask(self, *questions: Question, selection: Selection | None = None) -> Answers:
        """Answers several questions by one walk.

        A question is the name of a method that gives tables: ``"counts"``, ``"coverage"``, ``"functions"``,
        ``"calls"`` or ``"pairs"``. ``selection`` says of which steps, and which rows are wanted; what a row
        says does not depend on which others are. Raises :class:`~odograph.InvalidArgument` for any other
        question, for a selection of threads (use :meth:`Recording.ask <odograph.Recording.ask>`), and where
        the selection asks for times or names that are not known.
        """
        chosen = Selection() if selection is None else selection
        first, last = chosen.steps_of(self)
        rows = chosen.rows(self._find_symbols)
        return Answers(dict(zip(questions, self._tables(questions, first, last, rows), strict=True)))

    def _tables(
        self, questions: Sequence[Question], first: int, last: int, rows: Rows = ALL_ROWS
    ) -> list[list[Table]]:
        for question in questions:
            if question not in QUESTIONS:
                raise InvalidArgument(f"unknown question {question!r}; there are {', '.join(QUESTIONS)}")
        if not {"functions", "calls", "pairs"}.intersection(questions):
            found = self._raw.executions(questions, first, last, rows)
            return [[Table(table) for table in tables] for tables in found]
        whole, before = (self, 0) if self._whole is None else self._whole
        return whole._stacks.ask(questions, before + first, before + last, -before, rows)

    def _asked(self, question: Question, start: int | None, stop: int | None) -> list[Table]:
        return self._tables((question,), *self._range(start, stop))[0]

    def stack(self, step: int | None = None, *, limit: int = 1 << 16) -> Stack:
        """The call stack before the instruction of a step is executed, the innermost frame first.

        ``None``, or ``len(history)``: at the end, behind the last step; where the last thing that happened is
        an interrupt or a fault, the innermost frame is at what was interrupted. At most ``limit`` frames are
        listed.

        It comes of the calls and returns that were executed; no memory is needed. A return ends the
        innermost call that it goes back to, and those above it. A function that left by a jump to the entry
        of another one is listed (``Found.TAIL_CALL``, at the jump) as long as that, or what it jumped to in
        turn, has not returned: at most 64 of these on each call, the first ones. Calls and jumps that
        thunks (retpolines) and stubs make on the way to a function are not listed. Handlers of signals lie
        on what they interrupted. Stacks that a program leaves for another one (coroutines) are found again
        by the addresses they wait for. Frames that were there before the recording began are known if the
        program returned to them later; jumps before it are not. ``is_guess`` says that a frame may not be
        there, or that others may lie before it: after lost execution and calls that were not traced; where
        several stacks wait for the same address, until returns tell; and, in a history that does not begin
        where its thread did, after each switch to a stack that waited, for unseen stacks may wait,
        too. Where frames are missing behind the last one, ``Stack.end`` says so. A part of a history knows
        what the whole knows. The first question follows the whole history once; others look at little of
        it.
        Raises IndexError for a step out of range.
        """
        where = self._len if step is None else step + self._len if step < 0 else step
        if not 0 <= where <= self._len:
            raise IndexError(f"step {step} is not among the {self._len} of this history")
        if limit < 1:
            raise InvalidArgument(f"a stack has at least one frame, not {limit}")
        whole, before = (self, 0) if self._whole is None else self._whole
        last = self._last_address() if before + where == len(whole) else None
        return whole._stacks.at(before + where, limit, last)

    def seed(self, stack: Stack) -> None:
        """Takes the outer frames, which no trace shows, from a stack at the end of the history.

        For recordings that begin in the middle of a program: ``stack`` is that of a core of its end, for
        example, as ``odograph.unwind.open_core("core").stack(tid)`` gives it. Its frames around those that
        :meth:`stack` knows for sure are taken; at earlier steps they lie around those that returned since.
        That holds as far back as the same stack is known to have run: before a switch to another one, as of
        coroutines, they are guesses, or not listed. Raises :class:`~odograph.InvalidArgument` if the return
        addresses of the two do not fit.
        """
        whole = self if self._whole is None else self._whole[0]
        whole._stacks.seed(len(whole), stack)

    @cached_property
    def _stacks(self) -> CallStacks:
        # Most who decode ask for no stack: it is not loaded for them.
        from odograph.history.callstacks import CallStacks

        names = None if self._find_symbols is None else self._names_at
        return CallStacks(
            self._raw,
            names,
            self.unwind_tables,
            self._find_programs,
            lambda: self.begins_program,
            self._find_functions,
        )

    def _names_at(self, step: int) -> Symbols:
        found = self.symbols_at(step)
        assert found is not None
        return found

    def unwind_tables(self, addresses: Sequence[int]) -> UnwindTables:
        """What :meth:`~odograph.Symbols.unwind_tables` says at any time, for stacks."""
        starts: set[int] = set()
        ends: set[int] = set()
        pads: set[tuple[int, int, int]] = set()
        for symbols in {id(one.symbols): one.symbols for one in self.spans}.values():
            if symbols is not None:
                found = symbols.unwind_tables(addresses)
                starts.update(found[0])
                ends.update(found[1])
                pads.update(found[2])
        return sorted(starts), sorted(ends), sorted(pads)

    @cached_property
    def begins_program(self) -> bool:
        """Whether the first step is the first one of its thread, as far as that is known."""
        if self._is_first or self._find_symbols is None or not self._len:
            return self._is_first
        return self._names_at(0).is_entry(self[0].ip)

    def _last_address(self) -> int | None:
        """Where execution stood in the end."""
        if not self._len:
            return None
        events = Table(self.part(self._len - 1)._raw.events(["async_disabled"]))
        stopped = events["ip"][events["step"] == 1]
        if len(stopped):
            return int(stopped[-1])
        return int(self.ips(self._len - 1)[0])

    def functions(self, start: int | None = None, stop: int | None = None) -> Table:
        """What functions cost, one row for each address that was called, ascending.

        Columns: ip, calls, own (instructions executed there, without those of callees), inclusive (those
        executed while it was on :meth:`stack`; of a function that calls itself, however indirectly, only the
        outermost call counts), own_time and inclusive_time (ns, missing if no clock is known). What was not
        traced in between, such as system calls and other threads, counts as time. Handlers of signals and
        what stacks of coroutines began with have rows, too: see :meth:`pairs`. Row 0 has ip 0: what ran
        outside any call that was seen; inclusive there is everything.

        Of some steps only, all that comes before is followed once, to know the stacks that they begin with.
        """
        return self._asked("functions", start, stop)[0]

    def may_enter(self, addresses: Sequence[int]) -> bool:
        """Whether a function begins at one of these addresses, so that a jump there may be a tail call."""
        return (self if self._whole is None else self._whole[0])._stacks.may_enter(addresses)

    def raw_code(self) -> RawCode:
        """The executed instructions, each once, for those who look for some of them."""
        return RawCode(self._raw)

    def hash(self) -> int:
        """A hash of all addresses: ``h = (rotl64(h, 5) ^ ip) * 0x9E3779B97F4A7C15 mod 2**64``, from 0."""
        return self._raw.hash(False)

    def at_time(self, ns: int) -> int:
        """The first step at or after a time in ns; ``len(history)`` if there is none.

        Raises :class:`~odograph.InvalidArgument` if no clock is known.
        """
        step = self._raw.at_time(ns)
        if step is None:
            raise InvalidArgument(f"this history has no times: {NO_CLOCK}")
        return step

    def tsc(self, step: int) -> int | None:
        """The last time stamp before a step, in ticks; None before the first. IndexError out of range.

        It tells the order of steps of several threads also where no clock is known.
        """
        if not 0 <= step < self._len:
            raise IndexError(f"step {step} is not among the {self._len} of this history")
        (row,) = Table(self._raw.instructions(step, step + 1))
        tsc: int | None = row["tsc"]
        return tsc

    def at_tsc(self, tsc: int) -> int:
        """The first step at or after a time stamp in ticks; ``len(history)`` if there is none."""
        return self._raw.at_tsc(min(max(tsc, 0), (1 << 64) - 1))

    def time(self, step: int) -> int | None:
        """Estimated time of a step in ns; None if no clock is known. IndexError out of range.

        It is the time of the last timing packet before the step, so it is early rather than late; how
        early it may be say :meth:`time_bounds`. perf.data recordings give perf's clock, other traces ns
        since TSC 0 by the nominal frequency.
        """
        return self[step].time

    def time_bounds(self, step: int) -> tuple[int, int | None] | None:
        """Between which times in ns a step was executed: those of the timing packets around it.

        With MTC packets they are at most 2**mtc_freq crystal ticks apart. The second is None if no later
        time follows; None if no clock is known. CYC packets are as exact as the cycle rate known at
        that point: learned from MTC packets or, before that, from the core:bus ratio.
        """
        first = self.time(step)
        if first is None:
            return None
        later = self.at_time(first + 1)
        return first, self.time(later) if later < len(self) else None

    def time_range(self) -> tuple[int | None, int | None]:
        """First and last time in ns, None where unknown."""
        return self._raw.time_range()

    def __repr__(self) -> str:
        gaps = self._raw.gap_count()
        return f"<History of {self._len} instructions, {gaps} gap{'' if gaps == 1 else 's'}>"
