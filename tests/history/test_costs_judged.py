"""Calls and costs of functions are callgrind's, but for a closed list of kinds; each has a program here."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import odograph
from odograph.recorder import qemu
from odograph.recorder.record import record
from support.callprograms import compiled, source
from support.judgedcosts import Difference, File, Kind, differences, parsed, ran
from support.paths import PROGRAMS
from support.sharedtraces import SHARED

pytestmark = [
    pytest.mark.skipif(qemu.unavailable() is not None, reason="needs qemu-user"),
    *(
        pytest.mark.skipif(shutil.which(tool) is None, reason=f"needs {tool}")
        for tool in ("gcc", "valgrind", "nm", "readelf", "objdump")
    ),
]

ANSWERS = SHARED.parent / "shared" / "findings" / "answers"


def judged(program: Path, folder: Path, *arguments: str) -> tuple[list[Difference], int]:
    """Where a recording and callgrind differ, of all processes of a run; how many numbers are the same."""
    file, path = File(program), folder / "judged.data"
    command = [str(program), *arguments]
    record(command, path, backend="qemu")
    recording = odograph.open(path)
    pids = list(dict.fromkeys(thread.pid for thread in recording.threads))
    first = [recording.history(thread.tid) for thread in recording.threads if thread.pid == pids[0]]
    written = ran(command, folder)
    assert written, "callgrind wrote nothing"
    assert written[0].stat().st_size, "callgrind failed"
    said, same = [], 0
    for pid, costs in zip(pids, written, strict=True):
        mine = [recording.history(thread.tid) for thread in recording.threads if thread.pid == pid]
        some, number = differences(mine, parsed(costs, file), file, first if pid != pids[0] else ())
        said += some
        same += number
    return said, same


def check(program: Path, folder: Path, *arguments: str, least: int = 5) -> set[Kind]:
    """Every difference is of a kind; which kinds there were."""
    said, same = judged(program, folder, *arguments)

    assert "\n".join(str(one) for one in said if one.kind is None) == ""
    assert same >= least
    return {one.kind for one in said if one.kind is not None}


def built(path: Path, folder: Path, *options: str) -> Path:
    compiler = {".c": "gcc", ".cpp": "g++", ".rs": "rustc"}[path.suffix]
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    program = folder / path.stem
    usual = [] if compiler == "rustc" else ["-fcf-protection=none", "-pthread"]
    subprocess.run([compiler, "-g", *usual, *options, "-o", program, path], check=True, capture_output=True)
    return program


# The kinds ------------------------------------------------------------------------------------------------


def of_text(text: str, folder: Path, *options: str) -> dict[tuple[str, str], tuple[int, int, Kind | None]]:
    """Differences of a small program by function and number: ours, callgrind's, and the kind."""
    path = folder / "small.c"
    path.write_text("#define ALONE __attribute__((noinline, noclone))\nvolatile int sink;\n" + text)
    said, _ = judged(built(path, folder, *options), folder)
    return {(one.function, one.what): (one.found, one.judged, one.kind) for one in said}


def test_recursion_is_counted_once_and_callgrind_adds_it_up(tmp_path: Path) -> None:
    """Ours: what is executed while any call is open, so never more than the whole run."""
    said = of_text(
        "ALONE int leaf(int n) { return sink += n; } int down(int n);"
        "ALONE int one(int n) { return leaf(n) + (n ? down(n - 1) : 0) + 1; }"
        "ALONE int down(int n) { return one(n) + 1; } int main(void) { return one(9) & 0; }",
        tmp_path,
        "-O1",
    )
    found, expected, kind = said["one", "inclusive"]
    assert (kind, found < expected) == (Kind.RECURSION, True)
    assert ("one", "calls") not in said
    assert ("one", "own") not in said


def test_libraries_cost_what_their_code_for_the_processor_does(tmp_path: Path) -> None:
    """Both are right: the loader finds a symbol below QEMU in other steps than below valgrind."""
    said = of_text(
        '#include <stdlib.h>\nALONE int one(void) { return atoi("12"); }int main(void) { return one() & 0; }',
        tmp_path,
        "-O1",
        "-Wl,-z,lazy",
    )
    assert said["one", "inclusive"][2] is Kind.LIBRARY
    assert ("one", "own") not in said


def test_handlers_are_called_and_lie_on_what_they_interrupted(tmp_path: Path) -> None:
    """Ours: as ``stack`` shows it. What a handler returns to, two instructions, ends its call."""
    said = of_text(
        "#include <signal.h>\nALONE void on(int n) { sink += n; }"
        "int main(void) { signal(SIGUSR1, on); for (int i = 0; i < 5; i++) raise(SIGUSR1); return 0; }",
        tmp_path,
        "-O1",
        "-Wl,-z,now",
    )
    assert said["on", "calls"] == (5, 0, Kind.HANDLER)
    found, expected, kind = said["on", "own"]
    assert (found - expected, kind) == (5 * 2, Kind.HANDLER)
    assert said["main", "inclusive"][2] is Kind.HANDLER


def test_a_switch_of_stacks_does_not_count_as_a_call(tmp_path: Path) -> None:
    """Ours: ``co`` was begun once, and goes on after each switch."""
    said = of_text(
        "#include <ucontext.h>\nucontext_t out, in; char stack[65536];"
        "ALONE void co(void) { for (;;) { sink++; swapcontext(&in, &out); } }"
        "int main(void) { getcontext(&in); in.uc_stack.ss_sp = stack; in.uc_stack.ss_size = sizeof stack;"
        "makecontext(&in, co, 0); for (int i = 0; i < 4; i++) swapcontext(&out, &in); return 0; }",
        tmp_path,
        "-O1",
    )
    assert said["main", "inclusive"][2] is Kind.SWITCH
    assert ("co", "calls") not in said
    assert ("co", "own") not in said


@pytest.mark.parametrize("options", [("-Wl,-z,lazy",), ("-Wl,-z,now",)])
def test_stubs_and_what_the_loader_does_for_them_cost_the_function_that_they_lead_to(
    options: Sequence[str], tmp_path: Path
) -> None:
    """No kind: a function that calls another file's at its end is charged for nothing of that."""
    said = of_text(
        "#include <stdlib.h>\nALONE void drop(void *at) { sink++; free(at); }"
        "ALONE long call(long n) { return labs(n); } long (*volatile chosen)(long) = labs;"
        "int main(void) { for (int i = 0; i < 3; i++) drop(malloc(9)); return chosen(call(0)); }",
        tmp_path,
        "-O2",
        *options,
    )
    assert {what for function, what in said if function in ("drop", "call", "main")} <= {"inclusive"}


@pytest.mark.parametrize("how", ["-mindirect-branch=thunk", "-mfunction-return=thunk"])
def test_thunks_do_not_count_as_functions(tmp_path: Path, how: str) -> None:
    """Ours: as without thunks. Callgrind calls a thunk what is called through it."""
    text = (
        "ALONE int one(int n) { sink++; return n; } int (*volatile chosen)(int) = one;"
        "int main(void) { for (int i = 0; i < 6; i++) sink += chosen(i); return 0; }"
    )
    said = of_text(text, tmp_path, "-O1", how)
    assert said["one", "own"][2] is Kind.THUNK
    assert {what[2] for what in said.values()} <= {Kind.THUNK, Kind.NO_SIZE, Kind.LIBRARY}


def test_functions_whose_symbols_have_no_size_are_called_too(tmp_path: Path) -> None:
    """Ours: a symbol ends where the next one begins."""
    said = of_text("int main(void) { return 0; }", tmp_path, "-O1")
    assert said["register_tm_clones", "calls"] == (1, 0, Kind.NO_SIZE)
    assert {what[2] for what in said.values()} <= {Kind.NO_SIZE, Kind.LIBRARY}


def test_what_was_executed_before_a_fault_counts(tmp_path: Path) -> None:
    """Ours: all instructions but the one that failed; callgrind counts a block at its end."""
    said, _ = judged(built(PROGRAMS / "crash.c", tmp_path, "-O1"), tmp_path)
    (own,) = [one for one in said if (one.function, one.what) == ("main", "own")]
    assert (own.kind, own.found) == (Kind.FAULT, own.judged + 1)


def test_a_child_did_not_do_what_its_parent_had_done(tmp_path: Path) -> None:
    """Ours: a history of a child begins where the child does."""
    said = of_text(
        "#include <unistd.h>\n#include <sys/wait.h>\nALONE int work(int n) { return sink += n; }"
        "int main(void) { work(1); work(2); if (fork() == 0) { work(3); _exit(0); } wait(0); return 0; }",
        tmp_path,
        "-O1",
    )
    assert said["work", "calls"] == (1, 3, Kind.FORK)


# The programs ---------------------------------------------------------------------------------------------

#: Programs of ``tests/programs`` with their options and arguments.
JUDGED: list[tuple[str, Sequence[str], Sequence[str]]] = [
    *(
        (name, (level,), ())
        for name in ("fib.c", "jumps.c", "crash.c", "stepping.c")
        for level in ("-O0", "-O2")
    ),
    *(
        (name, (level,), ())
        for name in ("threads.c", "selfwritten.c", "traps.c", "told.c")
        for level in ("-O1", "-O2")
    ),
    *(("children.c", (level,), ("/bin/true", "/nowhere")) for level in ("-O0", "-O2")),
    *(("family.c", (level,), ()) for level in ("-O0", "-O2")),
    *((name, (level,), ()) for name in ("remapped.c", "ownswitch.c") for level in ("-O0", "-O2")),
    *(("stacks.c", (level,), ()) for level in ("-O0", "-O1")),
    *((name, (level,), ()) for name in ("stacks.cpp", "throws.cpp") for level in ("-O0", "-O2")),
    ("stacks.rs", ("-O",), ()),
]
#: Those that callgrind does not finish: an assertion of its own fails, or it does not know an instruction.
FAILS = ("signals.c", "handlers.c", "manystacks.c", "switching.c")
#: Those that do other things below valgrind: that depends on how the kernel chooses places, on time, or on
#: signals that end them.
OTHERWISE = ("byfile.c", "reloaded.c", "remaps.c", "rounds.c", "stale.c")


def test_all_programs_are_judged_or_it_is_known_why_not() -> None:
    names = {name for name, *_ in JUDGED} | {*FAILS, *OTHERWISE}
    assert names == {path.name for path in PROGRAMS.iterdir()}


@pytest.mark.acceptance
@pytest.mark.parametrize(("name", "options", "arguments"), JUDGED)
def test_programs_cost_what_callgrind_says(
    name: str, options: Sequence[str], arguments: Sequence[str], tmp_path: Path
) -> None:
    check(built(PROGRAMS / name, tmp_path, *options), tmp_path, *arguments)


@pytest.mark.acceptance
@pytest.mark.parametrize("name", FAILS)
def test_callgrind_fails_on_programs_that_are_not_judged(name: str, tmp_path: Path) -> None:
    written = ran([built(PROGRAMS / name, tmp_path, "-O1")], tmp_path)
    assert not written or not written[0].stat().st_size


@pytest.mark.acceptance
@pytest.mark.parametrize("options", [("-O0",), ("-O1",), ("-O2",)])
@pytest.mark.parametrize(
    "name",
    [
        "coroutine.c",
        "fork_exec.c",
        "fork_names.c",
        "longjmp_tree.c",
        "names_by_dwarf.c",
        "retpoline.c",
        "tail_calls.c",
    ],
)
def test_programs_of_wrong_answers_cost_what_callgrind_says(
    name: str, options: Sequence[str], tmp_path: Path
) -> None:
    if not (ANSWERS / name).exists():
        pytest.skip(f"needs {ANSWERS}")
    check(built(ANSWERS / name, tmp_path, *options), tmp_path)


@pytest.mark.acceptance
@pytest.mark.parametrize(
    "options",
    [
        ("-O0", "-mindirect-branch=thunk"),
        ("-O0", "-mfunction-return=thunk"),
        ("-O1", "-mindirect-branch=thunk-inline"),
    ],
)
def test_programs_of_wrong_answers_cost_the_same_with_thunks(options: Sequence[str], tmp_path: Path) -> None:
    if not (ANSWERS / "retpoline.c").exists():
        pytest.skip(f"needs {ANSWERS}")
    check(built(ANSWERS / "retpoline.c", tmp_path, *options), tmp_path)


# Programs from seeds --------------------------------------------------------------------------------------

# Stacks that a program switches between are judged by the journals that it keeps: ``test_journals.py``.
WAYS = ("call", "pointer", "recursion", "longjmp", "qsort", "signal", "tail")
HOW = (
    ("-O1",),
    ("-O2", "-foptimize-sibling-calls"),
    ("-O1", "-Wl,-z,now"),
    ("-O2", "-foptimize-sibling-calls", "-Wl,-z,now"),
)


def check_seed(seed: int, folder: Path) -> None:
    program = compiled(source(seed, WAYS), folder, *HOW[seed % len(HOW)])
    assert program is not None
    check(program, folder, least=15)


@pytest.mark.parametrize("seed", range(4))
def test_calls_and_costs_are_those_of_callgrind(seed: int, tmp_path: Path) -> None:
    check_seed(seed, tmp_path)


@pytest.mark.acceptance
@pytest.mark.parametrize("seed", range(4, 54))
def test_calls_and_costs_of_fifty_programs_are_those_of_callgrind(seed: int, tmp_path: Path) -> None:
    check_seed(seed, tmp_path)
