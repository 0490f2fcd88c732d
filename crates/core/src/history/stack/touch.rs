//! What an instruction does to the stack, as far as that tells a return from a jump.
//!
//! Nearly all returns go back behind their calls, and nothing needs to be known of the code in between. Where one does not, the
//! instructions just before it say why: a thunk overwrote the return address, a jump was pushed, or the stack pointer was
//! loaded, as switches of coroutines, longjmp and the unwinding of exceptions do. Bytes that mean something else
//! here than they seem to do no harm where calls and returns fit together.

use crate::instruction::ExecMode;

/// What an instruction does to the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    /// It does not matter.
    Nothing,
    /// Pushes something.
    Push,
    /// Pops something.
    Pop,
    /// Moves the stack pointer by a number.
    Adjust,
    /// Moves the stack pointer past the one thing on top.
    Drop,
    /// Takes the stack pointer from a register that survives calls, as the ends of functions do.
    Restore,
    /// Gives the stack pointer another value: what comes next may run on another stack.
    Load,
    /// Overwrites what lies on top, in a function that has pushed nothing its return address.
    WriteTop,
    /// Reads what lies on top.
    ReadTop,
    /// Takes the address of what lies behind a return address on top, or stores the stack pointer elsewhere.
    BehindTop,
}

/// rbx, rbp and r12 to r15: calls leave them as they are.
fn survives(register: u8) -> bool {
    matches!(register, 3 | FRAME | 12..=15)
}

const STACK: u8 = 4;
const FRAME: u8 = 5;

/// ModRM and what follows, with the bits of REX.
struct Operands {
    mode: u8,
    /// The register, or more of the opcode.
    reg: u8,
    /// The register or base: 4 for the stack pointer, 16 for none that is looked for.
    base: u8,
    displacement: i8,
}

fn operands(rest: &[u8], rex: u8) -> Option<Operands> {
    let modrm = *rest.first()?;
    let mode = modrm >> 6;
    let reg = (modrm >> 3 & 7) | (rex << 1 & 8);
    let mut base = (modrm & 7) | (rex << 3 & 8);
    let mut at = 1;
    if mode != 3 && modrm & 7 == 4 {
        // Without an index, that is.
        let sib = *rest.get(1)?;
        base = if sib >> 3 & 7 == 4 && rex & 2 == 0 { (sib & 7) | (rex << 3 & 8) } else { 16 };
        at = 2;
    }
    if mode == 0 && base & 7 == FRAME {
        base = 16;
    }
    let displacement = if mode == 1 { *rest.get(at)? as i8 } else { 0 };
    Some(Operands { mode, reg, base, displacement })
}

/// What the instruction with these bytes does to the stack.
pub(super) fn touch(raw: &[u8], mode: ExecMode) -> Touch {
    let wide = mode == ExecMode::Bits64;
    let mut rest = raw;
    let mut rex = 0;
    let opcode = loop {
        let Some((&byte, behind)) = rest.split_first() else { return Touch::Nothing };
        rest = behind;
        match byte {
            0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf2 | 0xf3 => {}
            0x40..=0x4f if wide => {
                rex = byte;
                let Some((&opcode, behind)) = rest.split_first() else { return Touch::Nothing };
                rest = behind;
                break opcode;
            }
            _ => break byte,
        }
    };
    match opcode {
        0x50..=0x57 | 0x68 | 0x6a | 0x9c => return Touch::Push,
        0x5c if rex & 1 == 0 => return Touch::Load,
        0x58..=0x5f | 0x8f | 0x9d => return Touch::Pop,
        0xc9 => return Touch::Restore,
        // xchg %rax,%rsp and mov $number,%rsp.
        0x94 | 0xbc if rex & 1 == 0 => return Touch::Load,
        0x81 | 0x83 | 0x87 | 0x89 | 0x8b | 0x8d | 0xc7 | 0xff => {}
        _ => return Touch::Nothing,
    }
    let Some(Operands { mode, reg, base, displacement }) = operands(rest, rex) else { return Touch::Nothing };
    let on_top = mode == 0 && base == STACK;
    match opcode {
        0x81 | 0x83 if mode == 3 && base == STACK => Touch::Adjust,
        0x87 if reg == STACK || mode == 3 && base == STACK => Touch::Load,
        0xc7 if mode == 3 && base == STACK => Touch::Load,
        0x87 | 0x89 if on_top => Touch::WriteTop,
        0xc7 if on_top => Touch::WriteTop,
        0x89 if mode == 3 && base == STACK => {
            if survives(reg) {
                Touch::Restore
            } else {
                Touch::Load
            }
        }
        0x8b if reg == STACK => {
            if mode == 3 && survives(base) {
                Touch::Restore
            } else {
                Touch::Load
            }
        }
        0x89 if mode != 3 && reg == STACK && base != STACK && base != FRAME => Touch::BehindTop,
        0x8b if on_top => Touch::ReadTop,
        0x8d if reg == STACK && base == FRAME => Touch::Restore,
        0x8d if reg == STACK && base == STACK && mode == 1 && displacement == if wide { 8 } else { 4 } => {
            Touch::Drop
        }
        0x8d if reg == STACK => Touch::Adjust,
        0x8d if mode == 1 && base == STACK && displacement == if wide { 8 } else { 4 } => Touch::BehindTop,
        0xff if reg & 7 == 6 => Touch::Push,
        _ => Touch::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_instructions_do() {
        let known: &[(&[u8], Touch)] = &[
            (b"\x53", Touch::Push),
            (b"\x41\x57", Touch::Push),
            (b"\xff\x35\x10\x20\x00\x00", Touch::Push),
            (b"\x5b", Touch::Pop),
            (b"\x41\x5c", Touch::Pop),
            (b"\x5c", Touch::Load),
            (b"\x48\x83\xec\x18", Touch::Adjust),
            (b"\x48\x8d\x64\x24\x08", Touch::Drop),
            // lea -8(%r10),%rsp: the end of a function that aligned its frame.
            (b"\x49\x8d\x62\xf8", Touch::Adjust),
            (b"\x48\x8d\x65\xd8", Touch::Restore),
            (b"\x48\x89\xec", Touch::Restore),
            (b"\xc9", Touch::Restore),
            // mov %rbx,%rsp of the resolver of late bound functions.
            (b"\x48\x89\xdc", Touch::Restore),
            // mov %r8,%rsp of longjmp, mov %rcx,%rsp of the unwinder, mov 160(%rdx),%rsp of setcontext.
            (b"\x4c\x89\xc4", Touch::Load),
            (b"\x48\x89\xcc", Touch::Load),
            (b"\x48\x8b\xa2\xa0\x00\x00\x00", Touch::Load),
            (b"\x48\x8b\x26", Touch::Load),
            (b"\x48\x87\xe0", Touch::Load),
            // xchg %rax,%rsp, xchg %r12,%rax, xchg %rsp,(%rdi) and mov $number,%rsp.
            (b"\x48\x94", Touch::Load),
            (b"\x49\x94", Touch::Nothing),
            (b"\x48\x87\x27", Touch::Load),
            (b"\xbc\x00\x10\x00\x00", Touch::Load),
            (b"\x49\xbc\x00\x10\x00\x00\x00\x00\x00\x00", Touch::Nothing),
            (b"\x48\xc7\xc4\x00\x10\x00\x00", Touch::Load),
            (b"\x48\x89\x04\x24", Touch::WriteTop),
            (b"\x48\x87\x04\x24", Touch::WriteTop),
            (b"\x48\x8b\x04\x24", Touch::ReadTop),
            (b"\x48\x8d\x54\x24\x08", Touch::BehindTop),
            // mov %rsp,8(%rdi) and mov %rsp,-8(%rbp).
            (b"\x48\x89\x67\x08", Touch::BehindTop),
            (b"\x48\x89\x65\xf8", Touch::Nothing),
            // mov %rsp,%rbp and mov %r12,%rsi.
            (b"\x48\x89\xe5", Touch::Nothing),
            (b"\x4c\x89\xe6", Touch::Nothing),
            (b"\x48\x8b\x44\x24\x08", Touch::Nothing),
            (b"\xc3", Touch::Nothing),
            (b"", Touch::Nothing),
            (b"\x48", Touch::Nothing),
            (b"\x48\x8b", Touch::Nothing),
        ];
        for (raw, expected) in known {
            assert_eq!(touch(raw, ExecMode::Bits64), *expected, "{raw:02x?}");
        }
        assert_eq!(touch(b"\x8d\x4c\x24\x04", ExecMode::Bits32), Touch::BehindTop);
        assert_eq!(touch(b"\x89\x04\x24", ExecMode::Bits32), Touch::WriteTop);
    }
}
