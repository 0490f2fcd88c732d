"""Call stacks of histories: the true ones, as stack pointers tell them."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest

import odograph
from landmarks import evenly, landmarks, moments
from odograph import History
from odograph.frame import Found, Frame, Stack
from odograph.recording import ptrace
from truestacks import TrueStacks, compare, record_with_pointers

PROGRAMS = Path(__file__).parent / "programs"
WAYS = {
    "stacks": ("manystacks.c", ["-O1", "-pthread"], []),
    "stacks with threads": ("manystacks.c", ["-O2", "-pthread"], ["threads"]),
    "stacks, static": ("manystacks.c", ["-O2", "-pthread", "-static", "-s"], ["threads"]),
    "throws": ("throws.cpp", ["-O2"], []),
    "throws, static": ("throws.cpp", ["-O2", "-static", "-s"], []),
}


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
    histories = [(thread.tid, recording.history(thread.tid)) for thread in recording.threads]
    return [(history, TrueStacks(history, pointers[tid], stacks)) for tid, history in histories]


def check(name: str, folder: Path, questions: int, *, libraries: bool = False) -> None:
    """At landmarks of the program, and of its loader and libraries if asked."""
    threads = recorded(name, folder)
    total = sum(len(history) for history, _ in threads)
    for history, truth in threads:
        count = max(100, questions * len(history) // total)
        modules = {module.name for module in history.symbols.modules} if libraries else None
        steps = landmarks(history, count, modules)
        found = compare(history, truth, steps)
        assert found["wrong"] == []
        assert found["unsure"] <= len(steps) // 100, name


@pytest.mark.parametrize("name", ["stacks with threads", "throws"])
def test_stacks_are_the_true_ones(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, 1000)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", WAYS)
def test_ten_thousand_stacks_are_the_true_ones(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, 10_000, libraries=True)


def test_recordings_may_begin_in_the_middle(tmp_path: Path) -> None:
    """Parts that know nothing of what came before: what they know is right; with the end's it is all."""
    (history, _), *_ = recorded("stacks", tmp_path)
    events = moments(
        history, ["nested", "jump_from", "on_usr1", "on_usr2", "on_fault", "yield_at", "first", "fib"]
    )
    marks = landmarks(history, 1000)
    revealed = 0
    for start, stop in [*itertools.combinations(events, 2), *((event, len(history)) for event in events)]:
        late = History(history.part(start, stop)._raw, history._find_symbols)
        steps = [0, *evenly([step - start for step in marks if start <= step < stop], 10)]
        for step in steps:
            known, true = late.stack(step), history.stack(start + step)
            sure = [frame.address for frame in known if not frame.is_guess]
            assert sure == [frame.address for frame in true][: len(sure)]
            revealed += known[-1].step is None
        late.seed(history.stack(stop))
        for step in steps:
            known, true = late.stack(step), history.stack(start + step)
            if not any(frame.is_guess for frame in known):
                assert [frame.address for frame in known] == [frame.address for frame in true]
                assert known.is_complete
        with pytest.raises(odograph.InvalidArgument, match="not the one at the end"):
            late.seed(Stack([Frame(1), Frame(2, is_return=True)]))
    assert revealed > 10


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
    assert len(history.stack(step, most=2)) == 2
    assert not history.stack(step, most=2).is_complete
    assert history.stack(-1)[0].address == history[-1].ip
    assert len(history.stack()) > 1
    assert str(history.stack()).startswith("#0 ")
    for step in (len(history) + 1, -len(history) - 1):
        with pytest.raises(IndexError):
            history.stack(step)
    with pytest.raises(odograph.InvalidArgument):
        history.stack(0, most=0)
    # Where the trace is too short for two pieces, any piece is.
    assert compare(history, truth, [0, 1, len(history) - 1])["right"] == 3
