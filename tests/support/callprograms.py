"""Programs whose functions call each other in all ways, made from seeds."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path

__all__ = ["WAYS", "compiled", "source"]

WAYS = ("call", "pointer", "recursion", "longjmp", "qsort", "signal", "coroutine", "tail")
"""How functions of a program are entered and left. Compilers make jumps of tail calls from -O2 on."""

_HEAD = """
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <ucontext.h>

#define ALONE __attribute__((noinline, noclone))

volatile int sink;
static volatile int fuel = 4000, refills = 400;
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


_OWN = re.compile(r"static ((?:volatile int|jmp_buf|ucontext_t|char) )")
_THREADS = """
#include <pthread.h>

static void *begin(void *nothing) { mine(); return nothing; }

int main(void)
{
    pthread_t all[%(count)d];
    for (int i = 1; i < %(count)d; i++) pthread_create(&all[i], 0, begin, 0);
    mine();
    for (int i = 1; i < %(count)d; i++) pthread_join(all[i], 0);
    return 0;
}
"""


def source(seed: int, ways: tuple[str, ...] = WAYS, threads: int = 1) -> str:
    """A program in C whose functions do what ``ways`` say, the same for the same seed.

    With several ``threads`` all do so, each with its own stacks and jumps.
    """
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
            f"    sink++;\n    return {_result(dice, ways, number, count)};\n}}"
        )
    inside = "if (refills-- > 0) fuel += 5; f1(2);" if "coroutine" in ways else ""
    text = "\n".join(parts) + _TAIL % inside
    if threads > 1:
        text = _OWN.sub(r"static __thread \1", text).replace("int main(void)", "int mine(void)")
        text += _THREADS % {"count": threads}
    return text


def _result(dice: random.Random, ways: tuple[str, ...], number: int, count: int) -> str:
    if "tail" in ways and number + 1 < count and dice.randrange(2):
        later = dice.randrange(number + 1, count)
        return dice.choice((f"f{later}(n)", f"table[{later}](n)", "leaf(n)"))
    return "n + sink"


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
