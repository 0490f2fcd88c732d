"""``odograph packets``: the trace as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from odograph.cli.failure import Failure
from odograph.cli.inputs import Input, input_options
from odograph.cli.output import json_option, write_json_rows, write_lines

if TYPE_CHECKING:
    from odograph.packets import Packet
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


@click.command()
@input_options
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
            raise Failure(f"there is no stream {stream}; {recording.path} has {len(streams)}")
        streams = [streams[stream]]
    wanted = frozenset(kind.lower() for kind in kinds)
    _check_kinds(wanted)
    entries = _entries(streams, first or 0, last, wanted)
    if as_json:
        write_json_rows(
            {"path": recording.path, "streams": len(streams)}, "packets", (_row(entry) for entry in entries)
        )
    else:
        write_lines(_lines(entries, len(streams) > 1))
    return 0


# fmt: off
_KINDS = (
    "pad", "psb", "psbend", "ovf", "stop", "fup", "tip", "tip.pge", "tip.pgd", "tnt8", "tnt64", "mode.exec",
    "mode.tsx", "pip", "vmcs", "cbr", "tsc", "tma", "mtc", "cyc", "mnt", "exstop", "mwait", "pwre", "pwrx",
    "ptw", "cfe", "evd", "trig", "bbp", "bip", "bep",
)
# fmt: on


def _check_kinds(kinds: frozenset[str]) -> None:
    for kind in sorted(kinds):
        if kind not in _KINDS and kind not in ("tnt", "mode"):
            raise Failure(f"there is no packet {kind!r}; there are {', '.join(_KINDS)}")


def _matches(kind: str, kinds: frozenset[str]) -> bool:
    return (
        not kinds
        or kind in kinds
        or (kind.startswith("tnt") and "tnt" in kinds)
        or (kind.startswith("mode") and "mode" in kinds)
    )


Entry = tuple[int, "Packet | None", int, str]
"""Stream, packet, offset, and what is wrong there if there is no packet."""


def _entries(
    streams: list[TraceStream], first: int, last: int | None, kinds: frozenset[str]
) -> Iterator[Entry]:
    from odograph.errors import TraceError
    from odograph.packets import PacketDecoder

    for number, stream in enumerate(streams):
        trace = stream.read()
        decoder = PacketDecoder(trace)
        end = len(trace) if last is None else min(last, len(trace))
        # Packets have a known beginning only from a PSB on: go through those before `first`.
        with suppress(TraceError):
            decoder.sync_set(min(first + 1, len(trace)))
            decoder.sync_backward()
        if decoder.sync_offset is None or decoder.sync_offset > first:
            decoder = PacketDecoder(trace)
            try:
                decoder.sync_forward()
            except TraceError:
                continue
        while (decoder.offset or 0) < end:
            at = decoder.offset or 0
            try:
                packet = next(decoder)
            except StopIteration:
                if at >= first and at < len(trace):
                    yield number, None, at, "the trace ends inside a packet"
                break
            except TraceError as error:
                if at >= first:
                    yield number, None, at, error.args[0]
                try:
                    decoder.sync_forward()
                except TraceError:
                    break
                continue
            if at >= first and _matches(packet.kind, kinds):
                yield number, packet, at, ""


def _row(entry: Entry) -> dict[str, Any]:
    number, packet, offset, wrong = entry
    if packet is None:
        return {"stream": number, "offset": offset, "error": wrong}
    row: dict[str, Any] = {"stream": number, "offset": offset, "size": packet.size_bytes, "kind": packet.kind}
    return {**row, **packet.fields}


def _lines(entries: Iterator[Entry], several: bool) -> Iterator[str]:
    for number, packet, offset, wrong in entries:
        prefix = f"{number} " if several else ""
        if packet is None:
            yield f"{prefix}{offset:08x}  [{wrong}]"
        else:
            yield f"{prefix}{offset:08x}  {packet.kind:9} {_payload(packet)}".rstrip()


def _payload(packet: Packet) -> str:
    fields = packet.fields
    if packet.kind in ("tnt8", "tnt64"):
        size, bits = fields["size"], fields["bits"]
        return "".join("!" if bits >> at & 1 else "." for at in range(size - 1, -1, -1))
    if packet.kind in ("fup", "tip", "tip.pge", "tip.pgd"):
        compression = fields["compression"]
        return "-" if compression == 0 else f"{compression}: {fields['ip']:016x}"
    words = []
    for name, value in fields.items():
        if isinstance(value, bool):
            if value:
                words.append(name)
        else:
            words.append(f"{name} {value:#x}")
    return "  ".join(words)
