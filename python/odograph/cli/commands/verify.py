"""``odograph verify``: is what we decode what ran?"""

from __future__ import annotations

from typing import Any

import click

from odograph.cli.failure import Failure
from odograph.cli.inputs import Input, input_options_but, tid_option
from odograph.cli.output import json_option, styled, write_json, write_lines
from odograph.cli.progress import progress

__all__ = ["command"]


@click.command("verify")
@input_options_but("--index", "--no-index")
@tid_option
@click.option(
    "--max-steps",
    type=click.IntRange(min=0),
    metavar="N",
    help="Hash up to N instructions, however few bytes of trace stand for them.",
)
@json_option
def command(source: Input, tid: int | None, max_steps: int | None, as_json: bool) -> int:
    """Compare what decoding gives with what the recorder counted itself.

    Odograph's recorders count the instructions of each thread, and hash their addresses, while the
    program runs. Exits with 1 if the history of a thread is another one. Always decodes: an index is
    not used.
    """
    from odograph.views.numbers import count, counted

    # What an index says of a history is no proof of what the trace gives.
    recording = source.open(index=False)
    if tid is not None:
        recording.source.thread(tid)
    threads = [thread for thread in recording.threads if tid is None or thread.tid == tid]
    if not any(thread.truth is not None for thread in threads):
        recording.check_counted()
        raise Failure(
            f"{recording.path} holds nothing to compare with; only recordings made by "
            "'odograph record --with qemu' or '--with ptrace' do",
            2,
        )
    rows: list[dict[str, Any]] = []
    steps = 0
    for thread in threads:
        if thread.truth is None:
            continue
        with progress(f"decoding thread {thread.tid}") as report:
            history = recording.history(thread.tid, progress=report)
        steps += len(history)
        recording.check_steps(steps, max_steps)
        rows.append(
            {
                "tid": thread.tid,
                "comm": thread.comm,
                "recorded_instructions": thread.truth.instructions,
                "decoded_instructions": len(history),
                "recorded_hash": f"{thread.truth.hash:016x}",
                "decoded_hash": f"{history.hash():016x}",
                "gaps": history.gap_count,
            }
        )
    for row in rows:
        row["ok"] = (row["recorded_instructions"], row["recorded_hash"]) == (
            row["decoded_instructions"],
            row["decoded_hash"],
        )
    known = {thread.tid for thread in threads if thread.truth is not None}
    # What could not be written at all was not even counted.
    unwritten = recording.source.unwritten if tid is None else {}
    uncounted = {number: said for number, said in unwritten.items() if number not in known}
    good = all(row["ok"] for row in rows) and not uncounted
    if as_json:
        write_json(
            {
                "path": recording.path,
                "ok": good,
                "threads": rows,
                "uncounted": [{"tid": number, "message": said} for number, said in uncounted.items()],
            }
        )
    else:
        lines = []
        for row in rows:
            name = f"thread {row['tid']} {row['comm']}".rstrip()
            if row["ok"]:
                verdict = styled("equal", fg="green")
                lines.append(
                    f"{name}: {verdict}: {count(row['decoded_instructions'])} instructions, "
                    f"hash {row['decoded_hash']}"
                )
            else:
                verdict = styled("DIFFERENT", fg="red")
                lines.append(
                    f"{name}: {verdict}: recorded {count(row['recorded_instructions'])} instructions, hash "
                    f"{row['recorded_hash']}; decoded {count(row['decoded_instructions'])}, hash "
                    f"{row['decoded_hash']}, {counted(row['gaps'], 'gap')}"
                )
        lines += [f"thread {number}: NOT COUNTED: {said}" for number, said in uncounted.items()]
        if not good:
            lines.append(f"odograph info {recording.path} shows the gaps and what is missing")
        write_lines(lines)
    return 0 if good else 1
