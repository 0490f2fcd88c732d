//! The entries of `.eh_frame` and `.debug_frame`: which code has call frame information, and where it begins.

use gimli::{
    BaseAddresses, CallFrameInstruction, CommonInformationEntry, DebugFrame, EhFrame, EndianSlice,
    FrameDescriptionEntry, LittleEndian, UnwindOffset, UnwindSection,
};
use object::{Object, ObjectSection, ReadRef};

use crate::section::{section, Section};

type Slice<'data> = EndianSlice<'data, LittleEndian>;

/// One entry (FDE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where its code begins.
    pub start: u64,
    /// Where its code ends (not included).
    pub end: u64,
    /// Where the entry lies in its section.
    pub offset: usize,
    /// There is a frame at its first instruction already: compilers moved a part of a function there, or nothing calls it.
    pub goes_on: bool,
}

/// Gives each sound entry of a section to `take`, in the order of the section. A damaged entry is left out, and
/// those behind a damaged length are lost. `take` ends the reading by false.
pub fn each_entry<'data, S: UnwindSection<Slice<'data>>>(
    bytes: &'data [u8],
    section: &S,
    bases: &BaseAddresses,
    mut take: impl FnMut(&FrameDescriptionEntry<Slice<'data>>) -> bool,
) where
    S::Offset: UnwindOffset<usize>,
{
    let mut common: Option<(usize, CommonInformationEntry<Slice<'data>>)> = None;
    let mut at = 0usize;
    while let Some((offset, next)) = entry_at(bytes, &mut at) {
        // Most entries have the same common part as the one before.
        let entry = section.fde_from_offset(bases, S::Offset::from(offset), |section, bases, place| {
            let place_at = UnwindOffset::into(place);
            match &common {
                Some((known, entry)) if *known == place_at => Ok(entry.clone()),
                _ => {
                    let entry = section.cie_from_offset(bases, place)?;
                    common = Some((place_at, entry.clone()));
                    Ok(entry)
                }
            }
        });
        if entry.is_ok_and(|entry| !take(&entry)) {
            return;
        }
        at = next;
    }
}

/// The offset of the entry at `at`, and where the next one begins; None at the end.
fn entry_at(bytes: &[u8], at: &mut usize) -> Option<(usize, usize)> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let short = word(*at)?;
    let (length, head) = if short == u32::MAX {
        let long = bytes.get(at.checked_add(4)?..at.checked_add(12)?)?;
        (usize::try_from(u64::from_le_bytes(long.try_into().ok()?)).ok()?, 12)
    } else {
        (usize::try_from(short).ok()?, 4)
    };
    // A length of zero ends the section.
    let next = at.checked_add(head)?.checked_add(length).filter(|_| length != 0)?;
    (next <= bytes.len()).then_some((*at, next))
}

/// The entries of a section, sorted by where their code begins.
pub fn entries<'data, S: UnwindSection<Slice<'data>>>(
    bytes: &'data [u8],
    section: &S,
    bases: &BaseAddresses,
) -> Vec<Entry> {
    let mut found = Vec::new();
    each_entry(bytes, section, bases, |entry| {
        let (start, end) = (entry.initial_address(), entry.initial_address().saturating_add(entry.len()));
        // Code that the linker removed is left with the address 0.
        if start < end && start != 0 {
            let goes_on = goes_on(entry, section, bases);
            found.push(Entry { start, end, offset: entry.offset(), goes_on });
        }
        true
    });
    found.sort_by_key(|entry| entry.start);
    found
}

/// An entry says at its first instruction that the frame is another one than at the entry of a function.
fn goes_on<'data, S: UnwindSection<Slice<'data>>>(
    entry: &FrameDescriptionEntry<Slice<'data>>,
    section: &S,
    bases: &BaseAddresses,
) -> bool {
    let mut instructions = entry.instructions(section, bases);
    while let Ok(Some(instruction)) = instructions.next() {
        match instruction {
            CallFrameInstruction::AdvanceLoc { delta } if delta > 0 => return false,
            CallFrameInstruction::DefCfa { .. }
            | CallFrameInstruction::DefCfaSf { .. }
            | CallFrameInstruction::DefCfaRegister { .. }
            | CallFrameInstruction::DefCfaOffset { .. }
            | CallFrameInstruction::DefCfaOffsetSf { .. }
            | CallFrameInstruction::DefCfaExpression { .. } => return true,
            _ => {}
        }
    }
    false
}

/// The bytes of an `.eh_frame` as gimli takes them.
pub fn eh_frame(bytes: &[u8], is_64: bool) -> EhFrame<Slice<'_>> {
    let mut frame = EhFrame::new(bytes, LittleEndian);
    frame.set_address_size(if is_64 { 8 } else { 4 });
    frame.set_vendor(gimli::Vendor::AArch64);
    frame
}

/// The bytes of a `.debug_frame` as gimli takes them.
pub fn debug_frame(bytes: &[u8], is_64: bool) -> DebugFrame<Slice<'_>> {
    let mut frame = DebugFrame::new(bytes, LittleEndian);
    frame.set_address_size(if is_64 { 8 } else { 4 });
    frame.set_vendor(gimli::Vendor::AArch64);
    frame
}

/// Where sections lie that entries may count from.
pub fn bases<'data, R: ReadRef<'data>>(file: &object::File<'data, R>, frames: &Section) -> BaseAddresses {
    let address = |name| file.section_by_name(name).map_or(0, |section| section.address());
    BaseAddresses::default().set_text(address(".text")).set_got(address(".got")).set_eh_frame(frames.address)
}

/// The code of a file that has entries: those of `.eh_frame`, or if it has none those of `.debug_frame`.
pub fn entries_of<'data, R: ReadRef<'data>>(file: &object::File<'data, R>) -> Vec<Entry> {
    if !file.is_little_endian() {
        return Vec::new();
    }
    if let Some(frames) = section(file, ".eh_frame") {
        let bases = bases(file, &frames);
        let found = entries(&frames.data, &eh_frame(&frames.data, file.is_64()), &bases);
        if !found.is_empty() {
            return found;
        }
    }
    let Some(frames) = section(file, ".debug_frame") else { return Vec::new() };
    entries(&frames.data, &debug_frame(&frames.data, file.is_64()), &BaseAddresses::default())
}
