//! Findings of a second decoder about instructions.

use std::io::Write;

use odograph_core::instruction::{ExecMode, InstructionClass};

use super::disassembly::Decoded;

/// An instruction as the flow decoders gave it.
#[derive(Clone, Copy, Debug)]
pub struct Executed<'a> {
    /// Its address.
    pub ip: u64,
    /// The mode it was executed in.
    pub mode: ExecMode,
    /// The class the flow decoder saw.
    pub class: InstructionClass,
    /// Its bytes.
    pub raw: &'a [u8],
}

/// Decodes an instruction again and appends a line if the second decoder sees another class, another length or
/// no instruction. False after another length or no instruction: then it is not known what follows.
pub fn check(out: &mut Vec<u8>, offset: u64, executed: &Executed<'_>) -> bool {
    let ip = executed.ip;
    let decoded = match Decoded::new(executed.raw, ip, executed.mode) {
        Ok(decoded) => decoded,
        Err(why) => {
            let _ = writeln!(out, "[{offset:x}, {ip:x}: xed error: ({}) {}]", why.number(), why.name());
            return false;
        }
    };
    let class = decoded.class();
    if class != executed.class {
        let (ours, theirs) = (class_name(executed.class), class_name(class));
        let _ = writeln!(out, "[{offset:x}, {ip:x}: iclass error: iclass: {ours}, xed iclass: {theirs}]");
    }
    if decoded.size() != executed.raw.len() {
        let end = ip.wrapping_add(executed.raw.len() as u64);
        let _ = writeln!(out, "[{offset:x}, {ip:x}: error: did not reach end: {end:x}]");
        return false;
    }
    true
}

fn class_name(class: InstructionClass) -> &'static str {
    match class {
        InstructionClass::Unknown => "unknown",
        InstructionClass::Other => "other",
        InstructionClass::Call => "near call",
        InstructionClass::Return => "near return",
        InstructionClass::Jump => "near jump",
        InstructionClass::CondJump => "cond jump",
        InstructionClass::FarCall => "far call",
        InstructionClass::FarReturn => "far return",
        InstructionClass::FarJump => "far jump",
        InstructionClass::Ptwrite => "ptwrite",
        InstructionClass::Indirect => "indirect",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(class: InstructionClass, raw: &[u8]) -> String {
        let mut out = Vec::new();
        check(&mut out, 0x2a, &Executed { ip: 0x1000, mode: ExecMode::Bits64, class, raw });
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn what_agrees_is_not_mentioned() {
        assert_eq!(findings(InstructionClass::Other, &[0x90]), "");
        assert_eq!(findings(InstructionClass::CondJump, &[0x75, 0]), "");
    }

    #[test]
    fn another_class() {
        assert_eq!(
            findings(InstructionClass::Other, &[0xc3]),
            "[2a, 1000: iclass error: iclass: other, xed iclass: near return]\n"
        );
    }

    #[test]
    fn another_length() {
        assert_eq!(
            findings(InstructionClass::Other, &[0x90, 0x90]),
            "[2a, 1000: error: did not reach end: 1002]\n"
        );
    }

    #[test]
    fn no_instruction() {
        assert_eq!(findings(InstructionClass::Other, &[0x06]), "[2a, 1000: xed error: (2) GENERAL_ERROR]\n");
    }
}
