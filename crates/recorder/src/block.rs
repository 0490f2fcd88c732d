//! What is known beforehand about a stretch of code that runs from its first to its last instruction.

use std::sync::atomic::{AtomicU8, Ordering};

use odograph_core::instruction::{decode, Detail, ExecMode, Instruction, InstructionClass, Undecoded};

/// How control leaves a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Leave {
    /// On to the next instruction.
    Through,
    /// Direct jump.
    Jump,
    /// Direct call that pushes a return address.
    Call,
    /// Conditional branch: a TNT bit.
    Conditional,
    /// Near return: a TNT bit or a TIP.
    Return,
    /// Indirect near jump, or far transfer that stays in the program: a TIP.
    Indirect,
    /// Indirect near call: a TIP and a return address.
    IndirectCall,
    /// Last instruction is a repeated string instruction, which comes back to itself until done.
    Repeat,
    /// System call: tracing of the user's code stops after it.
    Syscall,
    /// Software interrupt: shown as an asynchronous event at itself, not as a step.
    Interrupt,
    /// Nothing ran: tracing is off until the next block begins.
    Off,
}

/// A new block was entered by a signal, perhaps.
pub const HANDLER: u8 = 1;
/// The block has one instruction that need not end a block: QEMU makes such ones to run an instruction again.
pub const SINGLE: u8 = 2;
/// Memory under the block can change without QEMU noticing: compare before each run.
pub const WATCHED: u8 = 4;

/// Straight code and how it ends. Never changes and is never freed once QEMU knows it.
#[derive(Debug)]
pub struct Block {
    /// Address of the first instruction.
    pub start: u64,
    /// Address after the last instruction.
    pub next: u64,
    /// Where a direct branch at the end goes; otherwise `next`.
    pub target: u64,
    /// Address of the last instruction.
    pub last: u64,
    /// Sizes of the instructions in order.
    pub sizes: Box<[u8]>,
    /// Bytes of the instructions, fewer where not all could be read.
    pub code: Box<[u8]>,
    /// How control leaves.
    pub leave: Leave,
    /// `HANDLER`, `SINGLE` and `WATCHED`.
    flags: AtomicU8,
}

impl Block {
    /// The block that stands for "nothing ran".
    pub fn off() -> Block {
        Block {
            start: 0,
            next: 0,
            target: 0,
            last: 0,
            sizes: Box::new([]),
            code: Box::new([]),
            leave: Leave::Off,
            flags: AtomicU8::new(0),
        }
    }

    /// The block of the instructions at `start` with these bytes, as far as they can be run as one:
    /// an instruction whose bytes are not complete ends it, and so does one that crosses into the
    /// next page unless it is the first, because QEMU leaves that one to a block of its own (its
    /// list of instructions has it nevertheless). `None` if nothing is left.
    pub fn new<'a>(start: u64, instructions: impl Iterator<Item = &'a [u8]>) -> Option<Block> {
        const PAGE: u64 = !0xfff;
        let (mut sizes, mut code) = (Vec::new(), Vec::new());
        let mut ip = start;
        let mut last = None;
        for bytes in instructions {
            let instruction = match decode(bytes, ExecMode::Bits64) {
                Ok(instruction) if usize::from(instruction.size) <= bytes.len() => instruction,
                Err(Undecoded::Truncated) if !sizes.is_empty() => break,
                // What cannot be decoded is believed to fault, or to be what QEMU says it is.
                _ => Instruction {
                    size: u8::try_from(bytes.len()).unwrap_or(15),
                    class: InstructionClass::Other,
                    detail: Detail::None,
                    displacement: 0,
                },
            };
            let size = u64::from(instruction.size);
            let end = ip.wrapping_add(size).wrapping_sub(1);
            if !sizes.is_empty() && end & PAGE != start & PAGE {
                break;
            }
            sizes.push(instruction.size);
            code.extend_from_slice(bytes.get(..usize::from(instruction.size)).unwrap_or(bytes));
            last = Some((ip, instruction));
            ip = ip.wrapping_add(size);
        }
        let (last, instruction) = last?;
        let leave = leave(&instruction);
        let single = sizes.len() == 1 && leave == Leave::Through;
        Some(Block {
            start,
            next: ip,
            target: instruction.target(last).unwrap_or(ip),
            last,
            sizes: sizes.into_boxed_slice(),
            code: code.into_boxed_slice(),
            leave,
            flags: AtomicU8::new(if single { SINGLE } else { 0 }),
        })
    }

    /// `HANDLER`, `SINGLE` and `WATCHED`, in one cheap read.
    #[inline(always)]
    pub fn flags(&self) -> u8 {
        self.flags.load(Ordering::Relaxed)
    }

    /// From now on this block may be the start of a signal handler.
    pub fn mark_handler(&self) {
        self.flags.fetch_or(HANDLER, Ordering::Relaxed);
    }

    /// Whether memory is compared with [`code`](Self::code) before the block runs.
    pub fn watch(&self, watched: bool) {
        if watched {
            self.flags.fetch_or(WATCHED, Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!WATCHED, Ordering::Relaxed);
        }
    }

    /// How many instructions lie before `ip`, if `ip` is the address of one of them.
    pub fn index_of(&self, ip: u64) -> Option<usize> {
        if ip.wrapping_sub(self.start) > self.last.wrapping_sub(self.start) {
            return None;
        }
        let mut at = self.start;
        for (index, size) in self.sizes.iter().enumerate() {
            if at == ip {
                return Some(index);
            }
            at = at.wrapping_add(u64::from(*size));
        }
        None
    }
}

fn leave(instruction: &Instruction) -> Leave {
    let direct = instruction.detail == Detail::Direct;
    match instruction.class {
        InstructionClass::CondJump => Leave::Conditional,
        InstructionClass::Jump if direct => Leave::Jump,
        // A call of the next instruction only reads the instruction pointer: nothing is pushed.
        InstructionClass::Call if direct && instruction.displacement == 0 => Leave::Jump,
        InstructionClass::Call if direct => Leave::Call,
        InstructionClass::Call => Leave::IndirectCall,
        InstructionClass::Jump | InstructionClass::Indirect => Leave::Indirect,
        InstructionClass::Return => Leave::Return,
        InstructionClass::FarCall => match instruction.detail {
            Detail::Syscall => Leave::Syscall,
            Detail::Int => Leave::Interrupt,
            _ => Leave::Indirect,
        },
        InstructionClass::FarReturn | InstructionClass::FarJump => Leave::Indirect,
        InstructionClass::Other if instruction.detail == Detail::RepString => Leave::Repeat,
        InstructionClass::Other | InstructionClass::Ptwrite | InstructionClass::Unknown => Leave::Through,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(start: u64, instructions: &[&[u8]]) -> Block {
        Block::new(start, instructions.iter().copied()).unwrap()
    }

    #[test]
    fn a_conditional_jump_knows_both_ways() {
        let loop_ = block(0x1000, &[&[0x48, 0xff, 0xc8], &[0x75, 0xfb]]);
        assert_eq!(loop_.leave, Leave::Conditional);
        assert_eq!((loop_.target, loop_.next, loop_.last), (0x1000, 0x1005, 0x1003));
        assert_eq!(loop_.index_of(0x1003), Some(1));
        assert_eq!(loop_.index_of(0x1001), None);
    }

    #[test]
    fn the_last_instruction_is_dropped_where_it_crosses_a_page() {
        // QEMU tells of the bytes it had read when it gave up.
        let cut = block(0x1ffd, &[&[0x90], &[0xe8]]);
        assert_eq!((cut.leave, cut.sizes.len(), cut.next), (Leave::Through, 1, 0x1ffe));
        let whole = block(0x1ffd, &[&[0x90], &[0xe8, 0, 1, 0, 0]]);
        assert_eq!((whole.leave, whole.sizes.len()), (Leave::Through, 1));
        let first = block(0x1ffe, &[&[0xe8, 0, 1, 0, 0]]);
        assert_eq!((first.leave, first.target), (Leave::Call, 0x2103));
        let fits = block(0x1ffa, &[&[0x90], &[0xe8, 0, 1, 0, 0]]);
        assert_eq!((fits.leave, fits.sizes.len()), (Leave::Call, 2));
    }

    #[test]
    fn what_leaves_a_block() {
        assert_eq!(block(0, &[&[0xe8, 0, 0, 0, 0]]).leave, Leave::Jump);
        assert_eq!(block(0, &[&[0xc3]]).leave, Leave::Return);
        assert_eq!(block(0, &[&[0xf3, 0xa4]]).leave, Leave::Repeat);
        assert_eq!(block(0, &[&[0x0f, 0x05]]).leave, Leave::Syscall);
        assert_eq!(block(0, &[&[0xcc]]).leave, Leave::Interrupt);
        assert_eq!(block(0, &[&[0xff, 0xd0]]).leave, Leave::IndirectCall);
        assert_eq!(block(0, &[&[0xff, 0xe0]]).leave, Leave::Indirect);
        assert_eq!(block(0, &[&[0x90]]).flags(), SINGLE);
    }
}
