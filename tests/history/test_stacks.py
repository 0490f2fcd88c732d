"""Call stacks of histories: the true ones, as stack pointers tell them."""

from __future__ import annotations

import contextlib
import random
import resource
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import odograph
from odograph import History
from odograph.frame import Found, Frame, Stack
from odograph.recorder import ptrace, qemu
from odograph.recorder.record import record
from odograph.unwind import open_core
from support.landmarks import evenly, landmarks
from support.paths import PROGRAMS
from support.truestacks import TrueStacks, Verdict, compare, judge, record_with_pointers, returned_to

WAYS = {
    "stacks": ("manystacks.c", ["-O1", "-pthread"], []),
    "stacks with threads": ("manystacks.c", ["-O2", "-pthread"], ["threads"]),
    # Without the long work of the dynamic linker, and with names.
    "stacks, named": ("manystacks.c", ["-O1", "-pthread", "-static"], []),
    "stacks, static": ("manystacks.c", ["-O2", "-pthread", "-static", "-s"], ["threads"]),
    "throws": ("throws.cpp", ["-O2"], []),
    "throws, static": ("throws.cpp", ["-O2", "-static", "-s"], []),
    # A seed, and how many switches; "threads": by two threads.
    "switching": ("switching.c", ["-O1", "-pthread"], ["8", "40"]),
    "switching, named": ("switching.c", ["-O1", "-pthread", "-static"], ["8", "40"]),
    "switching by two threads": ("switching.c", ["-O0", "-pthread"], ["3", "40", "threads"]),
    "switching, optimized": ("switching.c", ["-O2", "-pthread"], ["5", "90"]),
    "handlers": ("handlers.c", ["-O1", "-static"], []),
    "handlers, optimized": ("handlers.c", ["-O2"], []),
    "handlers, stripped": ("handlers.c", ["-O0", "-static", "-s"], []),
}
#: Stacks of these cannot all be known: coroutines wait at the same places.
SWITCHING = [name for name in WAYS if name.startswith("switching")]


def recorded(name: str, folder: Path) -> list[tuple[History, TrueStacks]]:
    """The threads of a program, with their true stacks."""
    source, options, words = WAYS[name]
    compiler = shutil.which("g++" if source.endswith("cpp") else "gcc")
    if compiler is None:
        pytest.skip(f"needs {'g++' if source.endswith('cpp') else 'gcc'}")
    if ptrace.unavailable() is not None:
        pytest.skip("single steps are not possible here")
    program = folder / source.split(".")[0]
    subprocess.run([compiler, *options, "-g0", "-o", program, PROGRAMS / source], check=True)
    path, pointers, stacks = record_with_pointers([str(program), *words], folder)
    recording = odograph.open(path)
    found: list[tuple[History, TrueStacks]] = []
    for thread in recording.threads:
        history = recording.history(thread.tid)
        # Threads that run one after the other may go on with each other's stacks.
        before = found[-1][1] if found else None
        found.append((history, TrueStacks(history, pointers[thread.tid], stacks, before)))
    return found


def check(name: str, folder: Path, questions: int, *, libraries: bool = False) -> None:
    """At landmarks of the program, and of its loader and libraries if asked."""
    threads = recorded(name, folder)
    total = sum(len(history) for history, _ in threads)
    for history, truth in threads:
        count = max(100, questions * len(history) // total)
        modules = {module.name for module in history.symbols.modules} if libraries else None
        steps = sorted({*landmarks(history, count, modules), *handwritten(history)})
        found = compare(history, truth, steps)
        assert found["wrong"] == []
        # A function that a handler led to may as well be the handler of another signal, on top of it.
        most = len(steps) // (50 if name.startswith("handlers") else 100)
        assert found["unsure"] <= most or name in SWITCHING, name


def handwritten(history: History) -> list[int]:
    """Every step of the functions that call and return as no compiler does, where they are named."""
    found: list[int] = []
    for name in ("thunk", "pushed", "here_is"):
        with contextlib.suppress(KeyError):
            found += [int(first) + more for first in history.find(name) for more in range(8)]
    return [step for step in found if step < len(history)]


@pytest.mark.parametrize("name", ["stacks with threads", "throws", "switching by two threads"])
def test_stacks_are_the_true_ones(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, 1000)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", WAYS)
def test_ten_thousand_stacks_are_the_true_ones(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, 10_000, libraries=True)


#: Where a part begins and ends, and the steps of it that are asked for, counted from its begin.
Part = tuple[int, int, list[int]]


def parts_of(history: History, count: int, questions: int) -> list[Part]:
    """Short and long parts between landmarks of the program."""
    # Each instruction is one landmark three times: the first, the middle and the last execution.
    places = landmarks(history, 3 * max(count, questions))
    parts: list[Part] = []
    for number, first in enumerate(evenly(list(range(len(places) - 1)), count)):
        # To the next landmark, over a tenth, over a half of those behind it, to the end of the history.
        behind = len(places) - 1 - first
        last = first + (1, max(1, behind // 10), max(1, behind // 2), behind)[number % 4]
        start = places[first]
        stop = len(history) if number % 4 == 3 else places[last]
        inside = [step - start for step in places[first:last] if step < stop]
        asked = {*evenly(inside, questions // 2), *evenly(list(range(stop - start)), questions // 2)}
        parts.append((start, stop, sorted(asked)))
    return parts


def random_parts(history: History, count: int, questions: int, random_numbers: random.Random) -> list[Part]:
    """Parts at any steps, the same on one machine only."""
    # The work of the dynamic linker is the longer part, and the duller one.
    main = 0
    for name in ("main", "schedule"):
        # A thread need not run either.
        with contextlib.suppress(KeyError, IndexError):
            main = int(history.find(name)[0])
    parts: list[Part] = []
    for part in range(count):
        start = random_numbers.randrange(main if part % 4 else 0, len(history))
        length = random_numbers.choice((100, 1000, 10_000, len(history)))
        stop = start + random_numbers.randrange(min(length, len(history) - start)) + 1
        parts.append((start, stop, [random_numbers.randrange(stop - start) for _ in range(questions)]))
    return parts


def check_parts(history: History, parts: list[Part]) -> Counter[str]:
    """Asks parts of a history that know nothing of what came before, then with the stack at their end.

    What they say for sure is right, and where something is missing they say so.
    """
    found: Counter[str] = Counter()
    for start, stop, steps in parts:
        late = History(history.part(start, stop)._raw, history._find_symbols)
        for seeded in ("alone", "seeded"):
            if seeded == "seeded":
                late.seed(history.stack(stop))
            for step in steps:
                known, true = returned_to(late.stack(step)), returned_to(history.stack(start + step))
                verdict = judge(known, true)
                if not true.is_complete or any(frame.is_guess for frame in true):
                    # Nobody knows, but what is sure on both sides must agree.
                    sure = min(sum(not frame.is_guess for frame in stack) for stack in (known, true))
                    agrees = [one.address for one in known[:sure]] == [one.address for one in true[:sure]]
                    verdict = Verdict.UNSURE if agrees else Verdict.WRONG
                assert verdict is not Verdict.WRONG, (start, stop, step, seeded, known, true)
                is_sure = known.is_complete and not any(frame.is_guess for frame in known)
                found[seeded] += is_sure
                found["revealed"] += known[-1].step is None
    return found


def check_that_the_end_says_all(history: History, every: int) -> None:
    """Before anything switches stacks, a history that begins in ``main`` has all frames from its end."""
    start, stop = int(history.find("main")[0]), int(history.find("first")[0])
    late = History(history.part(start, stop)._raw, history._find_symbols)
    late.seed(history.stack(stop))
    for step in range(0, stop - start, every):
        known, true = returned_to(late.stack(step)), returned_to(history.stack(start + step))
        assert [frame.address for frame in known] == [frame.address for frame in true]
        assert known.is_complete
        assert not any(frame.is_guess for frame in known)


def test_recordings_may_begin_in_the_middle(tmp_path: Path) -> None:
    """Parts that know nothing of what came before: what they know is right; with the end's it is more."""
    (history, truth), *_ = recorded("stacks, named", tmp_path)
    parts = parts_of(history, 8, 16)
    assert (
        compare(history, truth, [start + step for start, _, steps in parts for step in steps])["wrong"] == []
    )
    found = check_parts(history, parts)
    assert found["revealed"] > 10
    assert found["seeded"] > found["alone"]
    check_that_the_end_says_all(history, 97)
    late = History(history.part(parts[0][0], int(history.find("fib")[4]))._raw, history._find_symbols)
    with pytest.raises(odograph.InvalidArgument, match="not the one at the end"):
        late.seed(Stack([Frame(1), Frame(2, is_return=True)]))
    with pytest.raises(odograph.InvalidArgument, match="no frames"):
        late.seed(Stack([]))


@pytest.mark.acceptance
def test_recordings_may_begin_anywhere(tmp_path: Path) -> None:
    (history, _), *_ = recorded("stacks", tmp_path)
    check_parts(history, random_parts(history, 12, 25, random.Random("middle")))
    check_that_the_end_says_all(history, 7)


@pytest.mark.acceptance
def test_recordings_may_begin_in_a_signal_handler(tmp_path: Path) -> None:
    (history, _), *_ = recorded("stacks, named", tmp_path)
    start = int(history.find("__restore_rt")[0]) - 1
    check_parts(history, [(start, start + 40, list(range(40)))])


@pytest.mark.acceptance
def test_recordings_may_begin_at_every_landmark(tmp_path: Path) -> None:
    (history, _), *_ = recorded("stacks", tmp_path)
    check_parts(history, parts_of(history, 60, 60))


def check_handlers(history: History, truth: TrueStacks, count: int) -> None:
    """Stacks near the begins and ends of handlers, also in parts that begin in the handlers."""
    depths = [sum(is_signal for _, is_signal in frames) for frames in truth.frames]
    places = [step for step in range(1, len(depths)) if depths[step] != depths[step - 1]]
    near = [place + by for place in places for by in range(-4, 4)]
    found = compare(history, truth, near)
    assert found["wrong"] == []
    assert found["right"] > len(near) * 3 // 4
    inside = [step for step in near if depths[step]]
    for start in random.Random("handlers").sample(inside, min(count, len(inside))):
        stop = min(len(history), start + 250)
        late = History(history.part(start, stop)._raw, history._find_symbols)
        for step in {*range(start, stop, 23), *(step for step in near if start <= step < stop)}:
            true = [Frame(0), *(Frame(at, is_return=not signal) for at, signal in truth.frames[step])]
            assert judge(late.stack(step - start), true) is not Verdict.WRONG, (start, step)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("handlers", 60),
        pytest.param("handlers, optimized", 400, marks=pytest.mark.acceptance),
        pytest.param("handlers, stripped", 400, marks=pytest.mark.acceptance),
    ],
)
def test_histories_may_begin_in_any_handler(name: str, count: int, tmp_path: Path) -> None:
    (history, truth), *_ = recorded(name, tmp_path)
    check_handlers(history, truth, count)


def test_stacks_that_were_left_before_a_recording_are_not_taken_for_others(tmp_path: Path) -> None:
    (history, truth), *_ = recorded("switching, named", tmp_path)
    parts = parts_of(history, 10, 16)
    check_parts(history, parts)
    found = compare(history, truth, landmarks(history, 150))
    assert found["wrong"] == []
    assert found["right"] > 50


@pytest.mark.acceptance
def test_stacks_that_were_left_at_any_step_are_not_taken_for_others(tmp_path: Path) -> None:
    (history, truth), *_ = recorded("switching", tmp_path)
    check_parts(history, random_parts(history, 25, 20, random.Random("left")))
    steps = random.Random("whole").sample(range(int(history.find("schedule")[0]), len(history)), 300)
    assert compare(history, truth, steps)["wrong"] == []


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(24))
def test_random_switches_of_stacks(seed: int, tmp_path: Path) -> None:
    options = [f"-O{seed % 3}", "-pthread"]
    words = [str(seed), str(40 + 7 * seed % 60), *(["threads"] if seed % 4 == 3 else [])]
    name = f"switching {seed}"
    WAYS[name] = ("switching.c", options, words)
    for history, truth in recorded(name, tmp_path):
        random_numbers = random.Random(seed)
        check_parts(history, random_parts(history, 30, 30, random_numbers))
        steps = random_numbers.sample(range(len(history)), min(500, len(history)))
        assert compare(history, truth, steps)["wrong"] == []


CRASHES = """
#include <ucontext.h>
static ucontext_t outer, inner;
static char stack[65536];
__attribute__((noinline)) static void leaf(int i) {
    if (i == 3) *(volatile int *)8 = i;
    __asm__ volatile("");
}
__attribute__((noinline)) static void middle(int i) { leaf(i); __asm__ volatile(""); }
static void routine(void) {
    for (int i = 0;; i++) {
        middle(i);
        swapcontext(&inner, &outer);
    }
}
__attribute__((noinline)) static void loop(void) {
    for (int i = 10;; i++) {
        swapcontext(&outer, &inner);
        middle(i);
    }
}
int main(void) {
    getcontext(&inner);
    inner.uc_stack.ss_sp = stack;
    inner.uc_stack.ss_size = sizeof stack;
    makecontext(&inner, routine, 0);
    loop();
    return 0;
}
"""


def test_a_core_from_inside_a_coroutine_tells_nothing_of_other_stacks(tmp_path: Path) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if "/" in pattern or "|" in pattern or hard == 0 or shutil.which("gcc") is None:
        pytest.skip("cores are not written beside the program here, or there is no gcc")
    if ptrace.unavailable() is not None:
        pytest.skip("single steps are not possible here")
    (tmp_path / "crash.c").write_text(CRASHES)
    subprocess.run(["gcc", "-O1", "-o", "crash", "crash.c"], cwd=tmp_path, check=True)
    subprocess.run(
        [sys.executable, "-m", "odograph", "record", "--with", "ptrace", "-o", "crash.data", "--", "./crash"],
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)),
        capture_output=True,
        check=False,
    )
    (core,) = tmp_path.glob("core*")
    seed = open_core(core).stack()
    history = odograph.open(tmp_path / "crash.data").history()
    steps = range(int(history.find("main")[0]), len(history), 11)
    alone = [history.stack(step) for step in steps]
    history.seed(seed)
    assert [str(history.stack(step)) for step in steps] == [str(stack) for stack in alone]
    # From the second time that the coroutine runs, with the core only.
    start = int(history.find("middle")[2])
    late = History(history.part(start, len(history))._raw, history._find_symbols)
    late.seed(seed)
    for step in range(0, len(late), 5):
        assert judge(late.stack(step), history.stack(start + step)) is not Verdict.WRONG, step
    last = late.stack(len(late) - 1)
    assert last.end == seed.end
    assert [frame.function for frame in last[:3]] == ["leaf", "middle", "routine"]


def test_a_stack_says_what_its_frames_are(tmp_path: Path) -> None:
    (history, truth), *_ = recorded("stacks", tmp_path)
    assert history.symbols is not None
    step = int(history.find("fib")[0])
    stack = history.stack(step)
    assert [frame.function for frame in stack[:2]] == ["fib", "main"]
    assert stack[0].found == Found.START
    assert stack[0].step == step
    assert not stack[0].is_return
    assert stack[1].found == Found.CALL
    assert stack[1].is_return
    assert stack[1].step == step - 1
    assert history[step - 1].ip + history[step - 1].size == stack[1].address
    assert stack[-1].function == "_start"
    assert stack.is_complete
    handler = history.stack(int(history.find("on_usr2")[0]))
    assert handler[1].found == Found.SIGNAL
    assert not handler[1].is_return
    # What a part knows is what the whole knows.
    part = history.part(step - 10, step + 10)
    assert [frame.address for frame in part.stack(10)] == [frame.address for frame in stack]
    assert len(history.stack(step, limit=2)) == 2
    assert not history.stack(step, limit=2).is_complete
    assert history.stack(-1)[0].address == history[-1].ip
    assert len(history.stack()) > 1
    assert str(history.stack()).startswith("#0 ")
    for step in (len(history) + 1, -len(history) - 1):
        with pytest.raises(IndexError):
            history.stack(step)
    with pytest.raises(odograph.InvalidArgument):
        history.stack(0, limit=0)
    # Where the trace is too short for two pieces, any piece is.
    assert compare(history, truth, [0, 1, len(history) - 1])["right"] == 3


@pytest.mark.parametrize("way", range(4))
def test_stacks_and_pairs_know_the_same_callers_where_assembly_switches_stacks(
    way: int, tmp_path: Path
) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    if qemu.unavailable() is not None:
        pytest.skip("needs qemu-user")
    program, path = tmp_path / "ownswitch", tmp_path / "ownswitch.data"
    source = PROGRAMS / "ownswitch.c"
    subprocess.run(["gcc", "-O2", f"-DWAY={way}", "-o", program, source], check=True)
    assert record([str(program)], path, backend="qemu").status == 0
    history = odograph.open(path).history()
    symbols = history.symbols
    assert symbols is not None
    leaf, resume = ["leaf", "main"], ["leaf", "deeper", "body"]
    stacks = [history.stack(int(step)) for step in history.find("leaf")]
    places = [[str(frame.function) for frame in stack] for stack in stacks]
    assert [place[:2] if "main" in place else place for place in places] == [
        resume,
        leaf,
        *[resume, ["leaf", "body"], resume, leaf] * 3,
    ]
    pairs = history.pairs()
    calls, ends, numbers = (np.asarray(pairs[name]) for name in ("call", "end", "stack"))
    kinds = np.asarray(pairs["kind"])
    for step, stack in zip(history.find("leaf").tolist(), stacks, strict=True):
        assert stack.is_complete
        assert not any(frame.is_guess for frame in stack)
        row = int(np.flatnonzero(calls == step - 1)[0])
        is_open = (calls < step) & ((ends < 0) | (step <= ends)) & (numbers == numbers[row])
        opened = sorted(calls[is_open & (kinds == "call")].tolist(), reverse=True)
        # Each frame but the innermost has the step of its call.
        assert [frame.step for frame in stack[1:]] == opened
