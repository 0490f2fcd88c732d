"""Sessions over standard streams, or over a port of this machine."""

from __future__ import annotations

import contextlib
import io
import queue
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from odograph.debug.dap.messages import refusal_of
from odograph.debug.dap.session import Session
from odograph.debug.dap.wire import Message, Reader, Writer
from odograph.debug.oneclient import LOOPBACK, busy_text, clients

if TYPE_CHECKING:
    from odograph.recording.recording import Recording

__all__ = ["listen", "serve", "serve_port"]

_ENDING = ("disconnect", "terminate")
_INTERRUPTING = ("pause", *_ENDING)


def serve(recording: Recording, tids: list[int], source: BinaryIO, sink: BinaryIO) -> None:
    """One session with the editor that writes to ``source`` and reads ``sink``, until it leaves.

    One thread reads, so that an editor is heard while the program runs; this one answers.
    """
    session = Session(recording, tids, Writer(sink).write)
    requests: queue.Queue[Message | None] = queue.Queue()

    def read() -> None:
        with contextlib.suppress(OSError, ValueError):
            for message in Reader(source):
                if message.get("command") in _INTERRUPTING:
                    # What is running ends, or what begins until this request is answered.
                    session.interrupt()
                requests.put(message)
                if message.get("command") in _ENDING:
                    # Who still reads standard input could not end in peace.
                    return
        # The client does not wait any more for what is still running.
        session.interrupt()
        requests.put(None)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with contextlib.suppress(OSError, ValueError):
        while not session.is_over and (message := requests.get()) is not None:
            session.handle(message)
    if session.is_over:
        reader.join()


def listen(port: int) -> socket.socket:
    """Listens at a port of the loopback interface; 0: any free one. OSError if that is not possible."""
    return socket.create_server((LOOPBACK, port))


def serve_port(
    recording: Recording, tids: list[int], listening: socket.socket, goes_on: Callable[[], bool]
) -> None:
    """Serves one editor after another, until the socket is closed or it does not go on.

    Others that connect meanwhile are told so and let go.
    """
    if not goes_on():
        return
    with contextlib.closing(clients(listening, _refusal)) as connections:
        for connection in connections:
            with connection.makefile("rb") as source, connection.makefile("wb") as sink:
                serve(recording, tids, source, sink)
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            if not goes_on():
                return


def _refusal(said: bytes) -> bytes:
    """An error response to the first request."""
    request = next(iter(Reader(io.BytesIO(said))), {})
    sink = io.BytesIO()
    Writer(sink).write(refusal_of(request, busy_text))
    return sink.getvalue()
