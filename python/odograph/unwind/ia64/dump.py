"""Unwind information as text and as plain values, the text as ``readelf -u`` has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from odograph._native import unwind_descriptors
from odograph.errors import OdographError
from odograph.unwind.ia64.elf import ElfFile
from odograph.unwind.ia64.modules import nearest
from odograph.unwind.ia64.table import Entry, Listing, block, listings

__all__ = ["DumpedEntry", "DumpedTable", "dump", "dump_lines"]

_FLAGS: Final = {1: "ehandler", 2: "uhandler"}
_PROLOGUE_MASK: Final = {8: "rp", 4: "ar.pfs", 2: "psp", 1: "pr"}
_SPILLS: Final = "-frb"
_SYSTEMS: Final = {0: "@svr4", 1: "@hpux", 2: "@nt"}
_SPECIAL: Final = {
    "preds": "pr",
    "priunat": "@priunat",
    **{name: f"ar.{name}" for name in ("bsp", "bspstore", "rnat", "unat", "fpsr", "pfs", "lc")},
}


@dataclass(frozen=True)
class DumpedEntry:
    """A row of a table with the descriptors of its block.

    A descriptor is ``{"offset", "format", "name", ...}``; what else it has are its fields as encoded, masks
    of spills as a letter a slot. ``error`` says what is wrong with the block; what could be read of it is
    here.
    """

    function: str | None
    start: int
    end: int
    info: int
    version: int = 0
    flags: int = 0
    length: int = 0
    """Bytes of descriptors."""
    descriptors: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None


@dataclass(frozen=True)
class DumpedTable:
    """An unwind table: the name of its section, where it lies in the file, its rows."""

    name: str
    offset: int
    count: int
    entries: Iterator[DumpedEntry]


def dump(file: ElfFile) -> Iterator[DumpedTable]:
    """The unwind tables of a file; they and their entries are decoded as they are asked for.

    :raises ImageError: ``bad_image``: a table or what it needs of the file is damaged.
    """
    for listing in listings(file):
        yield DumpedTable(listing.name, listing.offset, len(listing.entries), _entries(file, listing))


def _entries(file: ElfFile, listing: Listing) -> Iterator[DumpedEntry]:
    for entry in listing.entries:
        yield _entry(file, entry, listing.narrow)


def _entry(file: ElfFile, entry: Entry, narrow: bool) -> DumpedEntry:
    name = _function(file, entry)
    place = (name, entry.start, entry.end, entry.info)
    data = block(file, entry, narrow)
    if len(data) < 8:
        return DumpedEntry(*place, error="the information block does not lie in the file")
    try:
        version, flags, length, rows = unwind_descriptors(data, file.big, narrow)
    except OdographError as error:
        return DumpedEntry(*place, error=str(error))
    descriptors = []
    slots = 0
    for offset, form, what, fields in rows:
        values: dict[str, Any] = dict(fields)
        slots = values.get("rlen", slots)
        if "imask" in values:
            values["imask"] = _spill_mask(values["imask"], slots)
        descriptors.append({"offset": offset, "format": form, "name": what, **values})
    return DumpedEntry(*place, version, flags, length, descriptors)


def _function(file: ElfFile, entry: Entry) -> str | None:
    """The name of the code that a row is for, with the distance from where a function of that name starts."""
    functions = file.functions_of_sections.get(entry.section, []) if file.is_object else file.functions
    found = nearest(functions, entry.start)
    if found is None:
        return None
    offset = entry.start - found.address
    return f"{found.name}+{offset:#x}" if offset else found.name


def _spill_mask(mask: bytes, slots: int) -> str:
    """A letter a slot: ``f``, ``r``, ``b`` for what it spills, ``-`` for nothing."""
    codes = (byte >> shift & 3 for byte in mask for shift in (6, 4, 2, 0))
    return "".join(_SPILLS[code] for code, _ in zip(codes, range(slots), strict=False))


def dump_lines(table: DumpedTable) -> Iterator[str]:
    """The table as ``readelf -u`` prints it."""
    yield f"Unwind section '{table.name}' at offset {table.offset:#x} contains {table.count} entries:"
    for entry in table.entries:
        yield ""
        name = entry.function or ""
        yield f"<{name}>: [{entry.start:#x}-{entry.end:#x}], info at +{entry.info:#x}"
        if entry.error is None:
            words = "".join(f" {word}" for bit, word in _FLAGS.items() if entry.flags & bit)
            yield f"  v{entry.version}, flags={entry.flags:#x} ({words}), len={entry.length} bytes"
        for descriptor in entry.descriptors:
            indent = "    " if descriptor["format"].startswith("R") else "\t"
            yield f"{indent}{descriptor['format']}:{_text(descriptor)}"
        if entry.error is not None:
            yield f"  {entry.error}"


def _text(descriptor: dict[str, Any]) -> str:
    name = descriptor["name"]
    shown = _FORMATS.get(descriptor["format"])
    parts = shown(descriptor) if shown is not None else _times_and_places(descriptor)
    return f"{name}({','.join(parts)})"


def _times_and_places(row: dict[str, Any]) -> list[str]:
    """Fields of descriptors that have a time, a place or a register."""
    parts = []
    if "qp" in row:
        parts.append(f"qp=p{row['qp']}")
        parts += [f"t={row['t']}", f"reg={_register(row['reg'])}"]
    elif row["format"] == "X1":
        parts += [f"reg={_register(row['reg'])}", f"t={row['t']}"]
    else:
        parts += [f"t={row['t']}"] if "t" in row else []
        parts += [f"reg={_register(row['reg'])}"] if "reg" in row else []
    if "treg" in row:
        parts.append(f"treg={_register(row['treg'])}")
    if "off" in row:
        parts.append(_offset(row["name"], row["off"]))
    parts += [f"size={16 * row['size']}"] if "size" in row else []
    parts += [f"ecount={row['ecount']}"] if "ecount" in row else []
    parts += [f"label={row['label']}"] if "label" in row else []
    parts += [f"rlen={row['rlen']}"] if "rlen" in row else []
    return parts


def _offset(name: str, units: int) -> str:
    """A place in memory: units of four bytes, upwards from sp or downwards from psp + 16."""
    if name.endswith(("_sprel", "_sprel_p")):
        return f"spoff={4 * units:#x}"
    return f"pspoff=0x10-{4 * units:#x}"


def _register(name: str) -> str:
    kind = name.rstrip("0123456789")
    if kind in ("gr", "br", "fr") and kind != name:
        return kind[0].replace("g", "r") + name[len(kind) :]
    return _SPECIAL.get(name, name)


def _mask(bits: int, names: list[str]) -> str:
    return "[" + ",".join(name for bit, name in enumerate(names) if bits >> bit & 1) + "]"


_GENERAL: Final = [f"r{number}" for number in range(4, 8)]
_BRANCH: Final = [f"b{number}" for number in range(1, 6)]
_FLOAT: Final = [f"f{number}" for number in (*range(2, 6), *range(16, 32))]


def _prologue_general(row: dict[str, Any]) -> list[str]:
    saved = ",".join(name for bit, name in _PROLOGUE_MASK.items() if row["mask"] & bit)
    return [f"mask=[{saved}]", f"grsave=r{row['gr']}", f"rlen={row['rlen']}"]


def _in_general(row: dict[str, Any]) -> list[str]:
    return [f"reg=b{row['br']}" if "br" in row else f"reg=r{row['gr']}"]


def _slots(row: dict[str, Any]) -> list[str]:
    mask = row["imask"]
    return ["imask=[" + ",".join(mask[at : at + 3] for at in range(0, len(mask), 3)) + "]"]


_FORMATS: Final[dict[str, Callable[[dict[str, Any]], list[str]]]] = {
    "R2": _prologue_general,
    "P1": lambda row: [f"brmask={_mask(row['brmask'], _BRANCH)}"],
    "P2": lambda row: [f"brmask={_mask(row['brmask'], _BRANCH)}", f"gr=r{row['gr']}"],
    "P3": _in_general,
    "P4": _slots,
    "P5": lambda row: [
        f"grmask={_mask(row['grmask'], _GENERAL)}",
        f"frmask={_mask(row['frmask'], _FLOAT)}",
    ],
    "P6": lambda row: [
        f"grmask={_mask(row['grmask'], _GENERAL)}"
        if "grmask" in row
        else f"frmask={_mask(row['frmask'], _FLOAT)}"
    ],
    "P9": lambda row: [f"grmask={_mask(row['grmask'], _GENERAL)}", f"r{row['gr']}"],
    "P10": lambda row: [
        f"abi={_SYSTEMS.get(row['abi'], format(row['abi'], '#x'))}",
        f"context={row['context']:#04x}",
    ],
}
"""What is in the brackets; formats that are not here have times and places."""
