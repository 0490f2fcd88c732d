"""Text and JSON on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click

__all__ = [
    "address",
    "json_option",
    "styled",
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
    sys.stdout.write(json.dumps(document, indent=2, default=_plain) + "\n")


def write_json_rows(document: dict[str, Any], name: str, rows: Iterable[dict[str, Any]]) -> None:
    """One JSON object whose last member ``name`` is a list of any length, a row on each line."""
    write_json_texts(document, name, (json.dumps(row, default=_plain) for row in rows))


def write_json_texts(document: dict[str, Any], name: str, rows: Iterable[str]) -> None:
    """The same for rows that are JSON already; a text may hold several, with ``,`` and a newline between."""
    head = json.dumps(document, default=_plain)
    sys.stdout.write(f"{head[:-1]}{', ' if document else ''}{json.dumps(name)}: [")
    separator = "\n"
    for row in rows:
        sys.stdout.write(separator + row)
        separator = ",\n"
    sys.stdout.write("\n]}\n")


def _plain(value: object) -> object:
    """Bytes as hexadecimal digits, numbers of NumPy as numbers."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    item = getattr(value, "item", None)
    if callable(item):
        return item()
    return str(value)


def write_lines(lines: Iterable[str]) -> None:
    """Lines of text; characters that the terminal does not have are replaced."""
    _tolerant()
    for chunk in _chunks(lines):
        sys.stdout.write(chunk)


def _chunks(lines: Iterable[str], size: int = 1024) -> Iterator[str]:
    pending: list[str] = []
    for line in lines:
        pending.append(line)
        if len(pending) >= size:
            yield "\n".join(pending) + "\n"
            pending = []
    if pending:
        yield "\n".join(pending) + "\n"


def _tolerant() -> None:
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


def styled(text: str, **style: Any) -> str:
    """Text in colour, if standard output is a terminal and NO_COLOR is not set."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return text
    return click.style(text, **style)


def address(value: int | None) -> str:
    """Sixteen hexadecimal digits."""
    return "" if value is None else f"{value:016x}"
