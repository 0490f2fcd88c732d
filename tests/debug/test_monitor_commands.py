"""``monitor`` commands: they may take long, and say what the command line says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from odograph.debug import Target
from odograph.debug.remote import monitor
from odograph.debug.remote.session import Session
from support.debugruns import Client, Recorded, serving

#: gdb waits this long for a packet (``show remotetimeout``), in seconds.
REMOTE_TIMEOUT = 2


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """``monitor hits`` takes longer than gdb waits for a packet."""
    text, hits = monitor.COMMANDS["hits"]

    def late(session: Session, arguments: list[str]) -> str:
        time.sleep(REMOTE_TIMEOUT + 1)
        return hits(session, arguments)

    monkeypatch.setitem(monitor.COMMANDS, "hits", (text, late))


def test_gdb_waits_for_a_command_that_takes_long(target: Target, slow: None) -> None:
    if shutil.which("gdb") is None:
        pytest.skip("needs gdb")
    with serving(target) as server:
        host, port = server.address
        line = ["gdb", "-nx", "-batch", "-ex", f"target remote {host}:{port}"]
        line += ["-ex", "monitor hits fact", "-ex", "monitor hits twice", "-ex", "monitor where"]
        result = subprocess.run(
            line,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=60,
        )
    said = result.stdout
    assert "Ignoring packet error" not in said
    assert said.index("6 hits") < said.index("4 hits") < said.index("step 0 of")


def test_signs_of_life_are_empty_output_and_end_with_the_answer(target: Target, slow: None) -> None:
    with serving(target) as server:
        client = Client(server.address)
        client.ask("?")
        packets = []
        client.send(b"$qRcmd,686974732066616374#" + b"%02x" % (sum(b"qRcmd,686974732066616374") % 256))
        while b"OK" not in packets:
            packet = client.next()
            client.send(b"+")
            if isinstance(packet, bytes):
                packets.append(packet)
        assert packets.count(b"O") >= REMOTE_TIMEOUT
        assert packets[-1] == b"OK"
        said = [bytes.fromhex(packet[1:].decode()).decode() for packet in packets[:-1]]
        assert "".join(said).startswith("6 hits: ")
        client.close()


def test_monitor_stack_is_what_the_stack_command_prints(
    recorded: Recorded, target: Target, gdb: Callable[..., list[str]]
) -> None:
    """Among the steps are those in the linker's trampoline, whose stack pointer alone is a guess."""
    length = len(target.history)
    steps = [*range(0, length, length // 3), length - 1]
    said = gdb(recorded, *(word for step in steps for word in (f"goto {step}", "monitor stack")))
    for at, step in enumerate(steps):
        line = [sys.executable, "-m", "odograph", "stack", str(recorded.path), "--step", str(step)]
        result = subprocess.run(line, capture_output=True, text=True, check=False)
        assert said[2 * at + 1].splitlines() == [text.strip() for text in result.stdout.splitlines()[1:]]


def test_monitor_where_counts_what_monitor_size_counts(
    recorded: Recorded, target: Target, gdb: Callable[..., list[str]]
) -> None:
    length = len(target.history)
    where, end, size = gdb(recorded, "monitor where", "monitor goto end", "monitor size")
    assert where.startswith(f"step 0 of {length}")
    assert re.match(rf"step {target.last} of {length}[,:]", end)
    assert size.startswith(f"{length:,} instructions")
