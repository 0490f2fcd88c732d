//! MiniDebugInfo: an ELF file in the section `.gnu_debugdata`, compressed with xz, that holds a symbol table.
//!
//! Source: the documentation of GDB, "Debugging information in a special section".

use std::io::Read;

use lzma_rust2::XzReader;
use object::ReadRef;

use crate::section::section;

/// More than this it does not hold: whole distributions stay below some megabytes a file.
const LARGEST: usize = 1 << 28;
/// xz makes data smaller by this at most, in what is accepted here.
const DENSEST: usize = 1 << 10;
const SMALLEST: usize = 1 << 16;
/// KiB that unpacking may take: `xz -9` needs 65 MiB.
const LARGEST_DICTIONARY: u32 = 96 << 10;

/// The unpacked ELF file of a file's `.gnu_debugdata`; None if there is none, it is damaged, or it is too large.
pub fn mini_debug_info<'data, R: ReadRef<'data>>(file: &object::File<'data, R>) -> Option<Vec<u8>> {
    unpacked(&section(file, ".gnu_debugdata")?.data)
}

/// What xz packed; None if it is damaged, or more than MiniDebugInfo holds.
pub fn unpacked(packed: &[u8]) -> Option<Vec<u8>> {
    let most = packed.len().saturating_mul(DENSEST).clamp(SMALLEST, LARGEST);
    let mut data = Vec::new();
    let reader = XzReader::new_mem_limit(packed, false, LARGEST_DICTIONARY);
    reader.take(most as u64 + 1).read_to_end(&mut data).ok()?;
    (data.len() <= most).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf hello | xz`.
    const HELLO: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x04, 0xe6, 0xd6, 0xb4, 0x46, 0x02, 0x00, 0x21, 0x01, 0x16,
        0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x04, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x00, 0x00,
        0x00, 0x00, 0xb1, 0x37, 0xb9, 0xdb, 0xe5, 0xda, 0x1e, 0x9b, 0x00, 0x01, 0x1d, 0x05, 0xb8, 0x2d, 0x80,
        0xaf, 0x1f, 0xb6, 0xf3, 0x7d, 0x01, 0x00, 0x00, 0x00, 0x00, 0x04, 0x59, 0x5a,
    ];

    #[test]
    fn what_xz_packed_is_unpacked() {
        assert_eq!(unpacked(HELLO).as_deref(), Some(&b"hello"[..]));
    }

    #[test]
    fn damage_is_no_data_and_never_panics() {
        for end in 0..HELLO.len() {
            assert_eq!(unpacked(&HELLO[..end]), None, "{end}");
        }
        for at in 0..HELLO.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = HELLO.to_vec();
                damaged[at] = value;
                let _ = unpacked(&damaged);
            }
        }
    }
}
