"""Programs for debuggers, and how they are recorded."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from odograph.debug import Target
from odograph.debug.remote import Server
from odograph.debug.remote.packet import Framer, Signal, frame

PROGRAM = """\
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) int fact(int n) {
    if (n <= 1)
        return 1;
    int below = fact(n - 1);
    return n * below;
}

__attribute__((noinline)) int twice(int x) {
    return 2 * x;
}

static int compare(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

int main(void) {
    int numbers[] = {5, 3, 9, 1};
    qsort(numbers, 4, sizeof *numbers, compare);
    int sum = 0;
    for (int at = 0; at < 4; at++)
        sum += twice(numbers[at]);
    int product = fact(6);
    printf("%d %d\\n", sum, product);
    return 0;
}
"""

THREADS = """\
#include <pthread.h>

__attribute__((noinline)) int by_main(int x) { return x + 1; }
__attribute__((noinline)) int by_other(int x) { return x + 2; }

static void *other(void *argument) {
    volatile int sum = 0;
    for (int at = 0; at < 7; at++)
        sum = by_other(sum);
    return argument;
}

int main(void) {
    pthread_t thread;
    pthread_create(&thread, 0, other, 0);
    pthread_join(thread, 0);
    volatile int sum = 0;
    for (int at = 0; at < 3; at++)
        sum = by_main(sum);
    return 0;
}
"""


class Recorded(NamedTuple):
    """A recording, its program, and what the command line must be told."""

    path: Path
    program: Path
    options: tuple[str, ...] = ()


def compiled(directory: Path, name: str, source: str, *options: str) -> Path:
    """A program with debug information."""
    (directory / f"{name}.c").write_text(source)
    program = directory / name
    subprocess.run(["gcc", "-g", "-O0", *options, "-o", program, directory / f"{name}.c"], check=True)
    return program


def record(program: Path, path: Path, recorder: str, *arguments: str) -> Recorded:
    """Records a run of it, however that ends."""
    line = [sys.executable, "-m", "odograph", "record", "--with", recorder, "-o", str(path), "--"]
    subprocess.run([*line, str(program), *arguments], check=False, capture_output=True)
    assert path.exists()
    return Recorded(path, program)


class Client:
    """A debugger that says what it is told to."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=20)
        self._framer = Framer()
        self._found: list[bytes | Signal] = []

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.socket.sendall(data)

    def next(self) -> bytes | Signal:
        """The next packet or signal."""
        while not self._found:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError
            self._found += self._framer.feed(data)
        return self._found.pop(0)

    def ask(self, packet: str | bytes) -> str:
        """What is answered to a packet; output for the user is skipped."""
        self.send(frame(packet.encode() if isinstance(packet, str) else packet))
        while True:
            answer = self.next()
            self.send(b"+")
            if isinstance(answer, bytes) and not (answer[:1] == b"O" and answer != b"OK"):
                return answer.decode("latin-1")

    def close(self) -> None:
        """Goes without a word."""
        self.socket.close()


@contextmanager
def serving(target: Target) -> Iterator[Server]:
    """A server in a thread of its own."""
    server = Server(target)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(10)
        assert not thread.is_alive()
