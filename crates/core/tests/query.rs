//! The query decoder, by examples and by comparison with the event decoder.

mod common;

use common::*;
use odograph_core::config::TraceConfig;
use odograph_core::error::PtError;
use odograph_core::event::{Event, EventDecoder, EventKind, QueryDecoder, Status};
use odograph_core::packet::Packet;
use proptest::prelude::*;

const NO_STATUS: Status = Status::EMPTY;
const PTW: Packet = Packet::Ptw { payload: 7, plc: 1, ip: false };

/// A decoder behind the status events of a PSB+ at 1000, and the trace.
fn behind_start(packets: &[Packet]) -> (QueryDecoder, Vec<u8>) {
    let start = [Packet::Psb, Packet::Tsc { tsc: 0x10 }, fup(0x1000), Packet::Psbend];
    let bytes = trace(&[&start[..], packets].concat());
    let mut decoder = QueryDecoder::new(&TraceConfig::default());
    assert_eq!(decoder.sync_forward(&bytes), Ok((Some(0x1000), Status::EVENT_PENDING)));
    let (event, _) = decoder.event(&bytes).unwrap();
    assert_eq!(event.kind, EventKind::Enabled { ip: 0x1000, resumed: false });
    (decoder, bytes)
}

#[test]
fn nothing_before_synchronisation() {
    let bytes = trace(&[Packet::Psb, Packet::Psbend]);
    let mut decoder = QueryDecoder::new(&TraceConfig::default());
    assert_eq!(decoder.cond_branch(&bytes), Err(PtError::Nosync));
    assert_eq!(decoder.indirect_branch(&bytes), Err(PtError::Nosync));
    assert_eq!(decoder.event(&bytes), Err(PtError::Nosync));
    assert!(!decoder.events().is_synced());
}

#[test]
fn where_to_start() {
    let on = [Packet::Psb, fup(0x1000), Packet::Psbend];
    let off = [Packet::Psb, Packet::Psbend];
    let bytes = trace(&[&on[..], &off].concat());
    let mut decoder = QueryDecoder::new(&TraceConfig::default());
    let pending = Status::EVENT_PENDING;
    assert_eq!(decoder.sync_forward(&bytes), Ok((Some(0x1000), pending)));
    assert_eq!(decoder.sync_forward(&bytes), Ok((None, pending | Status::IP_SUPPRESSED)));
    assert_eq!(decoder.sync_forward(&bytes), Err(PtError::Eos));
    // Where there is no further PSB nothing changes.
    assert_eq!(decoder.event(&bytes).unwrap().0.kind, EventKind::Disabled { ip: 0 });
    assert_eq!(decoder.sync_backward(&bytes), Ok((Some(0x1000), NO_STATUS)));
    assert_eq!(decoder.sync_set(&bytes, 0), Ok((Some(0x1000), pending)));
    assert_eq!(decoder.sync_set(&bytes, 1), Err(PtError::Nosync));
    // An error inside PSB+ stays.
    let bytes = trace(&[Packet::Psb, Packet::Stop]);
    assert_eq!(decoder.sync_set(&bytes, 0), Err(PtError::BadContext));
    assert_eq!(decoder.event(&bytes), Err(PtError::BadContext));
}

#[test]
fn branches() {
    let (mut decoder, bytes) = behind_start(&[tnt("10"), tip(0x2000), Packet::Tip(NONE), tnt("1")]);
    assert_eq!(decoder.cond_branch(&bytes), Ok((true, NO_STATUS)));
    assert_eq!(decoder.cond_branch(&bytes), Ok((false, NO_STATUS)));
    assert_eq!(decoder.cond_branch(&bytes), Err(PtError::BadQuery));
    assert_eq!(decoder.event(&bytes), Err(PtError::BadQuery));
    assert_eq!(decoder.indirect_branch(&bytes), Ok((Some(0x2000), NO_STATUS)));
    assert_eq!(decoder.indirect_branch(&bytes), Ok((None, Status::IP_SUPPRESSED)));
    assert_eq!(decoder.cond_branch(&bytes), Ok((true, Status::EOS)));
    assert_eq!(decoder.cond_branch(&bytes), Err(PtError::Eos));
    assert_eq!(decoder.event(&bytes), Err(PtError::Eos));
}

#[test]
fn a_deferred_tip_comes_before_the_bits_of_its_tnt() {
    let (mut decoder, bytes) = behind_start(&[tnt("10"), tip(0x2000), PTW, tnt("1")]);
    assert_eq!(decoder.indirect_branch(&bytes), Ok((Some(0x2000), NO_STATUS)));
    // The event is hidden until the bits are used up.
    assert_eq!(decoder.event(&bytes), Err(PtError::BadQuery));
    assert_eq!(decoder.cond_branch(&bytes), Ok((true, NO_STATUS)));
    assert_eq!(decoder.cond_branch(&bytes), Ok((false, Status::EVENT_PENDING)));
    assert_eq!(decoder.cond_branch(&bytes), Err(PtError::BadQuery));
    let ptwrite = EventKind::Ptwrite { ip: 0, size: 8, payload: 7 };
    assert_eq!(decoder.event(&bytes).map(|(event, status)| (event.kind, status)), Ok((ptwrite, NO_STATUS)));
    assert_eq!(decoder.cond_branch(&bytes), Ok((true, Status::EOS)));
}

#[test]
fn without_a_tip_behind_it_the_bits_of_a_tnt_stay() {
    let (mut decoder, bytes) = behind_start(&[tnt("10"), tnt("01"), PTW]);
    assert_eq!(decoder.indirect_branch(&bytes), Err(PtError::BadQuery));
    assert_eq!(decoder.indirect_branch(&bytes), Err(PtError::BadQuery));
    let bits: Vec<bool> = (0..4).map(|_| decoder.cond_branch(&bytes).unwrap().0).collect();
    assert_eq!(bits, [true, false, false, true]);
    assert!(decoder.event(&bytes).is_ok());
}

#[test]
fn what_comes_can_be_had_unasked() {
    let (mut decoder, bytes) = behind_start(&[tnt("101"), tip(0x2000), Packet::Cbr { ratio: 9 }, tnt("1")]);
    assert!(decoder.cond_branch(&bytes).unwrap().0);
    let mut next = || decoder.next(&bytes).map(|event| event.kind);
    assert_eq!(next(), Ok(EventKind::Tnt { bits: 0b01, size: 2 }));
    assert_eq!(next(), Ok(EventKind::Tip { ip: 0x2000 }));
    assert_eq!(next(), Ok(EventKind::Cbr { ratio: 9 }));
    assert_eq!(next(), Ok(EventKind::Tnt { bits: 1, size: 1 }));
    assert_eq!(next(), Err(PtError::Eos));
    assert_eq!(decoder.core_bus_ratio(), Some(9));
}

#[test]
fn an_error_is_pending_until_it_is_asked_for() {
    let (_, bytes) = behind_start(&[tnt("1")]);
    let bytes = [&bytes[..], &[0xc9]].concat();
    let mut decoder = QueryDecoder::new(&TraceConfig::default());
    decoder.sync_forward(&bytes).unwrap();
    decoder.event(&bytes).unwrap();
    assert_eq!(decoder.cond_branch(&bytes), Ok((true, Status::EVENT_PENDING)));
    for _ in 0..2 {
        assert_eq!(decoder.event(&bytes), Err(PtError::BadOpc));
        assert_eq!(decoder.cond_branch(&bytes), Err(PtError::BadOpc));
        assert_eq!(decoder.indirect_branch(&bytes), Err(PtError::BadOpc));
    }
}

#[test]
fn time_is_that_of_the_last_query() {
    let tsc = |tsc| Packet::Tsc { tsc };
    let (mut decoder, bytes) =
        behind_start(&[tsc(0x20), tnt("11"), tsc(0x30), Packet::Cbr { ratio: 9 }, tsc(0x40)]);
    assert_eq!((decoder.time().tsc, decoder.time().has_tsc), (0x10, true));
    decoder.cond_branch(&bytes).unwrap();
    assert_eq!(decoder.time().tsc, 0x20);
    decoder.cond_branch(&bytes).unwrap();
    assert_eq!((decoder.time().tsc, decoder.core_bus_ratio()), (0x20, None));
    decoder.event(&bytes).unwrap();
    assert_eq!((decoder.time().tsc, decoder.core_bus_ratio()), (0x30, Some(9)));
    decoder.sync_set(&bytes, 0).unwrap();
    assert_eq!((decoder.time().has_tsc, decoder.core_bus_ratio()), (false, None));
}

/// Asks for whatever comes next, as its status says; at most one query a step fails.
fn all_answers(decoder: &mut QueryDecoder, bytes: &[u8], mut status: Status) -> (Vec<EventKind>, PtError) {
    let mut answers = Vec::new();
    loop {
        let answer = if status.event_pending() {
            decoder.event(bytes).map(|(event, status)| (event.kind, status))
        } else {
            match decoder.cond_branch(bytes) {
                Ok((taken, status)) => Ok((EventKind::Tnt { bits: taken.into(), size: 1 }, status)),
                Err(PtError::BadQuery) => decoder
                    .indirect_branch(bytes)
                    .map(|(ip, status)| (EventKind::Tip { ip: ip.unwrap_or(0) }, status)),
                Err(error) => Err(error),
            }
        };
        match answer {
            Ok((kind, next)) => {
                answers.push(kind);
                status = next;
            }
            Err(error) => return (answers, error),
        }
    }
}

/// The events of a trace with its TNTs bit by bit, and the error at the end.
fn all_events(decoder: &mut EventDecoder, bytes: &[u8]) -> (Vec<EventKind>, PtError) {
    let mut kinds = Vec::new();
    loop {
        match decoder.next(bytes) {
            Ok(Event { kind: EventKind::Tnt { bits, size }, .. }) => {
                kinds.extend((0..size).rev().map(|bit| EventKind::Tnt { bits: bits >> bit & 1, size: 1 }));
            }
            Ok(event) => kinds.push(event.kind),
            Err(error) => return (kinds, error),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_answers_are_the_events(
        packets in prop::collection::vec(
            prop_oneof![
                3 => prop::sample::select(vec![tnt("1"), tnt("0110"), tip(0x2000), Packet::Tip(NONE), PTW]),
                1 => prop::sample::select(vec![fup(0x1000), pge(0x1000), pgd(0x1000), Packet::Psb, Packet::Ovf]),
                1 => any_packet(),
            ],
            0..40,
        ),
        tail in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let bytes = trace(&[&[Packet::Psb, fup(0x1000), Packet::Psbend], &packets[..]].concat());
        let bytes = [&bytes[..], &tail].concat();
        let config = TraceConfig { enable_iflags_events: true, ..TraceConfig::default() };
        let mut events = EventDecoder::new(&config);
        let mut queries = QueryDecoder::new(&config);
        loop {
            let synced = events.sync_forward(&bytes);
            let started = queries.sync_forward(&bytes);
            prop_assert_eq!(started.map(|_| ()), synced);
            if synced == Err(PtError::Eos) {
                break;
            }
            let status = started.map_or(Status::EVENT_PENDING, |(_, status)| status);
            let expected = all_events(&mut events, &bytes);
            prop_assert_eq!(all_answers(&mut queries, &bytes, status), expected);
            prop_assert_eq!(queries.events().offset(), events.offset());
        }
    }
}
