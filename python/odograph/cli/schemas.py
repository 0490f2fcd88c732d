"""The shapes of what commands write with ``--json``.

`tools/schemas.py` makes ``docs/schemas`` of these types; tests validate the commands' output with those.
Addresses, sizes and offsets are numbers, times are in ns, hashes are hexadecimal text. None: not known.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

__all__ = ["OUTPUTS"]


class GapGroup(TypedDict):
    """Gaps, or notes, of one kind: the first one's place, and how many there are."""

    cause: str
    code: str | None
    reason: str
    help: str
    count: int
    bytes_lost: int
    step: int
    offset: int
    ip: int | None
    is_note: bool


class Gap(TypedDict):
    """One gap or note: ``step`` instructions were executed before it."""

    step: int
    cause: str
    is_note: bool
    code: str | None
    offset: int
    bytes_lost: int
    ip: int | None


class Nameless(TypedDict):
    """A module much of whose code has no names, and what brings them."""

    module: str
    path: str | None
    instructions: int
    share: float
    reason: str
    help: str
    debug_file: str | None
    package: str | None


class Problem(TypedDict):
    """What is wrong with the file of a recording, and where."""

    offset: int | None
    message: str
    is_damage: bool


class TreeNode(TypedDict):
    """A function in a call tree; ``cut`` callees, with so many instructions, are left out."""

    module: str
    name: str | None
    address: int
    offset: int
    calls: int
    instructions: int
    own: int
    children: list[TreeNode]
    cut: int
    cut_instructions: int


class CountedFunction(TypedDict):
    """A function that was executed. ``pid`` is None unless processes are kept apart."""

    module: str
    name: str | None
    address: int
    offset: int
    instructions: int
    calls: int
    pid: int | None


class RunThread(TypedDict):
    """A thread that ran."""

    tid: int
    pid: int
    comm: str
    instructions: int
    calls: int
    gaps: int
    tree: TreeNode


class Run(TypedDict):
    """``odograph run --json``. ``path``: None if it was not kept. A module: [name, instructions]."""

    command: list[str]
    status: int
    backend: str
    why: str
    path: str | None
    instructions: int
    calls: int
    threads: list[RunThread]
    modules: list[tuple[str, int]]
    functions: list[CountedFunction]
    gaps: list[GapGroup]
    nameless: list[Nameless]
    problems: list[Problem]


class Record(TypedDict):
    """``odograph record --json``, on standard error."""

    path: str
    backend: str
    why: str
    status: int


class InfoModule(TypedDict):
    """A mapped file; ``missing`` and ``hint`` say why it is not used and what to do, if it is not."""

    pid: int
    name: str
    address: int
    size: int
    offset: int
    build_id: str | None
    kernel: bool
    path: str | None
    missing: NotRequired[str]
    hint: NotRequired[str]


class InfoThread(TypedDict):
    """A thread; ``instructions`` and ``gaps`` are left out with ``--no-decode``."""

    tid: int
    pid: int
    comm: str
    start: int | None
    end: int | None
    instructions: NotRequired[int]
    gaps: NotRequired[list[GapGroup]]


class IndexUse(TypedDict):
    """Whether an index was used, and if not, why."""

    path: str
    used: bool
    reason: str | None


class Info(TypedDict):
    """``odograph info --json``. ``packets`` counts packets by kind."""

    path: str
    kind: str
    recorder: str | None
    exit_status: int | None
    bytes: int
    host: dict[str, Any]
    parameters: dict[str, Any]
    packets: dict[str, int]
    damaged_places: int
    modules: list[InfoModule]
    threads: list[InfoThread]
    instructions: int | None
    skipped_bytes: int
    index: IndexUse | None
    recorder_gaps: list[dict[str, Any]]
    lost_records: int
    problems: list[Problem]


class IndexSaved(TypedDict):
    """``odograph index --json``."""

    path: str
    bytes: int
    trace_bytes: int


class Packets(TypedDict):
    """``odograph packets --json``. A packet has ``stream``, ``offset``, and its fields, or ``error``."""

    path: str
    streams: int
    packets: list[dict[str, Any]]


class Step(TypedDict):
    """An executed instruction; ``raw`` is its bytes in hexadecimal."""

    step: int
    ip: int
    raw: str
    text: str
    time: NotRequired[int]
    speculative: NotRequired[bool]
    symbol: NotRequired[str]
    target: NotRequired[str]


Steps = TypedDict(
    "Steps",
    {
        "path": str,
        "tid": int,
        "instructions": int,
        "from": int,
        "to": int,
        "gap_count": int,
        "gaps": list[Gap],
        "gaps_left_out": int,
        "steps": list[Step],
    },
)
Steps.__doc__ = """``odograph steps --json``: the steps ``from`` to ``to`` (exclusive)."""


class HitFrame(TypedDict):
    """A frame of the stack at a hit."""

    address: int
    function: str | None
    offset: int
    module: str | None
    step: int | None
    is_return: bool
    is_guess: bool


class Hit(TypedDict):
    """A hit of a breakpoint. ``said`` is what actions (``-c``) printed."""

    tid: int
    step: int
    time: int | None
    address: int
    function: str | None
    stack: list[HitFrame]
    said: list[str]


class Break(TypedDict):
    """``odograph break --json``. ``count`` is how many hits there are; ``hits`` has the first ones."""

    path: str
    where: list[str]
    count: int
    hits: list[Hit]


class InlinedFunction(TypedDict):
    """A function that is inlined at a frame."""

    function: str
    file: str | None
    line: int | None


class Frame(TypedDict):
    """A frame of a call stack."""

    address: int
    function: str | None
    offset: int
    module: str | None
    file: str | None
    line: int | None
    inlined: list[InlinedFunction]
    known_by: str | None
    found: str
    is_return: bool
    is_guess: bool
    registers: dict[str, int]
    step: NotRequired[int | None]


class StackThread(TypedDict):
    """A thread of a recording at a step. ``end`` is "bottom", or why there are no more frames."""

    tid: int
    step: int
    time: int | None
    end: str
    frames: list[Frame]


class Stack(TypedDict):
    """``odograph stack FILE --json``."""

    path: str
    threads: list[StackThread]


class FunctionCost(TypedDict):
    """What a function cost. Times are None without a processor clock."""

    module: str
    name: str | None
    address: int
    offset: int
    calls: int
    own: int
    inclusive: int
    own_time: int | None
    inclusive_time: int | None
    pid: int | None


class Functions(TypedDict):
    """``odograph functions --json``."""

    path: str
    tids: list[int]
    broken: list[dict[str, Any]]
    instructions: int
    functions: list[FunctionCost]
    nameless: list[Nameless]


class CoveredFunction(TypedDict):
    """Executed code of a function: distinct instructions, blocks and edges."""

    module: str
    name: str | None
    address: int
    offset: int
    instructions: int
    blocks: int
    edges: int


class CoveredProcess(TypedDict):
    """Executed code of a process."""

    path: str
    pid: int
    tids: list[int]
    instructions: int
    blocks: int
    edges: int
    functions: list[CoveredFunction]


class Coverage(TypedDict):
    """``odograph coverage --json``."""

    path: str
    processes: list[CoveredProcess]
    nameless: list[Nameless]


class VerifiedThread(TypedDict):
    """What the recorder counted of a thread, and what decoding gives."""

    tid: int
    comm: str
    recorded_instructions: int
    decoded_instructions: int
    recorded_hash: str
    decoded_hash: str
    gaps: int
    ok: bool


class Verify(TypedDict):
    """``odograph verify --json``."""

    path: str
    ok: bool
    threads: list[VerifiedThread]
    uncounted: list[str]


class Recorder(TypedDict):
    """A way to record, whether it works here, and what to do if not."""

    name: str
    what: str
    available: bool
    advice: str
    program: str | None


class Doctor(TypedDict):
    """``odograph doctor --json``. ``best`` is None if nothing can record."""

    best: str | None
    recorders: list[Recorder]


#: The output of each command, under the name of its schema.
OUTPUTS: dict[str, Any] = {
    "run": Run,
    "record": Record,
    "info": Info,
    "index": IndexSaved,
    "index-check": IndexUse,
    "packets": Packets,
    "steps": Steps,
    "break": Break,
    "stack": Stack,
    "functions": Functions,
    "coverage": Coverage,
    "verify": Verify,
    "doctor": Doctor,
}
