"""Programs whose functions end by jumping to each other, made from seeds, with and without names."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

__all__ = ["JIT", "compiled", "source"]

_HEAD = """
#define ALONE __attribute__((noinline, noclone))
volatile int sink;
static volatile int fuel;
"""

#: Without them nothing but its symbols says where the functions of a program begin.
_NOTHING = ("-fno-asynchronous-unwind-tables", "-fno-exceptions")


def source(seed: int) -> str:
    """A program in C, the same for the same seed: all functions are called, and most are jumped to."""
    dice = random.Random(seed)
    names = [f"f{number}" for number in range(dice.randrange(5, 10))]
    parts = [_HEAD, *(f"int {name}(int n);" for name in names)]
    parts.append(f"int (*volatile table[])(int) = {{ {', '.join(names)} }};")
    for name in names:
        other, again = dice.choice(names), dice.choice(names)
        lines = {
            "loop": f"for (int i = 0; i < (n & {dice.choice((1, 3, 7))}); i++) sink += i;",
            "call": f"sink += {other}(n - 1);",
            "switch": "switch (n & 7) { "
            + " ".join(f"case {case}: sink {dice.choice('+-^')}= n + {case}; break;" for case in range(8))
            + " }",
            "itself": f"if (n & 16) return {name}(n >> 1);",
            "nothing": "",
        }
        body = [lines[kind] for kind in dice.choices(sorted(lines), k=2)]
        end = dice.choice((f"return {again}(n + 1);", f"return table[{names.index(again)}](n);", "return n;"))
        parts.append(
            f"ALONE int {name}(int n)\n{{\n"
            f"    if (fuel-- <= 0) return n;\n    {' '.join(body)}\n    {end}\n}}"
        )
    calls = "\n        ".join(
        f"fuel = {dice.randrange(2, 30)}; sink += table[{at}](i);" for at in range(len(names))
    )
    parts.append(
        "int main(void)\n{\n    for (volatile int i = 0; i < 20; i++) {\n"
        f"        {calls}\n    }}\n    return 0;\n}}\n"
    )
    return "\n".join(parts)


def compiled(text: str, folder: Path, *options: str) -> tuple[Path, Path] | None:
    """The program with symbols, and the same one without; None without a compiler.

    Neither has call frame information of its own functions.
    """
    compiler = shutil.which("gcc")
    if compiler is None or shutil.which("strip") is None:
        return None
    (folder / "with").mkdir()
    # Of the same length: where a program lies may depend on that of its path.
    (folder / "lack").mkdir()
    path = folder / "program.c"
    path.write_text(text)
    program, bare = folder / "with" / "program", folder / "lack" / "program"
    every = ["-O2", "-g", "-fcf-protection=none", *_NOTHING, *options]
    subprocess.run([compiler, *every, "-o", program, path], check=True)
    subprocess.run(["strip", "-s", "-o", bare, program], check=True)
    return program, bare


JIT = r"""
#include <string.h>
#include <sys/mman.h>

/* middle: inc %eax; jmp last
   last: add %edi,%eax; dec %edi; jne last; ret
   first: xor %eax,%eax; jmp middle */
static const unsigned char code[] = {
    0xff, 0xc0, 0xe9, 0x09, 0, 0, 0, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
    0x01, 0xf8, 0xff, 0xcf, 0x75, 0xfa, 0xc3, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
    0x31, 0xc0, 0xeb, 0xdc,
};

int main(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    char *at = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0);
    memcpy(at, code, sizeof code);
    int (*volatile middle)(int) = (void *)at, (*volatile last)(int) = (void *)(at + 16);
    int (*volatile first)(int) = (void *)(at + 32);
    int sum = 0;
    for (int i = 1; i < 6; i++) sum += first(i);
    sum += middle(3) + last(4);
    return sum == 12345;
}
"""

COLD = r"""
#define ALONE __attribute__((noinline, noclone))
volatile int sink;
__attribute__((cold, noinline)) void rare(int n) { sink -= n; }
ALONE int plain(int n) { return n + sink; }
ALONE int often(int n)
{
    int sum = plain(n) + plain(n + 1);
    if (__builtin_expect(n % 7 == 3, 0)) {
        rare(n);
        rare(sum);
        sink += plain(sum);
    }
    return sum + plain(sum);
}

int main(void)
{
    for (int i = 0; i < 30; i++) sink += often(i);
    return 0;
}
"""
"""A function of which a part was moved elsewhere, from where it comes back."""
