//! Every way to decode a trace, each of which has to say the same.

use std::sync::Arc;

use odograph_core::config::TraceConfig;
use odograph_core::flow::{Gap, Timeline};
use odograph_core::history::{
    decode, BlockColumns, CallStack, Counts, DecodeError, DecodeOptions, DecodedTrace, EventColumns, Hashing,
    InstructionColumns, LiveError, OnError, StackPart, Stacks,
};
use odograph_core::image::Image;

use super::forgery::forge;
use super::live::fed;
use super::parts::assembled;
use super::random::Random;

/// What a history says, for comparison.
#[derive(Debug, PartialEq)]
pub struct Told {
    pub steps: u64,
    pub gaps: Vec<Gap>,
    pub notes: Vec<Gap>,
    pub hash: u64,
    events: Vec<(i64, u8, i16, u64, u64, u64)>,
}

/// Everything a stream tells.
pub fn told(stream: &DecodedTrace) -> Told {
    told_by([(stream, 0, 0)])
}

/// Everything that streams tell, one behind the other; with each the steps and the trace bytes before it.
fn told_by<'a>(streams: impl IntoIterator<Item = (&'a DecodedTrace, u64, u64)>) -> Told {
    let mut told = Told { steps: 0, gaps: Vec::new(), notes: Vec::new(), hash: 0, events: Vec::new() };
    let mut hashing = Hashing::ROTATING;
    for (stream, step, base) in streams {
        assert_eq!(step, told.steps);
        let mut columns = EventColumns::default();
        stream.events(0..u64::MAX, step as i64, &mut columns, &mut || false).unwrap();
        assert_eq!(columns.step.len() as u64, stream.event_count());
        told.events.extend((0..columns.step.len()).map(|row| {
            let (kind, offset) = (columns.kind[row], columns.offset[row] + base);
            (columns.step[row], columns.after[row], kind, columns.ip[row], offset, columns.tsc[row])
        }));
        let placed = |gap: Gap| Gap { step: gap.step + step, offset: gap.offset + base, ..gap };
        told.gaps.extend(stream.gaps().iter().map(placed));
        told.notes.extend(stream.notes().iter().map(placed));
        told.steps += stream.steps();
        hashing = stream.hash(0, stream.steps(), hashing, &mut || false).unwrap();
    }
    Told { hash: hashing.value(), ..told }
}

/// Decodes one trace in every way and compares them; gives what they say.
pub fn every_way(
    trace: &Arc<Vec<u8>>,
    config: &TraceConfig,
    image: &Image,
    plain: &DecodeOptions,
    cramped: DecodeOptions,
    random: &mut Random,
    seed: u64,
) -> Told {
    let plain = plain.clone();
    let decoded = |options: &DecodeOptions| {
        let timeline = Timeline::constant(image.clone());
        decode(trace.clone(), config, timeline, options.clone(), |_| false).ok()
    };
    let stream = decoded(&plain).expect("damage is a gap");
    let expected = told(&stream);
    let other = decoded(&cramped).expect("damage is a gap");
    let found = told(&other);
    assert_eq!(found.gaps, expected.gaps, "seed {seed}");
    assert_eq!(found.events, expected.events, "seed {seed}");
    assert_eq!(found, expected, "seed {seed}");
    passes_agree(&stream, &other, random, seed);
    let threads = DecodeOptions {
        threads: 2 + random.below(4),
        piece: Some(200 + random.below(2000) as u64),
        ..cramped
    };
    let by_threads = decoded(&threads).expect("damage is a gap");
    let found = told(&by_threads);
    assert_eq!(found.gaps, expected.gaps, "seed {seed}, {} threads", threads.threads);
    assert_eq!(found.events, expected.events, "seed {seed}, {} threads", threads.threads);
    assert_eq!(found, expected, "seed {seed}, {} threads", threads.threads);
    passes_agree(&stream, &by_threads, random, seed);
    let size = 200 + random.below(2000) as u64;
    let timeline = Timeline::constant(image.clone());
    let (by_parts, ..) = assembled(trace, config, &timeline, &threads, size, random);
    let found = told(&by_parts);
    assert_eq!(found.gaps, expected.gaps, "seed {seed}, parts");
    assert_eq!(found.events, expected.events, "seed {seed}, parts");
    assert_eq!(found, expected, "seed {seed}, parts");
    passes_agree(&stream, &by_parts, random, seed);
    for kept in [&other, &by_threads, &by_parts] {
        let Ok(saved) = kept.save() else {
            assert!(image.callback().is_some(), "seed {seed}");
            continue;
        };
        let timeline = Timeline::constant(image.clone());
        let options = threads.clone();
        let loaded = DecodedTrace::load(&saved, trace.clone(), config, timeline.clone(), options, || false);
        let loaded = loaded.unwrap_or_else(|stale| panic!("seed {seed}: {stale}"));
        assert_eq!(told(&loaded), expected, "seed {seed}, saved");
        passes_agree(&stream, &loaded, random, seed);
        forge(&saved, random, 2, |forged| {
            DecodedTrace::load(forged, trace.clone(), config, timeline.clone(), threads.clone(), || false)
                .ok()
        });
    }
    let parts = fed(trace, config, image, &threads, random).ok().expect("damage is a gap");
    let found = told_by(parts.iter().map(|part| (&part.stream, part.first_step, part.offset)));
    assert_eq!(found.gaps, expected.gaps, "seed {seed}, live");
    assert_eq!(found.events, expected.events, "seed {seed}, live");
    assert_eq!(found, expected, "seed {seed}, live");
    let raising = DecodeOptions { on_error: OnError::Raise, ..plain };
    match fed(trace, config, image, &raising, random) {
        Err(LiveError::Decode(DecodeError::Gap(gap))) => {
            assert_eq!(Some(&gap), expected.gaps.first(), "seed {seed}, live")
        }
        Err(_) => panic!("seed {seed}, live: stopped for another reason than a gap"),
        Ok(_) => assert!(expected.gaps.is_empty(), "seed {seed}, live"),
    }
    for threads in [1, 3] {
        let options = DecodeOptions { threads, piece: Some(300), ..raising.clone() };
        let timeline = Timeline::constant(image.clone());
        match decode(trace.clone(), config, timeline, options, |_| false) {
            Err(DecodeError::Gap(gap)) => assert_eq!(Some(&gap), expected.gaps.first(), "seed {seed}"),
            Err(_) => panic!("seed {seed}: stopped for another reason than a gap"),
            Ok(_) => assert!(expected.gaps.is_empty(), "seed {seed}"),
        }
    }
    stacks_agree(stream, by_threads, random, seed);
    expected
}

fn stacks_agree(stream: DecodedTrace, other: DecodedTrace, random: &mut Random, seed: u64) {
    let total = stream.steps();
    let stacks = |stream: DecodedTrace| {
        let part = StackPart::whole(Arc::new(stream));
        Stacks::new(vec![part], false, Arc::default(), Vec::new(), &mut || false).unwrap()
    };
    let (one, other) = (stacks(stream), stacks(other));
    for nth in 0..4 {
        let step = if nth == 0 { total } else { random.below(total as usize + 1) as u64 };
        // Edges have numbers of their own in each: only whether there is one, and the first one's, can be compared.
        let plain = |mut stack: CallStack| {
            stack.edge = stack.edge.map(|edge| edge.min(1));
            stack.bottom = stack.bottom.map(|edge| edge.min(1));
            stack
        };
        let found = plain(other.at(step, 1000, &mut || false).unwrap());
        assert_eq!(found, plain(one.at(step, 1000, &mut || false).unwrap()), "seed {seed}, step {step}");
    }
}

fn passes_agree(stream: &DecodedTrace, other: &DecodedTrace, random: &mut Random, seed: u64) {
    let total = stream.steps().min(200_000);
    let mut all = Vec::new();
    stream.ips(0, total, &mut all, &mut || false).unwrap();
    assert_eq!(all.len() as u64, total, "seed {seed}: every step can be expanded");
    for _ in 0..4 {
        let start = random.below(total as usize + 1) as u64;
        let stop = (start + random.below(3000) as u64).min(total);
        let range = start as usize..stop as usize;
        let mut ips = Vec::new();
        other.ips(start, stop, &mut ips, &mut || false).unwrap();
        assert_eq!(ips, all[range.clone()], "seed {seed}, {start}..{stop}");
        let mut columns = InstructionColumns::default();
        other.instructions(start, stop, 0, &mut columns, &mut || false).unwrap();
        assert_eq!(columns.ip, all[range.clone()], "seed {seed}, {start}..{stop}");
        let mut expected = InstructionColumns::default();
        stream.instructions(start, stop, 0, &mut expected, &mut || false).unwrap();
        assert_eq!(columns.tsc, expected.tsc, "seed {seed}, {start}..{stop}");
        let mut counts = Counts::default();
        other.count(start, stop, &mut counts, &mut || false).unwrap();
        assert_eq!(counts.by_ip.values().sum::<u64>(), stop - start, "seed {seed}, {start}..{stop}");
        let mut blocks = BlockColumns::default();
        other.blocks(start, stop, 0, &mut blocks, &mut || false).unwrap();
        let inside: u64 = blocks.ninsn.iter().map(|&count| u64::from(count)).sum();
        assert_eq!(inside, stop - start, "seed {seed}, {start}..{stop}");
    }
}
