"""``vFile``: the ELF objects that were mapped into the program, and no others, to read.

Every program of this machine can connect, and the recording chose the names. So only what debuggers
need is served: programs and libraries, not any file that a recording may say was mapped.

Source: the GDB manual, "Host I/O Packets".
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from odograph.debug.modules import open_object
from odograph.debug.remote.packet import escape
from odograph.debug.remote.session import Refused

if TYPE_CHECKING:
    from odograph.debug.remote.session import Session

__all__ = ["close", "fstat", "open_file", "pread", "set_filesystem"]

_ENOENT, _EBADF, _EACCES, _EMFILE = "F-1,2", "F-1,9", "F-1,d", "F-1,18"
_MOST_OPEN = 64
_MOST_READ = 0x4000
_ACCESS_MODE = 3
_REGULAR = 0o100444


def set_filesystem(session: Session, rest: str) -> str:
    """``vFile:setfs:pid``: there is one file system."""
    return "F0"


def open_file(session: Session, rest: str) -> str:
    """``vFile:open:name,flags,mode``"""
    name_hex, flags, _ = rest.split(",")
    name = bytes.fromhex(name_hex).decode("utf-8", "surrogateescape")
    if int(flags, 16) & _ACCESS_MODE:
        return _EACCES
    path = next((path for program in session.target.programs if (path := program.path_of(name))), None)
    if path is None:
        return _ENOENT
    if len(session.files) >= _MOST_OPEN:
        return _EMFILE
    try:
        with open_object(path) as opened:
            file = os.dup(opened.fileno())
    except (OSError, ValueError):
        return _EACCES
    number = session.next_file
    session.next_file += 1
    session.files[number] = file
    return f"F{number:x}"


def _file(session: Session, text: str) -> int:
    file = session.files.get(int(text, 16))
    if file is None:
        raise Refused(_EBADF)
    return file


def pread(session: Session, rest: str) -> bytes:
    """``vFile:pread:file,count,offset``"""
    number, count, offset = rest.split(",")
    data = os.pread(_file(session, number), min(int(count, 16), _MOST_READ), int(offset, 16))
    return b"F%x;" % len(data) + escape(data)


def fstat(session: Session, rest: str) -> bytes:
    """``vFile:fstat:file``: what gdb wants to know is the size."""
    status = os.fstat(_file(session, rest))
    blocks = (status.st_size + 511) // 512
    times = [int(status.st_mtime) & 0xFFFFFFFF] * 3
    data = struct.pack(">7I3Q3I", 0, 0, _REGULAR, 1, 0, 0, 0, status.st_size, 512, blocks, *times)
    return b"F%x;" % len(data) + escape(data)


def close(session: Session, rest: str) -> str:
    """``vFile:close:file``"""
    os.close(_file(session, rest))
    del session.files[int(rest, 16)]
    return "F0"
