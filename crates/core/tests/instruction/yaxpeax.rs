//! yaxpeax-x86 as a judge.

use odograph_core::instruction::{Detail, ExecMode, InstructionClass};
use yaxpeax_arch::LengthedInstruction;
use yaxpeax_x86::{long_mode, protected_mode, real_mode};

use crate::judge::{Opinion, Verdict, IP};

/// What yaxpeax makes of `bytes`.
pub fn opinion(bytes: &[u8], mode: ExecMode) -> Opinion {
    match mode {
        ExecMode::Unknown => Opinion::Unknown,
        ExecMode::Bits16 => real(bytes),
        ExecMode::Bits32 => protected(bytes),
        ExecMode::Bits64 => long(bytes),
    }
}

/// The three modes are three modules of the same shape.
macro_rules! judge {
    ($name:ident, $module:ident, $counter_jump:ident, $other_counter_jump:ident) => {
        fn $name(bytes: &[u8]) -> Opinion {
            use $module::{DecodeError, InstDecoder, Opcode, Operand, RegSpec};
            use InstructionClass as Class;
            let instruction = match InstDecoder::default().decode_slice(bytes) {
                Ok(instruction) => instruction,
                Err(DecodeError::ExhaustedInput) if bytes.len() < 15 => return Opinion::TooShort,
                Err(_) => return Opinion::Unknown,
            };
            let size = u64::from(instruction.len().to_const());
            let relative = match instruction.operand(0) {
                Operand::ImmediateI8 { imm } => Some(i64::from(imm)),
                Operand::ImmediateI16 { imm } => Some(i64::from(imm)),
                Operand::ImmediateI32 { imm } => Some(i64::from(imm)),
                _ => None,
            };
            let near = |class| (class, if relative.is_some() { Detail::Direct } else { Detail::Indirect });
            let (class, detail) = match instruction.opcode() {
                Opcode::CALL => near(Class::Call),
                Opcode::JMP => near(Class::Jump),
                Opcode::LOOP | Opcode::LOOPZ | Opcode::LOOPNZ => (Class::CondJump, Detail::Direct),
                Opcode::$counter_jump | Opcode::$other_counter_jump => (Class::CondJump, Detail::Direct),
                opcode if opcode.is_jcc() => (Class::CondJump, Detail::Direct),
                Opcode::RETURN => (Class::Return, Detail::None),
                Opcode::CALLF => (Class::FarCall, Detail::None),
                Opcode::JMPF => (Class::FarJump, Detail::None),
                Opcode::RETF => (Class::FarReturn, Detail::None),
                Opcode::IRET | Opcode::IRETD | Opcode::IRETQ => (Class::FarReturn, Detail::Iret),
                Opcode::INT | Opcode::INTO => (Class::FarCall, Detail::Int),
                Opcode::SYSCALL | Opcode::SYSENTER => (Class::FarCall, Detail::Syscall),
                Opcode::SYSRET => (Class::FarReturn, Detail::Sysret),
                Opcode::SYSEXIT => (Class::FarReturn, Detail::Sysexit),
                Opcode::VMCALL => (Class::FarCall, Detail::Vmcall),
                Opcode::VMLAUNCH => (Class::FarReturn, Detail::Vmlaunch),
                Opcode::VMRESUME => (Class::FarReturn, Detail::Vmresume),
                Opcode::UIRET => (Class::FarReturn, Detail::Uiret),
                Opcode::PTWRITE => (Class::Ptwrite, Detail::Ptwrite),
                Opcode::VMPTRLD => (Class::Other, Detail::Vmptrld),
                Opcode::MOV if instruction.operand(0) == (Operand::Register { reg: RegSpec::cr3() }) => {
                    (Class::Other, Detail::MovCr3)
                }
                Opcode::MOVS
                | Opcode::CMPS
                | Opcode::STOS
                | Opcode::LODS
                | Opcode::SCAS
                | Opcode::INS
                | Opcode::OUTS
                    if instruction.prefixes.rep_any() =>
                {
                    (Class::Other, Detail::RepString)
                }
                _ => (Class::Other, Detail::None),
            };
            let target = relative
                .filter(|_| detail == Detail::Direct)
                .map(|relative| (IP.wrapping_add(size).wrapping_add_signed(relative), 0xffff));
            Opinion::Known(Verdict { size: size as u8, class, detail, target })
        }
    };
}
judge!(long, long_mode, JRCXZ, JECXZ);
judge!(protected, protected_mode, JCXZ, JECXZ);
judge!(real, real_mode, JCXZ, JECXZ);
