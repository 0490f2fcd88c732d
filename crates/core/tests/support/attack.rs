//! Hostile input: damaged and random traces over damaged, random and endless code.

use std::sync::Arc;

use odograph_core::asid::Asid;
use odograph_core::config::{CpuChoice, TraceConfig};
use odograph_core::cpu::Cpu;
use odograph_core::history::{DecodeOptions, Resync};
use odograph_core::image::Image;
use odograph_core::memory::{MemoryError, ReadMemory};
use odograph_core::packet::{
    decode as decode_packet, encode, mark, BlockContext, IpCompression, IpPayload, Packet, Tnt, PSB,
};

use super::program::Program;
use super::random::Random;
use super::run::run;
use super::ways::every_way;

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
    with_marks(&mut trace, seed);
    let found = every_way(&Arc::new(trace), &config, &image, &plain, cramped, &mut random, seed);
    (found.steps, found.gaps.len())
}

/// Puts marks of recorders, mostly wrong ones, before some of the FUPs and PSBs of some traces.
fn with_marks(trace: &mut Vec<u8>, seed: u64) {
    if seed % 7 > 2 {
        return;
    }
    let mut random = Random::new(seed ^ 0x6d61_726b);
    let mut marked = Vec::new();
    let mut at = 0;
    while let Some(rest) = trace.get(at..).filter(|rest| !rest.is_empty()) {
        let (packet, size) = match decode_packet(rest, &mut BlockContext::default()) {
            Ok(decoded) => decoded,
            Err(_) => (Packet::Pad, 1),
        };
        if matches!(packet, Packet::Fup(_) | Packet::Psb) && random.once_in(2) {
            let count = random.pick(&[0, 1, 2, 5, 20, 100, 4000, 1 << 21, u64::MAX]);
            let _ = encode(&mark(count), &mut marked);
        }
        marked.extend_from_slice(&rest[..size]);
        at += size;
    }
    *trace = marked;
}
