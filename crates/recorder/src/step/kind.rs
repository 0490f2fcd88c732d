//! What an instruction means for stepping over it.

/// How an instruction is stepped over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// As it is.
    #[default]
    Plain,
    /// The kernel is entered: it is let run to its return.
    Syscall,
    /// The program causes a trap by itself: `int3`, `int n`, `int1`.
    Trap,
    /// The flags are stored, the trap flag that steps the program among them.
    PushFlags,
    /// The trap flag may be set or cleared.
    SetFlags,
}

impl Kind {
    /// The kind of the instruction with these bytes.
    pub fn of(code: &[u8]) -> Kind {
        let prefix = |byte: &u8| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3);
        let start = code.iter().position(|byte| !prefix(byte)).unwrap_or(code.len());
        match code.get(start..).unwrap_or(&[]) {
            [0x0f, 0x05 | 0x34, ..] | [0xcd, 0x80, ..] => Kind::Syscall,
            [0xcc | 0xcd | 0xf1, ..] => Kind::Trap,
            [0x9c, ..] => Kind::PushFlags,
            [0x9d | 0xcf, ..] => Kind::SetFlags,
            _ => Kind::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn prefixes_do_not_hide_an_instruction() {
        assert_eq!(Kind::of(&[0x0f, 0x05]), Kind::Syscall);
        assert_eq!(Kind::of(&[0x48, 0x0f, 0x05]), Kind::Syscall);
        assert_eq!(Kind::of(&[0xcd, 0x80]), Kind::Syscall);
        assert_eq!(Kind::of(&[0xcc]), Kind::Trap);
        assert_eq!(Kind::of(&[0xcd, 0x03]), Kind::Trap);
        assert_eq!(Kind::of(&[0xf1]), Kind::Trap);
        assert_eq!(Kind::of(&[0x66, 0x9c]), Kind::PushFlags);
        assert_eq!(Kind::of(&[0x9d]), Kind::SetFlags);
        assert_eq!(Kind::of(&[0x48, 0xcf]), Kind::SetFlags);
        assert_eq!(Kind::of(&[0x0f, 0x0b]), Kind::Plain);
        assert_eq!(Kind::of(&[]), Kind::Plain);
    }
}
