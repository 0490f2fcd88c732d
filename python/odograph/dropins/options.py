"""Arguments of the tools: numbers, file ranges and processors as C reads them, and complaints about them.

Options act in the order in which they stand, so a tool takes them one by one from :class:`Arguments`.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from odograph.config import TraceConfig

__all__ = ["VERSION", "Arguments", "DecoderOptions", "Failure", "FileRange", "open_range", "parse_number"]

#: The version of libipt whose tools these are.
VERSION = "2.3.0-devel"

#: A number as C's strtoull() reads it with base 0, and where it ends.
_NUMBER = re.compile(r"[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|0([0-7]*)|([1-9][0-9]*))")


class Failure(Exception):
    """Ends the tool with exit code ``status``; ``text`` goes to standard error behind the program's name."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


def _prefix(text: str) -> tuple[int | None, str]:
    """The number that a text begins with (None if there is none, or it is too large) and what follows."""
    match = _NUMBER.match(text)
    if match is None:
        return None, text
    sign, hexadecimal, octal, decimal = match.groups()
    if hexadecimal is not None:
        value = int(hexadecimal, 16)
    else:
        value = int(octal or "0", 8) if decimal is None else int(decimal)
    rest = text[match.end() :]
    if value >= 1 << 64:
        return None, rest
    return (-value if sign == "-" else value) % (1 << 64), rest


def parse_number(text: str) -> int | None:
    """The number that is all of a text: decimal, 0x or octal with leading 0. A minus negates modulo 2^64."""
    value, rest = _prefix(text)
    return None if rest else value


class Arguments:
    """The words of a command line, taken one by one. ``program`` is the first of them, as it was called."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.program = argv[0] if argv else ""
        self._words = argv
        self._at = 1

    def next(self) -> str | None:
        """The next word, None at the end."""
        if self._at >= len(self._words):
            return None
        self._at += 1
        return self._words[self._at - 1]

    @property
    def left(self) -> int:
        """How many words are left."""
        return max(len(self._words) - self._at, 0)

    def text(self, option: str, *, status: int = 1) -> str:
        """The argument of ``option``, as it stands. Raises :class:`Failure` if there is none."""
        word = self.next()
        if word is None:
            raise Failure(f"{option}: missing argument.", status)
        return word

    def number(self, option: str, bits: int = 64) -> int:
        """A number of so many bits. Raises :class:`Failure` for everything else."""
        word = self.next()
        if not word or word.startswith("--"):
            raise Failure(f"{option}: missing argument.")
        value = parse_number(word)
        if value is None:
            raise Failure(f"{option}: bad argument: {word}.")
        if value >> bits:
            raise Failure(f"{option}: value too big: {word}.")
        return value

    def cpu(self, *, status: int = 1) -> tuple[int, int, int] | None:
        """Family, model and stepping, or None for ``none``. ``status``: the exit code if it is missing."""
        word = self.text("--cpu", status=status)
        if word == "none":
            return None
        family, *rest = (parse_number(part) for part in word.split("/", 2))
        if word.count("/") == 2 and word.endswith("/"):
            rest[-1] = 0
        match family, rest:
            case int(), [int(model), *more] if family < 1 << 16 and model < 256:
                stepping = more[0] if more else 0
                if stepping is not None and stepping < 256:
                    return family, model, stepping
        raise Failure("cpu must be specified as f/m[/s]")


@dataclass(slots=True)
class DecoderOptions:
    """The options that configure a decoder, which both tools have; 0 means unknown."""

    cpu: tuple[int, int, int] | None = None
    mtc_freq: int = 0
    nom_freq: int = 0
    cpuid_0x15_eax: int = 0
    cpuid_0x15_ebx: int = 0

    def take(self, option: str, arguments: Arguments) -> bool:
        """Takes the option if it is one of these, with its argument; ``--cpu`` is the tool's own."""
        match option:
            case "--mtc-freq":
                self.mtc_freq = arguments.number(option, 8)
            case "--nom-freq":
                self.nom_freq = arguments.number(option, 8)
            case "--cpuid-0x15.eax":
                self.cpuid_0x15_eax = arguments.number(option, 32)
            case "--cpuid-0x15.ebx":
                self.cpuid_0x15_ebx = arguments.number(option, 32)
            case _:
                return False
        return True

    @property
    def cpu_is_unknown(self) -> bool:
        """A processor was named that the errata table does not have; there are no work-arounds then."""
        from odograph._native import cpu_is_known

        return self.cpu is not None and not cpu_is_known(*self.cpu)

    def config(self, **more: Any) -> TraceConfig:
        """The configuration; ``more`` are further fields of it."""
        return TraceConfig(
            cpu=None if self.cpu_is_unknown else self.cpu,
            mtc_freq=self.mtc_freq,
            nom_freq=self.nom_freq,
            cpuid_0x15_eax=self.cpuid_0x15_eax,
            cpuid_0x15_ebx=self.cpuid_0x15_ebx,
            **more,
        )


@dataclass(frozen=True, slots=True)
class FileRange:
    """``FILE[:FROM[-TO]]``: a file, or its bytes from ``first`` up to but not including ``last``."""

    name: str
    first: int = 0
    last: int | None = None

    @classmethod
    def parse(cls, text: str, *, status: int = 1) -> FileRange:
        """Splits at the last colon if a range follows it, else all is the name.

        Raises :class:`Failure` with ``status`` for a range that does not end behind its beginning.
        """
        name, colon, tail = text.rpartition(":")
        first, rest = _prefix(tail)
        if not colon or first is None:
            return cls(text)
        if not rest:
            return cls(name, first)
        last = parse_number(rest[1:]) if rest != "-" else 0
        if rest[0] != "-" or last is None:
            return cls(text)
        if last <= first:
            raise Failure(f"bad file {text}: invalid argument.", status)
        return cls(name, first, last)


def open_range(file: FileRange) -> memoryview:
    """The bytes of the range, mapped rather than read. Raises :class:`Failure` where there are none."""
    try:
        descriptor = os.open(
            file.name, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        )
    except (OSError, ValueError) as error:
        raise Failure(f"failed to open {file.name}: {getattr(error, 'errno', 2)}.") from None
    try:
        try:
            size = os.lseek(descriptor, 0, os.SEEK_END)
        except OSError as error:
            raise Failure(f"failed to determine size of {file.name}: {error.errno}.") from None
        if file.first >= size:
            raise Failure(f"bad offset 0x{file.first:x} into {file.name}.")
        if file.last is not None and file.last > size:
            raise Failure(f"bad range 0x{file.last:x} in {file.name}.")
        try:
            mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise Failure(f"failed to load {file.name}: {error.errno}.") from None
    finally:
        os.close(descriptor)
    return memoryview(mapped)[file.first : file.last]
