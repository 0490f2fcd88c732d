"""Packets: encode, decode, compare; search for PSB; damage."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odograph import (
    Asid,
    InvalidArgument,
    Packet,
    PacketDecoder,
    PacketEncoder,
    PtError,
    TraceConfig,
    TraceError,
)

PSB = bytes.fromhex("0282" * 8)


def bits(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, (1 << count) - 1)


@st.composite
def ip_packets(draw: st.DrawFn) -> Packet:
    compression, width = draw(st.sampled_from([(0, 0), (1, 16), (2, 32), (3, 48), (4, 48), (6, 64)]))
    kind = draw(st.sampled_from(["fup", "tip", "tip.pge", "tip.pgd"]))
    return Packet(kind, compression=compression, ip=draw(bits(width)))


@st.composite
def tnt_packets(draw: st.DrawFn) -> Packet:
    kind, most = draw(st.sampled_from([("tnt8", 6), ("tnt64", 47)]))
    size = draw(st.integers(1, most))
    return Packet(kind, size=size, bits=draw(bits(size)))


def simple(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Packet]:
    return st.fixed_dictionaries(fields).map(lambda drawn: Packet(kind, **drawn))


FLAG = st.booleans()
PACKETS = st.one_of(
    st.sampled_from(["pad", "psbend", "ovf", "stop", "psb"]).map(Packet),
    ip_packets(),
    tnt_packets(),
    simple("mode.exec", csl=FLAG, csd=FLAG, iflag=FLAG),
    simple("mode.tsx", intx=FLAG, abrt=FLAG),
    simple("pip", cr3=bits(47).map(lambda value: value << 5), nr=FLAG),
    simple("vmcs", base=bits(40).map(lambda value: value << 12)),
    simple("cbr", ratio=bits(8)),
    simple("tsc", tsc=bits(56)),
    simple("tma", ctc=bits(16), fc=bits(9)),
    simple("mtc", ctc=bits(8)),
    simple("cyc", value=bits(61)),
    simple("mnt", payload=bits(64)),
    simple("exstop", ip=FLAG),
    simple("mwait", hints=bits(32), ext=bits(32)),
    simple("pwre", state=bits(4), sub_state=bits(4), hw=FLAG),
    simple("pwrx", last=bits(4), deepest=bits(4), interrupt=FLAG, store=FLAG, autonomous=FLAG),
    simple("ptw", payload=bits(32), plc=st.just(0), ip=FLAG),
    simple("ptw", payload=bits(64), plc=st.just(1), ip=FLAG),
    simple("cfe", type=bits(5), vector=bits(8), ip=FLAG),
    simple("evd", type=bits(5), payload=bits(64)),
    simple("trig", trbv=bits(8), icnt=bits(16), ip=FLAG, icntv=st.just(True), mult=FLAG),
    simple("trig", trbv=bits(8), icnt=st.just(0), ip=FLAG, icntv=st.just(False), mult=FLAG),
    simple("bbp", short=FLAG, type=bits(5)),
    simple("bep", ip=FLAG),
)


@given(st.lists(PACKETS, max_size=30))
def test_what_was_encoded_decodes_to_the_same(packets: list[Packet]) -> None:
    encoder = PacketEncoder().add(Packet("psb"))
    for packet in packets:
        # Behind BBP an even byte with bits 2:0 = 100 is a block item; PAD does not end a block, PSBEND does.
        encoder.add(packet)
        if packet.kind == "bbp":
            encoder.add(Packet("psbend"))
    decoder = PacketDecoder(bytes(encoder))
    decoder.sync_set(0)
    found = [packet for packet in decoder if packet.kind != "psbend"]
    assert found == [Packet("psb"), *(packet for packet in packets if packet.kind != "psbend")]


@given(FLAG, st.lists(st.tuples(bits(5), bits(32)), max_size=5))
def test_block_items_are_read_by_the_width_their_block_says(
    short: bool, items: list[tuple[int, int]]
) -> None:
    block = [Packet("bbp", short=short, type=4)]
    block += [Packet("bip", id=number, short=short, payload=payload) for number, payload in items]
    block += [Packet("bep", ip=False)]
    encoder = PacketEncoder()
    for packet in block:
        encoder.add(packet)
    decoder = PacketDecoder(bytes(encoder))
    decoder.sync_set(0)
    assert list(decoder) == block


@pytest.mark.parametrize(
    ("data", "packet"),
    [
        ("0e", Packet("tnt8", size=2, bits=0b11)),
        ("02a3 0500 0000 0000", Packet("tnt64", size=2, bits=0b01)),
        ("2d 3412", Packet("tip", compression=1, ip=0x1234)),
        ("71 5634 1200 00ff", Packet("tip.pge", compression=3, ip=0xFF00_0012_3456)),
        ("01", Packet("tip.pgd", compression=0, ip=0)),
        ("9901", Packet("mode.exec", csl=True, csd=False, iflag=False)),
        ("9922", Packet("mode.tsx", intx=False, abrt=True)),
        ("0243 0370 0000 0000", Packet("pip", cr3=0x3801 << 5, nr=True)),
        ("0222 8021", Packet("pwre", state=2, sub_state=1, hw=True)),
        ("5f 03 04", Packet("cyc", value=11 | 1 << 5 | 2 << 12)),
    ],
)
def test_packets_as_the_manual_lays_them_out(data: str, packet: Packet) -> None:
    decoder = PacketDecoder(bytes.fromhex(data))
    decoder.sync_set(0)
    assert next(decoder) == packet
    assert bytes(PacketEncoder().add(packet)) == bytes.fromhex(data)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("ad 00", PtError.bad_packet),  # IP compression 5
        ("02a3 0100 0000 0000", PtError.bad_packet),  # a long TNT without bits
        ("99c0", PtError.bad_packet),  # no such leaf
        ("0252 00", PtError.bad_packet),  # PTWRITE of reserved size
        ("c9", PtError.bad_opc),
        ("0204", PtError.bad_opc),
        ("02c3 00", PtError.bad_opc),
    ],
)
def test_bad_packets_say_where_they_are(data: str, code: PtError) -> None:
    decoder = PacketDecoder(PSB + bytes.fromhex(data) + bytes(16))
    assert next(decoder) == Packet("psb")
    with pytest.raises(TraceError) as caught:
        next(decoder)
    assert (caught.value.code, caught.value.offset) == (code, 16)
    assert decoder.offset == 16


def test_a_packet_cut_off_at_the_end_ends_the_iteration() -> None:
    assert [packet.kind for packet in PacketDecoder(PSB + bytes.fromhex("19 0102"))] == ["psb"]


def test_search_goes_both_ways() -> None:
    trace = b"\x0e" * 5 + PSB + b"\x02\x23" + b"\x0e" * 7 + PSB + b"\x02\x23"
    decoder = PacketDecoder(trace)
    decoder.sync_forward()
    assert decoder.offset == 5
    decoder.sync_forward()
    assert decoder.offset == 30
    with pytest.raises(TraceError) as caught:
        decoder.sync_forward()
    assert caught.value.code == PtError.eos
    decoder.sync_backward()
    assert decoder.offset == 5


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_every_psb_is_found_wherever_it_lies(before: bytes, after: bytes) -> None:
    trace = before + PSB + b"\x02\x23" + after
    decoder = PacketDecoder(trace)
    decoder.sync_forward()
    assert decoder.offset is not None
    assert trace[decoder.offset : decoder.offset + 16] == PSB
    assert decoder.offset <= len(before)


def test_the_second_half_of_a_broken_packet_does_not_hide_a_psb() -> None:
    # A TSC cut off after three bytes swallows the head of the PSB behind it.
    trace = PSB + b"\x02\x23" + b"\x19\x01\x02" + PSB + b"\x02\x23" + bytes(16)
    decoder = PacketDecoder(trace)
    kinds = []
    with pytest.raises(TraceError):
        kinds.extend(packet.kind for packet in decoder)
    decoder.sync_forward()
    assert decoder.offset == 21
    assert next(decoder) == Packet("psb")


def test_fields_that_do_not_fit_are_refused_and_nothing_is_written() -> None:
    encoder = PacketEncoder()
    for packet in (
        Packet("tnt8", size=7, bits=0),
        Packet("tnt64", size=48, bits=0),
        Packet("tnt8", size=2, bits=4),
        Packet("tma", ctc=0, fc=512),
        Packet("tip", compression=5, ip=0),
        Packet("tsc", tsc=1 << 56),
        Packet("no such packet"),
    ):
        with pytest.raises(InvalidArgument):
            encoder.add(packet)
    with pytest.raises(TypeError):
        encoder.add(Packet("tip", compression=6))
    assert encoder.offset == 0


@given(st.binary(max_size=300))
def test_any_bytes_end_in_packets_errors_or_the_end(data: bytes) -> None:
    decoder = PacketDecoder(data)
    decoder.sync_set(0)
    used = 0
    while True:
        failed_at = None
        try:
            for packet in decoder:
                assert packet.offset == used
                assert packet.size_bytes is not None
                assert packet.size_bytes > 0
                used += packet.size_bytes
        except TraceError as error:
            failed_at = error.offset
        if failed_at is None:
            return
        assert failed_at == used
        try:
            decoder.sync_forward()
        except TraceError:
            return
        assert decoder.offset is not None
        used = decoder.offset


def test_packets_tell_the_time() -> None:
    trace = PacketEncoder()
    for packet in (
        Packet("psb"),
        Packet("tsc", tsc=3000),
        Packet("cbr", ratio=15),
        Packet("psbend"),
        Packet("cyc", value=30),
        Packet("psb"),
        Packet("psbend"),
    ):
        trace.add(packet)
    decoder = PacketDecoder(bytes(trace), TraceConfig(nom_freq=30))
    assert (decoder.tsc, decoder.time, decoder.clock) == (None, None, (0, False, 0, 0))
    times = [(packet.kind, decoder.tsc, decoder.time) for packet in decoder]
    assert times[1:6] == [
        ("tsc", 3000, 1000),
        ("cbr", 3000, 1000),
        ("psbend", 3000, 1000),
        ("cyc", 3060, 1020),
        ("psb", 3060, 1020),
    ]
    unknown = PacketDecoder(bytes(trace))
    assert [packet.kind for packet in unknown] == [kind for kind, _, _ in times]
    assert (unknown.clock, unknown.time) == ((3000, True, 0, 1), None)
    decoder.sync_backward()
    assert (decoder.tsc, decoder.offset) == (None, bytes(trace).rindex(PSB))


def test_packets_say_which_address_space_it_is() -> None:
    first = PacketEncoder().add(Packet("psb")).add(Packet("vmcs", base=0x3000))
    first.add(Packet("pip", cr3=0x1000, nr=False)).add(Packet("psbend"))
    decoder = PacketDecoder(bytes(first) + PSB)
    assert [(packet.kind, decoder.asid) for packet in decoder] == [
        ("psb", Asid()),
        ("vmcs", Asid(None, 0x3000)),
        ("pip", Asid(0x1000, 0x3000)),
        ("psbend", Asid(0x1000, 0x3000)),
        ("psb", Asid(0x1000, 0x3000)),
    ]
    with pytest.raises(TraceError):
        decoder.sync_forward()
    assert decoder.asid == Asid(0x1000, 0x3000)
    decoder.sync_set(0)
    assert decoder.asid == Asid()
