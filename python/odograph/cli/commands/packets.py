"""``odograph packets``: the trace as it was written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from odograph.cli.failure import Failure
from odograph.cli.inputs import Input, input_options_but
from odograph.cli.output import json_option, raw, write_json_texts

if TYPE_CHECKING:
    from odograph.recording.stream import TraceStream

__all__ = ["command"]


class _Offset(click.ParamType[Any]):
    name = "offset"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = value if isinstance(value, int) else int(value, 0)
        except ValueError:
            self.fail(f"{value!r} is no offset; write it like 4096 or 0x1000", param, ctx)
        if number < 0:
            self.fail("an offset is not negative", param, ctx)
        return number


@click.command("packets")
@input_options_but(
    "--map",
    "--elf",
    "--sysroot",
    "--buildid-dir",
    "--kcore",
    "--cpu",
    "--resync",
    "--index",
    "--no-index",
)
@click.option(
    "--from", "first", type=_Offset(), metavar="OFFSET", help="Begin with the packet at or after this offset."
)
@click.option("--to", "last", type=_Offset(), metavar="OFFSET", help="Stop before this offset.")
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND", help="Only packets of this kind; may be given again."
)
@click.option("--stream", type=int, metavar="N", help="Of several trace streams, this one (0 is the first).")
@json_option
def command(
    source: Input,
    first: int | None,
    last: int | None,
    kinds: tuple[str, ...],
    stream: int | None,
    as_json: bool,
) -> int:
    """List the packets of a trace: offset, kind, payload.

    Offsets count in the trace stream, from its first byte. Where no packet can be read, that is said, and
    the list goes on at the next PSB. TNT bits read from left to right, ! is taken.
    """
    recording = source.open()
    streams = recording.source.streams
    if stream is not None:
        if not 0 <= stream < len(streams):
            raise Failure(f"there is no stream {stream}; {recording.path} has {len(streams)}, counted from 0")
        streams = [streams[stream]]
    wanted = sorted({kind.lower() for kind in kinds})
    _check_kinds(wanted)
    texts = _texts(streams, (first or 0, last), wanted, as_json)
    if as_json:
        write_json_texts({"path": recording.path, "streams": len(streams)}, "packets", texts)
    else:
        for text in texts:
            raw(sys.stdout).write(text)
    return 0


# fmt: off
_KINDS = (
    "pad", "psb", "psbend", "ovf", "stop", "fup", "tip", "tip.pge", "tip.pgd", "tnt8", "tnt64", "mode.exec",
    "mode.tsx", "pip", "vmcs", "cbr", "tsc", "tma", "mtc", "cyc", "mnt", "exstop", "mwait", "pwre", "pwrx",
    "ptw", "cfe", "evd", "trig", "bbp", "bip", "bep",
)
# fmt: on


def _check_kinds(kinds: list[str]) -> None:
    for kind in kinds:
        if kind not in _KINDS and kind not in ("tnt", "mode"):
            raise Failure(f"there is no packet {kind!r}; there are {', '.join(_KINDS)}")


def _texts(
    streams: list[TraceStream], part: tuple[int, int | None], kinds: list[str], as_json: bool
) -> Iterator[str]:
    """The listing in pieces of many packets."""
    from odograph._native import RawFieldListing

    for number, stream in enumerate(streams):
        listing = RawFieldListing(
            stream.read(), kinds, *part, json=as_json, stream=number, numbered=len(streams) > 1
        )
        while not listing.ended:
            text = listing.next_piece()
            if text:
                yield text
