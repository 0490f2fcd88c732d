//! Damaged traces, packets that are nearly in order, and noise.

use odograph_core::packet::{encode, IpCompression, IpPayload, Packet, Tnt};

use super::super::random::Random;
use super::case::Part;
use super::code::Code;

/// An address, mostly of an instruction, compressed somehow.
fn payload(random: &mut Random, code: &Code) -> IpPayload {
    let any = code.any(random);
    let ip = if random.once_in(12) { random.next() } else { code.instructions[any].ip };
    let (compression, bits) = match random.below(10) {
        0 => (IpCompression::Suppressed, 0),
        1 => (IpCompression::Update16, 16),
        2 => (IpCompression::Update32, 32),
        3 => (IpCompression::Sext48, 48),
        4 => (IpCompression::Update48, 48),
        _ => (IpCompression::Full, 64),
    };
    IpPayload { compression, ip: if bits == 0 { 0 } else { ip & (u64::MAX >> (64 - bits)) } }
}

/// The same for a FUP or TIP.PGE, which a processor never writes without an address.
fn place(random: &mut Random, code: &Code) -> IpPayload {
    loop {
        let payload = payload(random, code);
        if payload.compression != IpCompression::Suppressed {
            return payload;
        }
    }
}

/// Any packet that libipt 2.0.5 knows.
pub fn packet(random: &mut Random, code: &Code) -> Packet {
    let (flag, other) = (random.once_in(2), random.once_in(2));
    let size = 1 + random.below(6) as u8;
    match random.below(40) {
        0..=5 => Packet::Tnt8(Tnt { size, bits: random.next() & ((1 << size) - 1) }),
        6 => {
            let size = 1 + random.below(47) as u8;
            Packet::Tnt64(Tnt { size, bits: random.next() & ((1 << size) - 1) })
        }
        7..=10 => Packet::Tip(payload(random, code)),
        11..=14 => Packet::Fup(place(random, code)),
        15..=17 => Packet::TipPge(place(random, code)),
        18 | 19 => Packet::TipPgd(payload(random, code)),
        20 => Packet::Ovf,
        21 | 22 => Packet::ModeExec { csl: flag, csd: !flag && other, iflag: false },
        23 => Packet::ModeTsx { intx: flag, abrt: other && !flag },
        24 => Packet::Pip { cr3: (random.next() & 3) << 12, nr: flag },
        25 => Packet::Vmcs { base: (random.next() & 3) << 12 },
        26 => Packet::Cbr { ratio: 1 + random.below(60) as u8 },
        27 => Packet::Tsc { tsc: random.next() & 0xffff },
        28 => Packet::Mtc { ctc: random.next() as u8 },
        29 => Packet::Tma { ctc: random.next() as u16, fc: (random.next() & 0x1ff) as u16 },
        30 => Packet::Cyc { value: random.next() >> (64 - random.pick(&[2, 5, 9, 20])) },
        31 => Packet::Exstop { ip: flag },
        32 => Packet::Mwait { hints: 1, ext: 0 },
        33 => Packet::Pwre { state: 1, sub_state: 0, hw: flag },
        34 => Packet::Pwrx { last: 1, deepest: 1, interrupt: flag, store: other, autonomous: false },
        35 => Packet::Ptw { payload: 1, plc: u8::from(other), ip: flag },
        36 => Packet::Mnt { payload: 3 },
        37 => Packet::Stop,
        38 => Packet::Psbend,
        _ => Packet::Pad,
    }
}

/// A packet of later processors.
fn later(random: &mut Random) -> Packet {
    let (flag, other) = (random.once_in(2), random.once_in(2));
    match random.below(8) {
        0..=2 => Packet::Cfe { kind: random.below(16) as u8, vector: 3, ip: flag },
        3 => Packet::Evd { kind: random.below(3) as u8, payload: 5 },
        4 => Packet::Trig { trbv: 1, icnt: 0, ip: true, icntv: true, mult: other },
        5 => Packet::Trig { trbv: 1, icnt: random.below(4) as u16, ip: false, icntv: true, mult: other },
        6 => Packet::ModeExec { csl: flag, csd: false, iflag: other },
        _ => Packet::Bep { ip: flag },
    }
}

/// Puts packets of later processors in between.
pub fn sprinkle(random: &mut Random, parts: &mut Vec<Part>) {
    for _ in 0..parts.len() / 8 {
        let at = random.below(parts.len());
        parts.insert(at, Part::Packet(later(random)));
    }
}

/// What may stand in PSB+.
fn in_psb(random: &mut Random, code: &Code) -> Packet {
    match random.below(11) {
        0 | 1 => Packet::Fup(place(random, code)),
        2 => {
            let mode = code.instructions[code.any(random)].mode;
            super::writer::mode_exec(mode, false)
        }
        3 => Packet::ModeTsx { intx: random.once_in(2), abrt: false },
        4 => Packet::Pip { cr3: (random.next() & 3) << 12, nr: false },
        5 => Packet::Vmcs { base: (random.next() & 3) << 12 },
        6 => Packet::Cbr { ratio: 7 },
        7 => Packet::Tsc { tsc: random.next() & 0xffff },
        8 => Packet::Mtc { ctc: random.next() as u8 },
        9 => Packet::Mnt { payload: 9 },
        _ => Packet::Pad,
    }
}

/// Packets of any kind, many of them where they may stand.
pub fn packets(random: &mut Random, code: &Code, count: usize) -> Vec<Part> {
    let mut out = Vec::new();
    let mut put = |packet| out.push(Part::Packet(packet));
    for nth in 0..count {
        if nth == 0 || random.once_in(12) {
            put(Packet::Psb);
            for _ in 0..random.below(5) {
                put(in_psb(random, code));
            }
            put(if random.once_in(10) { Packet::Ovf } else { Packet::Psbend });
        }
        match random.below(8) {
            0 => {
                put(Packet::Fup(place(random, code)));
                if random.once_in(3) {
                    put(packet(random, code));
                }
                put(Packet::Tip(payload(random, code)));
            }
            1 => {
                put(Packet::TipPgd(payload(random, code)));
                if random.once_in(2) {
                    put(packet(random, code));
                }
                put(Packet::TipPge(place(random, code)));
            }
            2 => {
                put(Packet::Ovf);
                if random.once_in(3) {
                    put(packet(random, code));
                }
                put(Packet::Fup(place(random, code)));
            }
            _ => put(packet(random, code)),
        }
    }
    out
}

/// Overflows, what may follow them on processors with errata, and branches that show what is known then.
pub fn overflows(random: &mut Random, code: &Code, count: usize) -> Vec<Part> {
    let mut out = Vec::new();
    let mut put = |packet| out.push(Part::Packet(packet));
    for _ in 0..count {
        put(Packet::Psb);
        if random.once_in(2) {
            put(Packet::Fup(place(random, code)));
        }
        put(Packet::Psbend);
        if random.once_in(3) {
            put(Packet::TipPge(place(random, code)));
        }
        put(Packet::Ovf);
        for _ in 0..random.below(4) {
            put(match random.below(16) {
                0..=3 => Packet::Fup(place(random, code)),
                4..=6 => Packet::TipPgd(payload(random, code)),
                7 => Packet::TipPge(place(random, code)),
                8 => Packet::Tip(payload(random, code)),
                9 => Packet::ModeTsx { intx: random.once_in(2), abrt: random.once_in(3) },
                10 => Packet::Cbr { ratio: 4 },
                11 => Packet::Cyc { value: 7 },
                12 => Packet::Psb,
                13 => in_psb(random, code),
                14 => Packet::Stop,
                _ => packet(random, code),
            });
        }
        put(match random.below(3) {
            0 => Packet::Tip(payload(random, code)),
            1 => Packet::TipPge(place(random, code)),
            _ => packet(random, code),
        });
    }
    out
}

/// Bytes without sense, PSBs among them, the first bytes of packets more often than others.
pub fn noise(random: &mut Random, count: usize) -> Vec<Part> {
    let mut out = Vec::new();
    let heads = [0x02, 0x0d, 0x1d, 0x2d, 0x3d, 0x11, 0x31, 0x01, 0x99, 0x19, 0x59, 0x04, 0x06, 0x1c, 0x03];
    for nth in 0..count {
        if nth == 0 || random.once_in(30) {
            out.push(Part::Packet(Packet::Psb));
            if random.once_in(2) {
                out.push(Part::Packet(Packet::Psbend));
            }
        }
        let byte = if random.once_in(2) { random.next() as u8 } else { random.pick(&heads) };
        out.push(Part::Raw(vec![byte]));
    }
    out
}

/// Drops, repeats, swaps, changes and cuts packets; flips bytes.
pub fn damage(random: &mut Random, code: &Code, parts: &mut Vec<Part>) {
    for _ in 0..1 + random.below(4) {
        if parts.len() < 4 {
            return;
        }
        let at = random.below(parts.len());
        match random.below(8) {
            0 | 1 => drop(parts.remove(at)),
            2 => {
                let part = parts[at].clone();
                parts.insert(at, part);
            }
            3 => {
                let other = random.below(parts.len());
                parts.swap(at, other);
            }
            4 => parts[at] = Part::Packet(packet(random, code)),
            5 => parts.insert(at, Part::Packet(packet(random, code))),
            6 => {
                let mut bytes = bytes_of(&parts[at]);
                let place = random.below(bytes.len());
                if random.once_in(2) {
                    bytes[place] ^= 1 << random.below(8);
                } else {
                    bytes.truncate(place);
                }
                parts[at] = Part::Raw(bytes);
            }
            _ => {
                if random.once_in(6) {
                    parts.truncate(at);
                }
            }
        }
    }
}

/// The bytes of a part; not empty.
fn bytes_of(part: &Part) -> Vec<u8> {
    let mut bytes = Vec::new();
    match part {
        Part::Packet(packet) => drop(encode(packet, &mut bytes)),
        Part::Raw(raw) => bytes.extend_from_slice(raw),
    }
    if bytes.is_empty() {
        bytes.push(0);
    }
    bytes
}
