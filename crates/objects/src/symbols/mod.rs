//! The symbols of code in an ELF file.

mod stubs;

use std::ops::Range;
use std::sync::Arc;

use object::elf::{
    FileHeader32, FileHeader64, SHF_EXECINSTR, SHN_ABS, SHN_COMMON, SHN_UNDEF, STB_LOCAL, STB_WEAK, STT_FUNC,
    STT_GNU_IFUNC, STT_NOTYPE,
};
use object::read::elf::{ElfFile, FileHeader, SectionHeader, Sym, SymbolTable};
use object::{Endianness, ReadRef};

use crate::demangle::demangle;

/// A name in one of the string tables that [`Symbols`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    table: u32,
    start: u32,
    length: u32,
    /// It names the function that a stub jumps to.
    pub(crate) is_stub: bool,
}

/// A name of one place; several may share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Where it begins.
    pub start: u64,
    /// Where it ends (not included).
    pub end: u64,
    /// The file gives its size.
    pub is_sized: bool,
    name: Name,
    /// Of several names of one place the one with the least rank is shown.
    rank: u8,
}

/// The symbols of code in a file: sorted by start, the best name of a place first.
///
/// Names are kept once, as the file has them, however many symbols share them.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    strings: Vec<Arc<[u8]>>,
    list: Vec<Symbol>,
    /// Where code lies by section headers, sorted; empty where there are none.
    code: Vec<Range<u64>>,
    /// Where stubs of the procedure linkage table lie.
    stubs: Vec<Range<u64>>,
}

impl Symbols {
    /// Those of a file. A damaged table gives fewer names, no error.
    pub fn of_file<'data, R: ReadRef<'data>>(file: &object::File<'data, R>) -> Symbols {
        let mut found = Symbols::default();
        match file {
            object::File::Elf64(file) => found.collect::<FileHeader64<Endianness>, R>(file),
            object::File::Elf32(file) => found.collect::<FileHeader32<Endianness>, R>(file),
            _ => None,
        };
        found
    }

    /// The symbols of several files together, which are of the same code; the names of earlier ones come first.
    pub fn joined(parts: Vec<Symbols>) -> Symbols {
        let mut all = Symbols::default();
        for part in parts {
            let before = all.strings.len() as u32;
            all.strings.extend(part.strings);
            all.list.extend(part.list.into_iter().map(|mut symbol| {
                symbol.name.table += before;
                symbol
            }));
            if all.code.is_empty() {
                all.code = part.code;
            }
            if all.stubs.is_empty() {
                all.stubs = part.stubs;
            }
        }
        all.sort();
        all
    }

    /// From (start, size, name); 0: the size is not known.
    pub fn of_rows(rows: &[(u64, u64, String)]) -> Symbols {
        let mut found = Symbols::default();
        for (start, size, name) in rows {
            let table = found.keep(&[name.as_bytes(), b"\0"].concat());
            if let Some(name) = found.named(table, 0) {
                let (start, end) = (*start, start.saturating_add(*size));
                found.list.push(Symbol { start, end, is_sized: *size != 0, name, rank: 0 });
            }
        }
        found.sort();
        found
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them, in order.
    pub fn list(&self) -> &[Symbol] {
        &self.list
    }

    /// The name of a symbol as the file has it; stubs are `function@plt`.
    pub fn raw_name(&self, symbol: &Symbol) -> String {
        let text = String::from_utf8_lossy(self.bytes(symbol.name));
        if symbol.name.is_stub {
            format!("{text}@plt")
        } else {
            text.into_owned()
        }
    }

    /// The name of a symbol as its language writes it.
    pub fn name(&self, symbol: &Symbol) -> String {
        demangle(&self.raw_name(symbol))
    }

    /// The bytes of a symbol's name in the file, without the mark of stubs.
    pub fn name_bytes(&self, symbol: &Symbol) -> &[u8] {
        self.bytes(symbol.name)
    }

    /// Whether a symbol names a stub of the procedure linkage table.
    pub fn is_stub(&self, symbol: &Symbol) -> bool {
        symbol.name.is_stub
    }

    /// Whether an address lies in the procedure linkage table.
    pub fn has_stubs_at(&self, address: u64) -> bool {
        self.stubs.iter().any(|range| range.contains(&address))
    }

    fn bytes(&self, name: Name) -> &[u8] {
        let range = name.start as usize..(name.start as usize).saturating_add(name.length as usize);
        self.strings.get(name.table as usize).and_then(|table| table.get(range)).unwrap_or_default()
    }

    fn collect<'data, F: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(
        &mut self,
        file: &ElfFile<'data, F, R>,
    ) -> Option<()> {
        let order = file.endian();
        let sections = file.elf_section_table();
        for section in sections.iter() {
            if section.sh_flags(order).0 & SHF_EXECINSTR.0 != 0 {
                let start: u64 = section.sh_addr(order).into();
                let name = sections.section_name(order, section).unwrap_or_default();
                let range = start..start.saturating_add(section.sh_size(order).into());
                if matches!(name, b".plt" | b".plt.got" | b".plt.sec" | b".iplt") {
                    self.stubs.push(range.clone());
                }
                self.code.push(range);
            }
        }
        self.code.sort_by_key(|range| range.start);
        for table in [file.elf_symbol_table(), file.elf_dynamic_symbol_table()] {
            self.add_table(file, table);
        }
        stubs::add(self, file);
        self.sort();
        Some(())
    }

    fn add_table<'data, F: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(
        &mut self,
        file: &ElfFile<'data, F, R>,
        table: &SymbolTable<'data, F, R>,
    ) {
        let order = file.endian();
        let Some(strings) = strings_of(file, table) else { return };
        let number = self.keep(strings);
        for symbol in table.symbols() {
            let Some(name) = self.named(number, symbol.st_name(order)) else { continue };
            let section = symbol.st_shndx(order);
            if section == SHN_UNDEF || section == SHN_ABS || section == SHN_COMMON {
                continue;
            }
            // Assembler code often leaves its labels without a type.
            if ![STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE].contains(&symbol.st_type()) {
                continue;
            }
            let start: u64 = symbol.st_value(order).into();
            // Without section headers nothing is known to be no code.
            if !self.code.is_empty() && self.end_of_code(start).is_none() {
                continue;
            }
            let size: u64 = symbol.st_size(order).into();
            let is_local = u8::from(symbol.st_bind() == STB_LOCAL);
            let is_weak = u8::from(symbol.st_bind() == STB_WEAK);
            let is_hidden = u8::from(self.bytes(name).starts_with(b"_"));
            self.list.push(Symbol {
                start,
                end: start.saturating_add(size),
                is_sized: size != 0,
                name,
                rank: is_local * 4 + is_weak * 2 + is_hidden,
            });
        }
    }

    /// Keeps a string table; gives its number.
    pub(crate) fn keep(&mut self, strings: &[u8]) -> u32 {
        self.strings.push(Arc::from(strings));
        (self.strings.len() - 1) as u32
    }

    /// The name at an offset of a string table, without its version; None if it names no function.
    pub(crate) fn named(&self, table: u32, offset: u32) -> Option<Name> {
        let strings = self.strings.get(table as usize)?.get(offset as usize..)?;
        let text = strings.get(..memchr::memchr(0, strings)?)?;
        let text = memchr::memchr(b'@', text).map_or(text, |at| text.get(..at).unwrap_or(text));
        // Local labels of compilers and mapping symbols of assemblers name no function.
        if text.is_empty() || text.starts_with(b".L") || text.starts_with(b"$") {
            return None;
        }
        Some(Name { table, start: offset, length: u32::try_from(text.len()).ok()?, is_stub: false })
    }

    pub(crate) fn add_stub(&mut self, start: u64, size: u64, name: Name) {
        let name = Name { is_stub: true, ..name };
        self.list.push(Symbol { start, end: start.saturating_add(size), is_sized: true, name, rank: 7 });
    }

    /// The end of the section of code that an address lies in.
    pub(crate) fn end_of_code(&self, address: u64) -> Option<u64> {
        let after = self.code.partition_point(|range| range.start <= address);
        // Sections do not overlap in files that are linked; in others all begin at 0.
        self.code.get(..after)?.iter().rev().take(64).find(|range| address < range.end).map(|range| range.end)
    }

    fn sort(&mut self) {
        let mut list = std::mem::take(&mut self.list);
        list.sort_by(|one, other| {
            (one.start, !one.is_sized, one.rank)
                .cmp(&(other.start, !other.is_sized, other.rank))
                .then_with(|| self.bytes(one.name).cmp(self.bytes(other.name)))
        });
        list.dedup_by(|next, kept| {
            next.start == kept.start
                && next.name.is_stub == kept.name.is_stub
                && self.bytes(next.name) == self.bytes(kept.name)
        });
        self.list = list;
    }

    /// Ends symbols without a size where the next symbol or the section ends, or where `limit` says if that is
    /// before.
    pub(crate) fn end_sizeless(&mut self, limit: impl Fn(u64) -> Option<u64>) {
        let mut next = u64::MAX;
        let mut above = u64::MAX;
        for at in (0..self.list.len()).rev() {
            let Some(&symbol) = self.list.get(at) else { continue };
            if symbol.start != next {
                above = next;
                next = symbol.start;
            }
            if symbol.is_sized {
                continue;
            }
            let end = self.end_of_code(symbol.start).unwrap_or(u64::MAX).min(above);
            let end = limit(symbol.start).map_or(end, |limit| end.min(limit));
            let end = if end == u64::MAX { symbol.start.saturating_add(1) } else { end };
            if let Some(symbol) = self.list.get_mut(at) {
                symbol.end = end.max(symbol.start.saturating_add(1));
            }
        }
    }
}

/// The bytes of the string table of a symbol table.
pub(crate) fn strings_of<'data, F: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(
    file: &ElfFile<'data, F, R>,
    table: &SymbolTable<'data, F, R>,
) -> Option<&'data [u8]> {
    if table.is_empty() {
        return None;
    }
    let section = file.elf_section_table().section(table.string_section()).ok()?;
    section.data(file.endian(), file.data()).ok()
}

/// The value of the first of `names` in the full symbol table of a file, of any kind.
pub fn value_of<'data, R: ReadRef<'data>>(file: &object::File<'data, R>, names: &[String]) -> Option<u64> {
    match file {
        object::File::Elf64(file) => value_in::<FileHeader64<Endianness>, R>(file, names),
        object::File::Elf32(file) => value_in::<FileHeader32<Endianness>, R>(file, names),
        _ => None,
    }
}

fn value_in<'data, F: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(
    file: &ElfFile<'data, F, R>,
    names: &[String],
) -> Option<u64> {
    let table = file.elf_symbol_table();
    let strings = strings_of(file, table)?;
    let mut found: Vec<Option<u64>> = vec![None; names.len()];
    for symbol in table.symbols() {
        let rest = strings.get(symbol.st_name(file.endian()) as usize..).unwrap_or_default();
        for (name, found) in names.iter().zip(&mut found) {
            if found.is_none()
                && rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
            {
                *found = Some(symbol.st_value(file.endian()).into());
            }
        }
    }
    found.into_iter().flatten().next()
}
