//! Where exceptions land.
//!
//! The caller brings the bytes of `.eh_frame` and the memory around; back come the places where functions (and parts of functions
//! that were moved elsewhere) begin, and for each landing pad the calls whose exceptions land there.
//!
//! Source: Linux Standard Base, Core, "Exception Frames", for `.eh_frame`; the tables of `.gcc_except_table` are those of GCC's
//! `except.c` and of the "Exception Handling Tables" of LLVM, which have the same form. Damage ends the reading of
//! an entry or of all, and what was found before is kept.

/// What unwind information says about functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landings {
    /// Where code begins that has unwind information of its own, unsorted.
    pub starts: Vec<u64>,
    /// (landing pad, first, last): an exception that passes a call with bytes from `first` to `last` (not included) lands
    /// at the pad; unsorted.
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

/// What a CIE says of its FDEs.
#[derive(Clone, Copy)]
struct Common {
    pointers: u8,
    tables: u8,
    augmented: bool,
}

fn common(reader: &mut Reader<'_>) -> Option<Common> {
    let version = reader.byte()?;
    let end = reader.rest.iter().position(|&byte| byte == 0)?;
    let text = reader.take(end)?;
    reader.take(1)?;
    let mut found = Common { pointers: 0, tables: OMIT, augmented: false };
    if version >= 4 {
        reader.take(2)?;
    }
    if text.starts_with(b"eh") {
        reader.take(usize::from(reader.width))?;
    }
    reader.uleb()?;
    reader.sleb()?;
    if version == 1 {
        reader.byte()?;
    } else {
        reader.uleb()?;
    }
    let Some(letters) = text.strip_prefix(b"z") else { return Some(found) };
    found.augmented = true;
    reader.uleb()?;
    for letter in letters {
        match letter {
            b'L' => found.tables = reader.byte()?,
            b'R' => found.pointers = reader.byte()?,
            b'P' => {
                let encoding = reader.byte()?;
                reader.pointer(encoding)?;
            }
            b'S' | b'B' | b'G' => {}
            _ => return None,
        }
    }
    Some(found)
}

/// Reads the unwind information at `address`, whose bytes `frames` are; `wide`: of 64-bit code.
pub fn landings<'a>(frames: &'a [u8], address: u64, memory: &Bytes<'a, '_>, wide: bool) -> Landings {
    let mut found = Landings::default();
    let width = if wide { 8 } else { 4 };
    let mut reader = Reader { rest: frames, at: address, width };
    // The last entries share their CIE mostly.
    let mut last: Option<(u64, Common)> = None;
    while let Some(length) = reader.number(4) {
        let length = if length == 0xffff_ffff { reader.number(8) } else { Some(length) };
        let Some(length) =
            length.filter(|&length| length != 0).and_then(|length| usize::try_from(length).ok())
        else {
            break;
        };
        let at = reader.at;
        let Some(bytes) = reader.take(length) else { break };
        let mut entry = Reader { rest: bytes, at, width };
        let Some(id) = entry.number(4).filter(|&id| id != 0) else { continue };
        let place = at.wrapping_sub(id);
        let known = last.filter(|(known, _)| *known == place).map(|(_, common)| common);
        let Some(common) = known.or_else(|| common_at(frames, address, place, width)) else { continue };
        last = Some((place, common));
        // A damaged entry says nothing; the next one may.
        let _ = function(&mut entry, common, memory, &mut found);
        if found.starts.len() + found.pads.len() > MOST {
            break;
        }
    }
    found
}

fn common_at(frames: &[u8], address: u64, place: u64, width: u8) -> Option<Common> {
    let offset = usize::try_from(place.checked_sub(address)?).ok()?;
    let mut reader = Reader { rest: frames.get(offset..)?, at: place, width };
    let length = reader.number(4)?;
    if length == 0xffff_ffff {
        reader.number(8)?;
    }
    if reader.number(4)? != 0 {
        return None;
    }
    common(&mut reader)
}

fn function<'a>(
    entry: &mut Reader<'a>,
    common: Common,
    memory: &Bytes<'a, '_>,
    found: &mut Landings,
) -> Option<()> {
    let start = entry.pointer(common.pointers)?;
    entry.pointer(common.pointers & 0x0f)?;
    found.starts.push(start);
    if !common.augmented || common.tables == OMIT {
        return None;
    }
    let size = entry.uleb()?;
    if size == 0 {
        return None;
    }
    let table = entry.pointer(common.tables).filter(|&table| table != 0)?;
    let mut reader = Reader { rest: memory(table), at: table, width: entry.width };
    let encoding = reader.byte()?;
    let base = if encoding == OMIT { start } else { reader.pointer(encoding)? };
    let encoding = reader.byte()?;
    if encoding != OMIT {
        reader.uleb()?;
    }
    let encoding = reader.byte()?;
    let size = usize::try_from(reader.uleb()?).ok()?;
    let mut sites = Reader { rest: reader.take(size)?, at: reader.at, width: entry.width };
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
        let found = landings(&frames, 0x2000, &memory(&TABLE), true);
        assert_eq!(found, Landings { starts: vec![0x1000], pads: vec![(0x1040, 0x1010, 0x1015)] });
    }

    #[test]
    fn damage_says_less_and_never_panics() {
        let frames = frames();
        for end in 0..frames.len() {
            let found = landings(&frames[..end], 0x2000, &memory(&TABLE), true);
            assert!(found.starts.len() <= 1);
        }
        for end in 0..TABLE.len() {
            let found = landings(&frames, 0x2000, &memory(&TABLE[..end]), true);
            assert_eq!(found.starts, [0x1000]);
        }
        for at in 0..frames.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = frames.clone();
                damaged[at] = value;
                landings(&damaged, 0x2000, &memory(&TABLE), value & 1 == 0);
            }
        }
    }
}
