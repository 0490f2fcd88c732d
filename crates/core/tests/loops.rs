//! Loops of direct jumps and calls, which write no packets: how often code went round is known with a recorder's marks,
//! and said to be unknown without.

mod support;

use std::sync::Arc;

use odograph_core::asid::Asid;
use odograph_core::config::TraceConfig;
use odograph_core::flow::{GapCause, Timeline};
use odograph_core::history::{decode, DecodeOptions, DecodedTrace};
use odograph_core::image::Image;
use odograph_core::packet::{encode, mark, IpCompression, IpPayload, Packet, Tnt};
use support::loops::{Known, Loop, BASE};
use support::random::Random;
use support::ways::{every_way, Told};

fn image_of(bytes: &[u8]) -> Image {
    let mut image = Image::new(None);
    image.add_bytes(bytes.to_vec(), BASE, &Asid::default(), None).expect("the code fits");
    image
}

fn stream_of(trace: &[u8], image: &Image) -> DecodedTrace {
    let timeline = Timeline::constant(image.clone());
    let options = DecodeOptions::default();
    decode(Arc::new(trace.to_vec()), &TraceConfig::default(), timeline, options, |_| false)
        .ok()
        .expect("nothing stops")
}

fn ips_of(stream: &DecodedTrace) -> Vec<u64> {
    let mut ips = Vec::new();
    stream.ips(0, stream.steps(), &mut ips, &mut || false).unwrap();
    ips
}

fn check(seed: u64, marked: bool) -> Told {
    let mut random = Random::new(seed);
    let code = Loop::random(&mut random);
    let known = Known::random(&code, &mut random, marked);
    let image = image_of(&code.bytes);
    let stream = stream_of(&known.trace, &image);
    let notes: Vec<_> = stream.notes().iter().map(|note| (note.step, note.ip.unwrap())).collect();
    assert_eq!(notes, known.notes, "seed {seed}");
    assert!(stream.gaps().is_empty(), "seed {seed}");
    assert!(ips_of(&stream) == known.ips, "seed {seed}: other instructions");
    let plain = DecodeOptions::default();
    let mut cramped = plain.clone();
    cramped.checkpoint_distance = 1 + random.below(2000) as u64;
    cramped.graph_limits = Some((1 + random.below(9), 1 + random.below(40)));
    let trace = Arc::new(known.trace);
    every_way(&trace, &TraceConfig::default(), &image, &plain, cramped, &mut random, seed)
}

#[test]
fn with_marks_every_round_is_known() {
    let steps: u64 = (0..30).map(|seed| check(seed, true).steps).sum();
    assert!(steps > 300_000, "the loops are worth something: {steps} steps");
}

#[test]
fn without_marks_decoding_ends_at_the_first_arrival_and_says_so() {
    let notes: usize = (0..30).map(|seed| check(seed, false).notes.len()).sum();
    assert!(notes > 50, "the loops are worth something: {notes} notes");
}

/// A jump to itself behind a conditional jump, interrupted at once.
fn itself(before: &[Packet]) -> (Vec<u8>, Image) {
    let mut trace = Vec::new();
    let at = |ip| IpPayload { compression: IpCompression::Full, ip };
    let first = [
        Packet::Psb,
        Packet::ModeExec { csl: true, csd: false, iflag: false },
        Packet::Fup(at(BASE)),
        Packet::Psbend,
        Packet::Tnt8(Tnt { size: 1, bits: 0 }),
    ];
    let last = [
        Packet::Fup(at(BASE + 2)),
        Packet::TipPgd(IpPayload { compression: IpCompression::Suppressed, ip: 0 }),
    ];
    for packet in first.iter().chain(before).chain(&last) {
        encode(packet, &mut trace).expect("the packet can be encoded");
    }
    (trace, image_of(&[0x74, 0x00, 0xeb, 0xfe]))
}

#[test]
fn a_mark_that_leads_elsewhere_is_a_gap() {
    let mut random = Random::new(1);
    let mut refused = 0;
    for seed in 0..20 {
        let code = Loop::random(&mut random);
        let known = Known::random(&code, &mut random, true);
        // One more instruction than there were, in every mark.
        let payloads: Vec<usize> = known
            .trace
            .windows(3)
            .enumerate()
            .filter(|(_, bytes)| *bytes == [0x02, 0xc3, 0x88])
            .map(|(at, _)| at + 3)
            .collect();
        let mut trace = known.trace;
        for at in payloads {
            let count = u32::from_le_bytes(trace[at..at + 4].try_into().unwrap()) + 1;
            trace[at..at + 4].copy_from_slice(&count.to_le_bytes());
        }
        let image = image_of(&code.bytes);
        let stream = stream_of(&trace, &image);
        refused += stream.gaps().len();
        let other = stream.gaps().iter().find(|gap| gap.cause != GapCause::Contradiction);
        assert_eq!(other, None, "seed {seed}");
    }
    assert!(refused > 20, "{refused} gaps");
}

#[test]
fn a_mark_that_no_recorder_writes_is_a_gap_and_takes_no_time() {
    for count in [1 << 20, 1 << 32, u64::MAX] {
        let (trace, image) = itself(&[mark(count)]);
        let stream = stream_of(&trace, &image);
        assert_eq!((stream.steps(), stream.gaps().len(), stream.notes().len()), (1, 1, 0));
        assert_eq!(stream.gaps().first().map(|gap| gap.cause), Some(GapCause::Endless));
    }
}

#[test]
fn a_mark_counts_from_the_last_decision_only() {
    // A bit behind the mark: it belongs to nothing any more.
    let (trace, image) = itself(&[mark(7), Packet::Cbr { ratio: 9 }]);
    assert_eq!(stream_of(&trace, &image).notes().len(), 1);
    let (trace, image) = itself(&[mark(7)]);
    let stream = stream_of(&trace, &image);
    assert_eq!((stream.steps(), stream.gaps().len(), stream.notes().len()), (8, 0, 0));
    assert_eq!(stream.event_count(), 3, "the mark is no event");
}

#[test]
fn other_mnt_packets_are_events_as_before() {
    let (trace, image) = itself(&[Packet::Mnt { payload: 7 }]);
    let stream = stream_of(&trace, &image);
    assert_eq!((stream.steps(), stream.event_count(), stream.notes().len()), (1, 4, 1));
}
