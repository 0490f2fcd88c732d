"""``odograph info``: what is in a recording, and what is missing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from odograph.cli.ending import ending
from odograph.cli.failure import damage_option, fail_on_damage
from odograph.cli.inputs import Input, input_options, refuse_options, tid_option
from odograph.cli.output import json_option, styled, write_json, write_lines
from odograph.cli.progress import progress

if TYPE_CHECKING:
    from odograph.recording.recording import Recording

__all__ = ["command"]


@click.command("info")
@input_options
@tid_option
@click.option("--no-decode", is_flag=True, help="Do not decode: say nothing of instructions and gaps.")
@damage_option
@json_option
def command(source: Input, tid: int | None, no_decode: bool, max_gaps: int | None, as_json: bool) -> int:
    """Say what is in a recording: threads, modules, packets, instructions, gaps.

    FILE is a perf.data recording or a raw Intel PT trace; - is standard input. For each gap the reason is
    named, and which file would fill it.
    """
    if no_decode:
        if max_gaps is not None:
            raise click.UsageError("--max-gaps counts the gaps that decoding finds; leave out --no-decode")
        refuse_options("with --no-decode", "--resync", "--index", "--no-index")
    # What was refused stands among the modules.
    recording = source.open(tells=False)
    document = describe(recording, tid, decode=not no_decode)
    if as_json:
        write_json(document)
    else:
        write_lines(_lines(document))
    from odograph.views.gaps import GapGroup, losses

    gaps = losses(GapGroup(**group) for thread in document["threads"] for group in thread.get("gaps", ()))
    return fail_on_damage(gaps, max_gaps)


def describe(recording: Recording, tid: int | None, *, decode: bool) -> dict[str, Any]:
    """Everything ``info`` says, ready for JSON."""
    from odograph.cli.explain import explainer
    from odograph.views.gaps import gap_groups

    if tid is not None:
        recording.source.thread(tid)
    said = recording.info()
    document: dict[str, Any] = {
        key: said.get(key) for key in ("path", "kind", "recorder", "exit_status", "bytes")
    }
    document["host"] = {
        key: value for key, value in said.items() if key in ("hostname", "release", "cpudesc", "cmdline")
    }
    document["parameters"] = said["parameters"]
    # Counted after decoding: an index that was used knows them.
    document["packets"] = document["damaged_places"] = None
    document["modules"] = [
        {"pid": pid, **module} for pid, modules in said["modules"].items() for module in modules
    ]
    document["threads"] = threads = []
    for thread in recording.threads:
        if tid is not None and thread.tid != tid:
            continue
        entry: dict[str, Any] = {"tid": thread.tid, "pid": thread.pid, "comm": thread.comm}
        entry["start"], entry["end"] = thread.start, thread.end
        if decode:
            with progress(f"decoding thread {thread.tid}") as report:
                history = recording.history(thread.tid, progress=report)
            groups = gap_groups(history, explainer(recording, thread.tid))
            entry["instructions"] = len(history)
            entry["gaps"] = [asdict(group) for group in groups]
        threads.append(entry)
    document["instructions"] = sum(entry.get("instructions", 0) for entry in threads) if decode else None
    document["packets"], document["damaged_places"] = recording.packets()
    document["skipped_bytes"] = recording.skipped_bytes()
    document["index"] = None if recording.index_use is None else asdict(recording.index_use)
    document["recorder_gaps"] = said["recorder_gaps"]
    document["lost_records"] = said["lost_records"]
    document["problems"] = said["problems"]
    return document


def _lines(document: dict[str, Any]) -> list[str]:
    from odograph.history.index import IndexUse
    from odograph.views.gaps import GapGroup, gap_lines, gaps_and_notes
    from odograph.views.numbers import counted, size

    what = "raw Intel PT" if document["kind"] == "raw" else "perf.data with Intel PT"
    lines = [f"{styled(str(document['path']), bold=True)}: {what}, {size(document['bytes'])} of trace"]
    if document["recorder"]:
        status = document["exit_status"]
        ended = "" if status is None else f"; the program ended with {ending(status)}"
        lines.append(f"recorded by odograph with {document['recorder']}{ended}")
    if document["index"]:
        lines.append(f"index {IndexUse(**document['index'])}")
    threads = document["threads"]
    lines += ["", styled(counted(len(threads), "thread"), bold=True)]
    for thread in threads:
        name = f"  {thread['tid']} {thread['comm']}".rstrip() if thread["tid"] else "  the only stream"
        process = f" of process {thread['pid']}" if thread["pid"] not in (thread["tid"], 0) else ""
        text = ""
        if "instructions" in thread:
            lost = gaps_and_notes([GapGroup(**group) for group in thread["gaps"]])
            text = f": {counted(thread['instructions'], 'instruction')}, {lost}"
        lines.append(f"{name}{process}{text}")
        lines += [
            f"    {line}" for line in gap_lines([GapGroup(**group) for group in thread.get("gaps", ())])
        ]
    if document["modules"]:
        lines += ["", styled(counted(len(document["modules"]), "module"), bold=True)]
        several = len({module["pid"] for module in document["modules"]}) > 1
        for module in document["modules"]:
            name = module["name"] or "[anonymous]"
            process = f" of process {module['pid']}" if several and not module["kernel"] else ""
            lines.append(f"  {module['address']:016x} {module['size']:>9x}  {name}{process}")
            if "missing" in module:
                lines += [f"    missing: {module['missing']}", f"    try: {module['hint']}"]
    packets = document["packets"]
    lines += ["", styled(counted(sum(packets.values()), "packet"), bold=True)]
    ordered = sorted(packets.items(), key=lambda item: -item[1])
    for at in range(0, len(ordered), 4):
        lines.append(
            "  " + "".join(f"{kind:>9} {number:<12,}" for kind, number in ordered[at : at + 4]).rstrip()
        )
    if document["damaged_places"]:
        lines.append(f"  {counted(document['damaged_places'], 'place')} in the trace that no packet explains")
    if document["skipped_bytes"]:
        skipped = size(document["skipped_bytes"])
        lines.append(f"  {skipped} skipped before the first PSB, where decoding starts")
    for gap in document["recorder_gaps"]:
        text = (
            gap.get("reason")
            or gap.get("message")
            or ", ".join(f"{key} {value}" for key, value in gap.items())
        )
        lines += (
            ["", f"the recorder says: {text}"]
            if gap is document["recorder_gaps"][0]
            else [f"the recorder says: {text}"]
        )
    for problem in document["problems"]:
        where = "" if problem["offset"] is None else f" (file offset {problem['offset']:#x})"
        word = "damage" if problem["is_damage"] else "not read"
        lines.append(f"{word}: {problem['message']}{where}")
    return lines
