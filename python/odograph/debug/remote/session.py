"""One connection of a debugger: what it said, and the packets that answer."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from odograph.debug.halt import Halt, HaltReason
from odograph.debug.remote.description import GDB, LLDB, Register
from odograph.debug.remote.packet import escape
from odograph.errors import OdographError
from odograph.text.printable import printable

if TYPE_CHECKING:
    from odograph.debug.modules import Program
    from odograph.debug.target import Target
    from odograph.processor import Handle

__all__ = ["Answer", "Refused", "Session"]

Answer = str | bytes | None
"""What a packet is answered with; None: with nothing."""
_SHOWN_EVERY = 0.5
"""Seconds between two signs of life."""
Handler = Callable[["Session", str], Answer]


class Refused(Exception):
    """A request that cannot be met; its text is the whole answer."""


class Session:
    """What a debugger and its target have agreed on, and the answers.

    ``send`` takes a packet's data. ``handlers`` are functions by beginnings of packets; the one of the
    longest beginning answers a packet.
    ``listed`` is the program whose names the debugger has; ``hears_of_exec``: it can be told of another one.
    It answers that by going on, which ``stays`` makes the end of a movement.
    """

    def __init__(
        self, target: Target, send: Callable[[bytes], None], handlers: Mapping[str, Handler]
    ) -> None:
        self.target = target
        self._handlers = handlers
        self.send = send
        self.for_lldb = False
        self.acknowledges = True
        self.is_over = False
        self.halt = Halt(HaltReason.STEP)
        self.breakpoints: dict[tuple[str, int], Handle] = {}
        self.own_breakpoints: list[tuple[str, list[Handle]]] = []
        self.files: dict[int, int] = {}
        self.next_file = 3
        self.hears_of_exec = False
        self.listed: Program | None = None
        self.stays = False

    @property
    def registers(self) -> list[Register]:
        """The registers that this debugger was told of."""
        return LLDB if self.for_lldb else GDB

    @property
    def thread_number(self) -> int:
        """The thread, as the protocol wants it: above 0."""
        return max(self.target.thread.tid, 1)

    @property
    def has_other_names(self) -> bool:
        """Whether the debugger has the names of another program than the one that runs here."""
        return self.listed is not None and self.listed is not self.target.program

    def answer(self, packet: bytes) -> bytes | None:
        """What is said to a packet; empty if it is not known, None if nothing is to be said."""
        text = packet.decode("latin-1")
        for size in range(min(len(text), 32), 0, -1):
            handler = self._handlers.get(text[:size])
            if handler is not None:
                break
        else:
            return b""
        try:
            answer = handler(self, text[size:])
        except Refused as refused:
            answer = str(refused)
        except (ValueError, IndexError, OverflowError):
            answer = "E22"
        except (OdographError, OSError):
            answer = "E05"
        return answer.encode("latin-1", "replace") if isinstance(answer, str) else answer

    def say(self, text: str) -> None:
        """Shows a text to the user; only while a movement or a command is under way.

        Debuggers print it as it is, so what is not printable is escaped.
        """
        data = printable(text, "\n").encode()
        for at in range(0, len(data), 1024):
            self.send(b"O" + data[at : at + 1024].hex().encode())

    @contextmanager
    def keeping_alive(self) -> Iterator[None]:
        """While a command is under way, shows the debugger nothing again and again: after a while without a
        packet (2 s in gdb) it takes the answer for lost.
        """
        done = threading.Event()

        def show() -> None:
            with suppress(OSError):
                while not done.wait(_SHOWN_EVERY):
                    self.send(b"O")

        showing = threading.Thread(target=show, daemon=True)
        showing.start()
        try:
            yield
        finally:
            done.set()
            showing.join()

    def forget_breakpoints(self) -> None:
        """Removes those that the debugger put into the program: they do not outlive it."""
        for handle in self.breakpoints.values():
            self.target.remove_breakpoint(handle)
        self.breakpoints.clear()

    def close(self) -> None:
        """Removes what the debugger left behind."""
        self.forget_breakpoints()
        for handle in (one for _, handles in self.own_breakpoints for one in handles):
            if handle.alive:
                self.target.remove_breakpoint(handle)
        for file in self.files.values():
            os.close(file)
        self.own_breakpoints.clear()
        self.files.clear()


def document(data: bytes, window: str) -> bytes:
    """A part ``offset,length`` of a document, as qXfer answers."""
    offset_text, _, length_text = window.partition(",")
    offset, length = int(offset_text, 16), int(length_text, 16)
    part = data[offset : offset + min(length, 0x4000)]
    more = offset + len(part) < len(data)
    return (b"m" if more else b"l") + escape(part)
