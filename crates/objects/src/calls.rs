//! What a function calls, from DWARF's call sites: where each call goes and whether it is a jump (a tail call).
//!
//! Source: DWARF 5, section 3.4.1 "Call Site Entries"; its forerunners of DWARF 4 are GNU's `DW_TAG_GNU_call_site`.
//! Addresses are those of the file.

use gimli::{AttributeValue, DebuggingInformationEntry, Reader, UnitOffset, UnitRef};

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A function of this file.
    Address(u64),
    /// A function that is elsewhere, by its name as the linker knows it.
    Name(String),
    /// Who knows: the call is indirect.
    Unknown,
}

/// One call of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The address behind the instruction, to which a call returns.
    pub behind: u64,
    /// The function it calls.
    pub target: Target,
    /// It jumps, and what it calls returns to the caller's caller.
    pub is_tail: bool,
}

/// A function that has code of its own, with its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Where its code begins.
    pub start: u64,
    /// All its tail calls are listed.
    pub knows_tails: bool,
    /// Calls whose instructions are known.
    pub calls: Vec<Call>,
}

/// Where the functions of one unit lie: begin and end of a range, and the function's entry. Sorted.
pub(crate) type Functions<R> = Vec<(u64, u64, UnitOffset<<R as Reader>::Offset>)>;

/// The functions of a unit that have code of their own, as far as its entries are sound.
pub(crate) fn functions<R: Reader>(unit: UnitRef<'_, R>) -> Functions<R> {
    let mut found = Vec::new();
    let mut entries = unit.entries();
    while let Ok(Some(entry)) = entries.next_dfs() {
        if entry.tag() != gimli::DW_TAG_subprogram {
            continue;
        }
        let Ok(mut ranges) = unit.die_ranges(entry) else { continue };
        while let Ok(Some(range)) = ranges.next() {
            // Code that the linker removed is left with the address 0.
            if range.begin != 0 && range.begin < range.end {
                found.push((range.begin, range.end, entry.offset()));
            }
        }
    }
    found.sort_unstable_by_key(|(begin, ..)| *begin);
    found
}

/// The calls of the function of an entry; None if it has no code, or its entries are damaged.
pub(crate) fn of_function<R: Reader>(unit: UnitRef<'_, R>, offset: UnitOffset<R::Offset>) -> Option<Calls> {
    let mut entries = unit.entries_at_offset(offset).ok()?;
    let function = entries.next_dfs().ok()??;
    let depth = function.depth();
    let start = unit.die_ranges(function).ok()?.next().ok()??.begin;
    let knows_tails = KNOW_TAILS.iter().any(|&name| is_set(function, name));
    let mut calls = Vec::new();
    while let Some(entry) = entries.next_dfs().ok()? {
        if entry.depth() <= depth {
            break;
        }
        if matches!(entry.tag(), gimli::DW_TAG_call_site | gimli::DW_TAG_GNU_call_site) {
            calls.extend(call(unit, entry));
        }
    }
    Some(Calls { start, knows_tails, calls })
}

const KNOW_TAILS: [gimli::DwAt; 4] = [
    gimli::DW_AT_call_all_calls,
    gimli::DW_AT_call_all_tail_calls,
    gimli::DW_AT_GNU_all_call_sites,
    gimli::DW_AT_GNU_all_tail_call_sites,
];

fn is_set<R: Reader>(entry: &DebuggingInformationEntry<R>, name: gimli::DwAt) -> bool {
    matches!(entry.attr_value(name), Some(AttributeValue::Flag(true)))
}

fn call<R: Reader>(unit: UnitRef<'_, R>, entry: &DebuggingInformationEntry<R>) -> Option<Call> {
    let behind = [gimli::DW_AT_call_return_pc, gimli::DW_AT_low_pc]
        .into_iter()
        .find_map(|name| unit.attr_address(entry.attr_value(name)?).ok()?)?;
    let is_tail = is_set(entry, gimli::DW_AT_call_tail_call) || is_set(entry, gimli::DW_AT_GNU_tail_call);
    let origin = [gimli::DW_AT_call_origin, gimli::DW_AT_abstract_origin]
        .into_iter()
        .find_map(|name| entry.attr_value(name));
    let target = match origin {
        Some(AttributeValue::UnitRef(offset)) => target(unit, offset),
        _ => None,
    };
    Some(Call { behind, target: target.unwrap_or(Target::Unknown), is_tail })
}

/// The function that an entry of the same unit is about.
fn target<R: Reader>(unit: UnitRef<'_, R>, offset: UnitOffset<R::Offset>) -> Option<Target> {
    let entry = unit.entry(offset).ok()?;
    let ranges = unit.die_ranges(&entry).ok().and_then(|mut ranges| ranges.next().ok().flatten());
    if let Some(range) = ranges {
        return Some(Target::Address(range.begin));
    }
    let name = [gimli::DW_AT_linkage_name, gimli::DW_AT_MIPS_linkage_name, gimli::DW_AT_name]
        .into_iter()
        .find_map(|name| entry.attr_value(name))?;
    let name = unit.attr_string(name).ok()?;
    Some(Target::Name(name.to_string_lossy().ok()?.into_owned()))
}
