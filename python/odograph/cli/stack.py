"""``odograph stack``: where the threads of a live process or a core stand, and who called them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from odograph.cli.failure import Failure
from odograph.cli.output import json_option, styled, write_json, write_lines

if TYPE_CHECKING:
    from odograph.frame import Frame, Stack
    from odograph.unwind import Target, Thread

__all__ = ["command"]


@click.command()
@click.option("--core", metavar="FILE", type=click.Path(dir_okay=False), help="An ELF core.")
@click.option("--pid", type=click.IntRange(min=1), help="A live process; it stands still meanwhile.")
@click.option("--tid", type=click.IntRange(min=1), help="Only this thread.")
@click.option(
    "--sysroot", multiple=True, metavar="DIR", help="Where to look for the files that a core had mapped."
)
@click.option(
    "--program",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="The program, for cores that do not tell what was mapped.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="Frames of each stack."
)
@json_option
def command(
    core: str | None,
    pid: int | None,
    tid: int | None,
    sysroot: tuple[str, ...],
    program: str | None,
    limit: int,
    as_json: bool,
) -> int:
    """Show the stacks of a live process or a core, of x86-64 or AArch64.

    The innermost frame comes first. Ends with 1 if a stack could not be followed to its end.
    """
    if (core is None) == (pid is None):
        raise click.UsageError("name a core with --core FILE or a process with --pid PID")
    from odograph.unwind import open_core, open_process

    with (
        nullcontext(open_core(core, sysroot=sysroot, program=program))
        if core is not None
        else open_process(pid or 0) as target
    ):
        threads = target.threads if tid is None else [one for one in target.threads if one.tid == tid]
        if not threads:
            known = ", ".join(str(thread.tid) for thread in target.threads) or "none"
            raise Failure(f"there is no thread {tid if tid is not None else ''} here; threads: {known}")
        stacks = [(thread, target.stack(thread.tid, limit=limit)) for thread in threads]
    if as_json:
        write_json(_document(target, stacks))
    else:
        write_lines(_lines(target, stacks))
    return 0 if all(stack.is_complete for _, stack in stacks) else 1


def _lines(target: Target, stacks: list[tuple[Thread, Stack]]) -> Iterator[str]:
    for text in target.missing:
        click.echo(f"odograph: {text}", err=True)
    for number, (thread, stack) in enumerate(stacks):
        if number:
            yield ""
        name = f" {thread.name}" if thread.name else ""
        signal = f", signal {thread.signal}" if thread.signal else ""
        yield styled(f"thread {thread.tid}{name}{signal}", bold=True)
        yield from str(stack).splitlines()


def _document(target: Target, stacks: list[tuple[Thread, Stack]]) -> dict[str, Any]:
    return {
        "pid": target.pid,
        "machine": target.machine,
        "missing": list(target.missing),
        "threads": [
            {
                "tid": thread.tid,
                "name": thread.name,
                "signal": thread.signal,
                "end": stack.end,
                "frames": [_frame(frame) for frame in stack],
            }
            for thread, stack in stacks
        ],
    }


def _frame(frame: Frame) -> dict[str, Any]:
    return {
        "address": frame.address,
        "function": frame.function,
        "offset": frame.offset,
        "module": frame.module,
        "file": frame.file,
        "line": frame.line,
        "inlined": [one._asdict() for one in frame.inlined],
        "found": frame.found.value,
        "is_return": frame.is_return,
        "is_guess": frame.is_guess,
        "registers": dict(frame.registers),
    }
