//! Bytes of the target's tables as numbers, and the addresses of its 32-bit programs.

/// How the target stores numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Linux and Windows.
    #[default]
    Little,
    /// HP-UX.
    Big,
}

impl ByteOrder {
    /// Four or eight bytes as a number.
    pub fn word(self, bytes: &[u8]) -> u64 {
        let next = |word: u64, byte: &u8| word << 8 | u64::from(*byte);
        match self {
            ByteOrder::Little => bytes.iter().rev().fold(0, next),
            ByteOrder::Big => bytes.iter().fold(0, next),
        }
    }
}

/// The address that a 32-bit pointer means (`addp4`): its upper two bits choose the region.
pub fn swizzle(pointer: u32) -> u64 {
    let pointer = u64::from(pointer);
    (pointer & 0xc000_0000) << 31 | pointer
}

/// Whether a 32-bit program can name an address; pointers that are not swizzled yet count as well.
pub(super) fn is_short(address: u64) -> bool {
    address >> 32 == 0 || swizzle(low(address)) == address
}

/// The pointer an address came from.
pub(super) fn low(address: u64) -> u32 {
    u32::try_from(address & 0xffff_ffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(ByteOrder::Little.word(&[1, 2, 3, 4]), 0x0403_0201);
        assert_eq!(ByteOrder::Big.word(&[1, 2, 3, 4, 5, 6, 7, 8]), 0x0102_0304_0506_0708);
    }

    #[test]
    fn regions_of_short_pointers() {
        assert_eq!(swizzle(0x0400_1230), 0x0400_1230);
        assert_eq!(swizzle(0x4000_1230), 0x2000_0000_4000_1230);
        assert_eq!(swizzle(0x8000_0000), 0x4000_0000_8000_0000);
        assert_eq!(swizzle(0xffff_fff0), 0x6000_0000_ffff_fff0);
        assert!(is_short(0x2000_0000_4000_1230));
        assert!(is_short(0x4000_1230));
        assert!(!is_short(0x4000_0000_0000_1230));
    }
}
