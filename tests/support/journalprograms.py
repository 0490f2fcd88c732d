"""Programs with coroutines, made from seeds, that keep a journal of their own calls; and what it says."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Journal", "read", "source"]

_HEAD = """
#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <ucontext.h>
#include <unistd.h>

#define ALONE __attribute__((noinline, noclone))
#define COUNT %(coroutines)d
#define SAY(what) (journal[used++] = (what))
enum { LEAVE = 1000, SWITCH = 2000, TICK = 3000, LAND = 10000 };

static int journal[1 << 16];
static volatile int used, current, fuel = 400;
volatile int sink;
static ucontext_t contexts[COUNT + 1];
static char stacks[COUNT + 1][1 << 16];
static volatile int is_new[COUNT + 1];
static jmp_buf *landings[COUNT + 1];
/* Functions on each stack that have called setjmp: of two calls of one function that wait for a longjmp,
   no trace says which one it went to. */
static volatile int marks[COUNT + 1];

ALONE void tick(void) { for (int i = 0; i < 40; i++) sink += i; SAY(TICK); }
"""

_READY = """
/* Another stack is to run from here on: one that waits, or a new one. */
ALONE void ready(int number)
{
    if (is_new[number]) {
        is_new[number] = 0;
        getcontext(&contexts[number]);
        contexts[number].uc_stack.ss_sp = stacks[number];
        contexts[number].uc_stack.ss_size = sizeof stacks[number];
        contexts[number].uc_link = &contexts[0];
        makecontext(&contexts[number], bodies[number], 0);
    }
    current = number;
    SAY(SWITCH + number);
}
#define SWAP(number) do { \\
    int here = current, there = (number); \\
    if (there != here) { ready(there); swapcontext(&contexts[here], &contexts[there]); } \\
} while (0)
"""

_SHARED = """
ALONE void go(int number) { SAY(%(number)d); SWAP(number); SAY(LEAVE + %(number)d); }
"""

_FUNCTION = """
ALONE int %(name)s(int n)
{
    SAY(%(number)d);
    volatile int mark = used, before_marks = marks[current];
    if (fuel-- > 0) {
    %(lines)s
    }
    tick();
    marks[current] = before_marks;
    SAY(LEAVE + %(number)d);
    return n + mark %% 3;
}
"""

_LONGJMP = """if (!(marks[current] & %(bit)d)) {
        jmp_buf here, *volatile before = landings[current];
        marks[current] |= %(bit)d;
        landings[current] = &here;
        if (!setjmp(here)) sink += %(inner)s;
        else { SAY(LAND + mark); marks[current] = before_marks | %(bit)d; }
        landings[current] = before;
    }"""

_BODY = """
ALONE void %(name)s(void)
{
    SAY(%(number)d);
    landings[current] = 0;
    marks[current] = 0;
    for (int i = 0; i < 3 || sink %% 5; i++) {
        %(first)s(i);
        go((current + i) %% (COUNT + 1));
    }
    SAY(LEAVE + %(number)d);
    is_new[current] = 1;
    current = 0;
    SAY(SWITCH);
}
"""

_MAIN = """
int main(int count, char **words)
{
    SAY(%(number)d);
    for (int i = 1; i <= COUNT; i++) is_new[i] = 1;
    for (int i = 0; i < 12; i++) {
        fuel += 30;
        %(first)s(i);
        go(1 + i %% COUNT);
        sink++;
    }
    SAY(LEAVE + %(number)d);
    int file = open(words[count - 1], O_WRONLY | O_CREAT | O_TRUNC, 0600);
    return write(file, journal, used * sizeof *journal) < 0;
}
"""


def source(seed: int, shared: bool) -> tuple[str, list[str]]:
    """A program in C, the same for the same seed, and its functions by number in the journal.

    If ``shared``, all of its stacks run the same functions and wait at the same place; else each has
    functions of its own, and waits at places of its own. The program writes the journal to the file that its
    last word names.
    """
    dice = random.Random(seed)
    coroutines = dice.randrange(2, 6)
    kinds = [""] if shared else [f"_{number}" for number in range(coroutines + 1)]
    names: list[str] = []
    parts: list[str] = []
    firsts: list[str] = []
    bodies: list[str] = []
    for kind in kinds:
        count, before = dice.randrange(3, 8), len(names)
        mine = [f"f{number}{kind}" for number in range(count)]
        firsts.append(mine[0])
        parts += [f"int {name}(int n);" for name in mine]
        parts.append(f"int (*volatile table{kind}[])(int) = {{ {', '.join(mine)} }};")
        names += mine
        for number, name in enumerate(mine):
            ways = range(dice.randrange(2, 6))
            lines = "\n    ".join(_statement(dice, mine, f"table{kind}", number, coroutines) for _ in ways)
            parts.append(_FUNCTION % {"name": name, "number": before + number, "lines": lines})
    for kind, first in zip(kinds, firsts, strict=True):
        parts.append(_BODY % {"name": f"body{kind}", "number": len(names), "first": first})
        names.append(f"body{kind}")
        bodies.append(f"body{kind}")
    # In a macro each call is a place of its own.
    go = "#define go(number) SWAP(number)"
    if shared:
        go = _SHARED % {"number": len(names)}
        names.append("go")
    parts.append(_MAIN % {"number": len(names), "first": firsts[0]})
    names.append("main")
    every = bodies if not shared else bodies * (coroutines + 1)
    head = [*(f"void {body}(void);" for body in bodies)]
    head.append(f"static void (*const bodies[])(void) = {{ {', '.join(every)} }};")
    return "\n".join([_HEAD % {"coroutines": coroutines}, *head, _READY, go, *parts]), names


def _statement(dice: random.Random, names: list[str], table: str, number: int, coroutines: int) -> str:
    count = len(names)
    later = dice.randrange(number + 1, count) if number + 1 < count else None
    way = dice.choice(("call", "pointer", "recursion", "longjmp", "switch", "switch", "tick"))
    if way == "call" and later is not None:
        return f"sink += {names[later]}(n + {dice.randrange(3)});"
    if way == "pointer" and later is not None:
        return f"sink += {table}[{later}](n);"
    if way == "recursion":
        return f"if (n > 0) sink += {names[dice.randrange(number + 1)]}(n - {dice.randrange(1, 3)});"
    if way == "longjmp":
        if dice.randrange(2):
            low = dice.choice((1, 3))
            return f"if (landings[current] && (used & {low}) == {low}) longjmp(*landings[current], 1);"
        inner = f"{names[later]}(n)" if later is not None else "n"
        return _LONGJMP % {"bit": 1 << number, "inner": inner}
    if way == "switch":
        where = dice.choice((str(dice.randrange(coroutines + 1)), "used % (COUNT + 1)"))
        return f"go({where});"
    return f"for (int i = 0; i < {dice.randrange(1, 4)}; i++) tick();"


@dataclass(slots=True)
class Journal:
    """What a program says of its calls."""

    begins_and_ends: list[tuple[str, bool]] = field(default_factory=list)
    """The function and whether its call begins, in order; ``longjmp`` ends the innermost first."""
    calls: Counter[str] = field(default_factory=Counter)
    callers: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """Calls by path: the functions on the same stack, the outermost first."""
    stacks: list[tuple[str, ...]] = field(default_factory=list)
    """The stack where each call begins, the outermost function first."""
    inclusive: Counter[str] = field(default_factory=Counter)
    """Calls of ``tick`` while the function was on the stack that ran."""


def read(data: bytes, names: list[str]) -> Journal:
    """What the journal of a program says."""
    journal = Journal()
    stacks: dict[int, list[tuple[int, str]]] = {}
    stack = stacks.setdefault(0, [])
    for at, number in enumerate(np.frombuffer(data, "<i4").tolist(), 1):
        if number >= 10000:
            while stack[-1][0] != number - 10000:
                journal.begins_and_ends.append((stack.pop()[1], False))
        elif number == 3000:
            journal.inclusive.update({name for _, name in stack})
        elif number >= 2000:
            stack = stacks.setdefault(number - 2000, [])
        elif number >= 1000:
            assert stack[-1][1] == names[number - 1000]
            journal.begins_and_ends.append((stack.pop()[1], False))
        else:
            stack.append((at, names[number]))
            journal.begins_and_ends.append((names[number], True))
            journal.calls[names[number]] += 1
            journal.stacks.append(tuple(name for _, name in stack))
            journal.callers[journal.stacks[-1]] += 1
    return journal
