"""A small client for the Debug Adapter Protocol, over its wire format."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import odograph
from odograph.debug.dap import serve

Message = dict[str, Any]


class Refused(Exception):
    """The adapter answered a request with an error."""


class DapClient:
    """Sends requests and waits for what comes."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self.source, self.sink = source, sink
        self.sent = 0
        self.waiting: list[Message] = []
        self.said: list[str] = []

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self.sink.write(data)
        self.sink.flush()

    def send(self, command: str, **arguments: Any) -> int:
        """Sends a request and gives its number."""
        self.sent += 1
        request = {"seq": self.sent, "type": "request", "command": command, "arguments": arguments}
        data = json.dumps(request).encode()
        self.raw(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        return self.sent

    def receive(self) -> Message:
        """The next message."""
        length = None
        while (line := self.source.readline()).strip():
            name, _, value = line.partition(b":")
            if name == b"Content-Length":
                length = int(value)
        if length is None:
            raise EOFError
        message: Message = json.loads(self.source.read(length))
        return message

    def answer(self, number: int) -> Message:
        """The answer to a request; events that come before it are kept."""
        while True:
            message = self.receive()
            if message["type"] == "response" and message["request_seq"] == number:
                if not message["success"]:
                    raise Refused(message["message"])
                body: Message = message.get("body", {})
                return body
            self.waiting.append(message)

    def ask(self, command: str, **arguments: Any) -> Message:
        """Sends a request and waits for the answer."""
        return self.answer(self.send(command, **arguments))

    def event(self, name: str) -> Message:
        """The next event of that name."""
        while True:
            message = self.waiting.pop(0) if self.waiting else self.receive()
            if message["type"] != "event":
                continue
            if message["event"] == "output":
                self.said.append(message["body"]["output"])
            if message["event"] == name:
                body: Message = message.get("body", {})
                return body

    def start(self, **arguments: Any) -> Message:
        """Begins a session; gives the event that it stands still."""
        self.ask("initialize", adapterID="odograph", linesStartAt1=True)
        self.ask("launch", **arguments)
        self.event("initialized")
        self.ask("configurationDone")
        return self.event("stopped")

    def move(self, command: str, tid: int, **arguments: Any) -> Message:
        """Moves a thread; gives the event that it stands still."""
        self.ask(command, threadId=tid, **arguments)
        return self.event("stopped")

    def value(self, expression: str) -> int:
        """The value of an expression."""
        return int(self.ask("evaluate", expression=expression)["result"].split()[0])

    def top(self, tid: int) -> Message:
        """The innermost frame."""
        frame: Message = self.ask("stackTrace", threadId=tid, levels=1)["stackFrames"][0]
        return frame


@contextmanager
def session(recording: odograph.Recording, tids: list[int]) -> Iterator[DapClient]:
    """A client of an adapter in this process."""
    ours, theirs = socket.socketpair()
    ours.settimeout(120)
    with ours, theirs, theirs.makefile("rb") as source, theirs.makefile("wb") as sink:
        adapter = threading.Thread(target=serve, args=(recording, tids, source, sink), daemon=True)
        adapter.start()
        try:
            with ours.makefile("rb") as answers, ours.makefile("wb") as questions:
                yield DapClient(answers, questions)
        finally:
            ours.shutdown(socket.SHUT_RDWR)
            adapter.join(60)
        assert not adapter.is_alive()
