//! Names of code: the symbol tables of an ELF file as columns.

use std::collections::HashMap;

use object::read::elf::{ElfFile32, ElfFile64};
use object::{
    Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionFlags, SymbolFlags, SymbolKind,
    SymbolSection,
};
use pyo3::prelude::*;

use crate::history::lend;
use crate::table::{RawTable, TableBuilder};

/// `SHF_EXECINSTR` of the System V ABI.
const EXECUTABLE: u64 = 4;
/// `STT_GNU_IFUNC`: the function that chooses a function.
const IFUNC: u8 = 10;

/// One name of one place; several may share it.
struct Entry {
    start: u64,
    /// 0 until it is known.
    size: u64,
    name: String,
    rank: u8,
}

/// The symbols of code in an ELF file: start, size, name (demangled), raw (as in the file).
///
/// Addresses are those of the file, before it is loaded. Sorted by start, the best name of a place
/// first. A symbol without a size reaches to the next one or to the end of its section. Stubs of the
/// procedure linkage table are named `function@plt`. A damaged table gives fewer names, no error;
/// anything but ELF gives an empty table.
#[pyfunction]
fn elf_symbols(py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<RawTable> {
    let data = lend(data)?;
    let entries = py.detach(|| {
        let bytes = data.as_ref();
        if let Ok(file) = ElfFile64::<object::Endianness>::parse(bytes) {
            collect(&file)
        } else if let Ok(file) = ElfFile32::<object::Endianness>::parse(bytes) {
            collect(&file)
        } else {
            Vec::new()
        }
    });
    TableBuilder::default()
        .u64("start", entries.iter().map(|entry| entry.start).collect())
        .u64("size", entries.iter().map(|entry| entry.size).collect())
        .text("name", entries.iter().map(|entry| Some(demangle(&entry.name))).collect())
        .text("raw", entries.into_iter().map(|entry| Some(entry.name)).collect())
        .build()
}

fn collect<'data, F: Object<'data>>(file: &F) -> Vec<Entry> {
    let code: Vec<(u64, u64)> = file.sections().filter(is_code).map(|section| range(&section)).collect();
    let end_of = |address: u64| {
        code.iter().find(|(start, end)| (*start..*end).contains(&address)).map(|&(_, end)| end)
    };
    let mut entries: Vec<Entry> = file
        .symbols()
        .chain(file.dynamic_symbols())
        .filter_map(|symbol| entry(&symbol))
        // Without section headers nothing is known to be no code.
        .filter(|entry| code.is_empty() || end_of(entry.start).is_some())
        .collect();
    stubs(file, &mut entries);
    entries.sort_by(|one, other| {
        one.start
            .cmp(&other.start)
            .then(other.size.min(1).cmp(&one.size.min(1)))
            .then(one.rank.cmp(&other.rank))
            .then_with(|| one.name.cmp(&other.name))
    });
    entries.dedup_by(|next, kept| next.start == kept.start && next.name == kept.name);
    fill_sizes(&mut entries, end_of);
    entries
}

/// Gives symbols without a size the room up to the next symbol or the end of the section.
fn fill_sizes(entries: &mut [Entry], end_of: impl Fn(u64) -> Option<u64>) {
    let mut next = u64::MAX;
    let mut above = u64::MAX;
    for entry in entries.iter_mut().rev() {
        if entry.start != next {
            above = next;
            next = entry.start;
        }
        if entry.size == 0 {
            let end = end_of(entry.start).unwrap_or(u64::MAX).min(above);
            entry.size = if end == u64::MAX { 1 } else { end - entry.start };
        }
    }
}

fn is_code<'data, S: ObjectSection<'data>>(section: &S) -> bool {
    matches!(section.flags(), SectionFlags::Elf { sh_flags, .. } if sh_flags.0 & EXECUTABLE != 0)
}

fn range<'data, S: ObjectSection<'data>>(section: &S) -> (u64, u64) {
    (section.address(), section.address().saturating_add(section.size()))
}

fn is_chooser<'data, S: ObjectSymbol<'data>>(symbol: &S) -> bool {
    matches!(symbol.flags(), SymbolFlags::Elf { st_info, .. } if st_info.0 & 0xf == IFUNC)
}

fn entry<'data, S: ObjectSymbol<'data>>(symbol: &S) -> Option<Entry> {
    // STT_FUNC and STT_GNU_IFUNC are text; assembler code often leaves its labels without a type.
    if !matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Unknown | SymbolKind::Label)
        && !is_chooser(symbol)
    {
        return None;
    }
    if symbol.is_undefined() || symbol.section() == SymbolSection::Absolute {
        return None;
    }
    let name = symbol.name().ok()?;
    // Local labels of compilers and mapping symbols of assemblers name no function.
    if name.is_empty() || name.starts_with(".L") || name.starts_with('$') {
        return None;
    }
    let local = u8::from(symbol.is_local());
    let hidden = u8::from(name.starts_with('_'));
    let name = name.split_once('@').map_or(name, |(plain, _)| plain);
    let rank = local * 4 + u8::from(symbol.is_weak()) * 2 + hidden;
    Some(Entry { start: symbol.address(), size: symbol.size(), name: name.to_owned(), rank })
}

/// Names the stubs that jump through a slot of the global offset table by the slot's relocation.
///
/// Each stub is `jmp *[rip + distance]` (ff 25), in entries of 8 or 16 bytes (System V ABI, x86-64
/// supplement, "Procedure Linkage Table").
fn stubs<'data, F: Object<'data>>(file: &F, entries: &mut Vec<Entry>) {
    if file.architecture() != object::Architecture::X86_64 {
        return;
    }
    let Some(relocations) = file.dynamic_relocations() else { return };
    let table = file.dynamic_symbol_table();
    let mut choosers: HashMap<u64, String> = HashMap::new();
    for symbol in file.symbols().chain(file.dynamic_symbols()).filter(is_chooser) {
        if let Ok(name) = symbol.name() {
            choosers.entry(symbol.address()).or_insert_with(|| name.to_owned());
        }
    }
    let names: HashMap<u64, String> = relocations
        .filter_map(|(slot, relocation)| {
            let name = match relocation.target() {
                RelocationTarget::Symbol(index) => {
                    let symbol = object::ObjectSymbolTable::symbol_by_index(table.as_ref()?, index).ok()?;
                    symbol.name().ok()?.to_owned()
                }
                // R_X86_64_IRELATIVE: the addend is the function that chooses a function.
                _ => choosers.get(&u64::try_from(relocation.addend()).ok()?)?.clone(),
            };
            let name = name.split_once('@').map_or(&*name, |(plain, _)| plain);
            (!name.is_empty()).then(|| (slot, name.to_owned()))
        })
        .collect();
    for section in file.sections() {
        let (wanted, width) = match section.name() {
            Ok(".plt.got") => (true, 8),
            Ok(".plt" | ".plt.sec") => (true, 16),
            _ => (false, 16),
        };
        if !wanted {
            continue;
        }
        let Ok(data) = section.data() else { continue };
        for (nth, stub) in data.chunks_exact(width).enumerate() {
            let start = section.address().wrapping_add((nth * width) as u64);
            let Some(at) = stub.windows(2).position(|pair| pair == [0xff, 0x25]) else { continue };
            let Some(distance) = stub.get(at + 2..at + 6).and_then(|bytes| bytes.try_into().ok()) else {
                continue;
            };
            let next = start.wrapping_add(at as u64 + 6);
            let slot = next.wrapping_add_signed(i64::from(i32::from_le_bytes(distance)));
            if let Some(name) = names.get(&slot) {
                entries.push(Entry { start, size: width as u64, name: format!("{name}@plt"), rank: 7 });
            }
        }
    }
}

/// The name as its language writes it; names of no known language stay as they are.
pub fn demangle(raw: &str) -> String {
    let (name, suffix) = raw.strip_suffix("@plt").map_or((raw, ""), |name| (name, "@plt"));
    if name.starts_with("_R") || name.starts_with("_ZN") {
        if let Ok(rust) = rustc_demangle::try_demangle(name) {
            return format!("{rust:#}{suffix}");
        }
    }
    if name.starts_with("_Z") {
        let options = cpp_demangle::DemangleOptions::new().no_return_type();
        let parsed = cpp_demangle::Symbol::new(name).ok();
        if let Some(text) = parsed.and_then(|symbol| symbol.demangle_with_options(&options).ok()) {
            return text + suffix;
        }
    }
    raw.to_owned()
}

/// The name as its language writes it; others come back as they are.
#[pyfunction]
#[pyo3(name = "demangle")]
fn demangle_name(name: &str) -> String {
    demangle(name)
}

/// Adds this room's functions.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(elf_symbols, module)?)?;
    module.add_function(wrap_pyfunction!(demangle_name, module)?)
}
