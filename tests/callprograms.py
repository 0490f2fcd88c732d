"""Programs that call each other in all ways, made from seeds, and what valgrind's callgrind says of them."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["WAYS", "CallCost", "callgrind", "compiled", "source"]

WAYS = ("call", "pointer", "recursion", "longjmp", "qsort", "signal", "coroutine")
"""How functions of a program are entered and left."""

_HEAD = """
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <ucontext.h>

#define ALONE __attribute__((noinline, noclone))

volatile int sink;
static volatile int fuel = 4000;
static jmp_buf *landing;
static ucontext_t outside, inside;
static char other_stack[1 << 16];
static volatile int is_inside;

ALONE int leaf(int n) { sink += n; return sink & 7; }
ALONE int compare(const void *a, const void *b) { leaf(1); return *(const int *)a - *(const int *)b; }
ALONE void handler(int number) { leaf(number); sink++; }
"""

_TAIL = """
ALONE void coroutine(void)
{
    for (;;) {
        is_inside = 1;
        %s
        is_inside = 0;
        swapcontext(&inside, &outside);
    }
}

int main(void)
{
    signal(SIGUSR1, handler);
    getcontext(&inside);
    inside.uc_stack.ss_sp = other_stack;
    inside.uc_stack.ss_size = sizeof other_stack;
    inside.uc_link = &outside;
    makecontext(&inside, coroutine, 0);
    for (volatile int i = 0; i < 6; i++) {
        fuel = 60;
        f0(i);
        sink--;
    }
    return 0;
}
"""


def source(seed: int, ways: tuple[str, ...] = WAYS) -> str:
    """A program in C whose functions do what ``ways`` say, the same for the same seed."""
    dice = random.Random(seed)
    count = dice.randrange(4, 9)
    names = [f"f{number}" for number in range(count)]
    parts = [_HEAD, *(f"int {name}(int n);" for name in names)]
    parts.append(f"int (*volatile table[])(int) = {{ {', '.join(names)} }};")
    for number, name in enumerate(names):
        body = [_statement(dice, ways, number, count) for _ in range(dice.randrange(2, 6))]
        lines = "\n    ".join(body)
        parts.append(
            f"ALONE int {name}(int n)\n{{\n    if (fuel-- <= 0) return n;\n    {lines}\n"
            "    sink++;\n    return n + sink;\n}"
        )
    inside = "fuel += 5; f1(2);" if "coroutine" in ways else ""
    return "\n".join(parts) + _TAIL % inside


def _statement(dice: random.Random, ways: tuple[str, ...], number: int, count: int) -> str:
    later = dice.randrange(number + 1, count) if number + 1 < count else None
    way = dice.choice(ways)
    plain = f"for (int i = 0; i < {dice.randrange(1, 5)}; i++) sink += leaf(i);"
    if way == "call" and later is not None:
        return f"sink += f{later}(n + {dice.randrange(3)});"
    if way == "pointer" and later is not None:
        return f"sink += table[{later}](n);"
    if way == "recursion":
        return f"if (n > 0) sink += f{dice.randrange(number + 1)}(n - {dice.randrange(1, 3)});"
    if way == "longjmp":
        if dice.randrange(2):
            return f"if (landing && (sink & {dice.choice((1, 3))})) longjmp(*landing, 1);"
        inner = f"f{later}(n)" if later is not None else "leaf(n)"
        return (
            "{ jmp_buf here, *before = landing; landing = &here; "
            f"if (!setjmp(here)) sink += {inner}; landing = before; }}"
        )
    if way == "qsort":
        numbers = ", ".join(str(dice.randrange(100)) for _ in range(dice.randrange(2, 9)))
        return (
            f"{{ int all[] = {{ {numbers} }}; qsort(all, sizeof all / sizeof *all, sizeof *all, compare); }}"
        )
    if way == "signal":
        return "raise(SIGUSR1);"
    if way == "coroutine":
        # A longjmp must not leave for another stack.
        return (
            "if (!is_inside) { jmp_buf *before = landing; landing = 0; swapcontext(&outside, &inside); "
            "landing = before; }"
        )
    return plain


def compiled(text: str, folder: Path, *options: str) -> Path | None:
    """The program; None without a compiler. Calls stay calls."""
    compiler = shutil.which("gcc")
    if compiler is None:
        return None
    path, program = folder / "program.c", folder / "program"
    path.write_text(text)
    kept = ["-O1", "-g", "-fno-optimize-sibling-calls", "-fcf-protection=none", "-fno-plt"]
    subprocess.run([compiler, *kept, *options, "-o", program, path], check=True)
    return program


@dataclass(slots=True)
class CallCost:
    """What callgrind says of a function: instructions of its own and with its callees, and calls of it.

    ``reached`` are its callees and theirs. ``recursive``: calls of it are open inside others, so that the sum
    with callees counts some twice.
    """

    own: int = 0
    inclusive: int = 0
    calls: int = 0
    callees: set[str] = field(default_factory=set)
    reached: set[str] = field(default_factory=set)
    recursive: bool = False


def callgrind(program: Path, folder: Path) -> dict[str, CallCost]:
    """The functions of the program's own file, by name."""
    out = folder / "callgrind.out"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--separate-recs=1"]
    subprocess.run([*command, str(program)], check=True, capture_output=True, timeout=120)
    names: dict[str, str] = {}

    def named(text: str) -> str:
        found = re.match(r"\((\d+)\)(?: (.*))?", text)
        assert found is not None
        if found[2] is not None:
            names[found[1]] = found[2].split("'")[0]
        return names[found[1]]

    costs: dict[str, CallCost] = {}
    files: dict[str, str] = {}

    def objects(text: str) -> str:
        found = re.match(r"\((\d+)\)(?: (.*))?", text)
        assert found is not None
        if found[2] is not None:
            files[found[1]] = found[2]
        return files[found[1]]

    here, mine, callee, called = CallCost(), False, "", 0
    own: set[str] = set()
    current = ""
    for line in out.read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "ob":
            mine = objects(value) == str(program)
        elif key == "cob":
            objects(value)
        elif key == "fn":
            current = named(value)
            here = costs.setdefault(current, CallCost())
            if mine:
                own.add(current)
        elif key == "cfn":
            callee = named(value)
        elif key == "calls":
            called = int(value.split()[0])
        elif re.match(r"[+\-*\d]", line) and current:
            cost = int(line.split()[1])
            if called:
                costs.setdefault(callee, CallCost()).calls += called
                here.inclusive += cost
                here.callees.add(callee)
                called = 0
            else:
                here.own += cost
                here.inclusive += cost
    for name, cost in costs.items():
        cost.reached = _reached(costs, name)
        cost.recursive = name in cost.reached
    return {name: costs[name] for name in own}


def _reached(costs: dict[str, CallCost], name: str) -> set[str]:
    found: set[str] = set()
    pending = list(costs[name].callees)
    while pending:
        callee = pending.pop()
        if callee not in found:
            found.add(callee)
            pending += costs[callee].callees
    return found
