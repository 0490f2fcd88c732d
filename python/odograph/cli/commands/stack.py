"""``odograph stack``: where threads of a recording, a live process or a core stand, and who called them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from odograph.cli.failure import Failure
from odograph.cli.inputs import Input, optional_input, refuse_options
from odograph.cli.output import json_option, say, styled, write_json, write_lines
from odograph.cli.recordedstack import SHOWN, frame_document, recorded

if TYPE_CHECKING:
    from odograph.frame import Stack
    from odograph.unwind import Target, Thread

__all__ = ["command"]


@click.command("stack")
@optional_input
@click.option(
    "--step", type=int, help="Before this step of the recording; negative steps count from the end."
)
@click.option("--time", metavar="SECONDS", help="At this time of the recording.")
@click.option("--core", metavar="FILE", type=click.Path(dir_okay=False), help="An ELF core.")
@click.option(
    "--pid", type=click.IntRange(min=1), help="A live process. It is stopped while its stacks are read."
)
@click.option("--tid", type=click.IntRange(min=1), help="Only this thread.")
@click.option(
    "--program",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="The program, for cores that do not tell what was mapped.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Frames of each stack: 1000 if not given, and of a recording all with --json.",
)
@json_option
def command(
    source: Input,
    step: int | None,
    time: str | None,
    core: str | None,
    pid: int | None,
    tid: int | None,
    program: str | None,
    limit: int | None,
    as_json: bool,
) -> int:
    """Show the stacks of a recording, a live process or a core, of x86-64 or AArch64.

    The innermost frame comes first. Of a recording: of all threads at its end, or of one thread at a step or
    a time; the frames from before it come from a core of its end, if there is one. Ends with 1 if a stack
    could not be followed to its end.
    """
    if (core is None and source.path == "") == (pid is None):
        raise click.UsageError("name a recording, a core with --core FILE or a process with --pid PID")
    if source.path:
        if core is None:
            refuse_options("on a recording without --core", "--program")
        return recorded(source, tid, step, time, limit, as_json, core=core, program=program)
    if step is not None or time is not None:
        raise click.UsageError("--step and --time are for recordings; name one, or leave them out")
    without = "without a recording"
    refuse_options(without, "--map", "--elf", "--buildid-dir", "--kcore", "--cpu", "--resync")
    refuse_options(without, "--index", "--no-index", "--max-expanded")
    if pid is not None:
        refuse_options("on a live process", "--program", "--sysroot")
    sysroot = source.sysroot
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
        stacks = [(thread, target.stack(thread.tid, limit=limit or SHOWN)) for thread in threads]
    if as_json:
        write_json(_document(target, stacks))
    else:
        write_lines(_lines(target, stacks))
    return 0 if all(stack.is_complete for _, stack in stacks) else 1


def _lines(target: Target, stacks: list[tuple[Thread, Stack]]) -> Iterator[str]:
    for text in target.missing:
        say(f"odograph: {text}")
    for number, (thread, stack) in enumerate(stacks):
        if number:
            yield ""
        name = f" {thread.name}" if thread.name else ""
        signal = f", signal {thread.signal}" if thread.signal else ""
        yield styled(f"thread {thread.tid}{name}{signal}", bold=True)
        yield from stack.lines()


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
                "frames": [frame_document(frame) for frame in stack],
            }
            for thread, stack in stacks
        ],
    }
