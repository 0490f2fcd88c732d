"""Text and JSON on standard output, notes on standard error.

Names in recordings may hold anything. All text goes through :func:`~odograph.text.printable.printable` here:
the lines of :func:`write_lines` and :func:`say` each as a whole, and in :func:`guarded` what else is
written to the two streams.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

import click

from odograph.text.printable import printable
from odograph.text.standardstreams import Named, Tolerant, give_up, opened

__all__ = [
    "address",
    "guarded",
    "json_option",
    "raw",
    "say",
    "say_waiting",
    "styled",
    "to_json",
    "write_json",
    "write_json_rows",
    "write_json_texts",
    "write_lines",
]


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of text.")(
        command
    )


def write_json(document: dict[str, Any]) -> None:
    """One JSON object."""
    raw(sys.stdout).write(to_json(document, indent=2) + "\n")


def to_json(document: Any, *, indent: int | None = None) -> str:
    """JSON in printable ASCII that parses back to the exact texts, also those that are not UTF-8."""
    # DEL is the one control character that JSON allows as it is; it stands in texts only.
    return json.dumps(document, indent=indent, default=_plain).replace("\x7f", "\\u007f")


def write_json_rows(document: dict[str, Any], name: str, rows: Iterable[dict[str, Any]]) -> None:
    """One JSON object whose last member ``name`` is a list of any length, a row on each line."""
    write_json_texts(document, name, (to_json(row) for row in rows))


def write_json_texts(document: dict[str, Any], name: str, rows: Iterable[str]) -> None:
    """The same for rows that are JSON already; a text may hold several, with ``,`` and a newline between."""
    head = to_json(document)
    out = raw(sys.stdout)
    out.write(f"{head[:-1]}{', ' if document else ''}{json.dumps(name)}: [")
    separator = "\n"
    for row in rows:
        out.write(separator + row)
        separator = ",\n"
    out.write("\n]}\n")


def _plain(value: object) -> object:
    """Bytes as hexadecimal digits, numbers of NumPy as numbers."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    item = getattr(value, "item", None)
    if callable(item):
        return item()
    return str(value)


def write_lines(lines: Iterable[str], *, keep: str = "") -> None:
    """Lines of text; characters that the terminal does not have are replaced.

    Each is one line: what is not printable is escaped, except for characters to
    ``keep``.
    """
    out = raw(sys.stdout)
    _tolerant(out)
    for chunk in _chunks(lines, keep):
        out.write(chunk)


def say(text: str, *, keep: str = "") -> None:
    """A line on standard error, in which what is not printable is escaped, except for characters to
    ``keep``."""
    err = raw(sys.stderr)
    err.write(printable(text, keep) + "\n")
    err.flush()


def say_waiting(text: str) -> None:
    """What a command waits for, on standard error."""
    say(f"odograph: {text}")


def _chunks(lines: Iterable[str], keep: str, size: int = 1024) -> Iterator[str]:
    pending: list[str] = []
    for line in lines:
        shown = printable(line, keep)
        pending.append(shown.replace(_STYLE, "\x1b[") if _STYLE in shown else shown)
        if len(pending) >= size:
            yield "\n".join(pending) + "\n"
            pending = []
    if pending:
        yield "\n".join(pending) + "\n"


def _tolerant(stream: TextIO) -> None:
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


class _Guarded:
    """A text stream that escapes what is not printable, but for newlines and tabs."""

    def __init__(self, stream: Named | Tolerant) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """The number of characters given."""
        self.stream.write(printable(text, "\n\t"))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """All of them."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def guarded() -> Iterator[None]:
    """Escapes what is not printable in everything that is written to the standard streams as text
    meanwhile, and has errors of writing name standard output. What cannot be written is thrown away at the
    end: it was said before, or output is closed."""
    before = sys.stdout, sys.stderr
    output, errors = (opened(stream) for stream in before)
    sys.stdout, sys.stderr = _Guarded(Named(output)), _Guarded(Tolerant(errors))
    try:
        yield
    finally:
        give_up(output, errors)
        sys.stdout, sys.stderr = before


def raw(stream: TextIO) -> TextIO:
    """The stream itself, for text that is known to be printable, and control characters of our own."""
    return cast(TextIO, stream.stream) if isinstance(stream, _Guarded) else stream


#: What stands for the beginning of a terminal's command in lines: no recording can know it.
_STYLE = f"{{style {secrets.token_hex(16)}}}"


def styled(text: str, **style: Any) -> str:
    """Text in colour for :func:`write_lines`, if standard output is a terminal and NO_COLOR is not set."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return text
    return click.style(printable(text), **style).replace("\x1b[", _STYLE)


def address(value: int | None) -> str:
    """Sixteen hexadecimal digits."""
    return "" if value is None else f"{value:016x}"
