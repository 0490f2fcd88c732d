"""Events and queries, on packets small enough to read."""

from __future__ import annotations

from typing import Any

import pytest

from odograph import (
    Asid,
    Event,
    EventDecoder,
    ExecMode,
    OdographError,
    Packet,
    PacketDecoder,
    PacketEncoder,
    PtError,
    QueryDecoder,
    Status,
    TraceConfig,
    TraceError,
    decode,
)

START = 0x100000


def ip(kind: str, address: int | None) -> Packet:
    return Packet(kind, compression=0, ip=0) if address is None else Packet(kind, compression=6, ip=address)


def mode(bits: int, iflag: bool = False) -> Packet:
    return Packet("mode.exec", csl=bits == 64, csd=bits == 32, iflag=iflag)


def tnt(bits: str) -> Packet:
    """``"!."``: taken, then not taken."""
    return Packet("tnt8", size=len(bits), bits=int(bits.replace("!", "1").replace(".", "0"), 2))


def trace(*packets: Packet) -> bytes:
    encoder = PacketEncoder()
    for packet in packets:
        encoder.add(packet)
    return bytes(encoder)


ON = (Packet("psb"), ip("fup", START), mode(64), Packet("psbend"))
OFF = (Packet("psb"), Packet("psbend"))


def fields(event: Event) -> dict[str, Any]:
    """What an event says beyond its kind, time and place."""
    common = {"kind", "ip_suppressed", "status_update", "has_tsc", "tsc", "lost_mtc", "lost_cyc", "offset"}
    given = {name: getattr(event, name) for name in Event.__dataclass_fields__ if name not in common}
    return {name: value for name, value in given.items() if value is not None}


def last(*packets: Packet, config: TraceConfig | None = None) -> Event:
    """The last event behind a PSB+ that switches tracing on."""
    return list(EventDecoder(trace(*ON, *packets), config))[-1]


def test_events_pair_packets_up() -> None:
    data = trace(
        Packet("psb"),
        mode(64),
        Packet("cbr", ratio=20),
        Packet("psbend"),
        ip("tip.pge", START),
        tnt("!"),
        ip("fup", START + 5),
        ip("tip", 0x200000),
        ip("tip.pgd", 0x300000),
    )
    events = list(EventDecoder(data))
    assert [(event.kind, event.ip, event.from_, event.to) for event in events] == [
        ("disabled", None, None, None),
        ("exec_mode", None, None, None),
        ("cbr", None, None, None),
        ("enabled", START, None, None),
        ("tnt", None, None, None),
        ("async_branch", None, START + 5, 0x200000),
        ("disabled", 0x300000, None, None),
    ]
    assert [event.status_update for event in events[:4]] == [True, True, True, False]
    assert [event.ip_suppressed for event in events[:4]] == [True, True, False, False]


FUP = ip("fup", START + 4)


@pytest.mark.parametrize(
    ("packets", "kind", "expected"),
    [
        ((ip("tip.pge", 0x20),), "enabled", {"ip": 0x20, "resumed": False}),
        ((ip("tip.pgd", 0x20),), "disabled", {"ip": 0x20}),
        ((FUP, ip("tip.pgd", None)), "async_disabled", {"at": START + 4}),
        ((FUP, ip("tip", 0x20)), "async_branch", {"from_": START + 4, "to": 0x20}),
        ((Packet("pip", cr3=0x1000, nr=True),), "paging", {"cr3": 0x1000, "non_root": True}),
        (
            (FUP, Packet("pip", cr3=0x1000, nr=False), ip("tip", 0x20)),
            "async_paging",
            {"cr3": 0x1000, "non_root": False, "ip": 0x20},
        ),
        ((Packet("ovf"), FUP), "overflow", {"ip": START + 4}),
        ((mode(32), FUP), "exec_mode", {"mode": ExecMode.bits_32, "ip": START + 4}),
        (
            (Packet("mode.tsx", intx=False, abrt=True), FUP),
            "tsx",
            {"speculative": False, "aborted": True, "ip": START + 4},
        ),
        ((Packet("stop"),), "stop", {}),
        ((Packet("vmcs", base=0x3000),), "vmcs", {"base": 0x3000}),
        ((Packet("exstop", ip=True), FUP), "exstop", {"ip": START + 4}),
        ((Packet("mwait", hints=1, ext=2), Packet("exstop", ip=False)), "exstop", {}),
        (
            (Packet("pwrx", last=1, deepest=2, interrupt=True, store=False, autonomous=False),),
            "pwrx",
            {"last": 1, "deepest": 2, "interrupt": True, "store": False, "autonomous": False},
        ),
        ((Packet("ptw", payload=9, plc=1, ip=False),), "ptwrite", {"size": 8, "payload": 9}),
        ((Packet("cbr", ratio=20),), "cbr", {"ratio": 20}),
        ((Packet("mnt", payload=5),), "mnt", {"payload": 5}),
        ((ip("tip", 0x20),), "tip", {"ip": 0x20}),
        ((tnt("!."),), "tnt", {"bits": 2, "size": 2}),
        (
            (Packet("evd", type=0, payload=0x77), Packet("cfe", type=1, vector=14, ip=True), FUP),
            "interrupt",
            {"vector": 14, "cr2": 0x77, "ip": START + 4},
        ),
        (
            (Packet("evd", type=2, payload=0x77), Packet("cfe", type=9, vector=3, ip=True), FUP),
            "vmexit",
            {"vector": 3, "vmxr": 0x77, "ip": START + 4},
        ),
        ((Packet("cfe", type=5, vector=3, ip=False), FUP), "sipi", {"vector": 3}),
        ((Packet("cfe", type=0xF, vector=0, ip=True), FUP), "syscall", {"ip": START + 4}),
        (
            (Packet("trig", trbv=1, icnt=7, ip=False, icntv=True, mult=True),),
            "trig",
            {"trbv": 1, "icnt": 7, "mult": True, "ip": 0},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_event_has_its_fields(packets: tuple[Packet, ...], kind: str, expected: dict[str, Any]) -> None:
    event = last(*packets)
    assert (event.kind, fields(event)) == (kind, expected)


def test_changes_of_the_interrupt_flag_are_reported_if_asked_for() -> None:
    changed = (mode(64, iflag=True), FUP)
    assert fields(last(*changed, config=TraceConfig(enable_iflags_events=True))) == {
        "iflag": True,
        "ip": START + 4,
    }
    assert last(*changed).kind == "exec_mode"


def test_an_event_knows_its_time_and_prints_what_it_says() -> None:
    event = last(Packet("tsc", tsc=0x40), Packet("cyc", value=3), Packet("ptw", payload=9, plc=0, ip=False))
    assert event.clock == (0x40, True, 0, 1)
    assert repr(event) == (
        "Event('ptwrite', ip_suppressed=True, has_tsc=True, tsc=64, lost_mtc=0, lost_cyc=1, "
        f"offset={event.offset}, size=4, payload=9)"
    )
    assert not last(Packet("stop")).has_tsc


def test_a_walk_asks_queries() -> None:
    decoder = QueryDecoder(trace(*ON, Packet("tsc", tsc=5), tnt("!."), ip("tip", 0x20), Packet("stop")))
    assert decoder.sync_forward() == (START, Status.event_pending)
    while True:
        event, status = decoder.event()
        if not status & Status.event_pending:
            break
    assert (event.kind, event.mode) == ("exec_mode", ExecMode.bits_64)
    assert decoder.cond_branch() == (True, Status(0))
    assert decoder.clock == (5, True, 0, 0)
    assert (decoder.tsc, decoder.time) == (5, None)
    assert decoder.cond_branch() == (False, Status(0))
    with pytest.raises(TraceError) as caught:
        decoder.cond_branch()
    assert caught.value.code == PtError.bad_query
    assert decoder.indirect_branch() == (0x20, Status.event_pending)
    event, status = decoder.event()
    assert (event.kind, status) == ("stop", Status.eos)
    with pytest.raises(TraceError) as caught:
        decoder.event()
    assert caught.value.code == PtError.eos


def test_what_queries_are_about_can_be_had_unasked() -> None:
    data = trace(*ON, tnt("!.."), ip("tip", 0x20), Packet("stop"))
    assert list(QueryDecoder(data)) == list(EventDecoder(data))
    decoder = QueryDecoder(data)
    assert [next(decoder).kind, next(decoder).kind] == ["enabled", "exec_mode"]
    assert decoder.cond_branch() == (True, Status(0))
    left, tip, stop = decoder
    assert (left.kind, left.bits, left.size, tip.ip, stop.kind) == ("tnt", 0, 2, 0x20, "stop")
    assert decoder.tsc is None
    assert decoder.time is None


def test_times_are_in_nanoseconds_where_the_nominal_frequency_is_known() -> None:
    data = trace(*ON, Packet("tsc", tsc=3000), Packet("stop"))
    config = TraceConfig(nom_freq=30)
    events, queries = EventDecoder(data, config), QueryDecoder(data, config)
    assert len(list(events)) == len(list(queries)) == 3
    assert (events.tsc, events.time, queries.tsc, queries.time) == (3000, 1000, 3000, 1000)


def test_events_say_which_address_space_it_is() -> None:
    pip, vmcs = Packet("pip", cr3=0xA000, nr=False), Packet("vmcs", base=0xB000)
    data = trace(*ON, pip, vmcs, Packet("stop"))
    events, queries = EventDecoder(data), QueryDecoder(data)
    assert events.asid == queries.asid == Asid()
    queries.sync_forward()
    for expected in (Asid(), Asid(), Asid(0xA000), Asid(0xA000, 0xB000), Asid(0xA000, 0xB000)):
        assert next(events) == queries.event()[0]
        assert events.asid == queries.asid == expected
    events.sync_set(0)
    queries.sync_backward()
    assert events.asid == queries.asid == Asid()


def test_queries_synchronise_at_any_psb() -> None:
    data = trace(*ON, *OFF)
    decoder = QueryDecoder(data)
    with pytest.raises(TraceError) as caught:
        decoder.event()
    assert caught.value.code == PtError.nosync
    assert decoder.sync_backward() == (None, Status(0))
    assert decoder.sync_offset == len(trace(*ON))
    assert decoder.sync_backward() == (START, Status(0))
    assert decoder.sync_set(len(trace(*ON))) == (None, Status.event_pending | Status.ip_suppressed)
    with pytest.raises(TraceError) as caught:
        decoder.sync_set(1)
    assert caught.value.code == PtError.nosync


UNKNOWN = b"\xc9\x01\x02"


def test_sizes_of_unknown_packets_can_be_given() -> None:
    asked = []

    def size(data: memoryview, offset: int) -> int:
        asked.append((bytes(data[offset : offset + 3]), offset))
        return 3

    data = trace(*ON) + UNKNOWN + trace(ip("tip", 0x20))
    config = TraceConfig(unknown_packet=size)
    with pytest.raises(TraceError) as caught:
        list(EventDecoder(data))
    assert caught.value.code == PtError.bad_opc
    assert [event.kind for event in EventDecoder(data, config)] == ["enabled", "exec_mode", "tip"]
    assert asked == [(UNKNOWN, len(trace(*ON)))]
    unknown, tip = list(PacketDecoder(data, config))[-2:]
    assert (unknown.kind, unknown.size_bytes, tip.kind) == ("unknown", 3, "tip")
    decoder = QueryDecoder(data, config)
    decoder.sync_forward()
    decoder.event()
    decoder.event()
    assert decoder.indirect_branch() == (0x20, Status.eos)
    # A history has asked for all of them once it is there.
    history = decode(data, config=config)
    asked.clear()
    assert [row["kind"] for row in history.events()] == ["enabled", "exec_mode"]
    assert asked == []


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (256, PtError.invalid),
        (20, PtError.eos),
        (-PtError.bad_config, PtError.bad_config),
        (-99, PtError.internal),
    ],
)
def test_sizes_that_make_no_sense(answer: int, code: PtError) -> None:
    data = trace(*ON) + UNKNOWN
    decoder = EventDecoder(data, TraceConfig(unknown_packet=lambda _, __: answer))
    if code is PtError.eos:
        assert [event.kind for event in decoder] == ["enabled", "exec_mode"]
    else:
        with pytest.raises(OdographError) as caught:
            list(decoder)
        assert caught.value.code == code


def test_an_exception_about_an_unknown_packet_comes_out() -> None:
    def size(data: memoryview, offset: int) -> int:
        raise KeyError(offset)

    data = trace(*ON) + UNKNOWN
    config = TraceConfig(unknown_packet=size)
    with pytest.raises(KeyError):
        list(EventDecoder(data, config))
    with pytest.raises(KeyError):
        list(PacketDecoder(data, config))
    with pytest.raises(KeyError):
        decode(data, config=config)
