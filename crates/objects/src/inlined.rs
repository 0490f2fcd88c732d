//! Which inlined functions lie at an address, each told apart from others of the same function.

use gimli::{DebuggingInformationEntry, Reader, ReaderOffset, UnitOffset, UnitRef};

/// Code of a function that was inlined at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InlinedCode {
    /// Where its entry lies in the debug information: no other code has the same.
    pub id: u64,
    /// Its code begins at the address, or goes on there behind code that is not its own.
    pub begins: bool,
    /// The line of the call, in the function around it; 0 if it is not known.
    pub call_line: u32,
}

/// The inlined functions at an address in the function of an entry, the outermost first.
pub(crate) fn at<R: Reader>(
    unit: UnitRef<'_, R>,
    function: UnitOffset<R::Offset>,
    address: u64,
) -> Option<Vec<InlinedCode>> {
    let mut entries = unit.entries_at_offset(function).ok()?;
    let depth = entries.next_dfs().ok()??.depth();
    let mut found = Vec::new();
    while let Ok(Some(entry)) = entries.next_dfs() {
        if entry.depth() <= depth {
            break;
        }
        if entry.tag() == gimli::DW_TAG_inlined_subroutine {
            found.extend(code_at(unit, entry, address));
        }
    }
    Some(found)
}

fn code_at<R: Reader>(
    unit: UnitRef<'_, R>,
    entry: &DebuggingInformationEntry<R>,
    address: u64,
) -> Option<InlinedCode> {
    let mut ranges = unit.die_ranges(entry).ok()?;
    let (mut first, mut has, mut has_before) = (None, false, false);
    while let Ok(Some(range)) = ranges.next() {
        first.get_or_insert(range.begin);
        let inside = range.begin..range.end;
        has |= inside.contains(&address);
        has_before |= address.checked_sub(1).is_some_and(|before| inside.contains(&before));
    }
    let place = entry.offset().to_debug_info_offset(&unit.header)?;
    let line = entry.attr_value(gimli::DW_AT_call_line).and_then(|value| value.udata_value());
    let call_line = line.and_then(|line| u32::try_from(line).ok()).unwrap_or(0);
    let begins = first == Some(address) || !has_before;
    has.then_some(InlinedCode { id: place.0.into_u64(), begins, call_line })
}
