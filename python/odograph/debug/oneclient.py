"""One debugger at a time at a port of this machine; others are told so, not kept waiting."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator

__all__ = ["LOOPBACK", "busy_text", "clients"]

#: Other machines cannot connect. There is no password: every program of this machine can connect.
LOOPBACK = "127.0.0.1"

#: How long a session may take to end when the next client is there already, in seconds: after its client has
#: left, and if that is not known.
_LONG, _GRACE = 30.0, 0.3
#: How long a client that is turned away may take to say something and to hear the answer, in seconds.
_PATIENCE = 0.5
_CHUNK = 1 << 14

busy_text = "another debugger is connected to this recording; one at a time is served"

Refuse = Callable[[bytes], bytes]
"""What is answered to the first bytes of a client that is turned away."""


def clients(listening: socket.socket, refuse: Refuse) -> Generator[socket.socket, None, None]:
    """One client after another, until the socket is closed. While one is served, others are turned away."""
    waiting: list[socket.socket] = []
    try:
        while True:
            try:
                connection = waiting.pop() if waiting else listening.accept()[0]
            except OSError:
                return
            with connection, _turning_away(listening, connection, refuse, waiting):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                yield connection
    finally:
        for connection in waiting:
            connection.close()


@contextlib.contextmanager
def _turning_away(
    listening: socket.socket, served: socket.socket, refuse: Refuse, waiting: list[socket.socket]
) -> Iterator[None]:
    ours, theirs = socket.socketpair()
    arguments = (listening, served, theirs, refuse, waiting)
    thread = threading.Thread(target=_turn_away, args=arguments, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ours.close()
        thread.join()
        theirs.close()


def _turn_away(
    listening: socket.socket,
    served: socket.socket,
    done: socket.socket,
    refuse: Refuse,
    waiting: list[socket.socket],
) -> None:
    """Until the session is ``done``; who came at its end is left ``waiting`` for the next one."""
    while True:
        try:
            ready, _, _ = select.select([listening, done], [], [])
            if done in ready:
                return
            other, _ = listening.accept()
        except (OSError, ValueError):
            # The port was closed.
            return
        # A session takes a while to end when its client has left.
        if select.select([done], [], [], _LONG if _has_left(served) else _GRACE)[0]:
            waiting.append(other)
            return
        with other, contextlib.suppress(OSError):
            other.settimeout(_PATIENCE)
            said = b""
            with contextlib.suppress(TimeoutError):
                said = other.recv(_CHUNK)
            other.sendall(refuse(said))
            other.shutdown(socket.SHUT_WR)
            # What was not read would make the system throw away the answer. A client that goes on talking
            # is not waited for.
            until = time.monotonic() + _PATIENCE
            while other.recv(_CHUNK) and time.monotonic() < until:
                pass


def _has_left(client: socket.socket) -> bool:
    """Whether a client has closed its side, also while there is more to read of what it said."""
    poll = select.poll()
    try:
        poll.register(client, select.POLLRDHUP)
    except (OSError, ValueError):
        return True
    return bool(poll.poll(0))
