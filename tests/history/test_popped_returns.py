"""Calls that look unlike calls: functions that pop their return address, and jumps to what lies behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import odograph
from odograph import History
from odograph.recorder import qemu
from odograph.recorder.record import record

#: vfork of the C library begins so; statically linked, no jump of the linkage table lies between.
VFORK = """\
#define _GNU_SOURCE
#include <sys/wait.h>
#include <unistd.h>
volatile int sink;
__attribute__((noinline)) void leaf(int i) { sink += i; }
__attribute__((noinline)) void run(void)
{
    pid_t child = vfork();
    if (child == 0)
        _exit(0);
    waitpid(child, 0, 0);
    leaf(1);
    sink++;
}
__attribute__((noinline)) void middle(void) { run(); leaf(2); sink++; }
int main(void) { middle(); middle(); leaf(3); return 0; }
"""

#: A function that returns twice in the way of small C libraries.
SETJMP = """\
__attribute__((returns_twice)) int save(long *);
__attribute__((noreturn)) void load(long *);
asm(".text\\n.type save, @function\\n"
    "save: pop %rsi\\n mov %rbx, (%rdi)\\n mov %rsp, 8(%rdi)\\n push %rsi\\n mov %rbp, 16(%rdi)\\n"
    "mov %rsi, 56(%rdi)\\n xor %eax, %eax\\n ret\\n.size save, . - save\\n"
    ".type load, @function\\n"
    "load: mov $1, %eax\\n mov (%rdi), %rbx\\n mov 8(%rdi), %rsp\\n mov 16(%rdi), %rbp\\n jmp *56(%rdi)\\n"
    ".size load, . - load\\n");
volatile int sink;
long place[8];
__attribute__((noinline)) void leaf(int i) { sink += i; }
__attribute__((noinline)) void deeper(int n)
{
    if (n == 0)
        load(place);
    deeper(n - 1);
    sink++;
}
__attribute__((noinline)) void run(void)
{
    if (save(place) == 0)
        deeper(3);
    leaf(1);
    sink++;
}
__attribute__((noinline)) void middle(void) { run(); leaf(2); sink++; }
int main(void) { middle(); middle(); leaf(3); return 0; }
"""

#: A jump by a register to the function that lies directly behind.
ADJACENT = """\
asm(".text\\n.type first, @function\\n.globl first\\nfirst: lea next(%rip), %rax\\n jmp *%rax\\n"
    ".size first, . - first\\n.type next, @function\\nnext: nop\\n ret\\n.size next, . - next\\n");
void first(void);
int main(void) { first(); first(); return 0; }
"""

RUN, MIDDLE, LAST = (["run", "middle", "main"], ["middle", "main"], ["main"])


def recorded(text: str, folder: Path, *options: str) -> tuple[History, dict[str, int]]:
    if qemu.unavailable() is not None:
        pytest.skip("needs qemu-user")
    (folder / "program.c").write_text(text)
    command = ["gcc", "-O1", "-fno-optimize-sibling-calls", *options, "-o", "program", "program.c"]
    try:
        subprocess.run(command, cwd=folder, check=True)
    except FileNotFoundError:
        pytest.skip("needs gcc")
    path = folder / "program.data"
    assert record([str(folder / "program")], path, backend="qemu").status == 0
    recording = odograph.open(path)
    functions = {function.name: function.start for function in recording.symbols().functions()}
    return recording.history(), functions


@pytest.mark.parametrize(
    ("text", "first", "options"),
    [(VFORK, "__libc_vfork", ["-static"]), (SETJMP, "save", [])],
    ids=["vfork", "setjmp"],
)
def test_such_functions_are_called_and_return(
    text: str, first: str, options: list[str], tmp_path: Path
) -> None:
    history, functions = recorded(text, tmp_path, *options)
    shown = []
    for step in history.find(functions["leaf"]).tolist():
        stack = history.stack(step)
        assert stack.is_complete
        assert not any(frame.is_guess for frame in stack)
        names = [frame.function for frame in stack]
        assert names[0] == "leaf"
        shown.append(names[1 : names.index("main") + 1])
    assert shown == [RUN, MIDDLE, RUN, MIDDLE, LAST]
    calls = {row["ip"]: row["calls"] for row in history.functions()}
    names = {first, "run", "middle", "main", "leaf"}
    assert {name: calls.get(functions[name]) for name in names} == {
        first: 2,
        "run": 2,
        "middle": 2,
        "main": 1,
        "leaf": 5,
    }


def test_a_jump_to_the_function_directly_behind_is_a_call(tmp_path: Path) -> None:
    history, functions = recorded(ADJACENT, tmp_path)
    calls = {row["ip"]: row["calls"] for row in history.functions()}
    assert (calls[functions["first"]], calls[functions["next"]]) == (2, 2)
    (step, _) = history.find(functions["next"]).tolist()
    assert [frame.function for frame in history.stack(step)][:3] == ["next", "first", "main"]
