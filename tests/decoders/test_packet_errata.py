"""Errata that spoil packets are mended where packets are read: one at a time, listed, and counted."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

import odograph
from odograph import Packet, PacketDecoder, PacketEncoder, TraceConfig
from odograph.compat import libipt
from odograph.dropins import ptdump

#: SKD007, SKZ84, neither.
SKYLAKE, ICELAKE_SERVER, TIGERLAKE = (6, 0x4E), (6, 0x6A), (6, 0x8C)
Found = list[tuple[int, int, str]]


def spoilt(dice: random.Random) -> tuple[bytes, Found]:
    """A trace in which OVF packets replace the tails of CYC packets, and what Skylake meant."""
    encoder = PacketEncoder()
    meant: Found = []
    for _ in range(dice.randint(3, 30)):
        at = encoder.offset
        kind = dice.choice(["cut", "cyc", "psb", "pad", "ovf", "mtc"])
        if kind == "cut":
            encoder.data += bytes([dice.randrange(32) << 3 | 7, 0x02, 0xF3])
            meant.append((at, 3, "ovf"))
        else:
            if kind == "cyc":
                # No second byte of 02, the value of which begins with 1.
                encoder.add(Packet("cyc", value=dice.choice([3, 0x7F, 0x1000, 31])))
            elif kind == "mtc":
                encoder.add(Packet("mtc", ctc=dice.randrange(256)))
            else:
                encoder.add(Packet(kind))
            meant.append((at, encoder.offset - at, kind))
    return bytes(encoder), meant


def read(trace: bytes, cpu: tuple[int, int] | None) -> Found:
    decoder = PacketDecoder(trace, TraceConfig(cpu=cpu))
    decoder.sync_set(0)
    return [(packet.offset or 0, packet.size_bytes or 0, packet.kind) for packet in decoder]


def listing(trace: bytes, path: Path, *options: str) -> list[list[str]]:
    path.write_bytes(trace)
    out = io.BytesIO()
    assert ptdump.main(["ptdump", "--no-sync", *options, str(path)], out) == 0
    return [line.split()[:2] for line in out.getvalue().decode().splitlines()]


def test_skd007_is_one_ovf_in_place_of_the_cyc(tmp_path: Path) -> None:
    for seed in range(100):
        trace, meant = spoilt(random.Random(seed))
        assert read(trace, SKYLAKE) == meant, seed
        lines = [[f"{offset:016x}", kind] for offset, _, kind in meant]
        assert listing(trace, tmp_path / "pt", "--cpu", "6/78") == lines, seed
        # Without the erratum the three bytes are two CYC packets.
        for cpu in (TIGERLAKE, None):
            plain = [size for offset, size, kind in read(trace, cpu) if kind == "cyc"]
            cut = sum(size == 3 and kind == "ovf" for _, size, kind in meant)
            assert len(plain) == sum(kind == "cyc" for _, _, kind in meant) + 2 * cut, seed
        assert [kind for _, kind in listing(trace, tmp_path / "pt")].count("ovf") == sum(
            size == 2 and kind == "ovf" for _, size, kind in meant
        )


def test_the_raw_bytes_of_the_packet_are_all_three(tmp_path: Path) -> None:
    path = tmp_path / "pt"
    path.write_bytes(b"\x0f\x02\xf3")
    out = io.BytesIO()
    assert ptdump.main(["ptdump", "--no-sync", "--raw", "--cpu", "6/78", str(path)], out) == 0
    assert out.getvalue().split() == [b"0" * 16, b"0f02f3", b"ovf"]


def test_the_old_names_mend_it_by_their_errata() -> None:
    for names, types in (({"skd007": 1}, [20]), ({}, [18, 18])):
        config = libipt.pt_config()
        libipt.pt_config_init(config)
        config.begin = b"\x0f\x02\xf3"
        for name, value in names.items():
            setattr(config.errata, name, value)
        decoder = libipt.pt_pkt_alloc_decoder(config)
        assert libipt.pt_pkt_sync_set(decoder, 0) == 0
        found = []
        while True:
            status, packet = libipt.pt_pkt_next(decoder)
            if status < 0:
                break
            found.append((packet.type, packet.size))
        assert [kind for kind, _ in found] == types
        assert sum(size for _, size in found) == 3


@pytest.mark.parametrize(("cpu", "kinds"), [((6, 0x6A), {"psb": 1, "pad": 1}), (None, {"psb": 1})])
def test_counts_are_those_of_the_processor(
    tmp_path: Path, cpu: tuple[int, int] | None, kinds: dict[str, int]
) -> None:
    path = tmp_path / "pt"
    path.write_bytes(bytes.fromhex("0282") * 8 + bytes.fromhex("0273 1234 ff 01 02 cc 00"))
    recording = odograph.open(path, config=TraceConfig(cpu=cpu))
    counted, damaged = recording.packets()
    assert (counted, damaged) == (kinds, 0 if cpu else 1)
