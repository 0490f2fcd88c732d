//! What happens to every byte of a trace: it is decoded, or it lies in a gap, however the trace is decoded. And time
//! goes on where the 56 bits of TSC packets wrap.

mod common;
mod support;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use common::{fup, pge, tnt, trace};
use odograph_core::asid::Asid;
use odograph_core::config::TraceConfig;
use odograph_core::error::PtError;
use odograph_core::flow::{Gap, Timeline};
use odograph_core::history::{decode, skipped, DecodeOptions, DecodedTrace, EventColumns, Resync};
use odograph_core::image::Image;
use odograph_core::packet::{self, sync, BlockContext, Packet, PSB};
use support::live::fed;
use support::parts::assembled;
use support::random::Random;

/// 1000 nop; 1001 jne 1000
const CODE: &[u8] = &[0x90, 0x75, 0xfd];
const BASE: u64 = 0x1000;
const WRAP: u64 = 1 << 56;

/// An event by offset, with the time and the value that its packet carries.
type Told = (u64, u64, Option<u64>);

/// All events and gaps of a stream that begins at `offset` of a trace, with `step` steps before it.
fn told(stream: &DecodedTrace, offset: u64, step: u64, events: &mut Vec<Told>, gaps: &mut Vec<Gap>) {
    let mut columns = EventColumns::default();
    assert!(stream.events(0..u64::MAX, 0, &mut columns, &mut || false).is_ok());
    let rows = columns.offset.iter().zip(&columns.tsc).zip(&columns.value);
    events.extend(rows.map(|((at, &tsc), &value)| (at + offset, tsc, value)));
    let moved = |gap: Gap| Gap { offset: gap.offset + offset, step: gap.step + step, ..gap };
    gaps.extend(stream.gaps().iter().map(moved));
}

/// Decodes a trace in every way there is; all say the same.
fn decoded(trace: &[u8], config: &TraceConfig, resync: Resync, seed: u64) -> (Vec<Told>, Vec<Gap>) {
    let mut random = Random::new(seed);
    let mut image = Image::new(None);
    image.add_bytes(CODE, BASE, &Asid::default(), None).expect("it fits");
    let trace = Arc::new(trace.to_vec());
    let timeline = Timeline::constant(image.clone());
    let plain = DecodeOptions { threads: 1, checkpoint_distance: 100, resync, ..DecodeOptions::default() };
    let with = |options: DecodeOptions| {
        decode(trace.clone(), config, timeline.clone(), options, |_| false).ok().expect("nothing stops")
    };
    let serial = with(plain.clone());
    let all = |stream: &DecodedTrace| {
        let (mut events, mut gaps) = (Vec::new(), Vec::new());
        told(stream, 0, 0, &mut events, &mut gaps);
        (events, gaps)
    };
    let expected = all(&serial);
    let piece = Some(1 + random.below(300) as u64);
    let threads = with(DecodeOptions { threads: 3, piece, ..plain.clone() });
    assert_eq!(all(&threads), expected, "threads, seed {seed}");
    let (whole, _, _) =
        assembled(&trace, config, &timeline, &plain, 100 + random.below(300) as u64, &mut random);
    assert_eq!(all(&whole), expected, "parts, seed {seed}");
    let saved = serial.save().expect("nothing forbids it");
    let loaded = DecodedTrace::load(&saved, trace.clone(), config, timeline.clone(), plain.clone(), || false);
    assert_eq!(all(&loaded.expect("it is of this trace")), expected, "saved, seed {seed}");
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    for part in fed(&trace, config, &image, &plain, &mut random).ok().expect("nothing stops") {
        told(&part.stream, part.offset, part.first_step, &mut events, &mut gaps);
    }
    assert_eq!((events, gaps), expected, "live, seed {seed}");
    expected
}

/// A trace full of MNT packets, each of which gives an event by which it is known, and that needs nothing else.
fn marked(random: &mut Random) -> Vec<u8> {
    let mut packets = Vec::new();
    let mut mark = 0x5afe_0000_0000_0000 | random.next() >> 16 & !0xff;
    let mut marks = |packets: &mut Vec<Packet>, random: &mut Random| {
        for _ in 0..random.below(3) {
            mark += 1;
            packets.push(Packet::Mnt { payload: mark });
        }
    };
    for nth in 0..2 + random.below(6) {
        packets.push(Packet::Psb);
        marks(&mut packets, random);
        packets.push(Packet::ModeExec { csl: true, csd: false, iflag: false });
        packets.push(Packet::Tsc { tsc: 1000 * (nth as u64 + 1) });
        marks(&mut packets, random);
        packets.extend(random.once_in(3).then_some(fup(BASE)).filter(|_| nth == 0));
        let on = matches!(packets.last(), Some(Packet::Fup(_)));
        packets.push(Packet::Psbend);
        packets.extend((!on).then(|| pge(BASE)));
        for _ in 0..random.below(12) {
            marks(&mut packets, random);
            packets.push(tnt(&"1".repeat(1 + random.below(6))));
        }
        packets.push(common::pgd(BASE));
        marks(&mut packets, random);
    }
    trace(&packets)
}

/// Overwrites, drops or puts in a few bytes.
fn damage(trace: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(trace.len());
    let end = (at + 1 + random.below(20)).min(trace.len());
    match random.below(4) {
        0 => trace[at..end].iter_mut().for_each(|byte| *byte = random.next() as u8),
        1 => trace[at..end].fill(0xff),
        2 => drop(trace.drain(at..end)),
        _ => {
            let bytes: Vec<u8> = (at..end).map(|_| random.next() as u8).collect();
            trace.splice(at..at, bytes);
        }
    }
}

/// The marks that a reader of packets finds, by offset: from the first PSB on, and behind bytes that are no packet from
/// the next PSB on. A PSB+ that the end of the trace cuts off says nothing.
fn readable(trace: &[u8]) -> HashMap<u64, u64> {
    let mut found = HashMap::new();
    let mut at = sync::forward(trace, 0);
    let mut context = BlockContext::default();
    let mut psb = None;
    while let Some(offset) = at {
        match packet::decode(trace.get(offset..).unwrap_or(&[]), &mut context) {
            Ok((packet, size)) => {
                match packet {
                    Packet::Psb => psb = Some(offset as u64),
                    Packet::Psbend | Packet::Ovf => psb = None,
                    Packet::Mnt { payload } => drop(found.insert(offset as u64, payload)),
                    _ => {}
                }
                at = Some(offset + size);
            }
            Err(PtError::Eos) => break,
            Err(_) => {
                context = BlockContext::default();
                at = sync::forward(trace, (offset + 1).max((offset + 1).saturating_sub(PSB.len())));
            }
        }
    }
    found.retain(|&offset, _| psb.is_none_or(|psb| offset < psb));
    found
}

fn check(seeds: Range<u64>) {
    let (mut lost, mut kept) = (0, 0);
    for seed in seeds {
        let mut random = Random::new(seed);
        let mut trace = marked(&mut random);
        for _ in 0..1 + random.below(3) {
            damage(&mut trace, &mut random);
        }
        let resync = random.pick(&[Resync::Ip, Resync::Psb]);
        let (events, gaps) = decoded(&trace, &TraceConfig::default(), resync, seed);
        let by_offset: HashMap<u64, Option<u64>> =
            events.iter().map(|&(offset, _, value)| (offset, value)).collect();
        let in_psb: Vec<Option<u64>> = events.iter().map(|event| event.2).collect();
        for (offset, mark) in readable(&trace) {
            // Those in PSB+ are told with the offset of the PSB.
            let told = by_offset.get(&offset) == Some(&Some(mark)) || in_psb.contains(&Some(mark));
            let inside = |gap: &Gap| gap.offset <= offset && offset < gap.offset + gap.bytes_lost;
            assert!(told || gaps.iter().any(inside), "seed {seed}: {offset:x} of {gaps:x?}");
            lost += u64::from(!told);
            kept += u64::from(told);
        }
    }
    assert!(lost > 100 && kept > 1000, "the inputs are worth something: {lost} lost, {kept} kept");
}

#[test]
fn every_packet_is_decoded_or_lies_in_a_gap() {
    check(0..600);
}

#[test]
#[ignore = "long: run with --ignored"]
fn every_packet_of_many_traces_is_decoded_or_lies_in_a_gap() {
    check(1000..40_000);
}

#[test]
fn a_damaged_first_psb_plus_is_a_gap_up_to_the_next_psb() {
    let good = trace(&[Packet::Psb, fup(BASE), Packet::Psbend, tnt("11")]);
    // An MTC in place of the FUP's opcode leaves eight bytes that are no packet here.
    let mut bad = good.clone();
    bad[PSB.len()] = 0xc9;
    let whole = [&bad[..], &good[..]].concat();
    let (_, gaps) = decoded(&whole, &TraceConfig::default(), Resync::Ip, 1);
    let gap = gaps[0];
    assert_eq!((gaps.len(), gap.step, gap.code), (1, 0, Some(PtError::BadOpc)));
    assert_eq!((gap.offset, gap.bytes_lost), (0, bad.len() as u64));
    // Nothing that could be decoded follows, and what stands before the first PSB is passed over.
    let before = [&[0x06, 0x01, 0x59], &bad[..], &[0x59, 0x01]].concat();
    let (events, gaps) = decoded(&before, &TraceConfig::default(), Resync::Ip, 2);
    assert_eq!((events.len(), gaps.len()), (0, 1));
    assert_eq!((gaps[0].offset, gaps[0].bytes_lost), (3, bad.len() as u64 + 2));
    assert_eq!((skipped(&before), skipped(&whole), skipped(&[0x59, 0x01])), (3, 0, 0));
    // A processor may tell the time before its first PSB.
    assert_eq!(skipped(&[&[0x53, 0x59, 0xc1, 0, 0], &whole[..]].concat()), 0);
}

/// PSBs at these times, with marks that tell them, in the 56 bits of TSC packets.
fn timed(times: &[u64], in_psb: bool) -> Vec<u8> {
    let mut packets = Vec::new();
    for (nth, &time) in times.iter().enumerate() {
        let tsc = Packet::Tsc { tsc: time % WRAP };
        packets.push(Packet::Psb);
        packets.extend(in_psb.then_some(tsc));
        packets.extend([Packet::Psbend, tsc, Packet::Mnt { payload: nth as u64 }]);
        packets.extend([pge(BASE), tnt("111111"), tnt("111"), common::pgd(BASE)]);
    }
    trace(&packets)
}

/// The times of the marks.
fn times_of(events: &[Told]) -> Vec<u64> {
    events.iter().filter(|event| event.2.is_some()).map(|event| event.1).collect()
}

#[test]
fn time_goes_on_where_the_tsc_wraps() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut time = random.pick(&[WRAP - 5000, 3 * WRAP - 700, WRAP / 2, 1000]);
        let mut times = Vec::new();
        for _ in 0..40 + random.below(60) {
            times.push(time);
            time += random.pick(&[3, 500, WRAP / 2 - 1, WRAP / 3]);
        }
        let trace = timed(&times, random.once_in(2));
        // What the first packet lacks must be known, or is zero.
        let near = times[0].wrapping_add(random.pick(&[0, WRAP / 2 - 1, 77]));
        for (tsc_near, off) in [(Some(near), 0), (None, times[0] / WRAP * WRAP)] {
            let config = TraceConfig { tsc_near, ..TraceConfig::default() };
            let (events, gaps) = decoded(&trace, &config, Resync::Ip, seed);
            let expected: Vec<u64> = times.iter().map(|time| time - off).collect();
            assert_eq!((times_of(&events), gaps), (expected, Vec::new()), "seed {seed}");
        }
        // libipt begins anew.
        let config = TraceConfig { libipt_compat: true, tsc_near: Some(near), ..TraceConfig::default() };
        let (events, _) = decoded(&trace, &config, Resync::Ip, seed);
        let expected: Vec<u64> = times.iter().map(|time| time % WRAP).collect();
        assert_eq!(times_of(&events), expected);
    }
}

#[test]
fn damage_does_not_forget_how_often_the_tsc_has_wrapped() {
    let times: Vec<u64> = (0..40).map(|nth| WRAP - 10_000 + 1000 * nth).collect();
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut trace = timed(&times, true);
        // Not the TSC packets themselves: a time that is wrong says nothing about the next.
        let psb = sync::forward(&trace, random.below(trace.len() - 400)).expect("there are more");
        let behind = psb + trace[psb..].iter().position(|&byte| byte == 0xc3).expect("a mark") + 10;
        trace[behind..behind + 5].fill(0xff);
        let (events, gaps) = decoded(&trace, &TraceConfig::default(), Resync::Psb, seed);
        assert!(!gaps.is_empty());
        for event in events.iter().filter(|event| event.2.is_some_and(|mark| mark < 40)) {
            assert_eq!(Some(event.1), event.2.map(|mark| times[mark as usize]), "seed {seed}");
        }
    }
}
