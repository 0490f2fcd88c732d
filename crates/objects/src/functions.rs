//! The functions of one file, and which of them an address lies in.
//!
//! What is known best counts: a symbol, else the function that debug information has there, else the code that one
//! entry of the call frame information (FDE) covers. So a name is never that of the function before: a symbol without a
//! size ends where the next function begins, however that is known.

use std::collections::HashMap;
use std::path::Path;

use crate::debugfiles::debug_file;
use crate::demangle::{demangle, is_meant};
use crate::frames::{self, Entry};
use crate::lines::Lines;
use crate::packed::mini_debug_info;
use crate::source::{with_data, with_file};
use crate::symbols::Symbols;

/// How a function is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KnownBy {
    /// A symbol names it.
    Symbol,
    /// Debug information names it.
    Dwarf,
    /// Call frame information says where it lies; it has no name.
    Frame,
}

/// A function of a file. Its code lies from `start` to `end` (not included).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it begins.
    pub start: u64,
    /// Where it ends (not included).
    pub end: u64,
    /// Its name as the file has it; None if it has none.
    pub raw: Option<String>,
    /// How it is known.
    pub known_by: KnownBy,
}

impl Function {
    /// Its name as its language writes it.
    pub fn name(&self) -> Option<String> {
        self.raw.as_deref().map(demangle)
    }
}

/// What debug information is asked through, once it is needed: it takes longer than all the rest.
pub trait Debug {
    /// The function with code of its own at an address: name as the file has it, begin and end of the range of its
    /// code there.
    fn function_at(&mut self, address: u64) -> Option<(String, u64, u64)>;
}

/// No debug information.
impl Debug for () {
    fn function_at(&mut self, _: u64) -> Option<(String, u64, u64)> {
        None
    }
}

impl Debug for Lines {
    fn function_at(&mut self, address: u64) -> Option<(String, u64, u64)> {
        Lines::function_at(self, address)
    }
}

/// The functions of one file. They have numbers, which stay what they are.
#[derive(Debug, Default)]
pub struct Functions {
    symbols: Symbols,
    /// The first symbol of each place.
    heads: Vec<u32>,
    /// For each of these the nearest one before it that ends later.
    outer: Vec<Option<u32>>,
    frames: Vec<Entry>,
    /// What debug information says of a frame, once it was asked.
    named_frames: HashMap<usize, Option<String>>,
    /// Functions that only debug information has, in the order they were met.
    others: Vec<Function>,
    /// These by where they begin.
    others_at: HashMap<u64, usize>,
}

impl Functions {
    /// Those of a file, of the separate debug file that belongs to it, and of its MiniDebugInfo.
    ///
    /// A file that is no object file, or cannot be read, has none.
    pub fn of_file(path: &Path) -> Functions {
        let Some((own, frames, mini)) =
            with_file(path, |file| (Symbols::of_file(file), frames::entries_of(file), mini_debug_info(file)))
        else {
            return Functions::default();
        };
        let mut parts = vec![own];
        let separate = debug_file(path).filter(|debug| debug != path);
        parts.extend(separate.and_then(|debug| with_file(&debug, |file| Symbols::of_file(file))));
        parts.extend(mini.and_then(|mini| with_data(&*mini, |file| Symbols::of_file(file))));
        Functions::new(Symbols::joined(parts), frames)
    }

    /// Those of the bytes of a file.
    pub fn of_bytes(bytes: &[u8]) -> Functions {
        let parts = with_data(bytes, |file| {
            let mini =
                mini_debug_info(file).and_then(|mini| with_data(&*mini, |file| Symbols::of_file(file)));
            let all = [Some(Symbols::of_file(file)), mini].into_iter().flatten().collect();
            (Symbols::joined(all), frames::entries_of(file))
        });
        parts.map(|(symbols, frames)| Functions::new(symbols, frames)).unwrap_or_default()
    }

    /// From symbols and from frames that are sorted by their start.
    pub fn new(mut symbols: Symbols, frames: Vec<Entry>) -> Functions {
        symbols.end_sizeless(|start| {
            let after = frames.partition_point(|frame| frame.start <= start);
            let next = frames.get(after).map(|frame| frame.start);
            let around = after.checked_sub(1).and_then(|at| frames.get(at));
            around.filter(|frame| start < frame.end).map(|frame| frame.end).or(next)
        });
        let mut heads: Vec<u32> = Vec::new();
        let mut outer = Vec::new();
        let mut open: Vec<u32> = Vec::new();
        let mut before = None;
        for (at, symbol) in symbols.list().iter().enumerate() {
            if before == Some(symbol.start) {
                continue;
            }
            before = Some(symbol.start);
            let end = |head: u32| {
                let at = heads.get(head as usize).copied().unwrap_or_default();
                symbols.list().get(at as usize).map_or(0, |symbol| symbol.end)
            };
            while open.last().is_some_and(|&last| end(last) <= symbol.end) {
                open.pop();
            }
            outer.push(open.last().copied());
            open.push(heads.len() as u32);
            heads.push(at as u32);
        }
        Functions { symbols, heads, outer, frames, ..Functions::default() }
    }

    /// Its symbols.
    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// The number of the symbol at an address.
    fn symbol_at(&self, address: u64) -> Option<usize> {
        let list = self.symbols.list();
        let start = |head: &u32| list.get(*head as usize).map_or(0, |symbol| symbol.start);
        let mut head = self.heads.partition_point(|head| start(head) <= address).checked_sub(1)?;
        loop {
            let at = *self.heads.get(head)? as usize;
            if list.get(at)?.end > address {
                return Some(at);
            }
            // An address behind the end of a symbol may still lie in one that surrounds it.
            head = (*self.outer.get(head)?)? as usize;
        }
    }

    /// The number of the entry of call frame information at an address.
    fn frame_at(&self, address: u64) -> Option<usize> {
        let after = self.frames.partition_point(|frame| frame.start <= address);
        // Entries should not overlap; if a few do, the nearest start that reaches far enough counts.
        let near = (0..after).rev().take(8);
        near.into_iter().find(|&at| self.frames.get(at).is_some_and(|frame| address < frame.end))
    }

    /// The number of the function that an address lies in; None where none is known.
    pub fn at(&mut self, address: u64, debug: &mut impl Debug) -> Option<usize> {
        if let Some(symbol) = self.symbol_at(address) {
            return Some(symbol);
        }
        if let Some(frame) = self.frame_at(address) {
            // The table of stubs has one entry and no debug information.
            if !self.named_frames.contains_key(&frame) && !self.symbols.has_stubs_at(address) {
                let name = debug.function_at(address).map(|(name, ..)| name);
                self.named_frames.insert(frame, name);
            }
            return Some(self.symbols.len() + frame);
        }
        if self.symbols.has_stubs_at(address) {
            return None;
        }
        let (name, start, end) = debug.function_at(address)?;
        let others = &mut self.others;
        let at = *self.others_at.entry(start).or_insert_with(|| {
            others.push(Function { start, end, raw: Some(name), known_by: KnownBy::Dwarf });
            others.len() - 1
        });
        Some(self.symbols.len() + self.frames.len() + at)
    }

    /// The function of a number that [`Functions::at`] gave.
    pub fn get(&self, number: usize) -> Option<Function> {
        if let Some(symbol) = self.symbols.list().get(number) {
            let raw = Some(self.symbols.raw_name(symbol));
            return Some(Function { start: symbol.start, end: symbol.end, raw, known_by: KnownBy::Symbol });
        }
        let number = number.checked_sub(self.symbols.len())?;
        if let Some(frame) = self.frames.get(number) {
            let raw = self.named_frames.get(&number).cloned().flatten();
            let known_by = if raw.is_some() { KnownBy::Dwarf } else { KnownBy::Frame };
            return Some(Function { start: frame.start, end: frame.end, raw, known_by });
        }
        self.others.get(number - self.frames.len()).cloned()
    }

    /// Where the function of a number begins.
    pub fn start(&self, number: usize) -> Option<u64> {
        if let Some(symbol) = self.symbols.list().get(number) {
            return Some(symbol.start);
        }
        let number = number.checked_sub(self.symbols.len())?;
        if let Some(frame) = self.frames.get(number) {
            return Some(frame.start);
        }
        self.others.get(number - self.frames.len()).map(|function| function.start)
    }

    /// All functions that symbols and call frame information know: sorted by start, one for each start, the numbers of
    /// stubs of the procedure linkage table and of symbols inside of others among them.
    pub fn all(&self) -> Vec<usize> {
        let list = self.symbols.list();
        let mut found: Vec<(u64, usize)> = Vec::with_capacity(self.heads.len() + self.frames.len());
        for &head in &self.heads {
            if let Some(symbol) = list.get(head as usize) {
                found.push((symbol.start, head as usize));
            }
        }
        for (at, frame) in self.frames.iter().enumerate() {
            if self.symbol_at(frame.start).is_none() && !self.symbols.has_stubs_at(frame.start) {
                found.push((frame.start, self.symbols.len() + at));
            }
        }
        found.sort_unstable();
        found.dedup_by_key(|(start, _)| *start);
        found.into_iter().map(|(_, number)| number).collect()
    }

    /// Asks debug information about all code that only call frame information knows.
    pub fn name_frames(&mut self, debug: &mut impl Debug) {
        for frame in 0..self.frames.len() {
            let Some(start) = self.frames.get(frame).map(|frame| frame.start) else { continue };
            if self.symbol_at(start).is_none() {
                self.at(start, debug);
            }
        }
    }

    /// The entries of functions, for those who look for jumps to them: sorted starts of symbols that are no stubs, and
    /// of call frame information where no symbol has code.
    pub fn entries(&self) -> Vec<u64> {
        self.all().into_iter().filter_map(|number| self.start(number)).collect()
    }

    /// Of all code that symbols or call frame information know, sorted: begin, end (not included), and where the function
    /// begins that it is a part of, where a compiler moved that elsewhere (`main.cold`, `read.part.0`), and whether something
    /// begins there: a part without a name that has a frame at its first instruction goes on with what another function
    /// began. Stubs of the procedure linkage table are left out.
    pub fn bodies(&self) -> Vec<(u64, u64, u64, bool)> {
        let list = self.symbols.list();
        let mut named: Option<HashMap<&[u8], u64>> = None;
        let mut found = Vec::new();
        for number in self.all() {
            let Some(symbol) = list.get(number) else {
                let frame = number.checked_sub(list.len()).and_then(|at| self.frames.get(at));
                found.extend(frame.map(|frame| (frame.start, frame.end, frame.start, !frame.goes_on)));
                continue;
            };
            if self.symbols.is_stub(symbol) {
                continue;
            }
            let owner = whole_of(self.symbols.name_bytes(symbol)).and_then(|whole| {
                let named = named.get_or_insert_with(|| {
                    list.iter().rev().map(|symbol| (self.symbols.name_bytes(symbol), symbol.start)).collect()
                });
                named.get(whole).copied()
            });
            found.push((symbol.start, symbol.end, owner.unwrap_or(symbol.start), true));
        }
        found
    }

    /// Where functions begin that a name means exactly: as shown, or as the file has it. Sorted, each once.
    pub fn named(&self, name: &str) -> Vec<u64> {
        let plain = name.strip_suffix("@plt");
        let wanted = plain.unwrap_or(name).as_bytes();
        let mut found: Vec<u64> = self
            .symbols
            .list()
            .iter()
            .filter(|symbol| self.symbols.is_stub(symbol) == plain.is_some())
            .filter(|symbol| self.symbols.name_bytes(symbol) == wanted)
            .map(|symbol| symbol.start)
            .collect();
        if found.is_empty() {
            found =
                self.matches(name).into_iter().filter(|(_, shown)| shown == name).map(|(at, _)| at).collect();
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// All names of the function that begins at an address: as shown, and as the file has it.
    pub fn names_at(&self, start: u64) -> Vec<(String, String)> {
        let list = self.symbols.list();
        let first = list.partition_point(|symbol| symbol.start < start);
        let same = list.iter().skip(first).take_while(|symbol| symbol.start == start);
        same.map(|symbol| (self.symbols.name(symbol), self.symbols.raw_name(symbol))).collect()
    }

    /// Functions that a name may mean, with their names as shown: also without parameters and without leading
    /// namespaces; see [`is_meant`]. Sorted by start.
    pub fn matches(&self, typed: &str) -> Vec<(u64, String)> {
        // The last word of a name stands in the mangled name as it is.
        let finder = last_word(typed).map(|word| memchr::memmem::Finder::new(word.as_bytes()).into_owned());
        let mut found = Vec::new();
        for symbol in self.symbols.list() {
            let bytes = self.symbols.name_bytes(symbol);
            if !bytes.starts_with(b"_") || finder.as_ref().is_some_and(|finder| finder.find(bytes).is_none())
            {
                continue;
            }
            let shown = self.symbols.name(symbol);
            if is_meant(&shown, typed) {
                found.push((symbol.start, shown));
            }
        }
        found
    }

    /// All names as shown, for suggestions; at most so many bytes of them.
    pub fn shown_names(&self, most: usize) -> Vec<String> {
        let mut left = most;
        let mut found = Vec::new();
        for symbol in self.symbols.list() {
            let name = self.symbols.name(symbol);
            let Some(rest) = left.checked_sub(name.len() + 1) else { break };
            left = rest;
            found.push(name);
        }
        found
    }
}

/// The name of the function that one of this name is a part of, as compilers name parts; None if it is no part.
fn whole_of(name: &[u8]) -> Option<&[u8]> {
    let is_mark = |word: &[u8]| matches!(word, b"cold" | b"part" | b"isra" | b"constprop");
    let dots = name.iter().enumerate().filter(|(at, byte)| **byte == b'.' && *at > 0).map(|(at, _)| at);
    dots.filter_map(|dot| name.split_at_checked(dot)).find_map(|(whole, rest)| {
        let mut words = rest.get(1..)?.split(|byte| *byte == b'.');
        let first = words.next()?;
        let is_part = matches!(first, b"cold" | b"part")
            && words.all(|word| is_mark(word) || (!word.is_empty() && word.iter().all(u8::is_ascii_digit)));
        is_part.then_some(whole)
    })
}

/// The last word of a name before its parameters and template arguments; None if that may look different in a file.
fn last_word(typed: &str) -> Option<&str> {
    let end = typed.find(['(', '<']).unwrap_or(typed.len());
    let name = typed.get(..end)?;
    if name.contains("operator") {
        return None;
    }
    let word = name.rsplit(|letter: char| !(letter.is_alphanumeric() || letter == '_')).next()?;
    (!word.is_empty() && word.is_ascii()).then_some(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(start: u64, end: u64) -> Entry {
        Entry { start, end, offset: 0, goes_on: false }
    }

    proptest! {
        #[test]
        fn an_address_lies_in_the_function_that_begins_last_before_it(
            ranges in proptest::collection::vec((0u64..60, 1u64..30), 0..12),
        ) {
            let rows: Vec<(u64, u64, String)> =
                ranges.iter().enumerate().map(|(nth, &(start, size))| (start, size, format!("f{nth:02}"))).collect();
            let mut functions = Functions::new(Symbols::of_rows(&rows), Vec::new());
            for address in 0..100 {
                let around = rows.iter().filter(|(start, size, _)| (*start..start + size).contains(&address));
                // Of several names of one place the first one decides how far it reaches.
                let first = |start: u64| rows.iter().filter(|row| row.0 == start).min_by_key(|row| &row.2);
                let expected = around.filter(|row| first(row.0) == Some(*row)).max_by_key(|row| row.0);
                let found = functions.at(address, &mut ()).and_then(|number| functions.get(number));
                prop_assert_eq!(found.and_then(|found| found.raw), expected.map(|row| row.2.clone()));
            }
        }
    }

    #[test]
    fn a_symbol_without_a_size_ends_where_the_next_function_begins() {
        let symbols = Symbols::of_rows(&[(0x10, 0, "bare".to_owned()), (0x60, 4, "sized".to_owned())]);
        let mut functions = Functions::new(symbols, vec![frame(0x20, 0x30), frame(0x40, 0x50)]);
        let mut name = |address| {
            let number = functions.at(address, &mut ())?;
            functions.get(number).map(|function| (function.start, function.raw))
        };
        assert_eq!(name(0x1f), Some((0x10, Some("bare".to_owned()))));
        assert_eq!(name(0x25), Some((0x20, None)));
        assert_eq!(name(0x35), None);
        assert_eq!(name(0x64), None);
    }

    struct Known(Vec<(&'static str, u64, u64)>);

    impl Debug for Known {
        fn function_at(&mut self, address: u64) -> Option<(String, u64, u64)> {
            let found = self.0.iter().find(|(_, start, end)| (start..end).contains(&&address))?;
            Some((found.0.to_owned(), found.1, found.2))
        }
    }

    #[test]
    fn code_without_a_symbol_is_known_by_its_frame() {
        let mut functions = Functions::new(Symbols::default(), vec![frame(0x10, 0x20), frame(0x20, 0x30)]);
        let number = functions.at(0x25, &mut ()).expect("a frame has it");
        let found = functions.get(number).expect("the number is known");
        assert_eq!(found, Function { start: 0x20, end: 0x30, raw: None, known_by: KnownBy::Frame });
        assert_eq!(functions.at(0x30, &mut ()), None);
    }

    #[test]
    fn debug_information_names_what_symbols_do_not() {
        let mut functions = Functions::new(Symbols::default(), vec![frame(0x10, 0x20)]);
        let mut debug = Known(vec![("work", 0x10, 0x20), ("bare", 0x40, 0x50)]);
        let work = functions.at(0x15, &mut debug).and_then(|number| functions.get(number));
        assert_eq!(work.and_then(|work| work.raw), Some("work".to_owned()));
        let bare =
            functions.at(0x45, &mut debug).and_then(|number| functions.get(number)).expect("it is known");
        assert_eq!((bare.start, bare.known_by), (0x40, KnownBy::Dwarf));
    }
}

#[cfg(test)]
mod part_tests {
    use super::whole_of;

    #[test]
    fn parts_tell_what_they_are_parts_of() {
        let whole =
            |name: &'static str| whole_of(name.as_bytes()).map(|whole| std::str::from_utf8(whole).unwrap());
        assert_eq!(whole("main.cold"), Some("main"));
        assert_eq!(whole("read.part.0"), Some("read"));
        assert_eq!(whole("read.isra.0.cold"), Some("read.isra.0"));
        assert_eq!(whole("read.part.0.isra.1.cold.2"), Some("read"));
        assert_eq!(whole("read.isra.0"), None);
        assert_eq!(whole(".cold"), None);
        assert_eq!(whole("a.cold.b"), None);
        assert_eq!(whole("a.colder"), None);
    }
}
