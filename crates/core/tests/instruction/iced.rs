//! iced-x86 as a judge.

use iced_x86::{
    Code, Decoder, DecoderError, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register,
};
use odograph_core::instruction::{Detail, ExecMode, InstructionClass};

use crate::judge::{Opinion, Verdict, IP};

/// What iced makes of `bytes`.
pub fn opinion(bytes: &[u8], mode: ExecMode) -> Opinion {
    let bitness = match mode {
        ExecMode::Unknown => return Opinion::Unknown,
        ExecMode::Bits16 => 16,
        ExecMode::Bits32 => 32,
        ExecMode::Bits64 => 64,
    };
    let mut decoder = Decoder::with_ip(bitness, bytes, IP, DecoderOptions::MPX);
    let instruction = decoder.decode();
    match decoder.last_error() {
        DecoderError::None => {}
        DecoderError::NoMoreBytes if continues(bytes, bitness) => return Opinion::TooShort,
        _ => return Opinion::Unknown,
    }
    let (class, detail) = class(&instruction);
    let target = (detail == Detail::Direct).then(|| {
        let mask = match instruction.op0_kind() {
            OpKind::NearBranch16 => 0xffff,
            OpKind::NearBranch32 => 0xffff_ffff,
            _ => u64::MAX,
        };
        (instruction.near_branch_target(), mask)
    });
    Opinion::Known(Verdict { size: instruction.len() as u8, class, detail, target })
}

/// Whether more bytes make an instruction: iced wants one behind opcodes that it does not know, too.
fn continues(bytes: &[u8], bitness: u32) -> bool {
    let longer = [bytes, &[0; 15]].concat();
    let mut decoder = Decoder::with_ip(bitness, &longer, IP, DecoderOptions::MPX);
    let _ = decoder.decode();
    decoder.last_error() == DecoderError::None || bytes.len() >= 15
}

fn class(instruction: &Instruction) -> (InstructionClass, Detail) {
    use InstructionClass as Class;
    match instruction.mnemonic() {
        Mnemonic::Ret => return (Class::Return, Detail::None),
        Mnemonic::Retf => return (Class::FarReturn, Detail::None),
        Mnemonic::Iret | Mnemonic::Iretd | Mnemonic::Iretq => return (Class::FarReturn, Detail::Iret),
        Mnemonic::Int | Mnemonic::Int1 | Mnemonic::Int3 | Mnemonic::Into => {
            return (Class::FarCall, Detail::Int)
        }
        Mnemonic::Syscall | Mnemonic::Sysenter => return (Class::FarCall, Detail::Syscall),
        Mnemonic::Sysret | Mnemonic::Sysretq => return (Class::FarReturn, Detail::Sysret),
        Mnemonic::Sysexit | Mnemonic::Sysexitq => return (Class::FarReturn, Detail::Sysexit),
        Mnemonic::Vmcall => return (Class::FarCall, Detail::Vmcall),
        Mnemonic::Vmlaunch => return (Class::FarReturn, Detail::Vmlaunch),
        Mnemonic::Vmresume => return (Class::FarReturn, Detail::Vmresume),
        Mnemonic::Uiret => return (Class::FarReturn, Detail::Uiret),
        Mnemonic::Erets => return (Class::FarReturn, Detail::Erets),
        Mnemonic::Eretu => return (Class::FarReturn, Detail::Eretu),
        Mnemonic::Ptwrite => return (Class::Ptwrite, Detail::Ptwrite),
        Mnemonic::Vmptrld => return (Class::Other, Detail::Vmptrld),
        Mnemonic::Mov if instruction.op0_register() == Register::CR3 => {
            return (Class::Other, Detail::MovCr3)
        }
        _ => {}
    }
    let code = instruction.code();
    if code.is_jcc_short_or_near() || code.is_jcx_short() || code.is_loop() || code.is_loopcc() {
        return (Class::CondJump, Detail::Direct);
    }
    if code.is_jmp_far() || code.is_jmp_far_indirect() {
        return (Class::FarJump, Detail::None);
    }
    if code.is_call_far() || code.is_call_far_indirect() {
        return (Class::FarCall, Detail::None);
    }
    let string = code.is_string_instruction();
    if string && (instruction.has_rep_prefix() || instruction.has_repne_prefix()) {
        return (Class::Other, Detail::RepString);
    }
    match (code, instruction.flow_control()) {
        // XBEGIN carries an address, but control goes on behind it.
        (Code::Xbegin_rel16 | Code::Xbegin_rel32, _) => (Class::Other, Detail::None),
        (_, FlowControl::UnconditionalBranch) => (Class::Jump, Detail::Direct),
        (_, FlowControl::IndirectBranch) => (Class::Jump, Detail::Indirect),
        (_, FlowControl::Call) if code.is_call_near() => (Class::Call, Detail::Direct),
        (_, FlowControl::IndirectCall) => (Class::Call, Detail::Indirect),
        _ => (Class::Other, Detail::None),
    }
}
