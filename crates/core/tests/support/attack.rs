//! Hostile input: damaged and random traces over damaged, random and endless code.

use std::sync::Arc;

use odograph_core::asid::Asid;
use odograph_core::config::{CpuChoice, TraceConfig};
use odograph_core::cpu::Cpu;
use odograph_core::flow::{Gap, Timeline};
use odograph_core::history::{
    decode, BlockColumns, Counts, DecodeError, DecodeOptions, EventColumns, Hashing, InstructionColumns,
    LiveError, Names, OnError, Resync, StackPart, Stacks, Stream,
};
use odograph_core::image::Image;
use odograph_core::memory::{MemoryError, ReadMemory};
use odograph_core::packet::{encode, IpCompression, IpPayload, Packet, Tnt, PSB};

use super::forgery::forge;
use super::live::fed;
use super::parts::assembled;
use super::program::Program;
use super::random::Random;
use super::run::run;

/// Memory that answers everything, with bytes that depend on the address only.
pub enum Endless {
    /// NOPs up to the end of the address space and around.
    Nops,
    /// A jump to itself everywhere.
    Itself,
    /// Bytes that look random.
    Junk,
    /// Jumps from page to page.
    Pages,
    /// PTWRITE after PTWRITE.
    Ptwrites,
}

impl Endless {
    fn byte(&self, address: u64) -> u8 {
        let cycle = |code: &[u8]| code[(address % code.len() as u64) as usize];
        match self {
            Endless::Nops => 0x90,
            Endless::Itself => cycle(&[0xeb, 0xfe]),
            Endless::Junk => (address.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8,
            Endless::Pages => {
                [0xe9, 0xfb, 0x0f, 0, 0].get((address % 4096) as usize).copied().unwrap_or(0xcc)
            }
            Endless::Ptwrites => cycle(&[0xf3, 0x0f, 0xae, 0xe0]),
        }
    }
}

impl ReadMemory for Endless {
    fn read(&self, address: u64, size: usize, _: &Asid) -> Result<Vec<u8>, MemoryError> {
        Ok((0..size as u64).map(|at| self.byte(address.wrapping_add(at))).collect())
    }
}

/// One packet of any kind, mostly such as the code could have caused.
fn random_packet(random: &mut Random, program: &Program) -> Packet {
    let instruction = program.instructions[random.below(program.instructions.len())];
    let ip = if random.once_in(8) { random.next() } else { instruction.ip };
    let payload = match random.below(6) {
        0 => IpPayload { compression: IpCompression::Suppressed, ip: 0 },
        1 => IpPayload { compression: IpCompression::Update16, ip: ip & 0xffff },
        _ => IpPayload { compression: IpCompression::Full, ip },
    };
    let (flag, other) = (random.once_in(2), random.once_in(2));
    let size = 1 + random.below(6) as u8;
    match random.below(34) {
        0..=6 => Packet::Tnt8(Tnt { size, bits: random.next() & ((1 << size) - 1) }),
        7 => Packet::Tnt64(Tnt { size: 47, bits: random.next() & ((1 << 47) - 1) }),
        8..=10 => Packet::Tip(payload),
        11..=13 => Packet::Fup(payload),
        14 | 15 => Packet::TipPge(payload),
        16 => Packet::TipPgd(payload),
        17 => Packet::Ovf,
        18 => Packet::ModeExec { csl: flag, csd: other, iflag: flag },
        19 => Packet::ModeTsx { intx: flag, abrt: other },
        20 => Packet::Pip { cr3: (random.next() & 0xffff) << 5, nr: flag },
        21 => Packet::Vmcs { base: (random.next() & 0xf) << 12 },
        22 => Packet::Cbr { ratio: 9 },
        23 => Packet::Tsc { tsc: random.next() & 0xffff },
        24 => Packet::Mtc { ctc: random.next() as u8 },
        25 => Packet::Tma { ctc: random.next() as u16, fc: 3 },
        26 => Packet::Exstop { ip: flag },
        27 => Packet::Mwait { hints: 1, ext: 0 },
        28 => Packet::Pwre { state: 1, sub_state: 0, hw: flag },
        29 => Packet::Pwrx { last: 1, deepest: 1, interrupt: flag, store: other, autonomous: false },
        30 => Packet::Ptw { payload: 1, plc: 1, ip: flag },
        31 => Packet::Cfe { kind: random.below(16) as u8, vector: 3, ip: flag },
        32 => Packet::Trig { trbv: 1, icnt: 0, ip: flag, icntv: true, mult: other },
        _ => Packet::Psbend,
    }
}

/// A trace made of random packets, with a PSB now and then.
fn random_packets(random: &mut Random, program: &Program, count: usize) -> Vec<u8> {
    let mut trace = Vec::new();
    for nth in 0..count {
        if nth == 0 || random.once_in(40) {
            trace.extend_from_slice(&PSB);
            if random.once_in(2) {
                let ip = program.instructions[random.below(program.instructions.len())].ip;
                let _ = encode(&Packet::Fup(IpPayload { compression: IpCompression::Full, ip }), &mut trace);
            }
            let _ = encode(&Packet::Psbend, &mut trace);
        }
        let _ = encode(&random_packet(random, program), &mut trace);
    }
    trace
}

/// Flips, drops, repeats and moves bytes.
fn damage(random: &mut Random, trace: &mut Vec<u8>) {
    for _ in 0..1 + random.below(12) {
        if trace.len() < 64 {
            return;
        }
        let at = random.below(trace.len() - 40);
        let size = 1 + random.below(30);
        match random.below(5) {
            0 => trace[at] ^= 1 << random.below(8),
            1 => trace[at] = random.next() as u8,
            2 => drop(trace.drain(at..at + size)),
            3 => {
                let piece = trace[at..at + size].to_vec();
                let to = random.below(trace.len());
                trace.splice(to..to, piece);
            }
            _ => trace.truncate(trace.len() - size),
        }
    }
}

/// What a history says, for comparison.
#[derive(Debug, PartialEq)]
pub struct Told {
    steps: u64,
    gaps: Vec<Gap>,
    hash: u64,
    events: Vec<(i64, u8, i16, u64, u64, u64)>,
}

/// Everything a stream tells.
pub fn told(stream: &Stream) -> Told {
    told_by([(stream, 0, 0)])
}

/// Everything that streams tell, one behind the other; with each the steps and the trace bytes before it.
fn told_by<'a>(streams: impl IntoIterator<Item = (&'a Stream, u64, u64)>) -> Told {
    let mut told = Told { steps: 0, gaps: Vec::new(), hash: 0, events: Vec::new() };
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
        let gaps = stream.gaps().iter();
        told.gaps.extend(gaps.map(|gap| Gap { step: gap.step + step, offset: gap.offset + base, ..*gap }));
        told.steps += stream.steps();
        hashing = stream.hash(0, stream.steps(), hashing, &mut || false).unwrap();
    }
    Told { hash: hashing.value(), ..told }
}

/// Decodes one hostile input in several ways and compares them. Returns steps and gaps found.
pub fn attack(seed: u64) -> (u64, usize) {
    let mut random = Random::new(seed);
    let count = random.pick(&[2, 30, 200]);
    let base = random.pick(&[0x40_1000, 0u64.wrapping_sub(300), 0]);
    let program = Program::random(&mut random, base, count);
    let mut trace = match random.below(4) {
        0 | 1 => run(&program, &mut random, 800, false).trace,
        2 => random_packets(&mut random, &program, 400),
        _ => {
            let mut trace = PSB.to_vec();
            trace.extend((0..600).map(|_| random.next() as u8));
            trace
        }
    };
    damage(&mut random, &mut trace);
    let mut image = Image::new(None);
    let memory = random.below(9);
    match memory {
        0 => image.set_callback(Some(Arc::new(Endless::Nops))),
        1 => image.set_callback(Some(Arc::new(Endless::Itself))),
        2 => image.set_callback(Some(Arc::new(Endless::Junk))),
        3 => image.set_callback(Some(Arc::new(Endless::Pages))),
        4 => image.set_callback(Some(Arc::new(Endless::Ptwrites))),
        _ => None,
    };
    if memory > 2 {
        let mut bytes = program.bytes.clone();
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        let to_top = if base == 0 { bytes.len() } else { bytes.len().min(base.wrapping_neg() as usize) };
        let _ = image.add_bytes(bytes[..to_top].to_vec(), base, &Asid::default(), None);
    }
    let cpu = match random.below(4) {
        0 => CpuChoice::NoErrata,
        1 => CpuChoice::Exactly(Cpu { family: 6, model: 0x5e, stepping: 3 }),
        2 => CpuChoice::Exactly(Cpu { family: 6, model: 0x5c, stepping: 0 }),
        _ => CpuChoice::Auto,
    };
    let clock = random.below(3) as u32;
    let config = TraceConfig {
        cpu,
        mtc_freq: random.pick(&[0, 3, 9]),
        nom_freq: random.pick(&[0, 10]),
        cpuid_0x15_eax: clock.min(1),
        cpuid_0x15_ebx: 2 * clock,
        ..TraceConfig::default()
    };
    let mut plain = DecodeOptions {
        resync: if random.once_in(3) { Resync::Psb } else { Resync::Ip },
        ..DecodeOptions::default()
    };
    plain.engine.linear_limit = 1 << (12 + random.below(2));
    let mut cramped = plain.clone();
    cramped.checkpoint_distance = 1 + random.below(100) as u64;
    cramped.graph_limits = Some((1 + random.below(9), 1 + random.below(40)));
    cramped.engine.checkpoint_every = random.pick(&[1, 60, 1 << 18]);
    let trace = Arc::new(trace);
    let decoded = |options: &DecodeOptions| {
        let timeline = Timeline::constant(image.clone());
        decode(trace.clone(), &config, timeline, options.clone(), |_| false).ok()
    };
    let stream = decoded(&plain).expect("damage is a gap");
    let expected = told(&stream);
    let other = decoded(&cramped).expect("damage is a gap");
    let found = told(&other);
    assert_eq!(found.gaps, expected.gaps, "seed {seed}");
    assert_eq!(found.events, expected.events, "seed {seed}");
    assert_eq!(found, expected, "seed {seed}");
    passes_agree(&stream, &other, &mut random, seed);
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
    passes_agree(&stream, &by_threads, &mut random, seed);
    let size = 200 + random.below(2000) as u64;
    let timeline = Timeline::constant(image.clone());
    let (by_parts, ..) = assembled(&trace, &config, &timeline, &threads, size, &mut random);
    let found = told(&by_parts);
    assert_eq!(found.gaps, expected.gaps, "seed {seed}, parts");
    assert_eq!(found.events, expected.events, "seed {seed}, parts");
    assert_eq!(found, expected, "seed {seed}, parts");
    passes_agree(&stream, &by_parts, &mut random, seed);
    for kept in [&other, &by_threads, &by_parts] {
        let Ok(saved) = kept.save() else {
            assert!(image.callback().is_some(), "seed {seed}");
            continue;
        };
        let timeline = Timeline::constant(image.clone());
        let options = threads.clone();
        let loaded = Stream::load(&saved, trace.clone(), &config, timeline.clone(), options, || false);
        let loaded = loaded.unwrap_or_else(|stale| panic!("seed {seed}: {stale}"));
        assert_eq!(told(&loaded), expected, "seed {seed}, saved");
        passes_agree(&stream, &loaded, &mut random, seed);
        forge(&saved, &mut random, 2, |forged| {
            Stream::load(forged, trace.clone(), &config, timeline.clone(), threads.clone(), || false).ok()
        });
    }
    let parts = fed(&trace, &config, &image, &threads, &mut random).ok().expect("damage is a gap");
    let found = told_by(parts.iter().map(|part| (&part.stream, part.first_step, part.offset)));
    assert_eq!(found.gaps, expected.gaps, "seed {seed}, live");
    assert_eq!(found.events, expected.events, "seed {seed}, live");
    assert_eq!(found, expected, "seed {seed}, live");
    let raising = DecodeOptions { on_error: OnError::Raise, ..plain };
    match fed(&trace, &config, &image, &raising, &mut random) {
        Err(LiveError::Decode(DecodeError::Gap(gap))) => {
            assert_eq!(Some(&gap), expected.gaps.first(), "seed {seed}, live")
        }
        Err(_) => panic!("seed {seed}, live: stopped for another reason than a gap"),
        Ok(_) => assert!(expected.gaps.is_empty(), "seed {seed}, live"),
    }
    for threads in [1, 3] {
        let options = DecodeOptions { threads, piece: Some(300), ..raising.clone() };
        let timeline = Timeline::constant(image.clone());
        match decode(trace.clone(), &config, timeline, options, |_| false) {
            Err(DecodeError::Gap(gap)) => assert_eq!(Some(&gap), expected.gaps.first(), "seed {seed}"),
            Err(_) => panic!("seed {seed}: stopped for another reason than a gap"),
            Ok(_) => assert!(expected.gaps.is_empty(), "seed {seed}"),
        }
    }
    stacks_agree(stream, by_threads, &mut random, seed);
    (expected.steps, expected.gaps.len())
}

fn stacks_agree(stream: Stream, other: Stream, random: &mut Random, seed: u64) {
    let total = stream.steps();
    let stacks = |stream: Stream| {
        let (last, stream) = (stream.steps(), Arc::new(stream));
        let part = StackPart { stream, first: 0, last, within: 0..u64::MAX, base: 0, lost: false };
        Stacks::new(vec![part], Names::default(), Vec::new(), &mut || false).unwrap()
    };
    let (one, other) = (stacks(stream), stacks(other));
    for nth in 0..4 {
        let step = if nth == 0 { total } else { random.below(total as usize + 1) as u64 };
        let found = other.at(step, 1000, &mut || false).unwrap();
        assert_eq!(found, one.at(step, 1000, &mut || false).unwrap(), "seed {seed}, step {step}");
    }
}

fn passes_agree(stream: &Stream, other: &Stream, random: &mut Random, seed: u64) {
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
