//! Functions by their names in DWARF, those that were inlined too.

use std::collections::{HashMap, HashSet};

use gimli::{AttributeValue, DebuggingInformationEntry, Reader, UnitOffset, UnitRef};

use crate::demangle::{demangle, is_meant};

/// So often a name is looked for in another entry.
const HOPS: usize = 8;

/// A place where the code of a function begins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedCode {
    /// Its address.
    pub start: u64,
    /// The function's name as shown.
    pub name: String,
    /// It was inlined into another function there.
    pub is_inlined: bool,
}

/// The name of a function by its entry: as the linker knows it, or else as its source has it.
pub(crate) fn name_of<R: Reader>(unit: UnitRef<'_, R>, offset: UnitOffset<R::Offset>) -> Option<String> {
    let mut at = offset;
    let mut plain = None;
    for _ in 0..HOPS {
        let entry = unit.entry(at).ok()?;
        if let Some(linked) = linked_name(unit, &entry) {
            return Some(linked);
        }
        plain = plain.or_else(|| text(unit, &entry, gimli::DW_AT_name));
        match origin(&entry) {
            Some(AttributeValue::UnitRef(next)) => at = next,
            _ => break,
        }
    }
    plain
}

fn origin<R: Reader>(entry: &DebuggingInformationEntry<R>) -> Option<AttributeValue<R>> {
    [gimli::DW_AT_abstract_origin, gimli::DW_AT_specification]
        .into_iter()
        .find_map(|name| entry.attr_value(name))
}

fn linked_name<R: Reader>(unit: UnitRef<'_, R>, entry: &DebuggingInformationEntry<R>) -> Option<String> {
    [gimli::DW_AT_linkage_name, gimli::DW_AT_MIPS_linkage_name]
        .into_iter()
        .find_map(|name| text(unit, entry, name))
}

fn text<R: Reader>(
    unit: UnitRef<'_, R>,
    entry: &DebuggingInformationEntry<R>,
    name: gimli::DwAt,
) -> Option<String> {
    Some(unit.attr_string(entry.attr_value(name)?).ok()?.to_string_lossy().ok()?.into_owned())
}

/// Where code begins of functions that a name means (see [`is_meant`]), in their own place or inlined. Sorted.
pub(crate) fn code_of<'u, R: Reader + 'u>(units: &[UnitRef<'u, R>], typed: &str) -> Vec<NamedCode> {
    // Entries that are meant, by their offset in the section; some give their names to others.
    let mut meant: HashMap<u64, String> = HashMap::new();
    let global = |unit: &UnitRef<'u, R>, offset: UnitOffset<R::Offset>| -> Option<u64> {
        let place = offset.to_debug_info_offset(&unit.header)?;
        Some(gimli::ReaderOffset::into_u64(place.0))
    };
    let mut found: HashSet<NamedCode> = HashSet::new();
    // Units with entries that may refer to one that is meant and has no code of its own.
    let mut asked: Vec<UnitRef<'u, R>> = Vec::new();
    for unit in units {
        let mut entries = unit.entries();
        let mut is_asked = false;
        while let Ok(Some(entry)) = entries.next_dfs() {
            if !matches!(entry.tag(), gimli::DW_TAG_subprogram | gimli::DW_TAG_inlined_subroutine) {
                continue;
            }
            is_asked |= matches!(origin(entry), Some(AttributeValue::DebugInfoRef(_)));
            if entry.tag() != gimli::DW_TAG_subprogram {
                continue;
            }
            let linked = linked_name(*unit, entry).map(|name| demangle(&name));
            let name = linked.or_else(|| text(*unit, entry, gimli::DW_AT_name));
            let Some(name) = name.filter(|name| is_meant(name, typed)) else { continue };
            match entry_address(*unit, entry) {
                Some(start) => {
                    found.insert(NamedCode { start, name: name.clone(), is_inlined: false });
                }
                None => is_asked = true,
            }
            if let Some(place) = global(unit, entry.offset()) {
                meant.insert(place, name);
            }
        }
        if is_asked {
            asked.push(*unit);
        }
    }
    let refers_to = |unit: &UnitRef<'u, R>, entry: &DebuggingInformationEntry<R>| match origin(entry)? {
        AttributeValue::UnitRef(offset) => global(unit, offset),
        AttributeValue::DebugInfoRef(offset) => Some(gimli::ReaderOffset::into_u64(offset.0)),
        _ => None,
    };
    if meant.is_empty() {
        asked.clear();
    }
    // An instance may refer to an entry that refers to the one with the name.
    for _ in 0..2 {
        for unit in &asked {
            let mut entries = unit.entries();
            while let Ok(Some(entry)) = entries.next_dfs() {
                let is_inlined = match entry.tag() {
                    gimli::DW_TAG_subprogram => false,
                    gimli::DW_TAG_inlined_subroutine => true,
                    _ => continue,
                };
                let own = global(unit, entry.offset());
                let place = own.filter(|place| meant.contains_key(place)).or_else(|| refers_to(unit, entry));
                let Some(name) = place.and_then(|place| meant.get(&place).cloned()) else { continue };
                if let Some(start) = entry_address(*unit, entry) {
                    found.insert(NamedCode { start, name: name.clone(), is_inlined });
                }
                if let Some(own) = own {
                    meant.entry(own).or_insert(name);
                }
            }
        }
    }
    let mut found: Vec<NamedCode> = found.into_iter().collect();
    found.sort();
    found
}

/// Where the code of an entry is entered; None if it has none, or the linker removed it.
fn entry_address<R: Reader>(unit: UnitRef<'_, R>, entry: &DebuggingInformationEntry<R>) -> Option<u64> {
    let mut ranges = unit.die_ranges(entry).ok()?;
    let mut first = None;
    while let Ok(Some(range)) = ranges.next() {
        if range.begin != 0 && range.begin < range.end {
            first = Some(range.begin);
            break;
        }
    }
    let first = first?;
    match entry.attr_value(gimli::DW_AT_entry_pc) {
        // DWARF 5: a constant counts from the base address.
        Some(AttributeValue::Udata(offset)) => first.checked_add(offset),
        Some(value) => Some(unit.attr_address(value).ok().flatten().unwrap_or(first)),
        None => Some(first),
    }
}
