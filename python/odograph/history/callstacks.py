"""Call stacks of a history, from the calls and returns that were executed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from odograph._native import RawEntries, RawStacks
from odograph.errors import InvalidArgument
from odograph.frame import Found, Frame, Stack
from odograph.history.selection import ALL_ROWS, Question, Rows
from odograph.table import Table

if TYPE_CHECKING:
    from odograph._native import RawHistory
    from odograph.symbols import Symbols

__all__ = ["CallStacks", "FindUnwindTables", "Open", "UnwindTables", "unwind_tables"]

UnwindTables = tuple[Sequence[int], Sequence[int], Sequence[tuple[int, int, int]]]
"""Where functions begin, where the knowledge of functions ends, and where exceptions land."""

Open = tuple[list[int], list[tuple[int, int]], bool]
"""What a walk leaves open: addresses that nothing explains without names; functions known only because they
were called, as number of the program and address; and whether another walk with those may tell more."""

FindUnwindTables = Callable[[Sequence[int]], UnwindTables]
"""Gives that for the modules of some addresses."""

_CALL, _INTERRUPTED, _TAIL = range(3)
_NO_NAMES: UnwindTables = ((), (), ())


#: What the native half says of a frame.
_Row = tuple[int, int | None, int, bool, int | None]
#: What it says of a stack.
_Listed = tuple[list[_Row], bool, int, int | None, int | None, int | None]


class _Known(NamedTuple):
    """What calls and returns tell of a stack."""

    frames: list[Frame]
    #: Why there are no more.
    end: str
    #: The edge that the sure frames end at, and the one that all end at.
    edge: int | None
    bottom: int | None
    #: How many more are known.
    left_out: int


class _Seed(NamedTuple):
    """What a stack at the end tells."""

    #: The edge that the sure frames ended at, and the frames around those.
    edge: int | None
    outer: list[Frame]
    #: The edge that everything known ended at, if that fitted, and the frames around that.
    bottom: int | None
    around: list[Frame]
    end: str


def _is_restorer(frame: Frame, outer: Frame | None) -> bool:
    """Whether a frame is only there because the handler inside of it returns to it."""
    is_entry = frame.found not in (Found.START, Found.SIGNAL) and not frame.is_return
    return is_entry and outer is not None and outer.found is Found.SIGNAL


def _cut(frames: list[Frame], end: str, limit: int) -> Stack:
    left_out = len(frames) - limit
    return Stack(frames, end) if left_out <= 0 else Stack(frames[:limit], _more(left_out))


def _more(left_out: int) -> str:
    return "1 more frame is known" if left_out == 1 else f"{left_out:,} more frames are known"


def unwind_tables(unexplained: Sequence[int], find_unwind_tables: FindUnwindTables) -> UnwindTables | None:
    """What is known of functions around addresses that calls and returns do not explain; None if nothing."""
    if not unexplained:
        return None
    found = find_unwind_tables(unexplained)
    return found if found[0] else None


class CallStacks:
    """The call stacks of one history, and what is asked of its calls; both come of the same walk.

    ``names_at`` gives the names of code at a step, ``find_unwind_tables`` what is known of exceptions in the
    modules of some addresses, ``find_programs`` the times (TSC) at which the thread goes on with another
    program, ``is_first`` whether the first step is the first one of the thread.
    """

    def __init__(
        self,
        raw: RawHistory,
        names_at: Callable[[int], Symbols] | None,
        find_unwind_tables: FindUnwindTables,
        find_programs: Callable[[], Sequence[int]] | None = None,
        is_first: Callable[[], bool] | None = None,
        find_functions: Callable[[], RawEntries] | None = None,
    ) -> None:
        self._raw = raw
        self._names_at = names_at
        self._find_unwind_tables = find_unwind_tables
        self._find_programs = find_programs
        self._is_first = is_first
        self._find_functions = find_functions
        self._native: RawStacks | None = None
        #: The step that was asked for last, names there, and the time (TSC) if it was needed.
        self._step = 0
        self._names: Symbols | None = None
        self._tsc: int | None = None
        self._seed: _Seed | None = None

    @property
    def native(self) -> RawStacks:
        """The native half; made when first asked for."""
        if self._native is None:
            first = self._made(_NO_NAMES)
            if self._knows_more(first.open):
                first = self._made(_NO_NAMES)
            self._explain(first, first.open)
        return self._native or first

    def _knows_more(self, left: Open) -> bool:
        """Takes functions that are known only because a walk found calls of them; whether to walk again."""
        _, called, matters = left
        if called:
            self._functions = self._functions.with_called(called)
        return matters

    def _made(self, names: UnwindTables) -> RawStacks:
        programs = () if self._find_programs is None else tuple(self._find_programs())
        is_first = self._is_first is not None and self._is_first()
        return RawStacks(self._raw, is_first, *names, programs, self._functions)

    @cached_property
    def _functions(self) -> RawEntries:
        if self._find_functions is not None:
            return self._find_functions()
        if self._names_at is None:
            return RawEntries([])
        names = self._names_at(0)
        return RawEntries([(0, names.bodies(), names.mapped())])

    def _explain(self, first: RawStacks, left: Open) -> None:
        """Takes the native half that knew no names, if no names help with what it left unexplained."""
        names = unwind_tables(left[0], self._find_unwind_tables)
        self._native = first if names is None else self._made(names)

    def ask(
        self, questions: Sequence[Question], start: int, stop: int, by: int = 0, rows: Rows = ALL_ROWS
    ) -> list[list[Table]]:
        """Tables for each question about some steps, by one walk if it finds everything it needs to know; of
        pairs, ``by`` is added to steps.
        """

        def answer(native: RawStacks) -> tuple[list[list[Table]], Open]:
            found, left = native.ask(questions, start, stop, by, rows)
            return [[Table(table) for table in tables] for tables in found], left

        if self._native is None and (start, stop) == (0, self._raw.steps):
            first = self._made(_NO_NAMES)
            found, left = answer(first)
            if self._knows_more(left):
                first = self._made(_NO_NAMES)
                found, left = answer(first)
            self._explain(first, left)
            if self._native is first:
                return found
        return answer(self.native)[0]

    def may_enter(self, addresses: Sequence[int]) -> bool:
        """Whether a function begins at one of these addresses, so that a jump there may be a call."""
        # What is known only because it was called is known when the whole history was followed.
        return self.native is not None and self._functions.may_enter(addresses)

    @property
    def size(self) -> int:
        """Bytes that following the stacks keeps, roughly."""
        return self.native.size

    def seed(self, steps: int, seed: Stack) -> None:
        """Takes the frames around those that are known at the end, behind the last of ``steps``."""
        self._seed = None
        # Calls that jumped are no open calls here either, nor is the code that a handler returns to.
        frames = [frame for frame in seed if frame.found is not Found.TAIL_CALL]
        inner = [
            one
            for one, outer in zip(frames, [*frames[1:], None], strict=False)
            if not _is_restorer(one, outer)
        ]
        if not inner:
            raise InvalidArgument("this stack has no frames")
        self._look_from(steps)
        listed, revealed = self.native.at_end(steps, inner[0].address)
        known, _, edge, bottom, _ = self._listed(listed)
        known = [frame for frame in known if frame.found is not Found.TAIL_CALL]
        sure = [frame.address for frame in known if not frame.is_guess]
        addresses = [frame.address for frame in inner]
        # They lie around the innermost frame, unless that has called others since.
        last = len(addresses) - len(sure)
        places = [at for at in range(last + 1) if addresses[at : at + len(sure)] == sure]
        place = 1 if 1 in places or not sure else places[0] if len(places) == 1 else None
        if place is None:
            raise InvalidArgument(
                "this stack is not the one at the end of the history: the known frames are not in it, or "
                "more than once"
            )
        outer = [
            replace(one, found=Found.CORE, registers={}, step=None) for one in inner[place + len(sure) :]
        ]
        below = [*self._frames(revealed), *outer]
        guessed = [frame.address for frame in known[len(sure) :]]
        # If the guesses are right, what lies around them lies around what is known of earlier stacks.
        right = [frame.address for frame in outer[: len(guessed)]] == guessed
        around = outer[len(guessed) :] if right else []
        self._seed = _Seed(edge, below, bottom if right else None, around, seed.end)

    def at(self, step: int, limit: int, last: int | None = None) -> Stack:
        """The stack before a step; at the end, ``last`` is where execution stands. At most so many frames."""
        self._look_from(step)
        frames, end, edge, bottom, left_out = self._known(step, limit, last)
        seed = self._seed
        if seed is None or edge is None or left_out:
            return Stack(frames, end)
        if edge == seed.edge:
            sure = [frame for frame in frames if not frame.is_guess]
            return _cut([*sure, *seed.outer], seed.end, limit)
        if frames and bottom is not None and bottom == seed.bottom:
            frames += [replace(one, is_guess=True) for one in seed.around]
            # What is missing must show.
            return _cut(frames, seed.end if frames[-1].is_guess else end, limit)
        return Stack(frames, end)

    def _known(self, step: int, limit: int, last: int | None = None) -> _Known:
        listed = self.native.at(step, limit - 1)
        pc = last if listed[-1] is None else listed[-1]
        first = [] if pc is None else [self._named(Frame(pc, step=step))]
        return self._listed(listed, first)

    def _listed(self, listed: _Listed, first: Sequence[Frame] = ()) -> _Known:
        found, complete, left_out, edge, bottom, _ = listed
        frames = [*first, *self._frames(found)]
        if left_out:
            end = _more(left_out)
        elif complete or (frames and self._begins_program(frames[-1])):
            end = "bottom"
        else:
            end = "the recording begins here" if bottom == 0 else "what called this is not known"
        return _Known(frames, end, edge, bottom, left_out)

    def _begins_program(self, frame: Frame) -> bool:
        """Whether it is the function that a program or its loader begins with: nothing called that."""
        if self._names is None or frame.function is None or frame.offset is None:
            return False
        return self._names.is_entry(frame.address - frame.offset)

    def _frames(self, found: Iterable[_Row]) -> Iterator[Frame]:
        for address, step, kind, is_guess, entered in found:
            is_return = kind == _CALL
            how = (Found.CALL, Found.SIGNAL, Found.TAIL_CALL)[kind]
            yield self._named(Frame(address, how, is_return, is_guess, step=step, entered=entered))

    def _look_from(self, step: int) -> None:
        """Names are those of a step from now on."""
        self._step, self._tsc = step, None
        self._names = None if self._names_at is None else self._names_at(step)

    def _named(self, frame: Frame) -> Frame:
        if self._names is None:
            return frame
        named = self._names.name_frame(frame)
        return named if named.function is not None else self._called(named)

    def _called(self, frame: Frame) -> Frame:
        """The same frame with the name of a function that is known only because it was called, if it is."""
        if self._tsc is None:
            last = max(min(self._step, self._raw.steps - 1), 0)
            rows = Table(self._raw.instructions(last, last + 1)) if self._raw.steps else ()
            self._tsc = next((row["tsc"] for row in rows), None) or 0
        start = self._functions.called(frame.lookup_address, self._tsc)
        return frame if start is None or self._names is None else self._names.name_called(frame, start)
