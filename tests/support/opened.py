"""What a recording of the corpus says when it is opened: the numbers that no later version may change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import odograph

#: Where the forms that hold no executed bytes find their program: a directory beside them.
FILES = "files"


def describe(path: Path) -> dict[str, Any]:
    """Count, hash, gaps, functions and the last stack of each thread."""
    recording = odograph.open(path, sysroot=path.parent / FILES)
    threads = {}
    for thread in recording.threads:
        history = recording.history(thread.tid)
        functions = history.functions()
        threads[str(thread.tid)] = {
            "pid": thread.pid,
            "comm": thread.comm,
            "instructions": len(history),
            "hash": f"{history.hash():016x}",
            "gaps": [gap.cause for gap in history.gaps()],
            "executed": len(history.counts()),
            "calls": list(history.pairs()["kind"]).count("call"),
            "functions": {
                f"{ip:x}": [int(calls), int(own)]
                for ip, calls, own in sorted(
                    zip(functions["ip"], functions["calls"], functions["own"], strict=True),
                    key=lambda row: (-int(row[2]), int(row[0])),
                )[:8]
            },
            "stack": [
                f"{frame.address:x}" for frame in (history.stack(len(history) - 1) if len(history) else ())
            ],
        }
    return {"verified": [verdict.ok for verdict in recording.verify()], "threads": threads}
