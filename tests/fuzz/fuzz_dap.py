"""Talks nonsense to the debug adapter: it must answer sense afterwards, always.

python tests/fuzz_dap.py --seconds 60 [--seed N]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import odograph
from odograph.debug.dap.session import _HANDLERS as HANDLERS
from support.dapclient import DapClient, Refused, session
from support.paths import CORPUS

NAMES = ("dynamic.qemu.data", "threads.qemu.data", "crash.ptrace.data")
#: Names of arguments; an argument of another request is as good as nonsense.
ARGUMENTS = (
    *("threadId", "frameId", "variablesReference", "breakpoints", "source", "line", "lines", "column"),
    *("expression", "context", "granularity", "levels", "startFrame", "memoryReference", "offset", "count"),
    *("instructionOffset", "instructionCount", "targetId", "condition", "hitCondition", "name"),
    *("instructionReference", "linesStartAt1", "filters", "resolveSymbols", "format", "logMessage"),
)
WORDS = (
    *("rip", "step", "main", "_start", "0x401000", "0x", "1/0", "2**99999", "step == 3", "rax +", "((((", ""),
    *("'", "\ud800", "\0", "next", "instruction", "hover", "9" * 400, "a" * 5000, "-1", "%x{step}"),
)


def value(dice: random.Random, depth: int = 0) -> Any:
    """Any JSON, often what fits somewhere."""
    match dice.randrange(9 if depth < 4 else 6):
        case 0:
            return dice.choice((0, 1, 2, 7, -1, 1 << 31, 1 << 63, 1 << 64, 1 << 70, -(1 << 63)))
        case 1:
            return dice.randrange(100)
        case 2:
            return dice.choice((None, True, False, 0.5, 1e300))
        case 3 | 4:
            return dice.choice(WORDS)
        case 5:
            return [0x401000 + dice.randrange(64)]
        case 6:
            return [value(dice, depth + 1) for _ in range(dice.choice((0, 1, 3, 40)))]
        case _:
            return arguments(dice, depth + 1)


def arguments(dice: random.Random, depth: int = 0) -> dict[str, Any]:
    """Some arguments by name."""
    return {dice.choice(ARGUMENTS): value(dice, depth) for _ in range(dice.choice((0, 1, 2, 4)))}


def nonsense(dice: random.Random, tids: list[int]) -> bytes:
    """A request, a damaged one, or no message at all."""
    given = arguments(dice)
    if dice.random() < 0.6:
        given["threadId"] = dice.choice(tids)
    commands = [name for name in HANDLERS if name not in ("disconnect", "terminate")]
    message: Any = {"seq": dice.randrange(1 << 16), "type": "request", "command": dice.choice(commands)}
    message["arguments"] = given
    if dice.random() < 0.1:
        message[dice.choice(list(message))] = value(dice)
    if dice.random() < 0.03:
        message = value(dice)
    data = json.dumps(message).encode()
    head = b"Content-Length: %d\r\n\r\n" % len(data)
    match dice.randrange(12):
        case 0:
            changed = bytearray(data)
            changed[dice.randrange(len(changed))] = dice.randrange(256)
            return head + bytes(changed)
        case 1:
            # A header without a message, and lines that mean nothing.
            return dice.choice(
                (b"\r\n", b"Content-Length: x\r\n\r\n", b"Content-Length: 0\r\n\r\n", b"\xff\r\n")
            )
        case 2:
            nested = b"[" * 5000
            return b"Content-Length: %d\r\n\r\n" % len(nested) + nested
        case _:
            return head + data


def sensible(client: DapClient, tids: list[int]) -> str | None:
    """What is wrong with the answers to sensible questions; None if nothing is."""
    # Numbers of requests before may be any; this one is not among them.
    client.sent = 1 << 20
    try:
        threads = [one["id"] for one in client.ask("threads")["threads"]]
        frames = client.ask("stackTrace", threadId=tids[0], levels=2)["stackFrames"]
    except (Refused, EOFError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    if threads != tids or not frames:
        return f"{threads} {frames}"
    return None


def rounds_of_nonsense(seed: int, most: int, end: float) -> tuple[int, str | None]:
    """How many rounds there were, and what went wrong."""
    dice = random.Random(seed)
    recordings = [odograph.open(CORPUS / name) for name in NAMES]
    rounds = 0
    while rounds < most and time.monotonic() < end:
        recording = dice.choice(recordings)
        tids = [thread.tid for thread in recording.threads]
        with session(recording, tids) as client:
            client.start()
            for _ in range(dice.randrange(1, 20)):
                client.raw(nonsense(dice, tids))
            # Breakpoints of before might stop on every step.
            wrong = sensible(client, tids)
            if wrong is not None:
                return rounds, f"round {rounds} of seed {seed}: {wrong}"
        rounds += 1
    return rounds, None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rounds, wrong = rounds_of_nonsense(options.seed, 1 << 60, time.monotonic() + options.seconds)
    print(wrong or f"{rounds} rounds, each answered")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
