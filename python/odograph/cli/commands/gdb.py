"""``odograph gdb``: a recording for gdb and lldb."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from odograph.cli.failure import Failure
from odograph.cli.inputs import Input, input_options, pick_thread, tid_option
from odograph.cli.output import say
from odograph.cli.progress import progress
from odograph.cli.refused import say_refused

if TYPE_CHECKING:
    from odograph.debug.remote import Server

__all__ = ["command"]


@click.command("gdb")
@input_options
@tid_option
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Listen here; else at a free port.")
@click.option("--run", "runs", is_flag=True, help="Start gdb, connected, and end with it.")
@click.argument("gdb_arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- GDB ARGUMENTS...]")
def command(source: Input, tid: int | None, port: int, runs: bool, gdb_arguments: tuple[str, ...]) -> int:
    """Let gdb or lldb look at a recorded thread, forward and backward.

    Serves gdb's remote protocol on this machine only; nothing can be changed. With --run gdb is started.
    """
    if gdb_arguments and not runs:
        raise click.UsageError("arguments for gdb need --run")
    recording = source.open()
    number = pick_thread(recording, tid)
    with progress(f"decoding thread {number}") as report:
        recording.history(number, progress=report)

    from odograph.debug import Target
    from odograph.debug.remote import Server

    target = Target(recording, number)
    target.prepare()
    try:
        server = Server(target, port)
    except OSError as error:
        raise Failure(f"cannot listen at port {port}: {error.strerror}; choose another --port") from error
    host, port = server.address
    say_refused(recording)
    if runs:
        return _run(server, f"{host}:{port}", gdb_arguments)
    script = _script()
    lines = (
        f"odograph: thread {number}, {len(target.history)} instructions; in gdb:",
        f"    target remote {host}:{port}",
        f"    source {script}",
        "in lldb:",
        "    settings set target.process.disable-memory-cache true",
        f"    gdb-remote {host}:{port}",
    )
    for line in lines:
        say(line)
    server.serve()
    return 0


def _script() -> Path:
    """Commands for gdb."""
    import odograph.debug.remote

    return Path(odograph.debug.remote.__file__).with_name("commands.gdb")


def _run(server: Server, address: str, arguments: tuple[str, ...]) -> int:
    gdb = shutil.which("gdb")
    if gdb is None:
        raise Failure("there is no gdb; install it (Debian: apt install gdb), or use lldb without --run")
    threading.Thread(target=server.serve, daemon=True).start()
    # Ctrl-C is gdb's, which asks us to interrupt what is running.
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        line = [gdb, "-q", "-x", str(_script()), "-ex", f"target remote {address}", *arguments]
        return subprocess.run(line, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)
        server.close()
