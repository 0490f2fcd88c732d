//! The info block of a function: a header, and descriptors behind it.

use super::status::{Failure, Status};
use super::swap::ByteOrder;
use super::target::{Request, Target};

/// The most words of descriptors a block may have.
pub const MOST_WORDS: u32 = 1 << 16;

/// The first eight bytes of an info block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Of the format; 1 is the only one.
    pub version: u16,
    /// Bit 0: there is an exception handler, bit 1: a termination handler.
    pub flags: u16,
    /// Length of the descriptors in words.
    pub words: u32,
}

impl Header {
    /// From the word that it is in the target's byte order.
    pub fn new(word: u64) -> Self {
        Header {
            version: u16::try_from(word >> 48).unwrap_or(0),
            flags: u16::try_from(word >> 32 & 0xffff).unwrap_or(0),
            words: u32::try_from(word & 0xffff_ffff).unwrap_or(0),
        }
    }
}

/// How unwind information of a module is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Layout {
    pub(super) order: ByteOrder,
    /// Words and offsets have 32 bits.
    pub(super) short: bool,
}

impl Layout {
    /// Bytes of a word.
    pub(super) fn word(self) -> u64 {
        if self.short {
            4
        } else {
            8
        }
    }

    /// Reads a word of unwind information; `status` if it cannot be read or is not aligned.
    pub(super) fn read(self, target: &mut dyn Target, address: u64, status: Status) -> Result<u64, Failure> {
        let mut bytes = [0; 8];
        let Some(word) = bytes.get_mut(..if self.short { 4 } else { 8 }) else { return Err(status.into()) };
        if !address.is_multiple_of(self.word())
            || !target.copy_in(Request::UnwindInformation, address, word)?
        {
            return Err(status.into());
        }
        Ok(self.order.word(word))
    }
}

/// Reads the descriptors of an info block; empty if it has none.
pub(super) fn descriptors(target: &mut dyn Target, layout: Layout, address: u64) -> Result<Vec<u8>, Failure> {
    let status = Status::CopyInInformation;
    let first = layout.read(target, address, status)?;
    let word = match (layout.short, layout.order) {
        (false, _) => first,
        (true, order) => {
            let second = layout.read(target, address.wrapping_add(4), status)?;
            match order {
                ByteOrder::Little => second << 32 | first,
                ByteOrder::Big => first << 32 | second,
            }
        }
    };
    let header = Header::new(word);
    if header.version != 1 {
        return Err(Status::BadDescriptor.into());
    }
    if header.words > MOST_WORDS {
        return Err(Status::NoMemory.into());
    }
    let size = layout.word();
    let mut data = Vec::new();
    for index in 0..u64::from(header.words) {
        let at = address.wrapping_add(8).wrapping_add(index * size);
        let mut bytes = [0; 8];
        let Some(word) = bytes.get_mut(..if layout.short { 4 } else { 8 }) else { break };
        if !target.copy_in(Request::UnwindInformation, at, word)? {
            return Err(status.into());
        }
        // Descriptors are bytes and lie in the order of their addresses in either byte order.
        data.extend_from_slice(word);
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let header = Header::new(0x0001_1003_0000_0012);
        assert_eq!(header, Header { version: 1, flags: 0x1003, words: 0x12 });
        assert_eq!(Header::new(u64::MAX).words, u32::MAX);
    }
}
