//! The call frame tables of one ELF file, and the rows in them.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use gimli::{
    BaseAddresses, CieOrFde, DebugFrame, EhFrame, EndianSlice, LittleEndian, StoreOnHeap, UnwindContext,
    UnwindOffset, UnwindSection,
};
use object::{Object, ObjectSection, ReadRef};

use super::row::Row;
use crate::objects::{debug_file, section, with_file, Section};

type Slice<'data> = EndianSlice<'data, LittleEndian>;

/// What gimli needs to work out a row.
pub type Context = UnwindContext<usize, StoreOnHeap>;

/// One entry of a table: first address, end (not included), offset in its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    start: u64,
    end: u64,
    offset: usize,
}

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

    fn eh(&self) -> EhFrame<Slice<'_>> {
        let mut frame = EhFrame::new(&self.section.data, LittleEndian);
        frame.set_address_size(8);
        frame.set_vendor(gimli::Vendor::AArch64);
        frame
    }

    fn debug(&self) -> DebugFrame<Slice<'_>> {
        let mut frame = DebugFrame::new(&self.section.data, LittleEndian);
        frame.set_address_size(8);
        frame.set_vendor(gimli::Vendor::AArch64);
        frame
    }

    fn index(&self) -> &[Entry] {
        self.index.get_or_init(|| {
            let mut entries = if self.is_eh {
                entries(&self.eh(), &self.bases)
            } else {
                entries(&self.debug(), &self.bases)
            };
            entries.sort_by_key(|entry| entry.start);
            entries
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
            row(&self.eh(), &self.bases, entry.offset.into(), address, context)
        } else {
            row(&self.debug(), &self.bases, entry.offset.into(), address, context)
        }
    }
}

/// All entries of a section; those behind a damaged length are lost.
fn entries<'data, S>(section: &S, bases: &BaseAddresses) -> Vec<Entry>
where
    S: UnwindSection<Slice<'data>>,
{
    let mut found = Vec::new();
    let mut common: Option<(usize, gimli::CommonInformationEntry<Slice<'data>>)> = None;
    let mut iterator = section.entries(bases);
    while let Ok(Some(entry)) = iterator.next() {
        let CieOrFde::Fde(partial) = entry else { continue };
        // Most entries have the same common part as the one before.
        let parsed = partial.parse(|section, bases, offset| {
            let at = UnwindOffset::into(offset);
            match &common {
                Some((known, entry)) if *known == at => Ok(entry.clone()),
                _ => {
                    let entry = section.cie_from_offset(bases, offset)?;
                    common = Some((at, entry.clone()));
                    Ok(entry)
                }
            }
        });
        let Ok(entry) = parsed else { continue };
        let (start, end) = (entry.initial_address(), entry.initial_address().saturating_add(entry.len()));
        // Code that the linker removed is left with the address 0.
        if start < end && start != 0 {
            found.push(Entry { start, end, offset: entry.offset() });
        }
    }
    found
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
