"""From the files a recorder leaves behind to one recording.

A spool directory holds, for each program image a process ran (``PID.N`` names it): ``PID.N.events``, lines
about the process; ``PID.N.code``, the bytes it executed; and one ``PID.N.TID.K.stream`` of packets for
each thread. The recorder's sources (``crates/recorder``) describe the formats.
"""

from __future__ import annotations

import os
import shutil
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from odograph._native import finish_stream, learned_code
from odograph.perfdata.writer import PerfDataWriter

__all__ = ["Spool"]

_CHUNK = 4 << 20


class Event(NamedTuple):
    """One line: what happened, when (ns), and its fields."""

    kind: str
    time: int
    fields: list[str]

    def number(self, index: int) -> int:
        """Field ``index`` as a number."""
        return int(self.fields[index])

    def text(self, index: int) -> str:
        """Field ``index`` as text; bytes that are not UTF-8 come as surrogates."""
        return os.fsdecode(unquote_to_bytes(self.fields[index]))


@dataclass(slots=True)
class ProcessImage:
    """One program that one process ran."""

    name: str
    pid: int
    parent: int
    origin: str
    started: int
    alive: bool
    events: list[Event] = field(default_factory=list)


class Spool:
    """A spool directory after the program has ended."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        images = [image for path in directory.glob("*.events") if (image := _read_image(path)) is not None]
        self.images = sorted(images, key=lambda image: image.started)
        # Looked for last: what was forked by a process that is gone now is there by then.
        self._unseen = _recorded(directory) - {image.pid for image in self.images}

    def running(self) -> list[int]:
        """Processes that still write into the directory, or are about to: a child was forked, but its files
        were not there yet."""
        return sorted({image.pid for image in self.images if image.alive} | self._unseen)

    def write(self, writer: PerfDataWriter) -> None:
        """Put everything into ``writer``, each thread's streams in the order they were made.

        The directory keeps its files, so that this can be done again where there was no room.
        """
        if self.images:
            writer.set_extra("began", self.images[0].started + _wall_clock())
        for image in self.images:
            for number, event in enumerate(image.events):
                self._write_event(writer, image, event, image.events[number + 1 :])
            for tsc, address, data in self._code(image):
                # Code that was there from the beginning of an image counts from just after it.
                writer.add_code(image.pid, tsc or image.started + 1, address, data)
        for pid in self.running():
            message = f"process {pid} was still running when the recording ended"
            writer.add_gap("running", message, tid=pid)
        streams = [
            (event.time, image, event)
            for image in self.images
            for event in image.events
            if event.kind == "thread"
        ]
        for _, image, event in sorted(streams, key=lambda one: one[0]):
            self._write_stream(writer, image, event)
        for path in sorted(self.directory.glob("*.lost")):
            message = f"what process {path.stem} executed could not be written in full: no room was left"
            writer.add_gap("lost", message, tid=int(path.stem))

    def _write_event(
        self, writer: PerfDataWriter, image: ProcessImage, event: Event, later: list[Event]
    ) -> None:
        pid, tsc = image.pid, event.time
        match event.kind:
            case "start" if image.origin == "fork":
                writer.add_fork(pid, image.parent, pid, image.parent, tsc=tsc)
            case "start":
                writer.add_comm(pid, pid, event.text(3), exec=True, tsc=tsc)
            case "map":
                address, length, offset = (event.number(index) for index in range(3))
                major, _, minor = event.fields[3].partition(":")
                writer.add_mmap2(
                    pid,
                    pid,
                    address,
                    length,
                    offset,
                    _file_name(event.text(5), event.number(4)) or "//anon",
                    device=(int(major, 16), int(minor, 16)),
                    inode=event.number(4),
                    mapped_at=event.time + _wall_clock(),
                    tsc=self._map_time(image, event),
                )
            case "thread" if event.number(0) != pid:
                writer.add_fork(pid, pid, event.number(0), event.number(1), tsc=tsc)
            case "comm":
                writer.add_comm(pid, event.number(0), event.text(1), tsc=tsc)
            case "exit":
                writer.add_exit(pid, pid, event.number(0), pid, tsc=tsc)
            case "gap":
                writer.add_gap(event.fields[1], event.text(2), tid=event.number(0), tsc=tsc)
            case "native":
                failed = any(
                    other.kind == "execfailed" and other.fields[0] == event.fields[0] for other in later
                )
                if not failed:
                    message = f"ran without being recorded: {event.text(1)}"
                    writer.add_gap("native", message, tid=event.number(0), tsc=tsc)

    def _map_time(self, image: ProcessImage, event: Event) -> int:
        """When a mapping is said to have appeared: with its program, unless something else lay there.

        It was noticed when its first instruction was about to run, but the trace tells time only now and
        then: the packets that lead into the mapping may bear an earlier one, at which a decoder that goes
        by time would find no code.
        """

        def place(other: Event) -> tuple[int, int, str, int]:
            address, length, offset = (other.number(index) for index in range(3))
            return address, address + length, other.text(5), address - offset

        before = [other for other in image.events if other.kind == "map" and other.time < event.time]
        if image.origin == "fork":
            before += [
                other
                for parent in self.images
                if parent.pid == image.parent
                for other in parent.events
                if other.kind == "map" and other.time <= event.time
            ]
        first, end, name, base = place(event)
        for other in before:
            other_first, other_end, other_name, other_base = place(other)
            if other_first < end and first < other_end and (other_name, other_base) != (name, base):
                return event.time
        return min(image.started + 1, event.time)

    def _write_stream(self, writer: PerfDataWriter, image: ProcessImage, event: Event) -> None:
        path = self.directory / event.fields[2]
        if not path.exists() or not path.stat().st_size:
            message = f"nothing that thread {event.fields[0]} executed could be written: no room was left"
            writer.add_gap("lost", message, tid=event.number(0))
            return
        if image.alive:
            # Its writer still maps the file and must not find it shorter.
            copy = path.with_suffix(".copy")
            shutil.copyfile(path, copy)
            path = copy
        end = time.monotonic_ns()
        tid, offset, size, count, hash_, dropped, written, last_ip = finish_stream(path)
        if dropped:
            message = f"thread {tid} was killed while its trace was written; {dropped} bytes are lost"
            writer.add_gap("killed", message, tid=tid, tsc=end)
        elif last_ip:
            message = f"thread {tid} was stopped in the code at {last_ip:#x}"
            writer.add_gap("stopped", message, tid=tid, tsc=end)
        if written is not None:
            message = (
                f"no room was left for more of thread {tid}: {written:,} of the {count:,} instructions that "
                "were counted are recorded"
            )
            writer.add_gap("lost", message, tid=tid, tsc=end)
        with open(path, "rb") as file:
            file.seek(offset)
            left = size
            while left and (chunk := file.read(min(left, _CHUNK))):
                writer.add_trace(tid, image.pid, chunk, tsc=end)
                left -= len(chunk)
        writer.set_truth(tid, count, hash_)

    def _code(self, image: ProcessImage) -> Iterator[tuple[int, int, bytes]]:
        """Times, addresses and bytes; those that touch are one."""
        found = learned_code(_appended(self.directory / f"{image.name}.code"))
        return ((tsc, address, data) for _, tsc, address, data in found)


def _wall_clock() -> int:
    """What makes a time of the wall clock, in ns, of one of the recorders' clock."""
    return time.time_ns() - time.monotonic_ns()


def _appended(path: Path) -> bytes:
    """The bytes of a file that begins with their number."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        return file.read(size)


def _read_image(path: Path) -> ProcessImage | None:
    lines = _appended(path).decode("ascii", "replace").splitlines()
    events = []
    for line in lines:
        kind, when, *fields = line.split("\t")
        events.append(Event(kind, int(when), fields))
    if not events or events[0].kind != "start":
        return None
    start = events[0]
    pid = start.number(0)
    name = path.name.removesuffix(".events")
    return ProcessImage(
        name, pid, start.number(1), start.fields[2], start.time, _is_alive(pid, path.parent), events
    )


def _is_alive(pid: int, directory: Path) -> bool:
    """True if process ``pid`` exists, is no zombie and runs under a recorder that writes to ``directory``."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        if line:
            return os.fsencode(directory.name) in line
        # A zombie has no command line, nor has a process for a moment while it executes another program.
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state not in (b"Z", b"X")


def _file_name(name: str, inode: int) -> str:
    """The name of a mapped file. The kernel writes a newline in it as ``\\012``, and a backslash as it is."""
    plain = name.replace("\\012", "\n")
    if plain != name:
        with suppress(OSError, ValueError):
            if os.stat(plain).st_ino == inode:
                return plain
    return name


def _recorded(directory: Path) -> set[int]:
    """All processes that run under QEMU with a plugin that writes to ``directory``."""
    name = os.fsencode(directory.name).replace(b",", b",,")
    found = set()
    for entry in os.listdir("/proc"):
        # A process may end meanwhile.
        with suppress(OSError):
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0") if entry.isdecimal() else []
            if any(b",spool=" in word and name in word for word in words):
                found.add(int(entry))
    return found
