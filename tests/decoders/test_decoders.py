"""Events, blocks and instructions, one by one, on code and packets small enough to read."""

from __future__ import annotations

import pytest

from odograph import (
    Asid,
    BlockDecoder,
    Image,
    InstructionClass,
    InstructionDecoder,
    InvalidArgument,
    Packet,
    PacketEncoder,
    PtError,
    TraceConfig,
    TraceError,
    decode,
)

ORG = 0x100000

#   l1: call l4      l2: jz l6      l3: hlt      l4: call l5      l5: ret      l6: nop
CODE = bytes.fromhex("e803000000 7407 f4 e800000000 c3 90 f4")


def ip(kind: str, address: int) -> Packet:
    return Packet(kind, compression=6, ip=address)


def psb_plus(address: int | None = ORG, *more: Packet) -> list[Packet]:
    fup = [] if address is None else [ip("fup", address)]
    mode = Packet("mode.exec", csl=True, csd=False, iflag=False)
    return [Packet("psb"), *fup, mode, *more, Packet("psbend")]


def trace(*packets: Packet) -> bytes:
    encoder = PacketEncoder()
    for packet in packets:
        encoder.add(packet)
    return bytes(encoder)


def image(code: bytes = CODE, address: int = ORG) -> Image:
    made = Image()
    made.add_bytes(code, address)
    return made


def tnt(bits: str) -> Packet:
    """``"!."``: taken, then not taken."""
    return Packet("tnt8", size=len(bits), bits=int(bits.replace("!", "1").replace(".", "0"), 2))


SUPPRESSED = Packet("tip.pgd", compression=0, ip=0)


def test_a_compressed_return_goes_to_the_call_that_has_a_displacement() -> None:
    # call l5 has displacement 0 and pushes nothing, so ret goes back to l2.
    data = trace(*psb_plus(), tnt("!!"), ip("fup", ORG + 0xE), SUPPRESSED)
    decoder = InstructionDecoder(data, image=image())
    instructions = list(decoder)
    assert [hex(insn.ip) for insn in instructions] == ["0x100000", "0x100008", "0x10000d", "0x100005"]
    assert [insn.iclass.name for insn in instructions] == ["call", "call", "ret", "cond_jump"]
    assert instructions[0].raw == CODE[:5]
    events = decoder.take_events()
    assert [event.kind for event in events] == ["enabled", "exec_mode", "async_disabled"]
    assert events[-1].at == ORG + 0xE


def test_blocks_end_where_the_trace_decides() -> None:
    data = trace(*psb_plus(), tnt("!!"), ip("fup", ORG + 0xE), SUPPRESSED)
    blocks = list(BlockDecoder(data, image=image()))
    assert [(block.ip, block.end_ip, block.ninsn) for block in blocks] == [
        (ORG, ORG + 0xD, 3),
        (ORG + 5, ORG + 5, 1),
    ]
    assert [block.iclass for block in blocks] == [InstructionClass.ret, InstructionClass.cond_jump]


def test_an_error_comes_after_what_ran_before_it_and_resync_goes_on() -> None:
    # A TIP where the flow needs a bit: l1 l4 l5 ran, ret takes the TIP; jz then gets a TIP instead of a bit.
    data = trace(*psb_plus(), ip("tip", ORG + 5), ip("tip", ORG + 0xE))
    decoder = InstructionDecoder(data, image=image())
    seen = []
    with pytest.raises(TraceError) as caught:
        seen.extend(insn.ip for insn in decoder)
    assert caught.value.code == PtError.bad_query
    assert caught.value.ip == ORG + 5
    with pytest.raises(TraceError):
        next(decoder)
    history = decode(data, image())
    assert history.gaps()[0].code == PtError.bad_query
    assert history.ips().tolist() == [ORG, ORG + 8, ORG + 0xD, ORG + 5, ORG + 0xE, ORG + 0xF]


def test_going_on_after_every_error_comes_to_an_end() -> None:
    # Where execution goes on without an address, and at an instruction that cannot be read.
    nowhere = [Packet("tip.pge", compression=0, ip=0)]
    unmapped = [Packet("ptw", payload=1, plc=0, ip=True), ip("fup", 0x5000)]
    for packets in (nowhere, unmapped):
        decoder = InstructionDecoder(trace(*psb_plus(), *packets, *psb_plus(ORG + 0xE)), image=image())
        ips, codes = [], []
        while True:
            try:
                ips.append(next(decoder).ip)
            except TraceError as error:
                codes.append(error.code)
                decoder.resync()
            except StopIteration:
                break
        assert ips[-2:] == [ORG + 0xE, ORG + 0xF]
        assert len(codes) < 40


def test_unmapped_memory_is_nomap_and_decoding_goes_on_at_the_next_ip() -> None:
    data = trace(*psb_plus(0x5000), ip("fup", 0x6000), ip("tip", ORG + 0xE))
    history = decode(data, image())
    gap, *_ = history.gaps()
    assert (gap.step, gap.cause, gap.code, gap.ip) == (0, "memory", PtError.nomap, 0x5000)
    assert history.ips().tolist()[-2:] == [ORG + 0xE, ORG + 0xF]
    with pytest.raises(TraceError) as caught:
        decode(data, image(), on_error="raise")
    assert (caught.value.code, caught.value.ip) == (PtError.nomap, 0x5000)


def test_an_iterator_sees_image_changes_at_its_next_block() -> None:
    changing = image()
    decoder = InstructionDecoder(trace(*psb_plus(), tnt("!!"), tnt("!")), image=changing)
    assert [next(decoder).ip for _ in range(3)] == [ORG, ORG + 8, ORG + 0xD]
    changing.add_bytes(bytes.fromhex("eb07"), ORG + 5)  # jz has become jmp l6
    rest = [(insn.ip, insn.raw.hex()) for _, insn in zip(range(2), decoder, strict=False)]
    assert rest == [(ORG + 5, "eb07"), (ORG + 0xE, "90")]


def test_another_image_can_be_set() -> None:
    decoder = BlockDecoder(trace(*psb_plus(), tnt("!!")))
    with pytest.raises(TraceError):
        next(decoder)
    decoder.image = image()
    decoder.sync_set(0)
    assert next(decoder).ip == ORG


def test_the_asid_selects_the_code() -> None:
    # jmp rax under one CR3; another program lies at its target.
    two = Image()
    two.add_bytes(bytes.fromhex("ffe0"), ORG, asid=Asid(cr3=0x1000))
    two.add_bytes(bytes.fromhex("9090f4c3"), ORG + 0x10, asid=Asid(cr3=0x2000))
    data = trace(
        *psb_plus(ORG, Packet("pip", cr3=0x1000, nr=False)),
        ip("fup", ORG),
        Packet("pip", cr3=0x2000, nr=False),
        ip("tip", ORG + 0x10),
    )
    history = decode(data, two)
    assert history.ips().tolist() == [ORG + 0x10, ORG + 0x11, ORG + 0x12, ORG + 0x13]
    assert {insn.asid for insn in history} == {Asid(cr3=0x2000)}


def test_synchronisation_goes_to_any_psb() -> None:
    second = trace(*psb_plus(), tnt("!!"))
    data = second + trace(*psb_plus(ORG + 5), tnt("."))
    decoder = BlockDecoder(data, image=image())
    decoder.sync_set(len(second))
    assert next(decoder).ip == ORG + 5
    decoder.sync_backward()
    assert decoder.sync_offset in (0, len(second))
    with pytest.raises(TraceError) as caught:
        decoder.sync_set(1)
    assert caught.value.code == PtError.nosync


def test_a_trace_without_psb_is_a_gap() -> None:
    decoder = InstructionDecoder(b"\x0e\x0e", image=image())
    with pytest.raises(TraceError) as caught:
        decoder.sync_forward()
    assert caught.value.code == PtError.eos
    history = decode(b"\x0e\x0e")
    assert len(history) == 0
    assert [(gap.code, gap.bytes_lost) for gap in history.gaps()] == [(PtError.nosync, 2)]
    with pytest.raises(TraceError) as caught:
        decode(b"\x0e\x0e", on_error="raise")
    assert caught.value.code == PtError.nosync
    assert decode(b"").gaps() == decode(bytes(64)).gaps() == []


def test_what_stands_before_the_first_psb_is_skipped() -> None:
    history = decode(b"\x0e\x0e" + trace(*psb_plus(), tnt("!!")), image())
    assert history.ips().tolist()[:2] == [ORG, ORG + 8]
    assert all(gap.offset >= 2 for gap in history.gaps())


def test_a_configuration_is_checked() -> None:
    with pytest.raises(InvalidArgument):
        TraceConfig(mtc_freq=256)
    with pytest.raises(InvalidArgument):
        TraceConfig(filters=(("filter", 5, 4),))
    with pytest.raises(InvalidArgument):
        TraceConfig(filters=(("filter", 0, 1),) * 5)
    with pytest.raises(TypeError):
        TraceConfig(unknown_packet=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        TraceConfig(cpu="skylake")  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="0x6/0x0"):
        decode(b"", config=TraceConfig(cpu=(6, 0)))


def test_code_that_cannot_be_read_up_to_where_tracing_stops_is_one_gap() -> None:
    data = trace(*psb_plus(0x5000), tnt("!!"), SUPPRESSED, ip("tip.pge", ORG + 0xE))
    history = decode(data, image())
    first, last = history.gaps()
    assert (first.code, first.ip, first.step) == (PtError.nomap, 0x5000, 0)
    assert (last.code, last.ip, last.step) == (PtError.nomap, ORG + 0x10, 2)
    kinds = [row["kind"] for row in history.events()]
    assert kinds == ["enabled", "exec_mode", "disabled", "enabled"]
