"""Record a program: choose a recorder, run the program under it, make one perf.data file of what it left."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from odograph._native import resolve_program
from odograph.errors import CommandError, InvalidArgument, OutputError, RecordingError
from odograph.files.destination import Destination
from odograph.perfdata.writer import PerfDataWriter
from odograph.recorder import hardware, ptrace, qemu
from odograph.recorder.groupsignals import GroupSignals
from odograph.recorder.spool import Spool

__all__ = ["BACKENDS", "Backend", "RecordResult", "choose", "finish", "record"]

Backend = Literal["perf", "qemu", "ptrace"]
#: The recorders, best first.
BACKENDS: tuple[Backend, ...] = ("perf", "qemu", "ptrace")
_UNAVAILABLE = {"perf": hardware.unavailable, "qemu": qemu.unavailable, "ptrace": ptrace.unavailable}
_WHY = {
    "perf": "this processor has Intel PT",
    "qemu": "QEMU user mode is installed, and there is no Intel PT",
    "ptrace": "single steps need nothing installed; this is slow",
}
#: How long processes that the program left behind may take to end, in seconds.
_GRACE = 0.5
#: What the smallest recording takes while it is made, in bytes.
_LEAST = 1 << 20
#: The recording, in a directory of the recorder's, and what is to be known of it.
_RECORDING, _DESCRIPTION = "perf.data", "recording.json"


@dataclass(frozen=True, slots=True)
class RecordResult:
    """How a recorded program ended: ``status`` is its exit status, or 128 + the signal that killed it.

    ``lost`` says what of it is not in the recording because no room was left.
    """

    status: int
    backend: Backend
    why: str
    path: Path
    lost: tuple[str, ...] = ()


def choose(backend: str | None = None) -> tuple[Backend, str]:
    """The recorder to use, and why: the one asked for, else the best one that works here.

    Raises InvalidArgument for an unknown name, RecordingError if the one asked for, or
    every one, cannot be used.
    """
    if backend is not None:
        known = next((one for one in BACKENDS if one == backend), None)
        if known is None:
            raise InvalidArgument(f"there is no recorder {backend!r}; there are {', '.join(BACKENDS)}")
        # The recording itself will show whether stepping works; trying it first takes longer than QEMU's.
        reason = ptrace.forbidden() if known == "ptrace" else _UNAVAILABLE[known]()
        if reason is not None:
            raise RecordingError(f"cannot record with {known}: {reason}")
        return known, "it was asked for"
    reasons = []
    for one in BACKENDS:
        reason = _UNAVAILABLE[one]()
        if reason is None:
            return one, _why(one)
        reasons.append(f"{one}: {reason}")
    raise RecordingError("nothing can record here; " + "; ".join(reasons))


def _why(backend: Backend) -> str:
    """Why the best recorder that works here is this one."""
    if backend == "ptrace" and qemu.qemu_path() is not None:
        return f"{_WHY[backend]}: {qemu.unavailable()}"
    return _WHY[backend]


def record(
    argv: Sequence[str],
    output: str | os.PathLike[str],
    *,
    backend: str | None = None,
    env: Mapping[str, str] | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> RecordResult:
    """Run ``argv`` and write everything it and its children execute to the perf.data file ``output``.

    The program has our standard streams, and signals for us are passed on to it. Returns when it has
    ended. ``output`` is a new name, a regular file, which is replaced, or something that can be streamed to
    (see ``odograph.files.destination``). A FIFO that nothing reads is waited for before the program runs;
    ``on_wait`` is called with a sentence before. Raises CommandError if there is no such command,
    OutputError if nothing can be written to ``output``, RecordingError if it cannot be recorded. A recording
    that was made and could not be put into its place is kept, and OutputError says where.
    """
    if not argv:
        raise InvalidArgument("there is no command to record")
    chosen, why = choose(backend)
    environment = dict(os.environ if env is None else env)
    program = _find(argv[0], environment)
    words = [os.fsencode(word) for word in argv]
    path = Path(output)
    if path.exists() and path.samefile(program):
        raise OutputError(f"{path} is the program that is to be recorded; give the recording another name")
    elf, arguments = program, words
    if chosen != "perf":
        try:
            elf, arguments = resolve_program(program, words)
        except ValueError as error:
            raise CommandError(f"cannot record {argv[0]}: {error}", 126) from error
    with (
        _as_recording_errors(),
        Destination(output, what="recording", least=_LEAST, on_wait=on_wait) as destination,
    ):
        directory = destination.room
        if chosen == "perf":
            made = directory / _RECORDING
            status = _run(hardware.command_line([str(program), *argv[1:]], made), environment)
            if made.exists():
                destination.deliver(made)
            return RecordResult(status, chosen, why, path)
        bytes_environment = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
        make = qemu.command_line if chosen == "qemu" else ptrace.command_line
        with destination.writing():
            (directory / _DESCRIPTION).write_text(json.dumps({"argv": list(argv), "backend": chosen}))
            line, variables = make(elf, [bytes(word) for word in arguments], bytes_environment, directory)
        # The process that steps takes over from Python what is done about these.
        status = _run(line, variables, ptrace.SIGNALS if chosen == "ptrace" else ())
        if chosen == "ptrace":
            status = ptrace.exit_status(directory, status)
        lost = _assemble(directory, destination, argv, chosen, status)
    return RecordResult(status, chosen, why, path, tuple(lost))


def finish(directory: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
    """Make the recording ``output`` of what a recorder left in ``directory`` when there was no room for it.

    The directory stays. The exit status of the program is not known any more. Raises RecordingError.
    """
    try:
        description = json.loads((Path(directory) / _DESCRIPTION).read_text())
        argv, backend = description["argv"], description["backend"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordingError(f"{os.fspath(directory)} holds nothing that a recorder left: {error}") from error
    with _as_recording_errors(), Destination(output, what="recording", least=_LEAST) as destination:
        _assemble(Path(directory), destination, argv, backend, None)


def _find(command: str, environment: Mapping[str, str]) -> Path:
    """The file a shell would run."""
    if "/" in command:
        path = Path(command)
        if not path.exists():
            raise CommandError(f"{command}: no such file; check the path", 127)
    else:
        found = shutil.which(command, path=environment.get("PATH", os.defpath))
        if found is None:
            raise CommandError(f"{command}: command not found", 127)
        path = Path(found)
    if path.is_dir():
        raise CommandError(f"{command} is a directory; name a program in it", 126)
    if not os.access(path, os.X_OK):
        raise CommandError(f"{command} may not be executed; chmod +x makes it executable", 126)
    return path


@contextlib.contextmanager
def _as_recording_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise RecordingError(str(error)) from error


def _run(
    line: Sequence[str] | Sequence[bytes],
    environment: Mapping[str, str] | Mapping[bytes, bytes],
    blocked: Sequence[signal.Signals] = (),
) -> int:
    """Run a command with our streams; its status as a shell gives it. Signals for us are for it.

    It begins with ``blocked`` blocked, besides the signals that are blocked here.
    """
    if threading.current_thread() is not threading.main_thread():
        return _status(_started(line, environment, blocked))
    child: subprocess.Popen[bytes] | None = None
    pending: list[int] = []

    def forward(number: int, _: object) -> None:
        if group.was_for_group(number):
            return
        if child is None:
            pending.append(number)
        else:
            child.send_signal(number)

    def leave_to_child(number: int, _: object) -> None:
        """The terminal has sent it to the whole group already."""

    handlers = {
        signal.SIGINT: leave_to_child,
        signal.SIGQUIT: leave_to_child,
        signal.SIGTERM: forward,
        signal.SIGHUP: forward,
    }
    # The program begins with what is ignored here, and may install a handler for that later.
    ignored = [number for number in handlers if signal.getsignal(number) == signal.SIG_IGN]
    previous = {}
    with GroupSignals() as group:
        for number, handler in handlers.items():
            if number not in ignored:
                previous[number] = signal.signal(number, handler)
        try:
            child = _started(line, environment, blocked)
            for number in ignored:
                previous[number] = signal.signal(number, handlers[number])
            for early in pending:
                child.send_signal(early)
            return _status(child)
        finally:
            for number, old in previous.items():
                signal.signal(number, old)


def _started(
    line: Sequence[str] | Sequence[bytes],
    environment: Mapping[str, str] | Mapping[bytes, bytes],
    blocked: Sequence[signal.Signals],
) -> subprocess.Popen[bytes]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        return subprocess.Popen(line, env=environment, close_fds=False)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _status(child: subprocess.Popen[bytes]) -> int:
    status = child.wait()
    return 128 - status if status < 0 else status


def _assemble(
    directory: Path, destination: Destination, argv: Sequence[str], backend: Backend, status: int | None
) -> list[str]:
    """Make one file of the recorder's and put it into its place. What of the program is not in it."""
    spool = Spool(directory)
    until = time.monotonic() + _GRACE
    while spool.running() and time.monotonic() < until:
        time.sleep(0.02)
        spool = Spool(directory)
    if not spool.images:
        reason = _UNAVAILABLE[backend]()
        ended = "" if status is None else f"; its exit status was {status}"
        why = f": {reason}" if reason is not None else ended
        raise RecordingError(f"{backend} recorded nothing of {argv[0]}{why}")
    elsewhere = _room_elsewhere(destination.room)
    try:
        for place in filter(None, (destination.room, elsewhere)):
            made = place / _RECORDING
            try:
                lost = _write(spool, made, argv, backend, status)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
                    raise
                made.unlink(missing_ok=True)
                continue
            destination.deliver(made)
            return lost
    finally:
        if elsewhere is not None:
            shutil.rmtree(elsewhere, ignore_errors=True)
    destination.keep_room()
    raise OutputError(
        f"no room left in {destination.room.parent} for the recording; "
        f"what was recorded is kept in {directory}; when there is room, "
        "odograph.recorder.record.finish(DIRECTORY, FILE) makes a recording of it"
    )


def _write(spool: Spool, path: Path, argv: Sequence[str], backend: Backend, status: int | None) -> list[str]:
    with PerfDataWriter(path, timed=True, command_line=argv, recorder=backend) as writer:
        spool.write(writer)
        if status is not None:
            writer.set_exit_status(status)
        return writer.lost


def _room_elsewhere(room: Path) -> Path | None:
    """A new directory for temporary files, if those lie on another file system than ``room``."""
    with contextlib.suppress(OSError):
        if os.stat(tempfile.gettempdir()).st_dev != os.stat(room).st_dev:
            return Path(tempfile.mkdtemp(prefix="odograph-"))
    return None
