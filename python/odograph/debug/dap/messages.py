"""Parts of DAP's messages: the arguments of requests, which may be anything, and the parts of answers."""

from __future__ import annotations

import os
from typing import Any

from odograph.debug.dap.wire import Message
from odograph.errors import InvalidArgument
from odograph.files.plainfile import is_plain

__all__ = [
    "Arguments",
    "address_of",
    "answer_to",
    "is_by_instruction",
    "refusal_of",
    "result_of",
    "source_of",
]

_TOP = 1 << 64


def answer_to(request: Message) -> Message:
    command, number = request.get("command"), request.get("seq")
    return {
        "type": "response",
        "request_seq": number if isinstance(number, int) else 0,
        "command": command if isinstance(command, str) else "",
        "success": True,
    }


def refusal_of(request: Message, text: str) -> Message:
    """The answer to a request that cannot be met, and why."""
    error = {"error": {"id": 1, "format": _plain(text)}}
    return answer_to(request) | {"success": False, "message": text, "body": error}


class Arguments:
    """The arguments of a request; an editor may send anything."""

    def __init__(self, values: object) -> None:
        self.values: Message = values if isinstance(values, dict) else {}

    def number(self, name: str, otherwise: int | None = None) -> int:
        """InvalidArgument if there is none and nothing else is meant otherwise."""
        value = self.values.get(name)
        if value is None and otherwise is not None:
            return otherwise
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidArgument(f"{name} has to be a number")
        return value

    def text(self, name: str) -> str:
        """InvalidArgument if there is none."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise InvalidArgument(f"{name} has to be a text")
        return value

    def list(self, name: str, kind: type = dict) -> list[Any]:
        """The values of a list that are what they have to be."""
        values = self.values.get(name)
        return [value for value in values if isinstance(value, kind)] if isinstance(values, list) else []


def source_of(path: str) -> Message:
    """A source file. The editor opens it by its path, which debug information chose: none that is no plain
    file."""
    named: Message = {"name": os.path.basename(path)}
    return named | ({"path": path} if is_plain(path) or not _exists(path) else {})


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


def is_by_instruction(arguments: Arguments) -> bool:
    return arguments.values.get("granularity") == "instruction"


def address_of(reference: object, offset: object) -> int:
    if not isinstance(reference, str) or isinstance(offset, bool) or not isinstance(offset or 0, int):
        raise InvalidArgument("a place in memory is an address as text, and perhaps an offset")
    try:
        address = int(reference, 0)
    except ValueError:
        raise InvalidArgument(f"{reference!r} is no address") from None
    return (address + (offset if isinstance(offset, int) else 0)) % _TOP


def result_of(text: str) -> Message:
    return {"result": text, "variablesReference": 0}


def _plain(text: str) -> str:
    """Braces mean something in such texts."""
    return text.replace("{", "(").replace("}", ")")
