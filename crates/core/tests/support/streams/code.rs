//! Random code in several regions, each in an execution mode of its own.

use odograph_core::instruction::ExecMode;

use super::super::random::Random;

/// What an instruction does to the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Conditional(usize),
    Jump(usize),
    Call(usize),
    /// A direct call to the next instruction: pushes nothing that a RET is compressed with.
    CallNext,
    JumpIndirect,
    CallIndirect,
    Return,
    Far,
    /// VMLAUNCH or VMRESUME: a far transfer that PIP and VMCS bind to.
    Entry,
    MovCr3,
    Vmptrld,
    Ptwrite,
}

/// One instruction; targets are indices into [`Code::instructions`].
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    pub ip: u64,
    pub size: u8,
    pub kind: Kind,
    pub mode: ExecMode,
    /// The instruction behind it, if its region goes on.
    pub next: Option<usize>,
}

/// Consecutive instructions in one mode.
#[derive(Clone, Debug)]
pub struct Region {
    pub base: u64,
    pub bytes: Vec<u8>,
}

/// A random program.
#[derive(Clone, Debug, Default)]
pub struct Code {
    pub regions: Vec<Region>,
    pub instructions: Vec<Instruction>,
}

const PLAIN: &[&[u8]] =
    &[&[0x90], &[0x31, 0xc0], &[0x0f, 0xa2], &[0x66, 0x90], &[0xf3, 0xa4], &[0x0f, 0x30], &[0xf4]];
const PLAIN_64: &[&[u8]] = &[
    &[0x48, 0x89, 0xc3],
    &[0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0],
    &[0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8],
];
const FAR: &[&[u8]] =
    &[&[0x0f, 0x05], &[0xcf], &[0xff, 0x2b], &[0xff, 0x1b], &[0xcb], &[0x0f, 0x34], &[0x0f, 0x07]];
const ENTRY: &[&[u8]] = &[&[0x0f, 0x01, 0xc2], &[0x0f, 0x01, 0xc3]];

impl Code {
    /// One to four regions; some lie back to back, one may lie at the end of the address space.
    pub fn random(random: &mut Random) -> Code {
        let mut code = Code::default();
        let mut base = random.pick(&[0x40_1000, 0x7fff_ffff_f000, 0xffff_8000_0000_1000, 0x1000, 0x40_1ff8]);
        for _ in 0..1 + random.below(4) {
            let mode = random.pick(&[ExecMode::Bits64, ExecMode::Bits64, ExecMode::Bits32, ExecMode::Bits16]);
            let count = random.pick(&[1, 3, 12, 40, 80]);
            code.region(random, base, mode, count);
            let end = code.regions.last().map_or(base, |region| region.base + region.bytes.len() as u64);
            base = if random.once_in(3) { end } else { end + random.pick(&[1, 16, 4096, 0x12_3456]) };
        }
        code
    }

    fn region(&mut self, random: &mut Random, base: u64, mode: ExecMode, count: usize) {
        let branches = random.pick(&[2, 3, 6, 20]);
        let first = self.instructions.len();
        let mut bytes: Vec<u8> = Vec::new();
        let mut fixups = Vec::new();
        for nth in 0..count {
            let start = bytes.len();
            let target = first + random.below(count);
            let last = nth + 1 == count;
            let kind = if !random.once_in(branches) && !last {
                Kind::Plain
            } else {
                match random.below(if last { 6 } else { 26 }) {
                    0 | 1 => Kind::JumpIndirect,
                    2 | 3 => Kind::Return,
                    4 => Kind::Far,
                    5 => Kind::Jump(target),
                    6..=12 => Kind::Conditional(target),
                    13..=14 => Kind::Jump(target),
                    15..=17 => Kind::Call(target),
                    18 => Kind::CallNext,
                    19 => Kind::CallIndirect,
                    20 => Kind::Return,
                    21 => Kind::MovCr3,
                    22 => Kind::Vmptrld,
                    23 => Kind::Entry,
                    _ => Kind::Ptwrite,
                }
            };
            let wide = if mode == ExecMode::Bits16 { 2 } else { 4 };
            let zeros = &[0u8; 4][..wide];
            match kind {
                Kind::Plain if mode == ExecMode::Bits64 && random.once_in(2) => {
                    bytes.extend_from_slice(random.pick(PLAIN_64));
                }
                Kind::Plain => bytes.extend_from_slice(random.pick(PLAIN)),
                Kind::Conditional(_) => {
                    bytes.extend_from_slice(&[0x0f, 0x80 + random.below(16) as u8]);
                    bytes.extend_from_slice(zeros);
                }
                Kind::Jump(_) => {
                    bytes.push(0xe9);
                    bytes.extend_from_slice(zeros);
                }
                Kind::Call(_) | Kind::CallNext => {
                    bytes.push(0xe8);
                    bytes.extend_from_slice(zeros);
                }
                Kind::JumpIndirect => bytes.extend_from_slice(&[0xff, 0xe0]),
                Kind::CallIndirect => bytes.extend_from_slice(&[0xff, 0xd0]),
                Kind::Return => bytes.push(0xc3),
                Kind::Far => bytes.extend_from_slice(random.pick(FAR)),
                Kind::Entry => bytes.extend_from_slice(random.pick(ENTRY)),
                Kind::MovCr3 => bytes.extend_from_slice(&[0x0f, 0x22, 0xd8]),
                Kind::Vmptrld => bytes.extend_from_slice(&[0x0f, 0xc7, 0x30]),
                Kind::Ptwrite => bytes.extend_from_slice(&[0xf3, 0x0f, 0xae, 0xe0]),
            }
            if let Kind::Conditional(to) | Kind::Jump(to) | Kind::Call(to) = kind {
                fixups.push((bytes.len(), wide, to));
            }
            self.instructions.push(Instruction {
                ip: base.wrapping_add(start as u64),
                size: (bytes.len() - start) as u8,
                kind,
                mode,
                next: (!last).then_some(first + nth + 1),
            });
        }
        for (end, wide, to) in fixups {
            let target = self.instructions[to].ip.wrapping_sub(base) as i64;
            let displacement = (target - end as i64) as i32;
            bytes[end - wide..end].copy_from_slice(&displacement.to_le_bytes()[..wide]);
        }
        // A call whose target happens to be the next instruction pushes nothing either.
        for nth in first..self.instructions.len() {
            if self.instructions[nth].kind == Kind::Call(nth + 1) {
                self.instructions[nth].kind = Kind::CallNext;
            }
        }
        self.regions.push(Region { base, bytes });
    }

    /// Any instruction.
    pub fn any(&self, random: &mut Random) -> usize {
        random.below(self.instructions.len())
    }

    /// Any instruction in `mode`; one in another mode if there is none.
    pub fn any_in(&self, random: &mut Random, mode: ExecMode) -> usize {
        for _ in 0..20 {
            let nth = self.any(random);
            if self.instructions[nth].mode == mode {
                return nth;
            }
        }
        self.any(random)
    }
}
