//! Source lines and inlined functions of one file, from its DWARF through addr2line.
//!
//! Addresses are those of the file, before it is loaded. Units are parsed when an address in them is first asked for.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use addr2line::Context;
use gimli::{Dwarf, EndianArcSlice, RunTimeEndian, SectionId, UnitRef};
use object::{Object, ReadRef};

use crate::calls::{self, Calls, Functions};
use crate::debugfiles::{debug_file, shared_debug_file};
use crate::inlined::{self, InlinedCode};
use crate::named::{self, NamedCode};
use crate::rows::{each_piece, each_row, file_name, Piece};
use crate::section::section;
use crate::source::with_file;
use crate::units::Units;

type Reader = EndianArcSlice<RunTimeEndian>;

/// A function at an address, and the place in its source; None where the file does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its name as the linker knows it, or as its source has it.
    pub function: Option<String>,
    /// The source file, with its directory if that is known.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
}

/// Code that debuggers take for one piece of a line, from `start` to `end` (not included).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinePiece {
    /// Where it begins.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// A number of its source file, the same for the same path.
    pub file: u32,
    /// The line, from 1.
    pub line: u32,
    /// A statement begins at its start.
    pub is_stmt: bool,
}

/// The source of one file's code.
pub struct Lines {
    dwarf: Arc<Dwarf<Reader>>,
    /// Made when first asked for; None if a damaged unit keeps addr2line from reading any.
    context: OnceCell<Option<Context<Reader>>>,
    /// The same units, for what addr2line gives up at.
    units: Units<Reader>,
    /// By units, as they are asked for.
    functions: RefCell<HashMap<usize, Functions<Reader>>>,
}

impl Lines {
    /// Reads the debug information of a file, or of the separate file that belongs to it.
    ///
    /// None if there is none, or if it is damaged from its beginning.
    pub fn of_file(path: &Path) -> Option<Lines> {
        let path = debug_file(path)?;
        let mut dwarf = dwarf(&path)?;
        if let Some(shared) = shared_debug_file(&path).and_then(|path| self::dwarf(&path)) {
            dwarf.set_sup(shared);
        }
        Lines::of_dwarf(dwarf)
    }

    /// Reads the debug information in the bytes of a file.
    pub fn of_bytes(bytes: &[u8]) -> Option<Lines> {
        Lines::of_dwarf(crate::source::with_data(bytes, |file| dwarf_of(file))??)
    }

    fn of_dwarf(dwarf: Dwarf<Reader>) -> Option<Lines> {
        let dwarf = Arc::new(dwarf);
        dwarf.units().next().ok()??;
        let units = Units::new(Arc::clone(&dwarf));
        Some(Lines { dwarf, context: OnceCell::new(), units, functions: RefCell::default() })
    }

    fn context(&self) -> Option<&Context<Reader>> {
        self.context.get_or_init(|| Context::from_arc_dwarf(Arc::clone(&self.dwarf)).ok()).as_ref()
    }

    /// The functions at an address, the innermost inlined one first and the one that has code of its own last.
    ///
    /// Empty where nothing is known. Of a unit in which an entry is damaged, what is sound is known: the function with
    /// code of its own, and the line.
    pub fn at(&self, address: u64) -> Vec<Place> {
        self.frames_at(address).unwrap_or_else(|| self.sound_at(address).into_iter().collect())
    }

    /// None where addr2line gives up.
    fn frames_at(&self, address: u64) -> Option<Vec<Place>> {
        let mut frames = self.context()?.find_frames(address).skip_all_loads().ok()?;
        let mut places = Vec::new();
        while let Some(frame) = frames.next().ok()? {
            let name =
                frame.function.as_ref().and_then(|name| name.raw_name().ok().map(|name| name.into_owned()));
            let location = frame.location.as_ref();
            places.push(Place {
                function: name,
                file: location.and_then(|location| location.file.map(str::to_owned)),
                line: location.and_then(|location| location.line),
                column: location.and_then(|location| location.column),
            });
        }
        Some(places)
    }

    /// What is sound in a unit that addr2line gives up at.
    fn sound_at(&self, address: u64) -> Option<Place> {
        let function = self.function_at(address).map(|(name, ..)| name);
        let mut place = Place { function, ..Place::default() };
        for unit in self.units.at(address) {
            let mut found = None;
            each_row(unit, |row| {
                found = found.or_else(|| (row.start..row.end).contains(&address).then_some(row));
                found.is_none()
            });
            if let Some(row) = found {
                place.file = file_name(unit, row.file);
                place.line = (row.line != 0).then_some(row.line);
                place.column = (row.line != 0).then_some(row.column);
                break;
            }
        }
        (place != Place::default()).then_some(place)
    }

    /// The unit of an address and, in it, begin and end of the code of its function there, and its entry.
    fn entry_at(&self, address: u64) -> Option<(UnitRef<'_, Reader>, u64, u64, gimli::UnitOffset)> {
        let quick = self.context().and_then(|context| context.find_dwarf_and_unit(address).skip_all_loads());
        let found = quick.and_then(|unit| self.entry_in(unit, address));
        found.or_else(|| {
            let is_damaged =
                self.context().is_none_or(|context| context.find_frames(address).skip_all_loads().is_err());
            is_damaged.then(|| self.units.at(address).find_map(|unit| self.entry_in(unit, address))).flatten()
        })
    }

    fn entry_in<'u>(
        &self,
        unit: UnitRef<'u, Reader>,
        address: u64,
    ) -> Option<(UnitRef<'u, Reader>, u64, u64, gimli::UnitOffset)> {
        let mut known = self.functions.borrow_mut();
        let functions =
            known.entry(unit.header.debug_info_offset()?.0).or_insert_with(|| calls::functions(unit));
        let after = functions.partition_point(|(begin, ..)| *begin <= address);
        // Functions do not overlap, unless they are damaged.
        let near = functions.get(..after)?.iter().rev().take(8);
        let (begin, end, entry) = near.into_iter().find(|(_, end, _)| address < *end)?;
        Some((unit, *begin, *end, *entry))
    }

    /// Whether the code of a function of this unit begins there.
    fn begins_function(&self, unit: UnitRef<'_, Reader>, address: u64) -> bool {
        let Some(unit_offset) = unit.header.debug_info_offset() else { return false };
        let mut known = self.functions.borrow_mut();
        let functions = known.entry(unit_offset.0).or_insert_with(|| calls::functions(unit));
        functions.binary_search_by_key(&address, |(begin, ..)| *begin).is_ok()
    }

    /// The function with code of its own at an address: its name as the linker knows it or as its source has it, and
    /// begin and end of the range of its code there.
    pub fn function_at(&self, address: u64) -> Option<(String, u64, u64)> {
        let (unit, begin, end, entry) = self.entry_at(address)?;
        let name = named::name_of(unit, entry).or_else(|| {
            self.frames_at(address).and_then(|places| places.into_iter().next_back()?.function)
        })?;
        Some((name, begin, end))
    }

    /// What the function at an address calls; None where nothing is known.
    pub fn calls_at(&self, address: u64) -> Option<Calls> {
        let (unit, _, _, entry) = self.entry_at(address)?;
        calls::of_function(unit, entry)
    }

    /// The inlined functions at an address, the outermost first.
    pub fn inlined_at(&self, address: u64) -> Vec<InlinedCode> {
        let function = self.entry_at(address);
        function.and_then(|(unit, _, _, entry)| inlined::at(unit, entry, address)).unwrap_or_default()
    }

    /// Where code begins of functions that a name means, in their own place or inlined; sorted. See
    /// [`is_meant`](crate::demangle::is_meant).
    pub fn code_of(&self, typed: &str) -> Vec<NamedCode> {
        let units: Vec<UnitRef<'_, Reader>> = self.units.all().collect();
        named::code_of(&units, typed)
    }

    /// The pieces of code that debuggers step by, sorted by address.
    ///
    /// A row continues the piece before it if it has no line, or is another block (discriminator) of the same line.
    /// Where several rows have one address, the last row that begins a statement counts; if none does, the last row.
    pub fn pieces(&self) -> Vec<LinePiece> {
        let mut pieces = Vec::new();
        let mut numbers: HashMap<String, u32> = HashMap::new();
        for unit in self.units.all() {
            let mut files: HashMap<u64, u32> = HashMap::new();
            each_piece(unit, |piece| {
                let file = *files.entry(piece.file).or_insert_with(|| {
                    let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                    *numbers.entry(file_name(unit, piece.file).unwrap_or_default()).or_insert(next)
                });
                let Piece { start, end, line, is_stmt, .. } = piece;
                // Code that the linker removed is left with the address 0.
                if start != 0 {
                    pieces.push(LinePiece { start, end, file, line, is_stmt });
                }
            });
        }
        pieces.sort_unstable_by_key(|piece| piece.start);
        pieces
    }

    /// Where the code of a line begins: the line, or the next one that has any, and each address at which code of it
    /// begins behind other code or in another function. None if the file has no such line or none behind it.
    ///
    /// A source file is meant by its whole path or by its last components.
    pub fn addresses_of(&self, file: &str, line: u32) -> Option<(u32, Vec<u64>)> {
        let mut nearest: Option<(u32, Vec<u64>)> = None;
        for unit in self.units.all() {
            let mut files: HashMap<u64, bool> = HashMap::new();
            let mut before = (0, 0);
            each_row(unit, |row| {
                let adjoins = before == (row.start, row.line);
                before = (row.end, row.line);
                let mut is_file = || {
                    *files.entry(row.file).or_insert_with(|| {
                        file_name(unit, row.file).is_some_and(|name| is_meant(&name, file))
                    })
                };
                // Code that the linker removed is left with the address 0.
                if row.start == 0 || row.line == 0 || row.line < line || !is_file() {
                    return true;
                }
                match &mut nearest {
                    Some((best, _)) if *best < row.line => {}
                    Some((best, starts)) if *best == row.line => {
                        if !adjoins || self.begins_function(unit, row.start) {
                            starts.push(row.start);
                        }
                    }
                    _ => nearest = Some((row.line, vec![row.start])),
                }
                true
            });
        }
        let (line, mut starts) = nearest?;
        starts.sort_unstable();
        starts.dedup();
        Some((line, starts))
    }
}

/// Whether a path ends with the components of another one.
fn is_meant(path: &str, wanted: &str) -> bool {
    let wanted = wanted.trim_start_matches("./");
    path.strip_suffix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('/') || wanted.starts_with('/'))
}

fn dwarf(path: &Path) -> Option<Dwarf<Reader>> {
    with_file(path, |file| dwarf_of(file))?
}

fn dwarf_of<'data, R: ReadRef<'data>>(file: &object::File<'data, R>) -> Option<Dwarf<Reader>> {
    let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let load = |id: SectionId| -> Result<Reader, gimli::Error> {
        let data = section(file, id.name()).map_or_else(|| Arc::from(&[][..]), |section| section.data);
        Ok(EndianArcSlice::new(data, endian))
    };
    Dwarf::load(load).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_file_is_meant_by_its_last_components() {
        assert!(is_meant("/src/a/main.c", "main.c"));
        assert!(is_meant("/src/a/main.c", "./a/main.c"));
        assert!(is_meant("/src/a/main.c", "/src/a/main.c"));
        assert!(!is_meant("/src/a/domain.c", "main.c"));
        assert!(!is_meant("/src/a/main.c", "b/main.c"));
    }

    #[test]
    fn what_is_no_object_file_has_no_lines() {
        assert!(Lines::of_file(Path::new("/dev/null")).is_none());
        assert!(Lines::of_file(Path::new("/nothing/here")).is_none());
    }
}
