//! From one frame to its caller's.

use super::expression::evaluate;
use super::machine::{Machine, Registers};
use super::memory::{Memory, Pages};
use super::modules::Modules;
use super::plain::{stripped, Plain};
use super::row::{Cfa, Row, Rule};
use super::uncovered::{follows_call, interrupted, shape, Shape};

/// How a frame was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is where unwinding began.
    Start,
    /// By call frame information.
    UnwindInfo,
    /// By a frame pointer.
    FramePointer,
    /// By what the instructions tell, in code that has no frame of its own.
    Leaf,
    /// A signal interrupted it.
    Signal,
}

/// A frame while its caller is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Its registers, the program counter among them.
    pub registers: Registers,
    /// A call will return to its program counter.
    pub is_return: bool,
    /// How it was found.
    pub found: Found,
    /// It is likely, and no more than that.
    pub is_guess: bool,
}

/// Why a stack has no further frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was seen to end.
    Bottom,
    /// Its memory is not there.
    Memory(u64),
    /// Nothing tells how to leave the code at an address.
    Unknown(u64),
    /// A rule at an address needs what is not known, or makes no sense.
    Rule(u64),
    /// A return address that cannot be right.
    Address(u64),
    /// The stack pointer would go back, from and to these addresses.
    Backwards(u64, u64),
    /// The same frame, with this address, again.
    Cycle(u64),
    /// There are more frames than were asked for.
    Limit(usize),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Bottom => write!(f, "bottom"),
            End::Memory(address) => write!(f, "no memory at {address:#x}"),
            End::Unknown(address) => write!(f, "no unwind information for {address:#x}"),
            End::Rule(address) => write!(f, "the unwind information for {address:#x} cannot be followed"),
            End::Address(address) => write!(f, "the return address {address:#x} is invalid"),
            End::Backwards(from, to) => {
                write!(f, "the stack pointer would go back from {from:#x} to {to:#x}")
            }
            End::Cycle(address) => write!(f, "a cycle: the frame at {address:#x} comes again"),
            End::Limit(count) => write!(f, "more than {count} frames"),
        }
    }
}

/// What steps share.
pub struct Stepper<'s, 'm, M: Memory> {
    /// The machine.
    pub machine: Machine,
    /// Where files lie.
    pub modules: &'s Modules,
    /// framehop.
    pub plain: &'s mut Plain,
    /// The memory of the process.
    pub memory: &'s mut Pages<'m, M>,
}

type Step<M> = Result<Result<Frame, End>, <M as Memory>::Error>;

impl<M: Memory> Stepper<'_, '_, M> {
    /// The caller of a frame, by the row of its instruction if there is one.
    pub fn step(&mut self, frame: &Frame, row: Option<&Row>) -> Step<M> {
        match row {
            Some(row) => self.by_row(frame, row),
            None => self.uncovered(frame),
        }
    }

    fn by_row(&mut self, frame: &Frame, row: &Row) -> Step<M> {
        let (registers, machine) = (&frame.registers, self.machine);
        let pc = registers.get(machine.pc()).unwrap_or(0);
        let wrong = Ok(Err(End::Rule(pc)));
        let cfa = match &row.cfa {
            Cfa::Register(register, offset) => {
                registers.get(*register).map(|base| base.wrapping_add_signed(*offset))
            }
            Cfa::Expression(bytes) => evaluate(bytes, row, None, registers, self.memory)?,
        };
        let Some(cfa) = cfa else { return wrong };
        // A return address that is kept in a register can be so in a frame that calls nothing, and in no other.
        let by_rule = row.rule(row.return_register);
        match by_rule {
            Some(Rule::Undefined) => return Ok(Err(End::Bottom)),
            None if machine == Machine::X86_64 => return Ok(Err(End::Bottom)),
            None | Some(Rule::Same) if frame.is_return => return wrong,
            _ => {}
        }
        let mut its = Registers::default();
        for (register, value) in registers.known() {
            if row.is_signal || machine.is_preserved(register) {
                its.set(register, Some(value));
            }
        }
        its.set(machine.pc(), None);
        its.set(machine.sp(), Some(cfa));
        let by_framehop = if row.is_plain(machine) {
            self.plain.caller(frame.is_return, registers, self.memory)?.filter(|caller| caller.sp == cfa)
        } else {
            None
        };
        for (register, rule) in &row.rules {
            let value = match rule {
                Rule::Undefined => None,
                Rule::Same => registers.get(*register),
                Rule::Offset(_) if *register == machine.pc() && by_framehop.is_some() => continue,
                Rule::Offset(offset) => self.memory.word(cfa.wrapping_add_signed(*offset))?,
                Rule::ValueOffset(offset) => Some(cfa.wrapping_add_signed(*offset)),
                Rule::Register(other) => registers.get(*other),
                Rule::Expression(bytes) => match evaluate(bytes, row, Some(cfa), registers, self.memory)? {
                    Some(address) => self.memory.word(address)?,
                    None => None,
                },
                Rule::ValueExpression(bytes) => evaluate(bytes, row, Some(cfa), registers, self.memory)?,
            };
            its.set(*register, value);
        }
        let next = match by_framehop {
            Some(caller) => Some(caller.pc),
            None if row.return_register == machine.pc() || by_rule.is_some() => its.get(row.return_register),
            // AArch64: the link register, as it is.
            None => registers.get(row.return_register),
        };
        let Some(next) = next else {
            return Ok(Err(match by_rule {
                Some(Rule::Offset(offset)) => End::Memory(cfa.wrapping_add_signed(*offset)),
                _ => End::Rule(pc),
            }));
        };
        let next = stripped(machine, next, self.modules.end());
        its.set(machine.pc(), Some(next));
        let found = if row.is_signal { Found::Signal } else { Found::UnwindInfo };
        Ok(Ok(Frame { registers: its, is_return: !row.is_signal, found, is_guess: false }))
    }

    fn uncovered(&mut self, frame: &Frame) -> Step<M> {
        let (registers, machine) = (&frame.registers, self.machine);
        let pc = registers.get(machine.pc()).unwrap_or(0);
        let unknown = Ok(Err(End::Unknown(pc)));
        let sp = registers.get(machine.sp()).unwrap_or(0);
        let Some(shape) = shape(machine, frame.is_return, registers, self.modules, self.memory)? else {
            return unknown;
        };
        let mut its = Registers::default();
        for (register, value) in registers.known().filter(|(register, _)| machine.is_preserved(*register)) {
            its.set(register, Some(value));
        }
        let (at, found, is_guess) = match shape {
            Shape::Signal => {
                let Some(its) = interrupted(machine, sp, self.memory)? else {
                    return Ok(Err(End::Memory(sp)));
                };
                return Ok(Ok(Frame {
                    registers: its,
                    is_return: false,
                    found: Found::Signal,
                    is_guess: false,
                }));
            }
            Shape::Link => return Ok(self.by_link(frame, its, false)),
            Shape::LikelyLeaf if machine == Machine::Aarch64 => return Ok(self.by_link(frame, its, true)),
            Shape::LikelyLeaf => (sp, Found::Leaf, true),
            Shape::Stack(above) => (sp.wrapping_add(above), Found::Leaf, false),
            Shape::PushedFramePointer => {
                let Some(fp) = self.memory.word(sp)? else { return Ok(Err(End::Memory(sp))) };
                its.set(machine.fp(), Some(fp));
                (sp.wrapping_add(8), Found::Leaf, false)
            }
            Shape::FramePointer => {
                let Some(fp) = registers.get(machine.fp()) else { return unknown };
                let by_framehop = self.plain.caller(frame.is_return, registers, self.memory)?;
                if let Some(caller) = by_framehop.filter(|caller| caller.sp == fp.wrapping_add(16)) {
                    if self.modules.at(caller.pc.wrapping_sub(1)).is_some() {
                        its.set(machine.fp(), Some(caller.fp));
                        its.set(machine.sp(), Some(caller.sp));
                        its.set(machine.pc(), Some(caller.pc));
                        let found = Found::FramePointer;
                        return Ok(Ok(Frame { registers: its, is_return: true, found, is_guess: false }));
                    }
                }
                let at = fp.wrapping_add(8);
                let (Some(outer), Some(next)) = (self.memory.word(fp)?, self.memory.word(at)?) else {
                    return unknown;
                };
                let next = stripped(machine, next, self.modules.end());
                let called = follows_call(machine, next, self.memory)?;
                if fp < sp || fp % 8 != 0 || next == 0 || called == Some(false) {
                    // Where frame pointers are used, the first frame's is 0.
                    return if next == 0 { Ok(Err(End::Bottom)) } else { unknown };
                }
                its.set(machine.fp(), Some(outer));
                (at, Found::FramePointer, called.is_none())
            }
        };
        let Some(next) = self.memory.word(at)? else { return Ok(Err(End::Memory(at))) };
        its.set(machine.sp(), Some(at.wrapping_add(8)));
        its.set(machine.pc(), Some(stripped(machine, next, self.modules.end())));
        Ok(Ok(Frame { registers: its, is_return: true, found, is_guess }))
    }

    /// The caller whose return address is in the link register still.
    fn by_link(&self, frame: &Frame, mut its: Registers, is_guess: bool) -> Result<Frame, End> {
        let machine = self.machine;
        let Some(next) = frame.registers.get(30) else { return Err(End::Rule(0)) };
        its.set(machine.sp(), frame.registers.get(machine.sp()));
        its.set(machine.pc(), Some(stripped(machine, next, self.modules.end())));
        Ok(Frame { registers: its, is_return: true, found: Found::Leaf, is_guess })
    }
}
