//! Text and class of an instruction by iced-x86, which stands where libipt's tools have XED.
//!
//! iced-x86 does not know APX (Intel's Advanced Performance Extensions); for those instructions the core's decoder
//! stands in, and their text is their bytes.

use iced_x86::{
    CC_a, CC_ae, CC_e, CC_g, CC_ge, CC_ne, Decoder, DecoderError, DecoderOptions, Formatter,
    FormatterOptions, GasFormatter, Instruction, IntelFormatter, MemorySizeOptions, Mnemonic,
};
use odograph_core::instruction::{self, Detail, ExecMode, InstructionClass};

/// Why bytes have no text; number and name are XED's `xed_error_enum_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecodable {
    /// The bytes end inside the instruction.
    BufferTooShort,
    /// No instruction iced-x86 knows.
    GeneralError,
}

impl Undecodable {
    /// XED's number.
    pub fn number(self) -> u32 {
        match self {
            Undecodable::BufferTooShort => 1,
            Undecodable::GeneralError => 2,
        }
    }

    /// XED's name.
    pub fn name(self) -> &'static str {
        match self {
            Undecodable::BufferTooShort => "BUFFER_TOO_SHORT",
            Undecodable::GeneralError => "GENERAL_ERROR",
        }
    }
}

/// An instruction that was decoded a second time.
pub enum Decoded {
    /// By iced-x86.
    Known(Instruction),
    /// One of APX, by the core: its length, its class and its text.
    Apx(usize, InstructionClass, String),
}

impl Decoded {
    /// Decodes the instruction that `bytes` are. Code of an unknown mode is taken for 64-bit code.
    pub fn new(bytes: &[u8], ip: u64, mode: ExecMode) -> Result<Decoded, Undecodable> {
        try_decode(bytes, ip, mode).map(Decoded::Known).or_else(|error| {
            if let Some(apx) = Decoded::apx(bytes, mode) {
                return Ok(apx);
            }
            // Whether bytes are missing or nothing could make these whole, more bytes tell.
            let mut more = [0; 15];
            more.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            Err(try_decode(&more, ip, mode).err().map_or(error, |_| Undecodable::GeneralError))
        })
    }

    /// An instruction with a REX2 prefix, or one of EVEX map 4 (Intel APX specification, "REX2", "EVEX").
    fn apx(bytes: &[u8], mode: ExecMode) -> Option<Decoded> {
        let legacy = [0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0xf0];
        let mut rest = bytes.iter().skip_while(|byte| legacy.contains(byte));
        match (rest.next(), rest.next()) {
            (Some(0xd5), Some(_)) => {}
            (Some(0x62), Some(payload)) if payload & 7 == 4 => {}
            _ => return None,
        }
        let decoded = instruction::decode(bytes, mode).ok().filter(|_| mode == ExecMode::Bits64)?;
        let target = bytes.last_chunk().map(|target| u64::from_le_bytes(*target));
        let text = match target {
            Some(target) if decoded.detail == Detail::Jmpabs => format!("jmpabs 0x{target:x}"),
            _ => {
                let listed: Vec<String> = bytes.iter().map(|byte| format!("0x{byte:x}")).collect();
                format!(".byte {}", listed.join(", "))
            }
        };
        Some(Decoded::Apx(usize::from(decoded.size), decoded.class, text))
    }

    /// Its length in bytes.
    pub fn size(&self) -> usize {
        match self {
            Decoded::Known(instruction) => instruction.len(),
            Decoded::Apx(size, ..) => *size,
        }
    }

    /// The class libipt gives such an instruction (`pt_insn_class`); never `Unknown` or `Indirect`.
    pub fn class(&self) -> InstructionClass {
        match self {
            Decoded::Known(instruction) => class_of(instruction),
            Decoded::Apx(_, class, _) => *class,
        }
    }
}

fn try_decode(bytes: &[u8], ip: u64, mode: ExecMode) -> Result<Instruction, Undecodable> {
    let bitness = match mode {
        ExecMode::Bits16 => 16,
        ExecMode::Bits32 => 32,
        ExecMode::Bits64 | ExecMode::Unknown => 64,
    };
    let mut decoder = Decoder::with_ip(bitness, bytes, ip, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    decoder.decode_out(&mut instruction);
    match decoder.last_error() {
        DecoderError::None => Ok(instruction),
        DecoderError::NoMoreBytes => Err(Undecodable::BufferTooShort),
        _ => Err(Undecodable::GeneralError),
    }
}

fn class_of(instruction: &Instruction) -> InstructionClass {
    let code = instruction.code();
    if code.is_jcc_short() || code.is_jcc_near() || code.is_jcx_short() || code.is_loop() || code.is_loopcc()
    {
        return InstructionClass::CondJump;
    }
    match instruction.mnemonic() {
        Mnemonic::Call if code.is_call_far() || code.is_call_far_indirect() => InstructionClass::FarCall,
        Mnemonic::Call => InstructionClass::Call,
        Mnemonic::Jmp if code.is_jmp_far() || code.is_jmp_far_indirect() => InstructionClass::FarJump,
        Mnemonic::Jmp => InstructionClass::Jump,
        Mnemonic::Ret => InstructionClass::Return,
        Mnemonic::Int
        | Mnemonic::Int1
        | Mnemonic::Int3
        | Mnemonic::Into
        | Mnemonic::Syscall
        | Mnemonic::Sysenter
        | Mnemonic::Vmcall => InstructionClass::FarCall,
        Mnemonic::Retf
        | Mnemonic::Iret
        | Mnemonic::Iretd
        | Mnemonic::Iretq
        | Mnemonic::Sysret
        | Mnemonic::Sysretq
        | Mnemonic::Sysexit
        | Mnemonic::Sysexitq
        | Mnemonic::Vmlaunch
        | Mnemonic::Vmresume
        | Mnemonic::Uiret
        | Mnemonic::Erets
        | Mnemonic::Eretu => InstructionClass::FarReturn,
        Mnemonic::Ptwrite => InstructionClass::Ptwrite,
        _ => InstructionClass::Other,
    }
}

/// Writes instructions in Intel's or in AT&T's syntax.
pub struct Writer {
    formatter: Box<dyn Formatter>,
    text: String,
}

impl Writer {
    /// A writer of AT&T's syntax if `att`, else of Intel's; numbers, names of conditions and operands as XED
    /// writes them.
    pub fn new(att: bool) -> Writer {
        let mut formatter: Box<dyn Formatter> =
            if att { Box::new(GasFormatter::new()) } else { Box::new(IntelFormatter::new()) };
        set_layout(formatter.options_mut());
        Writer { formatter, text: String::new() }
    }

    /// The text of an instruction.
    pub fn text<'a>(&'a mut self, decoded: &'a Decoded) -> &'a str {
        match decoded {
            Decoded::Known(instruction) => {
                self.text.clear();
                self.formatter.format(instruction, &mut self.text);
                &self.text
            }
            Decoded::Apx(_, _, text) => text,
        }
    }
}

fn set_layout(options: &mut FormatterOptions) {
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_small_hex_numbers_in_decimal(false);
    options.set_space_after_operand_separator(true);
    options.set_branch_leading_zeros(false);
    options.set_show_branch_size(false);
    options.set_rip_relative_addresses(true);
    options.set_always_show_scale(true);
    options.set_memory_size_options(MemorySizeOptions::Always);
    options.set_cc_ae(CC_ae::nb);
    options.set_cc_e(CC_e::z);
    options.set_cc_ne(CC_ne::nz);
    options.set_cc_a(CC_a::nbe);
    options.set_cc_ge(CC_ge::nl);
    options.set_cc_g(CC_g::nle);
}

#[cfg(test)]
mod tests {
    use odograph_core::instruction;

    use super::*;

    fn text(bytes: &[u8], att: bool) -> String {
        let decoded = Decoded::new(bytes, 0x1000, ExecMode::Bits64).expect("an instruction");
        Writer::new(att).text(&decoded).to_owned()
    }

    #[test]
    fn intel_syntax() {
        assert_eq!(text(&[0x90], false), "nop");
        assert_eq!(text(&[0x74, 0x02], false), "jz 0x1004");
        assert_eq!(text(&[0x7f, 0xfe], false), "jnle 0x1000");
        assert_eq!(text(&[0xe8, 0xfb, 0xff, 0xff, 0xff], false), "call 0x1000");
        assert_eq!(text(&[0x48, 0x8b, 0x45, 0xf8], false), "mov rax, qword ptr [rbp-0x8]");
        assert_eq!(text(&[0x8b, 0x04, 0x08], false), "mov eax, dword ptr [rax+rcx*1]");
        assert_eq!(text(&[0x48, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0], false), "mov rax, 0x1");
        assert_eq!(text(&[0xff, 0x25, 0x10, 0, 0, 0], false), "jmp qword ptr [rip+0x10]");
    }

    #[test]
    fn att_syntax() {
        assert_eq!(text(&[0x48, 0x89, 0xd8], true), "mov %rbx, %rax");
        assert_eq!(text(&[0x74, 0x02], true), "jz 0x1004");
    }

    #[test]
    fn what_cannot_be_decoded_is_named_as_xed_names_it() {
        let why = |bytes| {
            let error = Decoded::new(bytes, 0, ExecMode::Bits64).err().expect("no instruction");
            (error.number(), error.name())
        };
        assert_eq!(why(&[0x48]), (1, "BUFFER_TOO_SHORT"));
        assert_eq!(why(&[0x06]), (2, "GENERAL_ERROR"));
    }

    #[test]
    fn apx_has_bytes_for_text() {
        let jump = [0xd5, 0x00, 0xa1, 0x0d, 0x10, 0, 0, 0, 0, 0, 0];
        assert_eq!(text(&jump, false), "jmpabs 0x100d");
        let jump = Decoded::new(&jump, 0, ExecMode::Bits64).expect("an instruction");
        assert_eq!((jump.class(), jump.size()), (InstructionClass::Jump, 11));
        assert_eq!(text(&[0xd5, 0x18, 0x89, 0xc0], false), ".byte 0xd5, 0x18, 0x89, 0xc0");
        // In 32-bit code D5 is AAD.
        let aad = Decoded::new(&[0xd5, 0x0a], 0, ExecMode::Bits32).expect("an instruction");
        assert_eq!(Writer::new(false).text(&aad), "aad 0xa");
    }

    #[test]
    fn classes_agree_with_the_core() {
        let codes: &[&[u8]] = &[
            &[0x90],
            &[0x74, 0],
            &[0xe2, 0],
            &[0xe3, 0],
            &[0xe8, 0, 0, 0, 0],
            &[0xff, 0xd0],
            &[0xff, 0xe0],
            &[0xff, 0x18],
            &[0xff, 0x28],
            &[0xeb, 0],
            &[0xc3],
            &[0xc2, 0, 0],
            &[0xcb],
            &[0xcf],
            &[0x48, 0xcf],
            &[0xcc],
            &[0xcd, 0x80],
            &[0xf1],
            &[0x0f, 0x05],
            &[0x0f, 0x34],
            &[0x0f, 0x07],
            &[0x48, 0x0f, 0x07],
            &[0x0f, 0x35],
            &[0x48, 0x0f, 0x35],
            &[0x0f, 0x01, 0xc1],
            &[0x0f, 0x01, 0xc2],
            &[0x0f, 0x01, 0xc3],
            &[0xf3, 0x0f, 0x01, 0xec],
            &[0xf2, 0x0f, 0x01, 0xca],
            &[0xf3, 0x0f, 0x01, 0xca],
            &[0xf3, 0x0f, 0xae, 0xe0],
            &[0xf4],
        ];
        for code in codes {
            let ours = Decoded::new(code, 0x1000, ExecMode::Bits64).expect("an instruction");
            let core = instruction::decode(code, ExecMode::Bits64).expect("an instruction");
            assert_eq!((ours.class(), ours.size()), (core.class, usize::from(core.size)), "{code:x?}");
        }
    }
}
