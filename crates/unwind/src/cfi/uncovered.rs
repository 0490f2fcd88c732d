//! Frames of code that no call frame information covers: what the instructions around tell.

use super::machine::{Machine, Registers};
use super::memory::{Memory, Pages};
use super::modules::Modules;

/// Where the caller of a frame is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// x86-64: the return address lies this many bytes above the stack pointer. The frame pointer is the caller's.
    Stack(u64),
    /// x86-64: the caller's frame pointer lies at the stack pointer, and the return address behind it.
    PushedFramePointer,
    /// AArch64: the return address is in the link register, the other registers are the caller's.
    Link,
    /// The frame pointer points to the caller's, and behind that lies the return address.
    FramePointer,
    /// A signal's frame, with all registers of what it interrupted.
    Signal,
    /// It may be [`Shape::Stack`] of 0 bytes or [`Shape::Link`]: the return address there is one.
    LikelyLeaf,
}

/// `mov $15, %rax; syscall`: rt_sigreturn of Linux.
const X86_64_SIGRETURN: [u8; 9] = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];
/// `mov x8, #139; svc #0`.
const AARCH64_SIGRETURN: [u8; 8] = [0x68, 0x11, 0x80, 0xd2, 0x01, 0, 0, 0xd4];
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// What the code at the frame's own instruction tells, if that is where execution stands (`is_return` false), or what
/// a frame whose call has not returned looks like.
pub fn shape<M: Memory>(
    machine: Machine,
    is_return: bool,
    registers: &Registers,
    modules: &Modules,
    memory: &mut Pages<'_, M>,
) -> Result<Option<Shape>, M::Error> {
    let Some((pc, sp)) = registers.get(machine.pc()).zip(registers.get(machine.sp())) else {
        return Ok(None);
    };
    let mut code = [0; 16];
    let count = memory.read(pc, &mut code)?;
    let code = code.get(..count).unwrap_or_default();
    let signal = match machine {
        Machine::X86_64 => code.starts_with(&X86_64_SIGRETURN),
        Machine::Aarch64 => code.starts_with(&AARCH64_SIGRETURN),
    };
    if signal {
        return Ok(Some(Shape::Signal));
    }
    if is_return {
        return Ok(Some(Shape::FramePointer));
    }
    match machine {
        Machine::X86_64 => {
            if let Some(shape) = stub(pc, code, modules) {
                return Ok(Some(shape));
            }
            if let Some(shape) = x86_64_border(code) {
                return Ok(Some(shape));
            }
            let Some(top) = memory.word(sp)? else { return Ok(Some(Shape::FramePointer)) };
            if code.is_empty() && modules.at(pc).is_none() {
                // A call led to what is no code.
                return Ok(Some(Shape::LikelyLeaf));
            }
            let called = follows_call(machine, top, memory)?;
            let is_likely = called.unwrap_or_else(|| modules.at(top.wrapping_sub(1)).is_some());
            Ok(Some(if is_likely { Shape::LikelyLeaf } else { Shape::FramePointer }))
        }
        Machine::Aarch64 => {
            if modules.at(pc).is_some_and(|module| module.tables.stubs_at(module.inside(pc)).is_some()) {
                return Ok(Some(Shape::Link));
            }
            if let Some(word) = code.first_chunk() {
                if is_aarch64_border(u32::from_le_bytes(*word)) {
                    return Ok(Some(Shape::Link));
                }
            }
            let framed = match registers.get(machine.fp()).and_then(|fp| fp.checked_add(8)) {
                Some(at) => memory.word(at)?.is_some_and(|word| word != 0),
                None => false,
            };
            Ok(Some(if code.is_empty() || !framed { Shape::LikelyLeaf } else { Shape::FramePointer }))
        }
    }
}

/// Entries of the procedure linkage table, which only some linkers describe (System V ABI, AMD64 supplement, 5.2).
fn stub(pc: u64, code: &[u8], modules: &Modules) -> Option<Shape> {
    let module = modules.at(pc)?;
    let inside = module.inside(pc);
    let (start, has_header) = module.tables.stubs_at(inside)?;
    let offset = inside.wrapping_sub(start);
    if has_header && offset < 16 {
        // Entered by a jump behind one push; its first instruction pushes once more.
        return Some(Shape::Stack(if offset == 0 { 8 } else { 16 }));
    }
    // push $number; jmp header: behind the push there is one word more.
    Some(Shape::Stack(if code.first() == Some(&0xe9) { 8 } else { 0 }))
}

/// Instructions that stand at the beginning or the end of a function and nowhere else.
fn x86_64_border(code: &[u8]) -> Option<Shape> {
    let code = code.strip_prefix(&ENDBR64).unwrap_or(code);
    match code {
        // push %rbp; ret; rep ret
        [0x55, ..] | [0xc3 | 0xc2, ..] | [0xf3, 0xc3, ..] => Some(Shape::Stack(0)),
        // mov %rsp, %rbp; pop %rbp and ret
        [0x48, 0x89, 0xe5, ..] | [0x48, 0x8b, 0xec, ..] | [0x5d, 0xc3, ..] => Some(Shape::PushedFramePointer),
        // leave
        [0xc9, 0xc3, ..] => Some(Shape::FramePointer),
        _ => None,
    }
}

/// `stp x29, x30, [sp, #-n]!`, `ret`, `paciasp`, `pacibsp`, `bti c`, and `mov x29, sp` is none of them.
fn is_aarch64_border(word: u32) -> bool {
    word & 0xffc0_7fff == 0xa980_7bfd
        || matches!(word, 0xd65f_03c0 | 0xd65f_0bff | 0xd65f_0fff | 0xd503_233f | 0xd503_237f | 0xd503_245f)
}

/// Whether a call stands before an address; None if its code is not there.
pub fn follows_call<M: Memory>(
    machine: Machine,
    address: u64,
    memory: &mut Pages<'_, M>,
) -> Result<Option<bool>, M::Error> {
    let mut code = [0; 8];
    let Some(before) = address.checked_sub(8) else { return Ok(Some(false)) };
    if memory.read(before, &mut code)? < 8 {
        return Ok(None);
    }
    Ok(Some(match machine {
        Machine::X86_64 => {
            // call rel32, or call r/m64 of 2 to 7 bytes (SDM volume 2, CALL).
            let [_, b, c, d, e, f, g, h] = code;
            let indirect = |opcode: u8, form: u8| opcode == 0xff && form >> 3 & 7 == 2;
            d == 0xe8
                || indirect(g, h)
                || indirect(f, g)
                || indirect(e, f)
                || indirect(c, d)
                || indirect(b, c)
        }
        Machine::Aarch64 => {
            // BL, or BLR and its authenticating forms.
            let word = u64::from_le_bytes(code) >> 32;
            word & 0xfc00_0000 == 0x9400_0000 || word & 0xfeff_f000 == 0xd63f_0000
        }
    }))
}

/// Takes the registers of what was interrupted from the frame that Linux made for a signal's handler.
pub fn interrupted<M: Memory>(
    machine: Machine,
    sp: u64,
    memory: &mut Pages<'_, M>,
) -> Result<Option<Registers>, M::Error> {
    let mut found = Registers::default();
    // struct rt_sigframe: on x86-64 the stack pointer is at its ucontext, whose registers begin behind 40 bytes; on
    // AArch64 at the siginfo of 128 bytes before the ucontext, whose registers begin behind 184.
    let (first, order): (u64, &[usize]) = match machine {
        Machine::X86_64 => (40, &[8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16]),
        Machine::Aarch64 => (
            312,
            &[
                0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
                26, 27, 28, 29, 30, 31, 32,
            ],
        ),
    };
    for (nth, register) in order.iter().enumerate() {
        let Some(at) = sp.checked_add(first + 8 * nth as u64) else { return Ok(None) };
        let Some(word) = memory.word(at)? else { return Ok(None) };
        found.set(*register, Some(word));
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_of_functions_are_known() {
        assert_eq!(x86_64_border(&[0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48]), Some(Shape::Stack(0)));
        assert_eq!(x86_64_border(&[0x48, 0x89, 0xe5]), Some(Shape::PushedFramePointer));
        assert_eq!(x86_64_border(&[0x5d, 0xc3]), Some(Shape::PushedFramePointer));
        assert_eq!(x86_64_border(&[0xc3]), Some(Shape::Stack(0)));
        assert_eq!(x86_64_border(&[0xc9, 0xc3]), Some(Shape::FramePointer));
        assert_eq!(x86_64_border(&[0x90]), None);
        assert_eq!(x86_64_border(&[]), None);
        // stp x29, x30, [sp, #-32]! and stp x29, x30, [sp, #16]
        assert!(is_aarch64_border(0xa9be_7bfd));
        assert!(!is_aarch64_border(0xa901_7bfd));
    }
}
