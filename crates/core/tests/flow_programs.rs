//! Random programs, executed at random: the history must be what was executed, however it is asked.
//!
//! This file is long because it holds the programs whose flow is known, one after the other.

mod support;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use odograph_core::asid::Asid;
use odograph_core::config::TraceConfig;
use odograph_core::flow::Timeline;
use odograph_core::history::{
    decode, Assembly, BlockColumns, CallTree, Calls, Counts, Coverage, DecodeOptions, DecodedTrace,
    EventColumns, Functions, Hashing, InstructionColumns, Ledger, Pairs, Settled, StackPart, Wanted,
};
use odograph_core::image::Image;
use odograph_core::instruction::{self, ExecMode};
use odograph_core::memory::{MemoryError, ReadMemory};
use odograph_core::packet::{encode, IpCompression, IpPayload, Packet, PSB};
use support::called::Called;
use support::live::fed;
use support::parts::assembled;
use support::program::Program;
use support::random::Random;
use support::run::{run, Run};

/// The program's code in sections of random sizes, as bytes.
fn image_of(program: &Program, random: &mut Random) -> Image {
    let mut image = Image::new(None);
    let mut at = 0;
    while at < program.bytes.len() {
        let vaddr = program.base.wrapping_add(at as u64);
        let to_top = if vaddr == 0 { usize::MAX } else { vaddr.wrapping_neg() as usize };
        let size = (1 + random.below(program.bytes.len())).min(program.bytes.len() - at).min(to_top);
        image.add_bytes(&program.bytes[at..at + size], vaddr, &Asid::default(), None).unwrap();
        at += size;
    }
    image
}

/// Answers from the program's code, one to twenty bytes at a time, and counts the questions.
struct Asked {
    base: u64,
    bytes: Vec<u8>,
    most: usize,
    questions: AtomicUsize,
}

impl ReadMemory for Asked {
    fn read(&self, address: u64, size: usize, _: &Asid) -> Result<Vec<u8>, MemoryError> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        let at = address.wrapping_sub(self.base) as usize;
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        Ok(rest[..rest.len().min(size).min(self.most)].to_vec())
    }
}

fn decoded(run: &Run, image: Image, options: DecodeOptions) -> Arc<DecodedTrace> {
    let trace = Arc::new(run.trace.clone());
    let stream = decode(trace, &TraceConfig::default(), Timeline::constant(image), options, |_| false);
    Arc::new(stream.unwrap_or_else(|_| panic!("nothing stops this decode")))
}

fn ips(stream: &DecodedTrace, start: u64, stop: u64) -> Vec<u64> {
    let mut ips = Vec::new();
    stream.ips(start, stop, &mut ips, &mut || false).unwrap();
    ips
}

fn events(stream: &DecodedTrace) -> EventColumns {
    let mut columns = EventColumns::default();
    stream.events(0..u64::MAX, 0, &mut columns, &mut || false).unwrap();
    columns
}

fn instructions(stream: &DecodedTrace, start: u64, stop: u64) -> InstructionColumns {
    let mut columns = InstructionColumns::default();
    stream.instructions(start, stop, 0, &mut columns, &mut || false).unwrap();
    columns
}

fn blocks(stream: &DecodedTrace, start: u64, stop: u64) -> BlockColumns {
    let mut columns = BlockColumns::default();
    stream.blocks(start, stop, 0, &mut columns, &mut || false).unwrap();
    columns
}

fn named_events(columns: &EventColumns) -> Vec<(&'static str, u64)> {
    (0..columns.step.len())
        .filter(|&row| columns.status_update[row] == 0)
        .map(|row| (EventColumns::KINDS[columns.kind[row] as usize], columns.step[row] as u64))
        .collect()
}

fn check_is_the_run(stream: &DecodedTrace, run: &Run, what: &str) {
    let decoded = ips(stream, 0, stream.steps());
    let same = decoded.iter().zip(&run.ips).take_while(|(a, b)| a == b).count();
    assert!(
        decoded == run.ips,
        "{what}: {} steps decoded, {} executed, {same} the same; gaps {:x?}",
        decoded.len(),
        run.ips.len(),
        stream.gaps().first()
    );
    assert_eq!(named_events(&events(stream)), run.events, "{what}");
    let gaps: Vec<u64> = stream.gaps().iter().map(|gap| gap.step).collect();
    assert_eq!(gaps, run.overflows, "{what}: {:x?}", stream.gaps());
}

/// Programs and runs by seed; every third lies across the end of the address space.
fn case(seed: u64, steps: usize, calm: bool) -> (Program, Run, Random) {
    let mut random = Random::new(seed);
    let count = random.pick(&[3, 20, 100, 400]);
    let base = if seed.is_multiple_of(3) { 0u64.wrapping_sub(count as u64) } else { 0x40_1000 };
    let program = Program::random(&mut random, base, count);
    let run = run(&program, &mut random, steps, calm);
    (program, run, random)
}

#[test]
fn the_history_of_a_random_program_is_what_it_executed() {
    for seed in 0..400 {
        let (program, run, mut random) = case(seed, 2000, seed % 4 == 1);
        let stream = decoded(&run, image_of(&program, &mut random), DecodeOptions::default());
        check_is_the_run(&stream, &run, &format!("seed {seed}"));
    }
}

#[test]
fn eviction_and_the_distance_of_checkpoints_change_nothing() {
    for seed in 1000..1100 {
        let (program, run, mut random) = case(seed, 1500, false);
        let image = image_of(&program, &mut random);
        let options = DecodeOptions {
            checkpoint_distance: 1 + random.below(500) as u64,
            graph_limits: Some((1 + random.below(20), 1 + random.below(60))),
            ..DecodeOptions::default()
        };
        let stream = decoded(&run, image, options);
        check_is_the_run(&stream, &run, &format!("seed {seed}"));
        check_passes(&stream, &run, &mut random, &format!("seed {seed}"));
    }
}

#[test]
fn what_was_learned_holds_for_the_same_image_only() {
    // 1000 jmp rax
    let mut image = Image::new(None);
    image.add_bytes([0xff, 0xe0].as_slice(), 0x1000, &Asid::default(), None).unwrap();
    let packets = [
        Packet::Psb,
        Packet::ModeExec { csl: true, csd: false, iflag: false },
        Packet::Fup(IpPayload { compression: IpCompression::Full, ip: 0x1000 }),
        Packet::Psbend,
        Packet::Tip(IpPayload { compression: IpCompression::Full, ip: 0x1000 }),
    ];
    let mut trace = Vec::new();
    for packet in &packets {
        encode(packet, &mut trace).unwrap();
    }
    let trace = Arc::new(trace);
    let steps = |image: &Image| {
        let timeline = Timeline::constant(image.clone());
        let options = DecodeOptions::default();
        let stream = decode(trace.clone(), &TraceConfig::default(), timeline, options, |_| false);
        stream.unwrap_or_else(|_| panic!("nothing stops this decode")).steps()
    };
    assert_eq!((steps(&image), steps(&image)), (2, 2));
    let before = image.clone();
    // A nop comes before it now.
    image.add_bytes([0x90, 0xff, 0xe0].as_slice(), 0x1000, &Asid::default(), None).unwrap();
    assert_eq!((steps(&image), steps(&before), steps(&image)), (4, 2, 4));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    for seed in 1200..1300 {
        let (program, run, mut random) = case(seed, 6000, false);
        let image = image_of(&program, &mut random);
        let distance = 1 + random.below(300) as u64;
        let plain = DecodeOptions { checkpoint_distance: distance, ..DecodeOptions::default() };
        let alone = decoded(&run, image.clone(), plain.clone());
        for threads in [2, 5] {
            let piece = Some(1 + random.below(2000) as u64);
            let stream = decoded(&run, image.clone(), DecodeOptions { threads, piece, ..plain.clone() });
            let what = format!("seed {seed}, {threads} threads");
            check_is_the_run(&stream, &run, &what);
            check_passes(&stream, &run, &mut random, &what);
            let checkpoints: Vec<_> = stream.checkpoints().collect();
            assert_eq!(checkpoints, alone.checkpoints().collect::<Vec<_>>(), "{what}");
        }
    }
}

#[test]
fn parts_decoded_elsewhere_make_the_same() {
    let (mut fitted, mut parts) = (0, 0);
    for seed in 1300..1400 {
        let (program, run, mut random) = case(seed, 6000, false);
        let image = image_of(&program, &mut random);
        let distance = 1 + random.below(300) as u64;
        let plain = DecodeOptions { checkpoint_distance: distance, ..DecodeOptions::default() };
        let alone = decoded(&run, image.clone(), plain.clone());
        let (trace, config) = (Arc::new(run.trace.clone()), TraceConfig::default());
        let size = 1 + random.below(2000) as u64;
        let timeline = Timeline::constant(image);
        let (stream, fit, of) = assembled(&trace, &config, &timeline, &plain, size, &mut random);
        fitted += fit;
        parts += of;
        let what = format!("seed {seed}");
        check_is_the_run(&stream, &run, &what);
        check_passes(&stream, &run, &mut random, &what);
        let checkpoints: Vec<_> = stream.checkpoints().collect();
        assert_eq!(checkpoints, alone.checkpoints().collect::<Vec<_>>(), "{what}");
    }
    assert!(2 * fitted > parts, "{fitted} of {parts} parts fitted");
}

fn settled<L: Ledger>(calls: Calls<L>) -> Settled<L> {
    calls.settled(false, Arc::default(), Vec::new())
}

/// Everything that can be merged, of some steps of a stream.
#[derive(Default)]
struct Answers {
    counts: Counts,
    coverage: Coverage,
    calls: Option<(Calls<Pairs>, Calls<CallTree>, Calls<Functions>)>,
}

impl Answers {
    /// Those of steps of a stream, with the events whose packets lie `within` these trace offsets.
    fn of(stream: &Arc<DecodedTrace>, start: u64, stop: u64, within: Range<u64>) -> Self {
        let mut answers = Answers::default();
        let part = StackPart { first: start, end: stop, within, ..StackPart::whole(stream.clone()) };
        let mut calls = (Calls::default(), Calls::default(), Calls::default());
        let mut never = || false;
        stream.count(start, stop, &mut answers.counts, &mut never).unwrap();
        stream.coverage(start, stop, &mut answers.coverage, &mut never).unwrap();
        calls.0.follow(&part, &mut never).unwrap();
        calls.1.follow(&part, &mut never).unwrap();
        calls.2.follow(&part, &mut never).unwrap();
        answers.calls = Some(calls);
        answers
    }

    /// Adds those of the steps that follow, `by` later than they say.
    fn merge(&mut self, next: Answers, by: u64) {
        self.counts.merge(next.counts);
        self.coverage.merge(next.coverage);
        let Some(mut calls) = next.calls else { return };
        calls.0.move_by(by as i64);
        calls.1.move_by(by as i64);
        calls.2.move_by(by as i64);
        match &mut self.calls {
            None => self.calls = Some(calls),
            Some(before) => {
                before.0.merge(calls.0);
                before.1.merge(calls.1);
                before.2.merge(calls.2);
            }
        }
    }

    fn check(self, expected: Answers, what: &str) {
        assert_eq!(self.counts, expected.counts, "{what}");
        assert_eq!(self.coverage.blocks, expected.coverage.blocks, "{what}");
        assert_eq!(self.coverage.edges, expected.coverage.edges, "{what}");
        let (Some(found), Some(expected)) = (self.calls, expected.calls) else { return };
        let (rows, others) = (settled(found.0).ledger.rows, settled(expected.0).ledger.rows);
        for (found, expected) in rows.iter().zip(&others) {
            assert_eq!(found, expected, "{what}");
        }
        assert_eq!(rows.len(), others.len(), "{what}");
        assert_eq!(settled(found.1).ledger.nodes, settled(expected.1).ledger.nodes, "{what}");
        assert_eq!(Functions::costs(settled(found.2)), Functions::costs(settled(expected.2)), "{what}");
    }
}

#[test]
fn what_parts_answer_makes_the_answer_of_the_whole() {
    let mut own = 0;
    for seed in 1400..1460 {
        let (program, run, mut random) = case(seed, 6000, false);
        let timeline = Timeline::constant(image_of(&program, &mut random));
        let (trace, config, options) =
            (Arc::new(run.trace.clone()), TraceConfig::default(), DecodeOptions::default());
        let size = 1 + random.below(2000) as u64;
        let mut assembly = Assembly::new(trace.clone(), &config, timeline.clone(), options.clone(), size);
        let places = assembly.places();
        assert!(assembly.decode_here(|_| false).is_ok());
        // Some answers come from a part by itself, the others from steps of the whole.
        let mut parts = Vec::new();
        for place in &places {
            let bytes = Arc::new(trace[place.bytes.start as usize..place.bytes.end as usize].to_vec());
            let decoded = place.decode(bytes, &config, timeline.clone(), options.clone(), |_| false);
            let Some((part, stream)) = decoded else { continue };
            while assembly.wanted().is_some_and(|wanted| wanted < place.number) {
                assert!(assembly.decode_here(|_| false).is_ok());
            }
            let before = assembly.steps();
            if assembly.add(part) {
                parts.push((before, Arc::new(stream), place.start..place.until.unwrap_or(u64::MAX)));
            }
        }
        let Ok(whole) = assembly.finish(|_| false) else { panic!("seed {seed}: nothing stops this") };
        let whole = Arc::new(whole);
        let mut found = Answers::default();
        let (mut at, mut offset) = (0, 0);
        for (before, stream, bytes) in parts {
            if offset < bytes.start {
                found.merge(Answers::of(&whole, at, before, offset..bytes.start), 0);
            }
            found.merge(Answers::of(&stream, 0, stream.steps(), 0..u64::MAX), before);
            own += stream.steps();
            (at, offset) = (before + stream.steps(), bytes.end);
        }
        if at < whole.steps() || offset < u64::MAX {
            found.merge(Answers::of(&whole, at, whole.steps(), offset..u64::MAX), 0);
        }
        found.check(Answers::of(&whole, 0, whole.steps(), 0..u64::MAX), &format!("seed {seed}"));
    }
    assert!(own > 100_000, "{own} steps were asked of parts by themselves");
}

#[test]
fn what_arrives_bit_by_bit_makes_the_same() {
    let (mut parts, mut psbs) = (0, 0);
    for seed in 1400..1500 {
        let (program, run, mut random) = case(seed, 6000, false);
        let image = image_of(&program, &mut random);
        let distance = 1 + random.below(300) as u64;
        let threads = 1 + random.below(3);
        let piece = Some(1 + random.below(2000) as u64);
        let options =
            DecodeOptions { checkpoint_distance: distance, threads, piece, ..DecodeOptions::default() };
        let whole = decoded(&run, image.clone(), options.clone());
        let every = instructions(&whole, 0, whole.steps());
        let every_block = blocks(&whole, 0, whole.steps());
        let fed = fed(&run.trace, &TraceConfig::default(), &image, &options, &mut random).ok().unwrap();
        let (mut all, mut all_blocks) = (InstructionColumns::default(), BlockColumns::default());
        let mut tsc = whole.tsc_range().0;
        for part in &fed {
            let (stream, base) = (&part.stream, part.first_step as i64);
            let steps = stream.steps();
            let what = format!("seed {seed}, part at {}", part.offset);
            let inside = part.first_step as usize..(part.first_step + steps) as usize;
            assert_eq!(ips(stream, 0, steps), run.ips[inside.clone()], "{what}");
            stream.instructions(0, steps, base, &mut all, &mut || false).unwrap();
            stream.blocks(0, steps, base, &mut all_blocks, &mut || false).unwrap();
            let start = random.below(inside.len() + 1);
            let stop = start + random.below(inside.len() + 1 - start);
            let piece = instructions(stream, start as u64, stop as u64);
            let at = inside.start + start..inside.start + stop;
            assert_eq!(
                (piece.ip, piece.tsc),
                (every.ip[at.clone()].to_vec(), every.tsc[at].to_vec()),
                "{what}"
            );
            assert_eq!(stream.tsc_range().0, tsc, "{what}");
            tsc = stream.tsc_range().1;
            let (time, later) = (random.next() & 0xfff, every.tsc.len());
            let first = |columns: &InstructionColumns| {
                columns.tsc.iter().position(|&at| at != u64::MAX && at >= time).unwrap_or(later)
            };
            let own = instructions(stream, 0, steps);
            assert_eq!(stream.step_at_tsc(time), first(&own).min(steps as usize) as u64, "{what}");
        }
        let what = format!("seed {seed}");
        assert_eq!(tsc, whole.tsc_range().1, "{what}");
        assert_eq!((all.step, all.ip, all.tsc), (every.step, every.ip, every.tsc), "{what}");
        assert_eq!((all.raw, all.speculative), (every.raw, every.speculative), "{what}");
        assert_eq!(
            (all_blocks.step, all_blocks.ninsn, all_blocks.end_ip),
            (every_block.step, every_block.ninsn, every_block.end_ip),
            "{what}"
        );
        parts += fed.len();
        psbs += run.trace.windows(PSB.len()).filter(|bytes| *bytes == PSB).count();
    }
    assert!(parts > 400 && psbs > parts, "{parts} parts of traces with {psbs} PSBs");
}

#[test]
fn every_pass_equals_what_the_expanded_instructions_give() {
    for seed in 2000..2060 {
        let (program, run, mut random) = case(seed, 3000, false);
        let image = image_of(&program, &mut random);
        let options = DecodeOptions { checkpoint_distance: 200, ..DecodeOptions::default() };
        check_passes(&decoded(&run, image, options), &run, &mut random, &format!("seed {seed}"));
    }
}

#[test]
fn checkpoints_between_distant_psbs_keep_the_bits_at_hand() {
    for seed in 3000..3060 {
        let (program, run, mut random) = case(seed, 60_000, true);
        let image = image_of(&program, &mut random);
        let mut options = DecodeOptions { checkpoint_distance: 1, ..DecodeOptions::default() };
        options.engine.checkpoint_every = 1;
        let stream = decoded(&run, image, options);
        check_is_the_run(&stream, &run, &format!("seed {seed}"));
        for _ in 0..5 {
            let start = random.below(run.ips.len());
            let stop = (start + 40).min(run.ips.len());
            assert_eq!(ips(&stream, start as u64, stop as u64), run.ips[start..stop], "seed {seed}");
        }
    }
}

#[test]
fn a_callback_alone_decodes_the_same_and_is_never_asked_again() {
    for seed in 4000..4060 {
        let (program, run, mut random) = case(seed, 1500, false);
        if program.base > 1 << 63 {
            continue; // the callback's answers do not wrap around
        }
        let asked = Arc::new(Asked {
            base: program.base,
            bytes: program.bytes.clone(),
            most: random.pick(&[1, 3, 20, 5000]),
            questions: AtomicUsize::new(0),
        });
        let mut image = Image::new(None);
        image.set_callback(Some(asked.clone()));
        let stream = decoded(&run, image, DecodeOptions::default());
        let questions = asked.questions.load(Ordering::Relaxed);
        check_is_the_run(&stream, &run, &format!("seed {seed}"));
        check_passes(&stream, &run, &mut random, &format!("seed {seed}"));
        assert_eq!(asked.questions.load(Ordering::Relaxed), questions, "seed {seed}: asked again");
    }
}

/// All passes on random ranges, against the instructions one by one.
fn check_passes(stream: &Arc<DecodedTrace>, run: &Run, random: &mut Random, what: &str) {
    let total = run.ips.len();
    let mut all = InstructionColumns::default();
    stream.instructions(0, total as u64, 0, &mut all, &mut || false).unwrap();
    assert_eq!(all.ip, run.ips, "{what}");
    assert_eq!(all.step, (0..total as i64).collect::<Vec<_>>(), "{what}");
    let every_event = events(stream);
    let called = Called::new(stream, &all, &every_event);
    for _ in 0..6 {
        let start = random.below(total + 1);
        let stop = if random.once_in(3) { total } else { random.below(total + 1).max(start) };
        let (first, last) = (start as u64, stop as u64);
        let what = &format!("{what}, steps {start} to {stop} of {total}");
        let range = start..stop;
        assert_eq!(ips(stream, first, last), run.ips[range.clone()], "{what}");
        check_instructions(stream, &all, start, stop, what);
        check_find(stream, &all, start, stop, random, what);
        check_counts(stream, &run.ips[range.clone()], first, last, what);
        check_blocks(stream, &all, start, stop, what);
        check_coverage(stream, &all, &every_event, start, stop, what);
        let (mut rotating, mut fnv) = (0u64, Hashing::FNV.value());
        for &ip in &run.ips[range.clone()] {
            rotating = (rotating.rotate_left(5) ^ ip).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            for byte in ip.to_le_bytes() {
                fnv = (fnv ^ u64::from(byte)).wrapping_mul(1_099_511_628_211);
            }
        }
        assert_eq!(
            stream.hash(first, last, Hashing::ROTATING, &mut || false).unwrap().value(),
            rotating,
            "{what}"
        );
        assert_eq!(stream.hash(first, last, Hashing::FNV, &mut || false).unwrap().value(), fnv, "{what}");
        called.check(range.clone(), random, what);
        check_events(stream, &every_event, random, what);
    }
    for _ in 0..5 {
        let tsc = 990 + random.below(1500) as u64;
        let known = |row: usize| all.tsc[row] != u64::MAX && all.tsc[row] >= tsc;
        let expected = (0..total).find(|&row| known(row)).unwrap_or(total) as u64;
        assert_eq!(stream.step_at_tsc(tsc), expected, "{what}, tsc {tsc}");
    }
}

fn check_instructions(
    stream: &DecodedTrace,
    all: &InstructionColumns,
    start: usize,
    stop: usize,
    what: &str,
) {
    let mut some = InstructionColumns::default();
    stream.instructions(start as u64, stop as u64, 0, &mut some, &mut || false).unwrap();
    assert_eq!(some.ip, all.ip[start..stop], "{what}");
    assert_eq!(some.size, all.size[start..stop], "{what}");
    assert_eq!(some.raw, all.raw[16 * start..16 * stop], "{what}");
    assert_eq!(some.iclass, all.iclass[start..stop], "{what}");
    assert_eq!(some.cr3, all.cr3[start..stop], "{what}");
    assert_eq!(some.tsc, all.tsc[start..stop], "{what}");
    assert_eq!(some.speculative, all.speculative[start..stop], "{what}");
    assert_eq!(some.truncated, all.truncated[start..stop], "{what}");
}

fn check_find(
    stream: &DecodedTrace,
    all: &InstructionColumns,
    start: usize,
    stop: usize,
    random: &mut Random,
    what: &str,
) {
    let address = all.ip[random.below(all.len())];
    let first = address.wrapping_add(random.below(3) as u64);
    let last = first.saturating_add(random.below(9) as u64);
    let touches = |row: usize| {
        (0..u64::from(all.size[row])).any(|byte| {
            let at = all.ip[row].wrapping_add(byte);
            first <= at && at <= last
        })
    };
    let hits: Vec<i64> = (start..stop).filter(|&row| touches(row)).map(|row| row as i64).collect();
    let mut found = Vec::new();
    let steps = (start as u64, stop as u64);
    stream.find(&Wanted::Range(first, last), steps, 0, usize::MAX, &mut found, &mut || false).unwrap();
    assert_eq!(found, hits, "{what}, {first:x} to {last:x}");
    let mut found = Vec::new();
    stream.find(&Wanted::Range(first, last), steps, 0, 2, &mut found, &mut || false).unwrap();
    assert_eq!(found, hits[..hits.len().min(2)], "{what}");
    let starts: Vec<i64> =
        (start..stop).filter(|&row| all.ip[row] == address).map(|row| row as i64).collect();
    let mut found = Vec::new();
    stream.find(&Wanted::Start(address), steps, 0, usize::MAX, &mut found, &mut || false).unwrap();
    assert_eq!(found, starts, "{what}");
}

fn check_counts(stream: &DecodedTrace, ips: &[u64], first: u64, last: u64, what: &str) {
    let mut expected: HashMap<u64, u64> = HashMap::new();
    for &ip in ips {
        *expected.entry(ip).or_default() += 1;
    }
    let mut counts = Counts::default();
    stream.count(first, last, &mut counts, &mut || false).unwrap();
    let counted: HashMap<u64, u64> = counts.by_ip.into_iter().collect();
    assert_eq!(counted, expected, "{what}");
}

fn check_blocks(stream: &DecodedTrace, all: &InstructionColumns, start: usize, stop: usize, what: &str) {
    let mut blocks = BlockColumns::default();
    stream.blocks(start as u64, stop as u64, 0, &mut blocks, &mut || false).unwrap();
    let mut at = start;
    for row in 0..blocks.step.len() {
        let end = at + usize::from(blocks.ninsn[row]) - 1;
        assert_eq!(blocks.step[row], at as i64, "{what}");
        assert_eq!(blocks.ip[row], all.ip[at], "{what}");
        assert_eq!(blocks.end_ip[row], all.ip[end], "{what}");
        assert_eq!(blocks.iclass[row], all.iclass[end], "{what}");
        assert_eq!(blocks.speculative[row], all.speculative[end], "{what}");
        at = end + 1;
    }
    assert_eq!(at, stop.max(start), "{what}");
}

fn check_coverage(
    stream: &DecodedTrace,
    all: &InstructionColumns,
    events: &EventColumns,
    start: usize,
    stop: usize,
    what: &str,
) {
    let mut blocks = BlockColumns::default();
    stream.blocks(start as u64, stop as u64, 0, &mut blocks, &mut || false).unwrap();
    let mut breaks: HashSet<u64> = stream.gaps().iter().map(|gap| gap.step).collect();
    for row in 0..events.step.len() {
        let kind = EventColumns::KINDS[events.kind[row] as usize];
        if kind == "async_branch" || kind == "enabled" && events.resumed[row] == 0 {
            breaks.insert(events.step[row] as u64);
        }
    }
    let (mut executions, mut edges) = (HashMap::new(), HashMap::new());
    for row in 0..blocks.step.len() {
        *executions.entry((blocks.ip[row], blocks.end_ip[row], blocks.ninsn[row])).or_default() += 1u64;
        let next = blocks.step[row] as usize + usize::from(blocks.ninsn[row]);
        let insn = instruction::decode(&all.raw[16 * (next - 1)..16 * next], ExecMode::Bits64).unwrap();
        if insn.needs_trace() && next < stop && !breaks.contains(&(next as u64)) {
            *edges.entry((all.ip[next - 1], all.ip[next])).or_default() += 1u64;
        }
    }
    let mut coverage = Coverage::default();
    stream.coverage(start as u64, stop as u64, &mut coverage, &mut || false).unwrap();
    assert_eq!(coverage.blocks.into_iter().collect::<HashMap<_, _>>(), executions, "{what}");
    assert_eq!(coverage.edges.into_iter().collect::<HashMap<_, _>>(), edges, "{what}");
}

fn check_events(stream: &DecodedTrace, every: &EventColumns, random: &mut Random, what: &str) {
    assert!(every.offset.is_sorted(), "{what}: {:?}", every.offset);
    let most = every.offset.last().map_or(0, |&last| last as usize) + 2;
    let mut within = [random.below(most) as u64, random.below(most) as u64];
    within.sort_unstable();
    let within = within[0]..within[1];
    let what = &format!("{what}, events in {within:?}");
    let mut some = EventColumns::default();
    stream.events(within.clone(), 0, &mut some, &mut || false).unwrap();
    let rows: Vec<usize> = (0..every.step.len()).filter(|&row| within.contains(&every.offset[row])).collect();
    let pick = |column: &[u64]| rows.iter().map(|&row| column[row]).collect::<Vec<_>>();
    assert_eq!(some.step, rows.iter().map(|&row| every.step[row]).collect::<Vec<_>>(), "{what}");
    assert_eq!(some.kind, rows.iter().map(|&row| every.kind[row]).collect::<Vec<_>>(), "{what}");
    assert_eq!(some.after, rows.iter().map(|&row| every.after[row]).collect::<Vec<_>>(), "{what}");
    assert_eq!(some.ip, pick(&every.ip), "{what}");
    assert_eq!(some.offset, pick(&every.offset), "{what}");
}
