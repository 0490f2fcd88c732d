"""``odograph unwind``: what an IA-64 file says about unwinding."""

from __future__ import annotations

import click

from odograph.cli.output import json_option, write_json_rows, write_lines

__all__ = ["command"]


@click.command("unwind")
@click.option(
    "--dump",
    "filename",
    required=True,
    metavar="FILE",
    type=click.Path(),
    help="An IA-64 ELF file: executable, library or object, of Linux or HP-UX.",
)
@json_option
def command(filename: str, as_json: bool) -> int:
    """List the unwind tables of an IA-64 file with their descriptors.

    The text is that of readelf -u. Ends with 1 if an information block is damaged.
    """
    from collections.abc import Iterator
    from dataclasses import asdict
    from typing import Any

    from odograph.unwind.ia64.dump import DumpedEntry, DumpedTable, dump, dump_lines
    from odograph.unwind.ia64.elf import ElfFile

    damaged = False

    def watched(entries: Iterator[DumpedEntry]) -> Iterator[DumpedEntry]:
        nonlocal damaged
        for entry in entries:
            damaged = damaged or entry.error is not None
            yield entry

    def rows(tables: Iterator[DumpedTable]) -> Iterator[dict[str, Any]]:
        for table in tables:
            for entry in watched(table.entries):
                yield {"table": table.name, **asdict(entry)}

    file = ElfFile(filename)
    tables = dump(file)
    if as_json:
        write_json_rows({"path": file.path}, "entries", rows(tables))
        return 1 if damaged else 0
    found = False
    for table in tables:
        found = True
        watching = DumpedTable(table.name, table.offset, table.count, watched(table.entries))
        write_lines(["", *dump_lines(watching)], keep="\t")
    if not found:
        write_lines(["There are no unwind tables in this file."])
    return 1 if damaged else 0
