"""A server for gdb's remote protocol over a recorded thread, on this machine only."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from typing import TYPE_CHECKING

from odograph.debug.oneclient import LOOPBACK, busy_text, clients
from odograph.debug.remote.packet import Framer, Signal, frame
from odograph.debug.remote.session import Session
from odograph.debug.remote.table import HANDLERS

if TYPE_CHECKING:
    from odograph.debug.target import Target

__all__ = ["Server"]

_CHUNK = 1 << 14


class Server:
    """Listens at ``port`` of the loopback interface (0: any free one), and serves one debugger after another.

    Others that connect meanwhile are told so and let go. What a debugger sends is never trusted: all that it
    is, the server goes on.
    """

    def __init__(self, target: Target, port: int = 0) -> None:
        self.target = target
        self._socket = socket.create_server((LOOPBACK, port))
        self._closed = False

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    def serve(self, *, once: bool = False) -> None:
        """Serves debuggers until it is closed, or only one."""
        with contextlib.closing(clients(self._socket, _refusal)) as connections:
            for connection in connections:
                Connection(self.target, connection).serve()
                if once or self._closed:
                    break

    def close(self) -> None:
        """Takes no more debuggers."""
        self._closed = True
        # Wakes up who waits for one, which closing alone does not.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _refusal(said: bytes) -> bytes:
    """An error with a text (GDB manual, "Standard Replies"): gdb shows it, and so does a terminal."""
    return b"+" + frame(b"E." + busy_text.encode())


class Connection:
    """The connection of one debugger.

    One thread reads, so that an interrupt is heard while the program runs; another one answers.
    """

    def __init__(self, target: Target, connection: socket.socket) -> None:
        self._target = target
        self._socket = connection
        self._session = Session(target, self._send, HANDLERS)
        self._packets: queue.Queue[bytes | Signal | None] = queue.Queue()
        self._sent = b""
        self._sending = threading.Lock()

    def serve(self) -> None:
        """Answers until the debugger leaves."""
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        try:
            while not self._session.is_over:
                packet = self._packets.get()
                if packet is None:
                    break
                self._handle(packet)
        except OSError:
            pass
        finally:
            self._session.close()
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            reader.join()
            self._target.forget_interrupt()

    def _handle(self, packet: bytes | Signal) -> None:
        match packet:
            case Signal.DAMAGED:
                self._socket.sendall(b"-")
            case Signal.REPEAT:
                if self._session.acknowledges:
                    self._socket.sendall(self._sent)
            case bytes():
                if self._session.acknowledges:
                    self._socket.sendall(b"+")
                answer = self._session.answer(packet)
                if answer is not None:
                    self._send(answer)

    def _send(self, data: bytes) -> None:
        with self._sending:
            self._sent = frame(data)
            self._socket.sendall(self._sent)

    def _read(self) -> None:
        framer = Framer()
        while True:
            try:
                data = self._socket.recv(_CHUNK)
            except OSError:
                data = b""
            if not data:
                break
            for found in framer.feed(data):
                if found is Signal.INTERRUPT:
                    # If it comes too late, it is for the next movement: gdb still waits for its answer.
                    self._target.interrupt()
                else:
                    self._packets.put(found)
        self._packets.put(None)
        # The client does not wait any more for what is still running.
        self._target.interrupt()
