//! Stubs, by which linkers lead calls to other files. They are known by their code, and not by their names or by where
//! they stand.

use super::thunks::Code;
use crate::instruction::ExecMode;

/// Most bytes of a stub that are looked at.
const LONGEST: usize = 18;

/// A jump to where a word of memory says that is found without a register, but for the one that i386 keeps it in.
fn jumps_by_word(raw: &[u8], mode: ExecMode) -> bool {
    match raw {
        // bnd, or a prefix that changes nothing.
        [0xf2, rest @ ..] => jumps_by_word(rest, mode),
        [0x48, rest @ ..] if mode == ExecMode::Bits64 => jumps_by_word(rest, mode),
        [0xff, 0x25, ..] | [0xff, 0x24, 0x25, ..] => true,
        [0xff, 0xa3, ..] => mode == ExecMode::Bits32,
        _ => false,
    }
}

/// A jump to an address.
fn jumps(raw: &[u8]) -> bool {
    matches!(raw, [0xe9 | 0xeb, ..] | [0xf2, 0xe9, ..])
}

/// What code is that begins so. Sources: System V ABI, AMD64 supplement, 5.2 "Procedure Linkage Table"; and what linkers
/// write instead of it.
fn is_stub(raw: &[u8], mode: ExecMode) -> bool {
    let raw = match raw {
        [0xf3, 0x0f, 0x1e, 0xfa | 0xfb, rest @ ..] => rest,
        _ => raw,
    };
    match raw {
        // The number of the call, pushed or in a register that nothing else uses there.
        [0x68, _, _, _, _, rest @ ..] | [0x6a, _, rest @ ..] => jumps(rest),
        [0x41, 0xbb, _, _, _, _, rest @ ..] if mode == ExecMode::Bits64 => {
            jumps(rest) || jumps_by_word(rest, mode)
        }
        // With a word in that register, by way of a thunk.
        [0x4c, 0x8b, 0x1d, _, _, _, _, rest @ ..] if mode == ExecMode::Bits64 => {
            jumps(rest) || matches!(rest, [0xe8, ..] | [0x41, 0xff, 0xe3, ..])
        }
        _ => jumps_by_word(raw, mode),
    }
}

impl Code<'_> {
    /// A stub begins at an address.
    pub fn is_stub(self, ip: u64) -> bool {
        let mut raw = [0u8; LONGEST];
        let known = self.known(ip, &mut raw);
        raw.get(..known).is_some_and(|raw| is_stub(raw, self.mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stubs_are_known_by_their_code() {
        let known: &[(&[u8], bool)] = &[
            (b"\xff\x25\x01\x02\x03\x04", true),
            (b"\xf3\x0f\x1e\xfa\xff\x25\x01\x02\x03\x04", true),
            (b"\xf3\x0f\x1e\xfa\xf2\xff\x25\x01\x02\x03\x04", true),
            (b"\x68\x01\0\0\0\xe9\x01\x02\x03\x04", true),
            (b"\xf3\x0f\x1e\xfa\x68\x01\0\0\0\xf2\xe9\x01\x02\x03\x04", true),
            (b"\xf3\x0f\x1e\xfa\x41\xbb\x01\0\0\0\xe9\x01\x02\x03\x04", true),
            (b"\x4c\x8b\x1d\x01\x02\x03\x04\xe8\x01\x02\x03\x04", true),
            // The first entry of the table: stubs jump there, and no call leads there.
            (b"\xff\x35\x01\x02\x03\x04\xff\x25\x01\x02\x03\x04", false),
            // What functions begin with that do nothing but go on elsewhere.
            (b"\xe9\x01\x02\x03\x04", false),
            (b"\xff\xe7", false),
            (b"\xff\x24\xfd\x01\x02\x03\x04", false),
            (b"\x68\x01\0\0\0\xe8\x01\x02\x03\x04", false),
            (b"\xff", false),
            (b"", false),
        ];
        for (raw, expected) in known {
            assert_eq!(is_stub(raw, ExecMode::Bits64), *expected, "{raw:02x?}");
        }
        let by_register = b"\xff\xa3\x0c\0\0\0";
        assert!(is_stub(by_register, ExecMode::Bits32) && !is_stub(by_register, ExecMode::Bits64));
    }
}
