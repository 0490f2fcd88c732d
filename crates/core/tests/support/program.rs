//! Random 64-bit programs.

use super::random::Random;

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
    MovCr3,
    Ptwrite,
}

/// One instruction; targets are indices of instructions.
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    pub ip: u64,
    pub size: u8,
    pub kind: Kind,
}

/// Code at an address.
pub struct Program {
    pub base: u64,
    pub bytes: Vec<u8>,
    pub instructions: Vec<Instruction>,
}

const PLAIN: &[&[u8]] = &[
    &[0x90],
    &[0x48, 0x89, 0xc3],
    &[0x31, 0xc0],
    &[0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0],
    &[0xf3, 0xa4],
    &[0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8],
    &[0xc5, 0xf8, 0x77],
];

impl Program {
    /// `count` instructions from `base` on, which may lie just below the end of the address space.
    pub fn random(random: &mut Random, base: u64, count: usize) -> Program {
        let branches = random.pick(&[2, 4, 8, 30]);
        let mut bytes = Vec::new();
        let mut instructions = Vec::new();
        let mut fixups = Vec::new();
        for nth in 0..count {
            let ip = base.wrapping_add(bytes.len() as u64);
            let start = bytes.len();
            let target = random.below(count);
            let last = nth + 1 == count;
            let kind = if last {
                Kind::JumpIndirect
            } else if !random.once_in(branches) {
                Kind::Plain
            } else {
                match random.below(20) {
                    0..=7 => Kind::Conditional(target),
                    8..=9 => Kind::Jump(target),
                    10..=12 => Kind::Call(target),
                    13 => Kind::CallNext,
                    14 => Kind::JumpIndirect,
                    15 => Kind::CallIndirect,
                    16..=17 => Kind::Return,
                    18 => random.pick(&[Kind::Far, Kind::MovCr3]),
                    _ => Kind::Ptwrite,
                }
            };
            match kind {
                Kind::Plain => bytes.extend_from_slice(random.pick(PLAIN)),
                Kind::Conditional(_) => bytes.extend_from_slice(&[0x0f, 0x84, 0, 0, 0, 0]),
                Kind::Jump(_) => bytes.extend_from_slice(&[0xe9, 0, 0, 0, 0]),
                Kind::Call(_) | Kind::CallNext => bytes.extend_from_slice(&[0xe8, 0, 0, 0, 0]),
                Kind::JumpIndirect => bytes.extend_from_slice(&[0xff, 0xe0]),
                Kind::CallIndirect => bytes.extend_from_slice(&[0xff, 0xd0]),
                Kind::Return => bytes.push(0xc3),
                Kind::Far => bytes.extend_from_slice(&[0x0f, 0x05]),
                Kind::MovCr3 => bytes.extend_from_slice(&[0x0f, 0x22, 0xd8]),
                Kind::Ptwrite => bytes.extend_from_slice(&[0xf3, 0x0f, 0xae, 0xe0]),
            }
            if let Kind::Conditional(to) | Kind::Jump(to) | Kind::Call(to) = kind {
                fixups.push((bytes.len(), to));
            }
            instructions.push(Instruction { ip, size: (bytes.len() - start) as u8, kind });
        }
        for (end, to) in fixups {
            let target = instructions[to].ip.wrapping_sub(base) as i64;
            let displacement = (target - end as i64) as i32;
            bytes[end - 4..end].copy_from_slice(&displacement.to_le_bytes());
        }
        // A call whose target happens to be the next instruction pushes nothing either.
        for (nth, instruction) in instructions.iter_mut().enumerate() {
            if instruction.kind == Kind::Call(nth + 1) {
                instruction.kind = Kind::CallNext;
            }
        }
        Program { base, bytes, instructions }
    }
}
