//! Stubs of the procedure linkage table, named by the functions they jump to.
//!
//! Each stub is `jmp *[rip + distance]` (ff 25), in entries of 8 or 16 bytes (System V ABI, x86-64 supplement,
//! "Procedure Linkage Table"). It jumps through a slot of the global offset table, whose relocation has the name.

use std::collections::HashMap;

use object::elf::STT_GNU_IFUNC;
use object::read::elf::{ElfFile, FileHeader, Sym};
use object::{Endianness, Object, ObjectSection, ReadRef, RelocationTarget};

use crate::symbols::{strings_of, Name, Symbols};

/// Adds the stubs of a file to its symbols.
pub(crate) fn add<'data, F: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(
    symbols: &mut Symbols,
    file: &ElfFile<'data, F, R>,
) -> Option<()> {
    if file.architecture() != object::Architecture::X86_64 {
        return None;
    }
    let order = file.endian();
    let dynamic = file.elf_dynamic_symbol_table();
    let relocations = file.dynamic_relocations()?;
    let dynamic_strings = symbols.keep(strings_of(file, dynamic).unwrap_or_default());
    let mut choosers: HashMap<u64, Name> = HashMap::new();
    for table in [file.elf_symbol_table(), dynamic] {
        let strings = symbols.keep(strings_of(file, table).unwrap_or_default());
        for symbol in table.symbols().iter().filter(|symbol| symbol.st_type() == STT_GNU_IFUNC) {
            if let Some(name) = symbols.named(strings, symbol.st_name(order)) {
                choosers.entry(symbol.st_value(order).into()).or_insert(name);
            }
        }
    }
    let mut slots: HashMap<u64, Name> = HashMap::new();
    for (slot, relocation) in relocations {
        let name = match relocation.target() {
            RelocationTarget::Symbol(index) => {
                let symbol = dynamic.symbol(index).ok();
                symbol.and_then(|symbol| symbols.named(dynamic_strings, symbol.st_name(order)))
            }
            // R_X86_64_IRELATIVE: the addend is the function that chooses a function.
            _ => u64::try_from(relocation.addend()).ok().and_then(|place| choosers.get(&place).copied()),
        };
        if let Some(name) = name {
            slots.insert(slot, name);
        }
    }
    for section in file.sections() {
        let width = match section.name() {
            Ok(".plt.got") => 8,
            Ok(".plt" | ".plt.sec" | ".iplt") => 16,
            _ => continue,
        };
        let Ok(data) = section.data() else { continue };
        for (nth, stub) in data.chunks_exact(width).enumerate() {
            let start = section.address().wrapping_add((nth * width) as u64);
            if let Some(name) = slot_of(stub, start).and_then(|slot| slots.get(&slot)) {
                symbols.add_stub(start, width as u64, *name);
            }
        }
    }
    Some(())
}

/// The slot that a stub jumps through.
fn slot_of(stub: &[u8], start: u64) -> Option<u64> {
    let at = stub.windows(2).position(|pair| pair == [0xff, 0x25])?;
    let distance = stub.get(at + 2..at + 6)?.try_into().ok()?;
    let next = start.wrapping_add(at as u64 + 6);
    Some(next.wrapping_add_signed(i64::from(i32::from_le_bytes(distance))))
}
