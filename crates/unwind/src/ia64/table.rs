//! The unwind table of a module: sorted entries of start, end and info block.

use super::information::Layout;
use super::status::{Failure, Status};
use super::swap::{is_short, low, swizzle};
use super::target::Target;

/// A table as a look-up answered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Table {
    /// What offsets count from.
    pub(super) base: u64,
    /// First address of the table, and the first behind it.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) layout: Layout,
}

/// The entry of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where the function begins.
    pub(super) start: u64,
    /// Its info block; none if the entry has no offset.
    pub(super) information: Option<u64>,
}

impl Table {
    /// Whether the module is one of a 32-bit program, so that its pointers have to be swizzled.
    fn is_short(&self) -> bool {
        self.layout.short && is_short(self.base)
    }

    /// The address of an offset.
    fn pointer(&self, offset: u64) -> u64 {
        if self.is_short() {
            swizzle(low(self.base).wrapping_add(low(offset)))
        } else {
            self.base.wrapping_add(offset)
        }
    }

    fn offset(&self, ip: u64) -> u64 {
        if self.is_short() && is_short(ip) {
            u64::from(low(ip).wrapping_sub(low(self.base)))
        } else {
            ip.wrapping_sub(self.base)
        }
    }

    /// The entry of the function that an address lies in; `NoTableEntry` if there is none.
    pub(super) fn search(&self, target: &mut dyn Target, ip: u64) -> Result<Entry, Failure> {
        let wanted = self.offset(ip);
        let word = self.layout.word();
        let read = |target: &mut dyn Target, entry: u64, field: u64| {
            let address = self.address().wrapping_add((entry * 3 + field) * word);
            self.layout.read(target, address, Status::CopyInTable)
        };
        // The last entry that begins at the address or before it, if any, is among [least, most).
        let (mut least, mut most) = (0, self.end.saturating_sub(self.start) / (3 * word));
        while least < most {
            let middle = least + (most - least) / 2;
            if read(target, middle, 0)? <= wanted {
                least = middle + 1;
            } else {
                most = middle;
            }
        }
        let index = least.checked_sub(1).ok_or(Status::NoTableEntry)?;
        if read(target, index, 1)? <= wanted {
            return Err(Status::NoTableEntry.into());
        }
        let start = self.pointer(read(target, index, 0)?);
        let information = match read(target, index, 2)? {
            0 => None,
            offset => Some(self.pointer(offset)),
        };
        Ok(Entry { start, information })
    }

    fn address(&self) -> u64 {
        if self.is_short() && self.start >> 32 == 0 {
            swizzle(low(self.start))
        } else {
            self.start
        }
    }
}
