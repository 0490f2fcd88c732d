//! The call frame tables of one ELF file, and the rows in them.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use gimli::{BaseAddresses, EndianSlice, LittleEndian, StoreOnHeap, UnwindContext, UnwindSection};
use object::{Object, ObjectSection, ReadRef};
use odograph_objects::debugfiles::debug_file;
use odograph_objects::frames::{debug_frame, eh_frame, entries, Entry};
use odograph_objects::section::{section, Section};
use odograph_objects::source::with_file;

use super::row::Row;

type Slice<'data> = EndianSlice<'data, LittleEndian>;

/// What gimli needs to work out a row.
pub type Context = UnwindContext<usize, StoreOnHeap>;

/// A `.eh_frame` or `.debug_frame`, and an index of it.
#[derive(Debug)]
struct Table {
    section: Section,
    is_eh: bool,
    bases: BaseAddresses,
    /// By address. Made when first asked for.
    index: OnceLock<Vec<Entry>>,
}

impl Table {
    fn new(section: Section, is_eh: bool, text: u64, got: u64) -> Table {
        let bases = BaseAddresses::default().set_text(text).set_got(got).set_eh_frame(section.address);
        Table { section, is_eh, bases, index: OnceLock::new() }
    }

    fn index(&self) -> &[Entry] {
        self.index.get_or_init(|| {
            let data = &self.section.data;
            if self.is_eh {
                entries(data, &eh_frame(data, true), &self.bases)
            } else {
                entries(data, &debug_frame(data, true), &self.bases)
            }
        })
    }

    /// Whether each address has at most one entry.
    fn is_unambiguous(&self) -> bool {
        self.index().windows(2).all(|pair| matches!(pair, [one, next] if one.end <= next.start))
    }

    fn row(&self, address: u64, context: &mut Context) -> Option<Row> {
        let index = self.index();
        let after = index.partition_point(|entry| entry.start <= address);
        // Entries should not overlap; if a few do, the nearest start that reaches far enough counts.
        let entry = index.get(..after)?.iter().rev().take(8).find(|entry| address < entry.end)?;
        if self.is_eh {
            row(&eh_frame(&self.section.data, true), &self.bases, entry.offset.into(), address, context)
        } else {
            row(&debug_frame(&self.section.data, true), &self.bases, entry.offset.into(), address, context)
        }
    }
}

fn row<'data, S>(
    section: &S,
    bases: &BaseAddresses,
    offset: S::Offset,
    address: u64,
    context: &mut Context,
) -> Option<Row>
where
    S: UnwindSection<Slice<'data>>,
{
    let entry = section.fde_from_offset(bases, offset, S::cie_from_offset).ok()?;
    let found = entry.unwind_info_for_address(section, bases, context, address).ok()?;
    Row::new(section, found, &entry)
}

/// The call frame information of one file; addresses are those of the file.
#[derive(Debug, Default)]
pub struct Tables {
    eh: Option<Table>,
    debug: Option<Table>,
    /// Where stubs of the procedure linkage table lie: start, end, whether it begins with a header.
    stubs: Vec<(u64, u64, bool)>,
}

impl Tables {
    /// Those of a file, and of the separate debug file that belongs to it. Empty if there are none.
    pub fn of_file(path: &Path) -> Tables {
        // The function itself is not general enough in its lifetimes.
        #[allow(clippy::redundant_closure)]
        let mut tables = with_file(path, |file| Tables::of_object(file)).unwrap_or_default();
        if tables.debug.is_none() {
            let separate = debug_file(path).filter(|debug| debug != path);
            tables.debug = separate.and_then(|debug| {
                let section = with_file(&debug, |file| section(file, ".debug_frame"))??;
                Some(Table::new(section, false, 0, 0))
            });
        }
        tables
    }

    /// Those of an ELF file that lies in memory as a whole, such as the vdso. Empty if there are none.
    pub fn of_bytes(bytes: &[u8]) -> Tables {
        object::File::parse(bytes).map(|file| Tables::of_object(&file)).unwrap_or_default()
    }

    fn of_object<'data, R: ReadRef<'data>>(file: &object::File<'data, R>) -> Tables {
        if !file.is_little_endian() || !file.is_64() {
            return Tables::default();
        }
        let address = |name| file.section_by_name(name).map_or(0, |section| section.address());
        let (text, got) = (address(".text"), address(".got"));
        let table = |name, is_eh| Some(Table::new(section(file, name)?, is_eh, text, got));
        let stubs = [".plt", ".plt.sec", ".plt.got", ".iplt"].into_iter().filter_map(|name| {
            let section = file.section_by_name(name)?;
            Some((section.address(), section.address().saturating_add(section.size()), name == ".plt"))
        });
        Tables { eh: table(".eh_frame", true), debug: table(".debug_frame", false), stubs: stubs.collect() }
    }

    /// From the bytes of sections and their addresses.
    pub fn of_sections(eh: Option<Section>, debug: Option<Section>) -> Tables {
        Tables {
            eh: eh.map(|section| Table::new(section, true, 0, 0)),
            debug: debug.map(|section| Table::new(section, false, 0, 0)),
            stubs: Vec::new(),
        }
    }

    /// The row of an address: `.eh_frame`'s, or else `.debug_frame`'s.
    pub fn row(&self, address: u64, context: &mut Context) -> Option<Row> {
        let tables = [self.eh.as_ref(), self.debug.as_ref()];
        tables.into_iter().flatten().find_map(|table| table.row(address, context))
    }

    /// The procedure linkage table around an address: where it starts, and whether that is a header.
    pub fn stubs_at(&self, address: u64) -> Option<(u64, bool)> {
        let found = self.stubs.iter().find(|(start, end, _)| (*start..*end).contains(&address));
        found.map(|(start, _, has_header)| (*start, *has_header))
    }

    /// The section that framehop may use: it takes one, and may not be able to choose between two entries where we
    /// choose another.
    pub fn plain_section(&self) -> Option<(&Section, bool)> {
        let table = self.eh.as_ref().or(self.debug.as_ref())?;
        table.is_unambiguous().then_some((&table.section, table.is_eh))
    }
}

/// Tables that several modules may share.
pub type SharedTables = Arc<Tables>;
