//! Where exceptions land.
//!
//! The caller brings a file, or the bytes of `.eh_frame` and the memory around; back come the places where functions (and parts of functions
//! that were moved elsewhere) begin, and for each landing pad the calls whose exceptions land there.
//!
//! Source: Linux Standard Base, Core, "Exception Frames", for `.eh_frame`; the tables of `.gcc_except_table` are those of GCC's
//! `except.c` and of the "Exception Handling Tables" of LLVM, which have the same form. Damage ends the reading of
//! an entry or of all, and what was found before is kept.

use std::cell::OnceCell;

use gimli::BaseAddresses;
use object::{Object, ObjectSegment, ReadRef};

use crate::frames::{bases, each_entry, eh_frame};
use crate::section::section;

/// What unwind information says about functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnwindTables {
    /// Where code begins that has unwind information of its own, unsorted.
    pub starts: Vec<u64>,
    /// (landing pad, first, end): an exception that passes a call with bytes from `first` up to `end` lands at the pad;
    /// unsorted.
    pub pads: Vec<(u64, u64, u64)>,
}

/// Memory by address: the bytes from an address on, as far as they go.
pub type Bytes<'a, 'b> = dyn Fn(u64) -> &'a [u8] + 'b;

/// Most entries of all tables together.
const MOST: usize = 1 << 22;

const OMIT: u8 = 0xff;

struct Reader<'a> {
    rest: &'a [u8],
    at: u64,
    /// Bytes of an address.
    width: u8,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (here, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        self.at = self.at.wrapping_add(count as u64);
        Some(here)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self, size: usize) -> Option<u64> {
        let mut bytes = [0; 8];
        bytes.get_mut(..size)?.copy_from_slice(self.take(size)?);
        Some(u64::from_le_bytes(bytes))
    }

    fn uleb(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0u32..70).step_by(7) {
            let byte = self.byte()?;
            if shift < 64 {
                value |= u64::from(byte & 0x7f) << shift;
            }
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn sleb(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0u32..70).step_by(7) {
            let byte = self.byte()?;
            if shift < 64 {
                value |= u64::from(byte & 0x7f) << shift;
            }
            if byte & 0x80 == 0 {
                if byte & 0x40 != 0 && shift + 7 < 64 {
                    value |= u64::MAX << (shift + 7);
                }
                return Some(value);
            }
        }
        None
    }

    /// A value of a pointer's encoding (DW_EH_PE); what it is relative to is added but for text, data and function.
    fn pointer(&mut self, encoding: u8) -> Option<u64> {
        let at = self.at;
        let value = match encoding & 0x0f {
            0x00 => self.number(usize::from(self.width))?,
            0x01 => self.uleb()?,
            0x02 => self.number(2)?,
            0x03 => self.number(4)?,
            0x04 | 0x0c => self.number(8)?,
            0x09 => self.sleb()?,
            0x0a => self.number(2)? as i16 as u64,
            0x0b => self.number(4)? as i32 as u64,
            _ => return None,
        };
        let from_here = encoding & 0x70 == 0x10 && value != 0;
        let value = if from_here { value.wrapping_add(at) } else { value };
        Some(if self.width == 4 { value & 0xffff_ffff } else { value })
    }
}

/// Reads the unwind information at `address`, whose bytes `frames` are; `wide`: of 64-bit code.
pub fn unwind_tables<'a>(frames: &'a [u8], address: u64, memory: &Bytes<'a, '_>, wide: bool) -> UnwindTables {
    read(frames, &BaseAddresses::default().set_eh_frame(address), memory, wide)
}

fn read<'a>(frames: &'a [u8], bases: &BaseAddresses, memory: &Bytes<'a, '_>, wide: bool) -> UnwindTables {
    let mut found = UnwindTables::default();
    each_entry(frames, &eh_frame(frames, wide), bases, |entry| {
        let start = entry.initial_address();
        found.starts.push(start);
        if let Some(gimli::Pointer::Direct(table)) = entry.lsda() {
            // A damaged table says nothing.
            let _ = sites(start, table, memory, if wide { 8 } else { 4 }, &mut found);
        }
        found.starts.len() + found.pads.len() <= MOST
    });
    found
}

/// The call sites of the function at `start`, whose table of exceptions lies at `table`.
fn sites<'a>(
    start: u64,
    table: u64,
    memory: &Bytes<'a, '_>,
    width: u8,
    found: &mut UnwindTables,
) -> Option<()> {
    if table == 0 {
        return None;
    }
    let mut reader = Reader { rest: memory(table), at: table, width };
    let encoding = reader.byte()?;
    let base = if encoding == OMIT { start } else { reader.pointer(encoding)? };
    let encoding = reader.byte()?;
    if encoding != OMIT {
        reader.uleb()?;
    }
    let encoding = reader.byte()?;
    let size = usize::try_from(reader.uleb()?).ok()?;
    let mut sites = Reader { rest: reader.take(size)?, at: reader.at, width };
    while !sites.rest.is_empty() && found.pads.len() < MOST {
        let first = sites.pointer(encoding & 0x0f)?;
        let length = sites.pointer(encoding & 0x0f)?;
        let pad = sites.pointer(encoding & 0x0f)?;
        sites.uleb()?;
        if pad != 0 {
            let first = start.wrapping_add(first);
            found.pads.push((base.wrapping_add(pad), first, first.wrapping_add(length)));
        }
    }
    Some(())
}

/// What the unwind information of a file says; nothing where there is none.
pub fn unwind_tables_of<'data, R: ReadRef<'data>>(file: &object::File<'data, R>) -> UnwindTables {
    if !file.is_little_endian() {
        return UnwindTables::default();
    }
    let Some(frames) = section(file, ".eh_frame") else { return UnwindTables::default() };
    // Most segments hold no tables, and are not read.
    let segments: Vec<_> = file.segments().map(|segment| (segment, OnceCell::new())).collect();
    let from = |address: u64| -> &[u8] {
        let inside = |(segment, data): &(object::Segment<'data, '_, R>, OnceCell<&'data [u8]>)| {
            let offset = address.checked_sub(ObjectSegment::address(segment))?;
            if offset >= segment.size() {
                return None;
            }
            let data = *data.get_or_init(|| segment.data().unwrap_or_default());
            data.get(usize::try_from(offset).ok()?..).filter(|rest| !rest.is_empty())
        };
        segments.iter().find_map(inside).unwrap_or(&[])
    };
    read(&frames.data, &bases(file, &frames), &from, file.is_64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One CIE with tables, one function at 0x1000 with a table at 0x3000.
    fn frames() -> Vec<u8> {
        let mut cie = vec![0, 0, 0, 0, 1];
        cie.extend(b"zPLR\0");
        // Alignments, return register; 7 bytes: personality, tables and pointers, all absolute in 4 bytes.
        cie.extend([1, 0x78, 16, 7, 0x03, 9, 9, 0, 0, 0x03, 0x03]);
        let mut all = (cie.len() as u32).to_le_bytes().to_vec();
        all.extend(&cie);
        let id = all.len() as u32 + 4;
        let mut fde = id.to_le_bytes().to_vec();
        fde.extend(0x1000u32.to_le_bytes());
        fde.extend(0x80u32.to_le_bytes());
        fde.push(4);
        fde.extend(0x3000u32.to_le_bytes());
        all.extend((fde.len() as u32).to_le_bytes());
        all.extend(&fde);
        all.extend([0; 4]);
        all
    }

    /// Two calls, the second without a landing pad.
    const TABLE: [u8; 12] = [0xff, 0xff, 0x01, 8, 0x10, 0x05, 0x40, 1, 0x20, 0x05, 0x00, 0];

    fn memory<'a>(table: &'a [u8]) -> impl Fn(u64) -> &'a [u8] + 'a {
        move |address| if address == 0x3000 { table } else { &[] }
    }

    #[test]
    fn a_call_and_where_its_exceptions_land() {
        let frames = frames();
        let found = unwind_tables(&frames, 0x2000, &memory(&TABLE), true);
        assert_eq!(found, UnwindTables { starts: vec![0x1000], pads: vec![(0x1040, 0x1010, 0x1015)] });
    }

    #[test]
    fn damage_says_less_and_never_panics() {
        let frames = frames();
        for end in 0..frames.len() {
            let found = unwind_tables(&frames[..end], 0x2000, &memory(&TABLE), true);
            assert!(found.starts.len() <= 1);
        }
        for end in 0..TABLE.len() {
            let found = unwind_tables(&frames, 0x2000, &memory(&TABLE[..end]), true);
            assert_eq!(found.starts, [0x1000]);
        }
        for at in 0..frames.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = frames.clone();
                damaged[at] = value;
                unwind_tables(&damaged, 0x2000, &memory(&TABLE), value & 1 == 0);
            }
        }
    }
}
