//! The units of a file's DWARF, each read by itself: one that is damaged does not hide the others.

use std::cell::OnceCell;
use std::sync::Arc;

use gimli::{Dwarf, Reader, Unit, UnitRef};

/// More units than this are not read.
const MOST: usize = 1 << 20;

/// One unit, and the addresses it says it has.
struct Known<R: Reader> {
    unit: Unit<R>,
    ranges: Vec<(u64, u64)>,
}

/// The units of a file, parsed when first asked for.
pub(crate) struct Units<R: Reader> {
    dwarf: Arc<Dwarf<R>>,
    list: OnceCell<Vec<Known<R>>>,
}

impl<R: Reader> Units<R> {
    pub(crate) fn new(dwarf: Arc<Dwarf<R>>) -> Units<R> {
        Units { dwarf, list: OnceCell::new() }
    }

    fn list(&self) -> &[Known<R>] {
        self.list.get_or_init(|| {
            let mut headers = self.dwarf.units();
            let mut found = Vec::new();
            // A header that is damaged hides where the next one lies.
            while let Ok(Some(header)) = headers.next() {
                let Ok(unit) = self.dwarf.unit(header) else { continue };
                let mut ranges = Vec::new();
                if let Ok(mut its) = self.dwarf.unit_ranges(&unit) {
                    while let Ok(Some(range)) = its.next() {
                        ranges.push((range.begin, range.end));
                    }
                }
                found.push(Known { unit, ranges });
                if found.len() >= MOST {
                    break;
                }
            }
            found
        })
    }

    /// All units that could be read.
    pub(crate) fn all(&self) -> impl Iterator<Item = UnitRef<'_, R>> {
        self.list().iter().map(|known| known.unit.unit_ref(&self.dwarf))
    }

    /// The units that say that they have an address.
    pub(crate) fn at(&self, address: u64) -> impl Iterator<Item = UnitRef<'_, R>> {
        let has =
            move |known: &&Known<R>| known.ranges.iter().any(|&(start, end)| (start..end).contains(&address));
        self.list().iter().filter(has).map(|known| known.unit.unit_ref(&self.dwarf))
    }
}
