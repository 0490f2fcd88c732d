"""Inputs of the recorded programs: the same bytes on every machine, made by a few lines of rules."""

from __future__ import annotations

from collections.abc import Iterator

_WORDS = [
    *("turn", "road", "map", "trace", "step", "block", "frame", "image", "section", "event", "packet"),
    *("branch", "taken", "target", "time", "clock", "gap", "memory", "page", "process", "thread"),
    *("recording", "history", "decoder", "processor", "address", "space", "instruction", "call", "return"),
]


def numbers(seed: int) -> Iterator[int]:
    """Numbers from 0 to 2**31 that look random: the linear congruence of POSIX's ``rand``."""
    while True:
        seed = (seed * 1103515245 + 12345) % (1 << 31)
        yield seed >> 8


def text(size: int) -> bytes:
    """About ``size`` bytes of words and numbers in lines: repetitive, but not quite."""
    draw = numbers(1)
    lines, length = [], 0
    while length < size:
        words = [_WORDS[next(draw) % len(_WORDS)] for _ in range(4 + next(draw) % 9)]
        line = f"{next(draw) % 1000:03} {' '.join(words)}\n"
        lines.append(line)
        length += len(line)
    return "".join(lines).encode()


def sql(rows: int) -> bytes:
    """A script for sqlite3: a table with an index, then joins, groups, patterns, updates and a window."""
    return f"""
create table t(id integer primary key, a int, b text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < {rows})
  insert into t select i, (i * 7919) % 1000, 'row ' || i || ' of ' || ((i * 31) % 977) from n;
create index ta on t(a);
select count(*), sum(a) from t where b like '%9%7%';
select a, count(*), max(b) from t group by a order by 2 desc, 1 limit 5;
select count(*) from t x join t y on x.a = y.a where x.id < y.id and x.id % 10 = 0;
update t set b = upper(substr(b, 3)) where a % 3 = 1;
select sum(r) from (select row_number() over (partition by a order by b) r from t);
delete from t where a between 100 and 300;
select group_concat(b, ',') from (select b from t order by b limit 3);
""".encode()


def c_source(functions: int) -> bytes:
    """A C program without headers: functions of several shapes that call each other."""
    draw = numbers(7)
    parts = [
        "typedef unsigned long u64; typedef unsigned char u8;\n"
        "struct node { struct node *next; u64 key; u8 name[16]; int kind; double weight; };\n"
        "extern void *malloc(u64); extern int printf(const char *, ...);\n"
        "static u64 table[256];\n"
    ]
    for at in range(functions):
        called = f"f{next(draw) % at}(a, n)" if at else "(a >> 3)"
        parts.append(_function(at, called, draw))
    calls = "".join(f"  s += f{at}(s ^ {at}, argc);\n" for at in range(functions))
    parts.append(f"int main(int argc, char **argv) {{\n  u64 s = (u64)argv;\n{calls}  return (int)s;\n}}\n")
    return "".join(parts).encode()


def _function(at: int, call: str, draw: Iterator[int]) -> str:
    """One function that uses the value of ``call``, of a shape and with constants drawn."""
    one, two, three = (1 + next(draw) % 97 for _ in range(3))
    cases = "".join(
        f"    case {case}: a {'+-^|'[next(draw) % 4]}= n * {1 + next(draw) % 50}; "
        f"{'break;' if next(draw) % 3 else ''}\n"
        for case in range(4 + next(draw) % 12)
    )
    bodies = [
        f"  for (u64 i = 0; i < {one}; i++) {{\n"
        f"    if ((a >> (i & 63)) & 1) table[(i * {two}) & 255] += a;\n"
        f"    else a += table[i & 255] / ({three} + i);\n"
        f"  }}\n  return a ^ {call};\n",
        f"  switch ((int)(a % {4 + one % 12})) {{\n{cases}    default: a += {call};\n  }}\n  return a;\n",
        f"  struct node *list = 0, *it; u64 s = 0;\n"
        f"  for (int i = 0; i < (n & {two}); i++) {{\n"
        f"    it = malloc(sizeof *it); it->next = list;\n"
        f"    it->key = a + i * {three}; it->kind = i % {one + 1};\n"
        f"    it->weight = it->key * 0.{two}; it->name[i & 15] = (u8)a; list = it;\n  }}\n"
        f"  for (it = list; it; it = it->next)\n"
        f"    if (it->kind > {one % 7} && it->weight < {three}.5) s += it->key * it->name[{at % 16}];\n"
        f"  return s + {call};\n",
        f"  const u8 *p = (const u8 *)table; u64 h = {one};\n"
        f"  while (n-- > {two % 5}) {{ h = (h << {1 + three % 13} | h >> {64 - 1 - three % 13}) ^ p[n & 255];"
        f" if (h % {one + 2} == 0) break; }}\n"
        f'  if (h == {two}) printf("%lu %d\\n", h, n);\n  return h * {call};\n',
    ]
    return f"u64 f{at}(u64 a, int n) {{\n{bodies[next(draw) % len(bodies)]}}}\n"
