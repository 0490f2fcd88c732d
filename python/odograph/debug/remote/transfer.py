"""``qXfer``: documents about registers, the program and its libraries."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from odograph.debug.remote.description import target_xml
from odograph.debug.remote.session import Refused, document
from odograph.text.printable import printable

if TYPE_CHECKING:
    from odograph.debug.modules import LoadedFile
    from odograph.debug.remote.session import Session

__all__ = ["auxv", "exec_file", "features", "libraries", "threads"]

#: Types of the auxiliary vector: System V ABI, AMD64 supplement, "Initial Stack and Register State".
_AT_NULL, _AT_PHDR, _AT_PHENT, _AT_PHNUM, _AT_PAGESZ, _AT_BASE, _AT_ENTRY = 0, 3, 4, 5, 6, 7, 9


def features(session: Session, rest: str) -> bytes:
    """``qXfer:features:read:target.xml:offset,length``"""
    annex, _, window = rest.partition(":")
    if annex != "target.xml":
        raise Refused("E00")
    return document(target_xml(for_lldb=session.for_lldb).encode(), window)


def auxv(session: Session, rest: str) -> bytes:
    """``qXfer:auxv:read::offset,length``: where the program and its dynamic linker lie."""
    program = session.target.program
    header = program.main.header if program.main is not None else None
    if header is None:
        raise Refused("E00")
    _, entry, headers, size, number = header
    pairs = [(_AT_PAGESZ, 4096), (_AT_PHDR, headers), (_AT_PHENT, size), (_AT_PHNUM, number)]
    # A program without a dynamic linker has a base of 0.
    pairs += [(_AT_BASE, program.linker.bias if program.linker is not None else 0), (_AT_ENTRY, entry)]
    pairs += [(_AT_NULL, 0)]
    return document(b"".join(struct.pack("<QQ", *pair) for pair in pairs), rest.partition(":")[2])


def libraries(session: Session, rest: str) -> bytes:
    """``qXfer:libraries-svr4:read:annex:offset,length``"""
    program = session.target.program
    # lldb knows where the dynamic linker lies from the auxiliary vector.
    known = program.linker if session.for_lldb else None
    items = "".join(
        _library(number, library)
        for number, library in enumerate(program.libraries, start=2)
        if library is not known
    )
    text = f'<library-list-svr4 version="1.0" main-lm="0x1">{items}</library-list-svr4>'
    return document(text.encode(), rest.partition(":")[2])


def _library(number: int, library: LoadedFile) -> str:
    name = quoteattr(library.shown_name)
    # No memory has the linker's own list; any number tells two entries apart.
    places = f'lm="{number:#x}" l_addr="{library.bias:#x}" l_ld="{library.dynamic or 0:#x}" lmid="0x0"'
    return f"<library name={name} {places}/>"


def exec_file(session: Session, rest: str) -> bytes:
    """``qXfer:exec-file:read:process:offset,length``"""
    main = session.target.program.main
    if main is None:
        raise Refused("E00")
    return document(main.shown_name.encode(), rest.partition(":")[2])


def threads(session: Session, rest: str) -> bytes:
    """``qXfer:threads:read::offset,length``"""
    name = quoteattr(printable(session.target.thread.comm or "recorded"))
    text = f'<threads><thread id="{session.thread_number:x}" core="0" name={name}/></threads>'
    return document(text.encode(), rest.partition(":")[2])
