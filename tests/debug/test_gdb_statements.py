"""gdb over a recording: what a user may rely on, by the numbers of the list of statements."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

import odograph
from odograph.debug import Target
from support.debugruns import Recorded
from support.landmarks import landmarks

Gdb = Callable[..., list[str]]
NO_MORE = "No more reverse-execution history."


def step_of(text: str) -> int:
    """The step that ``monitor where`` names."""
    found = re.search(r"step (\d+) of", text)
    assert found is not None, text
    return int(found[1])


def hits(target: Target, symbol: str, offset: int = 0) -> list[int]:
    address = target.symbols.resolve(symbol) + offset
    return target.processor.breakpoints.hits(address, address).tolist()


# 48 ------------------------------------------------------------------------------------------------------


def test_48_no_local_file_is_needed(gdb: Gdb, elsewhere: Recorded) -> None:
    assert not (elsewhere.path.parent / "away").exists()
    symbol, libraries, listing, registers, of_library, line = gdb(
        elsewhere,
        "info symbol main",
        "info sharedlibrary",
        "x/2i $pc",
        "info registers",
        "info symbol qsort",
        "info line fact",
    )
    assert symbol.startswith("main in section .text")
    assert "libc.so.6" in libraries
    assert "Yes" in libraries
    assert "=> 0x" in listing
    assert "<_start" in listing
    assert re.search(r"^rax +<unavailable>$", registers, re.M)
    assert re.search(r"^rip +0x[0-9a-f]+ +0x[0-9a-f]+ <_start>$", registers, re.M)
    assert re.search(r"^rsp +0x[0-9a-f]+", registers, re.M)
    assert of_library.startswith("qsort in section .text of")
    assert 'Line 4 of "' in line


# 49 ------------------------------------------------------------------------------------------------------


def test_49_stepi_and_reverse_stepi_are_inverse(gdb: Gdb, recorded: Recorded) -> None:
    pc = "output/x $pc"
    forward = [word for _ in range(12) for word in ("stepi", pc)]
    backward = [word for _ in range(12) for word in ("reverse-stepi", pc)]
    said = gdb(recorded, "tbreak fact", "continue", pc, *forward, *backward)
    pcs = said[2:3] + said[4 : 4 + 24 : 2]
    assert pcs[::-1][1:] == said[4 + 24 :: 2]
    assert len(set(pcs)) > 6


def test_49_the_ends_are_named(gdb: Gdb, recorded: Recorded) -> None:
    target = Target(odograph.open(recorded.path))
    said = gdb(
        recorded,
        "reverse-stepi",
        "reverse-continue",
        "monitor where",
        "continue",
        "monitor where",
        "stepi",
        "continue",
        "reverse-stepi",
        "monitor where",
        "reverse-continue",
        "monitor where",
    )
    assert [at for at, text in enumerate(said) if NO_MORE in text] == [0, 1, 3, 5, 6, 9]
    assert [step_of(said[at]) for at in (2, 4, 8, 10)] == [0, target.last, target.last - 1, 0]


# 50 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", ["fact", "twice", "compare", "qsort"])
def test_50_breakpoints_are_met_where_the_api_meets_them(
    gdb: Gdb, recorded: Recorded, target: Target, symbol: str
) -> None:
    expected = hits(target, symbol)
    assert expected
    address = target.symbols.resolve(symbol)
    count = len(expected)
    on = ["continue", "monitor where"] * (count + 1)
    back = ["reverse-continue", "monitor where"] * (count + 1)
    said = gdb(recorded, f"break *{address:#x}", *on, *back)[1:]
    forward, backward = said[: 2 * count + 2], said[2 * count + 2 :]
    assert [step_of(text) for text in forward[1::2]] == [*expected, target.last]
    assert [step_of(text) for text in backward[1::2]] == [*expected[::-1], 0]
    assert all("Breakpoint 1" in text for text in forward[:-2:2] + backward[:-2:2])
    assert NO_MORE in forward[-2]
    assert NO_MORE in backward[-2]


def test_50_a_function_breakpoint(gdb: Gdb, recorded: Recorded, target: Target) -> None:
    said = gdb(recorded, "break fact", *["continue", "monitor where"] * 6)
    found = re.search(r"Breakpoint 1 at (0x[0-9a-f]+): file .*turns.c, line 5", said[0])
    assert found is not None
    expected = target.processor.breakpoints.hits(int(found[1], 16), int(found[1], 16)).tolist()
    assert [step_of(text) for text in said[2::2]] == expected


def test_50_in_the_middle_of_an_instruction(gdb: Gdb, recorded: Recorded, target: Target) -> None:
    expected = hits(target, "fact", 2)
    assert len(expected) == 6
    address = target.symbols.resolve("fact")
    on, back = ["continue", "monitor where"] * 6, ["reverse-continue", "monitor where"] * 5
    said = gdb(recorded, f"break *{address + 2:#x}", *on, *back)[1:]
    assert all("SIGTRAP" in text for text in said[::2])
    assert [step_of(text) for text in said[1::2]] == [*expected, *expected[-2::-1]]


def test_50_other_ways_to_stop(gdb: Gdb, recorded: Recorded, target: Target) -> None:
    twice = hits(target, "twice")
    address = target.symbols.resolve("twice")
    said = gdb(
        recorded,
        f"tbreak *{address:#x}",
        "continue",
        "monitor where",
        "tbreak main",
        "reverse-continue",
        "advance twice",
        "up",
        "finish",
        "until 25",
        "break compare if $pc == 0",
        "reverse-continue",
        "delete",
        f"break *{address:#x}",
        "ignore 4 2",
        "continue",
        "monitor where",
    )
    assert step_of(said[2]) == twice[0]
    assert "main ()" in said[4]
    assert "twice (" in said[5]
    assert "25\t" in said[8]
    assert NO_MORE in said[10]
    assert step_of(said[-1]) == twice[2]


# 51 ------------------------------------------------------------------------------------------------------


def test_51_a_backtrace_has_a_frame_for_each_call(gdb: Gdb, recorded: Recorded, target: Target) -> None:
    address = target.symbols.resolve("fact")
    said = gdb(recorded, f"break *{address:#x}", *["continue", "bt"] * 6)[1:]
    for depth, text in enumerate(said[1::2], start=1):
        frames = [line for line in text.splitlines() if line.startswith("#")]
        names = [re.sub(r"^#\d+ +(0x[0-9a-f]+ in )?(\w+).*", r"\2", line) for line in frames]
        assert names[: depth + 1] == ["fact"] * depth + ["main"]
        assert names[depth + 1 :] in ([], ["__libc_start_call_main", "__libc_start_main_impl", "_start"])


def test_51_frames_of_a_library_between_those_of_the_program(gdb: Gdb, recorded: Recorded) -> None:
    text = gdb(recorded, "break compare", "continue", "bt -past-main")[2]
    names = re.findall(r"^#\d+ +(?:0x[0-9a-f]+ in )?(\w+)", text, re.M)
    assert names[0] == "compare"
    assert "main" in names
    assert names[-1] == "_start"


def test_51_finish_and_its_reverse(gdb: Gdb, recorded: Recorded, target: Target) -> None:
    entries = hits(target, "fact")
    pairs = {row["call"]: row["end"] for row in target.history.pairs()}
    address = target.symbols.resolve("fact")
    said = gdb(
        recorded,
        f"break *{address:#x}",
        *["continue"] * 3,
        "monitor where",
        "delete",
        "stepi 4",
        "reverse-finish",
        "monitor where",
        "stepi 3",
        "finish",
        "monitor where",
        "finish",
        "monitor where",
        "tbreak twice",
        "reverse-continue",
        "finish",
        "monitor where",
    )
    assert step_of(said[4]) == entries[2]
    # Back to where the third one was called from.
    assert step_of(said[8]) == entries[2] - 1
    # Behind the return of the third call, then behind that of the second.
    assert step_of(said[11]) == pairs[entries[2] - 1] + 1
    assert step_of(said[13]) == pairs[entries[1] - 1] + 1
    twice = hits(target, "twice")[-1]
    assert step_of(said[17]) == pairs[twice - 1] + 1


def test_51_next_goes_over_calls(gdb: Gdb, recorded: Recorded, target: Target) -> None:
    line = "info line *$pc"
    said = gdb(
        recorded,
        "break main",
        "continue",
        *["next", line] * 12,
        "next",
        "monitor where",
        *["reverse-next", line] * 6,
    )
    lines = [int(number) for text in said for number in re.findall(r"Line (\d+) of", text)]
    assert lines[:12] == [21, 22, 23, 24, 23, 24, 23, 24, 23, 24, 23, 25]
    fact = hits(target, "fact")
    pairs = {row["call"]: row["end"] for row in target.history.pairs()}
    # Over the recursion to the line behind it.
    assert step_of(said[27]) > pairs[fact[0] - 1]
    assert lines[12:] == [25, 23, 24, 23, 24, 23]


def test_51_step_goes_into_calls(gdb: Gdb, recorded: Recorded) -> None:
    said = gdb(recorded, "break 24", "continue", "step", "step", "step", "reverse-step", "reverse-step")
    assert "twice (" in said[2]
    assert "main ()" in said[4]
    assert "twice (" in said[5]


def test_51_up_and_down(gdb: Gdb, recorded: Recorded) -> None:
    said = gdb(recorded, "break fact", "continue", "continue", "up", "up", "down", "frame function main")
    assert "in fact" in said[3]
    assert "in main" in said[4]
    assert "in fact" in said[5]
    assert "in main" in said[6]


# Beyond --------------------------------------------------------------------------------------------------


def test_every_thread_has_its_own_history(gdb: Gdb, threaded: Recorded) -> None:
    recording = odograph.open(threaded.path)
    assert len(recording.threads) == 2
    for thread, own, foreign, count in zip(
        recording.threads, ("by_main", "by_other"), ("by_other", "by_main"), (3, 7), strict=True
    ):
        said = gdb(
            threaded,
            "info threads",
            f"monitor hits {foreign}",
            f"break *{own}",
            *["continue"] * (count + 1),
            options=("--tid", str(thread.tid)),
        )
        assert str(thread.tid) in said[0]
        assert said[1].startswith("0 hits")
        assert all("Breakpoint 1" in text for text in said[3:-1])
        assert NO_MORE in said[-1]


def test_goto_tells_gdb_of_the_new_place(gdb: Gdb, recorded: Recorded, target: Target) -> None:
    step = hits(target, "twice")[1]
    said = gdb(
        recorded,
        f"goto {step}",
        "output/x $pc",
        "goto end",
        "goto 12.5s",
        "monitor where",
        "goto -1",
        "goto 99999999999",
        "goto begin",
        "monitor size",
        "monitor nonsense",
    )
    assert "twice (" in said[0]
    assert int(said[1], 16) == target.symbols.resolve("twice")
    assert step_of(said[2]) == target.last
    assert "no processor clock" in said[3]
    assert step_of(said[4]) == target.last
    assert step_of(said[5]) == target.last - 1
    assert "is not among 0 to" in said[6]
    assert step_of(said[7]) == 0
    assert said[8].startswith(f"{len(target.history):,} instructions")
    assert "monitor help" in said[9]


def test_a_filter_chooses_instructions(gdb: Gdb, recorded: Recorded, target: Target) -> None:
    from odograph.processor import mnemonic_prefix

    first = target.symbols.resolve("fact")
    expected = target.processor.breakpoints.hits(first, first + 60, filter=mnemonic_prefix("call"))
    said = gdb(
        recorded,
        f"monitor break {first:#x}-{first + 60:#x} prefix=call",
        *["continue", "monitor where"] * 5,
        "monitor breakpoints",
        "monitor delete 1",
        "continue",
    )
    assert [step_of(text) for text in said[2:11:2]] == expected.tolist()
    assert all("SIGTRAP" in text for text in said[1:11:2])
    assert "prefix=call" in said[11]
    assert "no monitor breakpoints" in said[12]
    assert NO_MORE in said[13]


def test_unknown_stack_words_are_errors(gdb: Gdb, recorded: Recorded) -> None:
    said = gdb(
        recorded, "break twice", "continue", "print x", "x/gx $rsp - 64", "set var $rip = 0", "print $rip"
    )
    assert "Cannot access memory" in said[2]
    assert "Cannot access memory" in said[3]
    assert "<twice" in said[5]


def test_stacks_have_the_depth_of_the_open_calls(target: Target) -> None:
    for step in landmarks(target.history, 60):
        target.goto(step)
        stack = target.stack
        assert stack is not None
        cfas = [frame.cfa for frame in stack.frames]
        assert cfas == sorted(cfas, reverse=True)
        for outer, inner in zip(stack.frames, stack.frames[1:], strict=False):
            assert inner.cfa == outer.rsp
            assert stack.word(inner.cfa - 8) == inner.words[inner.cfa - 8] > outer.pc
