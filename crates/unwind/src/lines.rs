//! Source lines and inlined functions of one file, from its DWARF through addr2line.
//!
//! Addresses are those of the file, before it is loaded. Units are parsed when an address in them is first asked for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use addr2line::Context;
use gimli::{Dwarf, EndianArcSlice, RunTimeEndian, SectionId};
use object::Object;

use crate::calls::{self, Calls, Functions};
use crate::objects::{debug_file, section, shared_debug_file, with_file};

type Reader = EndianArcSlice<RunTimeEndian>;

/// A function at an address, and the place in its source; None where the file does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// The source of one file's code.
pub struct Lines {
    context: Context<Reader>,
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
        let context = Context::from_dwarf(dwarf).ok()?;
        Some(Lines { context, functions: RefCell::default() })
    }

    /// The functions at an address, the innermost inlined one first and the one that has code of its own last.
    ///
    /// Empty where nothing is known, or what is there is damaged.
    pub fn at(&self, address: u64) -> Vec<Place> {
        let Ok(mut frames) = self.context.find_frames(address).skip_all_loads() else { return Vec::new() };
        let mut places = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
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
        places
    }

    /// What the function at an address calls; None where nothing is known.
    pub fn calls_at(&self, address: u64) -> Option<Calls> {
        let unit = self.context.find_dwarf_and_unit(address).skip_all_loads()?;
        let mut known = self.functions.borrow_mut();
        let functions =
            known.entry(unit.header.debug_info_offset()?.0).or_insert_with(|| calls::functions(unit));
        let (_, _, entry) = functions.iter().find(|(begin, end, _)| (begin..end).contains(&&address))?;
        calls::of_function(unit, *entry)
    }

    /// Where the code of a line begins: the line, or the next one that has any, and each address at which code of it
    /// begins behind other code. None if the file has no such line or none behind it.
    ///
    /// A source file is meant by its whole path or by its last components.
    pub fn addresses_of(&self, file: &str, line: u32) -> Option<(u32, Vec<u64>)> {
        let mut nearest: Option<(u32, Vec<u64>)> = None;
        let mut before = (0, None);
        for (address, size, location) in self.context.find_location_range(0, u64::MAX).ok()? {
            let adjoins = before == (address, location.line);
            before = (address.saturating_add(size), location.line);
            let (Some(name), Some(number)) = (location.file, location.line) else { continue };
            if number < line || !is_meant(name, file) {
                continue;
            }
            match &mut nearest {
                Some((best, _)) if *best < number => {}
                Some((best, starts)) if *best == number => {
                    if !adjoins {
                        starts.push(address);
                    }
                }
                _ => nearest = Some((number, vec![address])),
            }
        }
        nearest
    }
}

/// Whether a path ends with the components of another one.
fn is_meant(path: &str, wanted: &str) -> bool {
    let wanted = wanted.trim_start_matches("./");
    path.strip_suffix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('/') || wanted.starts_with('/'))
}

fn dwarf(path: &Path) -> Option<Dwarf<Reader>> {
    with_file(path, |file| {
        let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
        let load = |id: SectionId| -> Result<Reader, gimli::Error> {
            let data = section(file, id.name()).map_or_else(|| Arc::from(&[][..]), |section| section.data);
            Ok(EndianArcSlice::new(data, endian))
        };
        Dwarf::load(load).ok()
    })?
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
