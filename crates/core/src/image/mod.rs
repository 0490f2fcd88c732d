//! The memory image of a traced program: sections of files and bytes by address space, and a
//! callback for what they do not hold.
//!
//! The caller adds sections and asks for bytes; back come bytes and where they are from. An image is
//! a value: a clone is cheap and never sees later changes of the original. Out of scope: what the
//! bytes mean, and finding out which files a program had mapped.
//!
//! This file is long because it holds one class of the public interface, whose methods are libipt's functions.

mod cache;
mod changes;
mod file;
mod layers;
mod log;
mod map;
mod pages;
mod section;

use std::any::Any;
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use odograph_files::Named;

use crate::asid::Asid;
use crate::error::PtError;
use crate::memory::{MemoryError, ReadMemory, CALLBACK_PAGE};
use changes::Touch;
use file::SectionFile;
use map::SectionMap;
use section::{BytesSource, EmptySection, Part, Source};

pub use cache::{SectionCache, MAX_ISID};
pub use log::ImageLog;
pub use section::Section;

/// The fields of an [`Asid`], for sorting; unknown comes first.
type AsidKey = (Option<u64>, Option<u64>);

fn key_of(asid: &Asid) -> AsidKey {
    (asid.cr3, asid.vmcs)
}

fn asid_of(key: &AsidKey) -> Asid {
    Asid { cr3: key.0, vmcs: key.1 }
}

/// A number no image and no section of this process had before.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The last address of a section, `None` if it is empty; `invalid` if it would end beyond 2^64.
fn end_of(vaddr: u64, size: u64) -> Result<Option<u64>, PtError> {
    match size.checked_sub(1) {
        None => Ok(None),
        Some(more) => vaddr.checked_add(more).map(Some).ok_or(PtError::Invalid),
    }
}

/// A buffer of `size` bytes; `nomem` if there is no room for it.
fn zeroed(size: u64) -> Result<Vec<u8>, PtError> {
    let size = usize::try_from(size).map_err(|_| PtError::Nomem)?;
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(size).map_err(|_| PtError::Nomem)?;
    buffer.resize(size, 0);
    Ok(buffer)
}

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadResult {
    /// Number of bytes, at least 1 unless none were asked for.
    pub length: usize,
    /// Identifier of the section in its cache; 0 = not from a cache.
    pub isid: i32,
    /// Identifier of the section object, unique in the process; 0 = from the callback.
    pub section: u64,
}

/// The memory image of a traced program.
#[derive(Clone)]
pub struct Image {
    name: Option<Arc<str>>,
    version: u64,
    spaces: Arc<BTreeMap<AsidKey, Arc<SectionMap>>>,
    empty: Arc<Vec<EmptySection>>,
    callback: Option<Arc<dyn ReadMemory>>,
    touches: Arc<Vec<Touch>>,
    learned: Learned,
}

/// What others have found out about what an image holds; see [`Image::learned`].
type Learned = Arc<OnceLock<Arc<dyn Any + Send + Sync>>>;

/// An image at one moment: it does not change any more.
pub type Snapshot = Image;

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("sections", &self.len())
            .field("callback", &self.callback.is_some())
            .finish()
    }
}

impl Default for Image {
    fn default() -> Self {
        Image::new(None)
    }
}

impl Image {
    /// An image without sections and callback.
    pub fn new(name: Option<&str>) -> Image {
        Image {
            name: name.map(Arc::from),
            version: next_number(),
            spaces: Arc::default(),
            empty: Arc::default(),
            callback: None,
            touches: Arc::default(),
            learned: Arc::default(),
        }
    }

    /// The name given to the image.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The same image under another name.
    pub fn renamed(&self, name: Option<&str>) -> Image {
        Image { name: name.map(Arc::from), ..self.clone() }
    }

    /// Identifies what the image holds: unique in the process, new after every change.
    ///
    /// A clone has the version of its original until one of them changes.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What the image holds has changed.
    fn is_new(&mut self) {
        self.version = next_number();
        self.learned = Arc::default();
    }

    /// Something that was found out about what this version of the image holds, made on first use: it lives as long as
    /// any image of this version. `None` if something of another type is there already.
    pub fn learned<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<Arc<T>> {
        let any = self.learned.get_or_init(|| Arc::new(make()));
        any.clone().downcast().ok()
    }

    /// The same image without what was found out about it: what is found out can hold this one.
    pub fn unlearned(&self) -> Image {
        Image { learned: Arc::default(), ..self.clone() }
    }

    /// The files of all sections are what they were when they were added. `seen` are those that need not be looked at.
    pub fn files_are_unchanged(&self, seen: &mut HashSet<u64>) -> bool {
        let parts = self.spaces.values().flat_map(|space| space.iter());
        let mut files = parts.filter_map(|part| part.source.file());
        files.all(|file| !seen.insert(file.id()) || file.is_unchanged())
    }

    /// The number of visible sections; the parts of a split one count separately.
    pub fn len(&self) -> usize {
        self.empty.len() + self.spaces.values().map(|space| space.iter().count()).sum::<usize>()
    }

    /// True if there is no section.
    pub fn is_empty(&self) -> bool {
        self.empty.is_empty() && self.spaces.is_empty()
    }

    /// The visible sections in the order they were added; parts of one section by address.
    pub fn sections(&self) -> Vec<Section> {
        let parts = self.spaces.iter().flat_map(|(key, space)| space.iter().map(move |part| (key, part)));
        let visible = parts.map(|(key, part)| section_of(key, part));
        let empty = self.empty.iter().map(|section| Section {
            name: section.source.name().map(OsStr::to_owned),
            offset: section.offset,
            size: 0,
            vaddr: section.vaddr,
            asid: section.asid,
            isid: section.isid,
            section: section.section,
        });
        let mut sections: Vec<Section> = visible.chain(empty).collect();
        sections.sort_by_key(|section| (section.section, section.vaddr));
        sections
    }

    /// The address spaces whose sections an asid sees.
    fn seen_by<'a>(&'a self, asid: &Asid) -> impl Iterator<Item = (&'a AsidKey, &'a Arc<SectionMap>)> {
        // Keys are sorted by CR3, so a known CR3 leaves two ranges to look at.
        let all = asid.cr3.is_none();
        let none = (None, None)..=(None, Some(u64::MAX));
        let same = (asid.cr3, None)..=(asid.cr3, Some(u64::MAX));
        let asid = *asid;
        let every = all.then(|| self.spaces.iter()).into_iter().flatten();
        let some =
            (!all).then(|| self.spaces.range(none).chain(self.spaces.range(same))).into_iter().flatten();
        every.chain(some).filter(move |(key, _)| asid_of(key).matches(&asid))
    }

    /// The part that a read at `address` reads: of several, the one added last.
    fn part_at(&self, asid: &Asid, address: u64) -> Option<(&AsidKey, &Part)> {
        let found = self.seen_by(asid).filter_map(|(key, space)| Some((key, space.find(address)?)));
        found.max_by_key(|(_, part)| part.section)
    }

    /// The visible section or part of one that a read at `address` would use.
    pub fn section_at(&self, asid: &Asid, address: u64) -> Option<Section> {
        self.part_at(asid, address).map(|(key, part)| section_of(key, part))
    }

    /// Where the next section that `asid` sees begins, at or behind `address`.
    pub fn next_start(&self, asid: &Asid, address: u64) -> Option<u64> {
        self.seen_by(asid).filter_map(|(_, space)| space.next_start(address)).min()
    }

    /// Fills `buffer` from `address` in the address space `asid`.
    ///
    /// The answer ends at the latest where the section it began in ends. If no section holds
    /// `address` the callback is asked, for at most the rest of the 4 KiB page and never into a
    /// section. Asking for no bytes gives none and calls no callback.
    ///
    /// `nomap`: nothing is there; `bad_image`: the file has changed since it was added; `invalid`:
    /// the callback gave more than was asked for; what the callback raises.
    pub fn read(&self, asid: &Asid, address: u64, buffer: &mut [u8]) -> Result<ReadResult, MemoryError> {
        if buffer.is_empty() {
            return Ok(ReadResult { length: 0, isid: 0, section: 0 });
        }
        if let Some((_, part)) = self.part_at(asid, address) {
            let more = usize::try_from(part.last - address).unwrap_or(usize::MAX);
            let length = buffer.len().min(more.saturating_add(1));
            let offset = part.offset.checked_add(address - part.first).ok_or(PtError::Internal)?;
            part.source.read(offset, buffer.get_mut(..length).unwrap_or_default())?;
            return Ok(ReadResult { length, isid: part.isid, section: part.section });
        }
        let callback = self.callback.as_ref().ok_or(PtError::Nomap)?;
        let page_rest = CALLBACK_PAGE - address % CALLBACK_PAGE;
        let free = self.next_start(asid, address).map_or(page_rest, |next| page_rest.min(next - address));
        let size = buffer.len().min(usize::try_from(free).unwrap_or(usize::MAX));
        let bytes = callback.read(address, size, asid)?;
        match bytes.len() {
            0 => Err(PtError::Nomap.into()),
            length if length > size => Err(PtError::Invalid.into()),
            length => {
                buffer.get_mut(..length).unwrap_or_default().copy_from_slice(&bytes);
                Ok(ReadResult { length, isid: 0, section: 0 })
            }
        }
    }

    /// The bytes at `address`, at most `size` of them, and where they are from; as [`Image::read`].
    ///
    /// `nomem` if there is no room for the answer.
    pub fn read_to_vec(
        &self,
        asid: &Asid,
        address: u64,
        size: u64,
    ) -> Result<(Vec<u8>, ReadResult), MemoryError> {
        // Room for what can be there, not for all that was asked for.
        let most = match self.part_at(asid, address) {
            Some((_, part)) => (part.last - address).saturating_add(1),
            None => CALLBACK_PAGE,
        };
        let mut buffer = zeroed(size.min(most))?;
        let result = self.read(asid, address, &mut buffer)?;
        buffer.truncate(result.length);
        Ok((buffer, result))
    }

    /// Adds a section of a file; the name is kept as it is given.
    ///
    /// `size` is silently cut at the end of the file; a size of 0 adds an empty section.
    /// `bad_file`: the file is missing, unreadable or not a regular file; `invalid`: `offset` is at
    /// or past its end, or the section would end beyond 2^64.
    pub fn add_file(
        &mut self,
        name: &OsStr,
        offset: u64,
        size: u64,
        vaddr: u64,
        asid: &Asid,
    ) -> Result<(), PtError> {
        let section = FileSection::open(name, Named::ByUser, offset, size, vaddr)?;
        self.add_opened(&section, asid);
        Ok(())
    }

    /// Adds a section that was opened before, for example outside a lock. Cannot fail.
    pub fn add_opened(&mut self, section: &FileSection, asid: &Asid) {
        let source = Source::File(section.file.clone());
        self.add(asid, source, section.offset, section.vaddr, section.size, section.last, 0, next_number());
    }

    /// Adds section `isid` of a cache; `bad_image` if the cache has no such section.
    pub fn add_cached(&mut self, cache: &SectionCache, isid: i32, asid: &Asid) -> Result<(), PtError> {
        let cached = cache.section(isid)?;
        let last = end_of(cached.vaddr, cached.size)?;
        let source = Source::File(cached.file);
        self.add(asid, source, cached.offset, cached.vaddr, cached.size, last, isid, next_number());
        Ok(())
    }

    /// Adds bytes; `invalid` if they would end beyond 2^64.
    pub fn add_bytes(
        &mut self,
        data: impl Into<Box<[u8]>>,
        vaddr: u64,
        asid: &Asid,
        name: Option<&OsStr>,
    ) -> Result<(), PtError> {
        let data = data.into();
        let size = data.len() as u64;
        let last = end_of(vaddr, size)?;
        let source = Source::Bytes(Arc::new(BytesSource { name: name.map(OsStr::to_owned), data }));
        self.add(asid, source, 0, vaddr, size, last, 0, next_number());
        Ok(())
    }

    #[allow(clippy::too_many_arguments)] // the one place where all properties of a section meet
    fn add(
        &mut self,
        asid: &Asid,
        source: Source,
        offset: u64,
        vaddr: u64,
        size: u64,
        last: Option<u64>,
        isid: i32,
        section: u64,
    ) {
        match last.filter(|_| size > 0) {
            None => Arc::make_mut(&mut self.empty).push(EmptySection {
                asid: *asid,
                vaddr,
                section,
                isid,
                offset,
                source,
            }),
            Some(last) => self.place(asid, Part { first: vaddr, last, section, isid, offset, source }),
        }
        self.is_new();
    }

    /// Puts a part in and cuts away what it covers in every address space that matches.
    fn place(&mut self, asid: &Asid, part: Part) {
        let covered: Vec<AsidKey> = self
            .seen_by(asid)
            .filter(|(_, space)| {
                space.next_start(part.first).is_some_and(|start| start <= part.last)
                    || space.find(part.first).is_some()
            })
            .map(|(key, _)| *key)
            .collect();
        let spaces = Arc::make_mut(&mut self.spaces);
        for key in covered {
            if let Some(space) = spaces.get_mut(&key) {
                Arc::make_mut(space).carve(part.first, part.last);
                if space.is_empty() {
                    spaces.remove(&key);
                }
            }
        }
        Arc::make_mut(spaces.entry(key_of(asid)).or_default()).insert(part);
    }

    /// Adds the visible parts of another image's sections, in the order they were added there, and
    /// gives the number of sections that could not be added.
    ///
    /// That number is always 0: sections are shared, so nothing can fail. Name and callback are not
    /// copied. Copying an image to itself changes nothing.
    pub fn copy_from(&mut self, source: &Image) -> usize {
        if source.version == self.version {
            return 0;
        }
        enum Entry<'a> {
            Visible(&'a AsidKey, &'a Part),
            Empty(&'a EmptySection),
        }
        let visible = source.spaces.iter().flat_map(|(key, space)| {
            space.iter().map(move |part| (part.section, part.first, Entry::Visible(key, part)))
        });
        let empty = source.empty.iter().map(|empty| (empty.section, empty.vaddr, Entry::Empty(empty)));
        let mut entries: Vec<(u64, u64, Entry<'_>)> = visible.chain(empty).collect();
        entries.sort_by_key(|(section, vaddr, _)| (*section, *vaddr));
        let mut last_source = None;
        let mut number = 0;
        for (section, _, entry) in entries {
            // Parts of one section stay parts of one section.
            if last_source != Some(section) {
                (last_source, number) = (Some(section), next_number());
            }
            match entry {
                Entry::Visible(key, part) => {
                    self.place(&asid_of(key), Part { section: number, ..part.clone() });
                }
                Entry::Empty(empty) => {
                    Arc::make_mut(&mut self.empty).push(EmptySection { section: number, ..empty.clone() });
                }
            }
        }
        self.is_new();
        0
    }

    /// Removes the sections with this name (compared as given) whose asid matches, and gives their
    /// number; parts of a split section count separately.
    pub fn remove_by_filename(&mut self, name: &OsStr, asid: &Asid) -> usize {
        self.remove(asid, |source| source.name() == Some(name))
    }

    /// Removes the sections whose asid matches and gives their number; parts of a split section
    /// count separately. An unknown asid removes all.
    pub fn remove_by_asid(&mut self, asid: &Asid) -> usize {
        self.remove(asid, |_| true)
    }

    fn remove(&mut self, asid: &Asid, which: impl Fn(&Source) -> bool) -> usize {
        let affected: Vec<AsidKey> = self
            .seen_by(asid)
            .filter(|(_, space)| space.iter().any(|part| which(&part.source)))
            .map(|(key, _)| *key)
            .collect();
        let mut removed = 0;
        if !affected.is_empty() {
            let spaces = Arc::make_mut(&mut self.spaces);
            for key in affected {
                if let Some(space) = spaces.get_mut(&key) {
                    removed += Arc::make_mut(space).remove(|part| which(&part.source));
                    if space.is_empty() {
                        spaces.remove(&key);
                    }
                }
            }
        }
        let drop = |section: &EmptySection| section.asid.matches(asid) && which(&section.source);
        let empties = self.empty.iter().filter(|section| drop(section)).count();
        if empties > 0 {
            Arc::make_mut(&mut self.empty).retain(|section| !drop(section));
            removed += empties;
        }
        if removed > 0 {
            self.is_new();
        }
        removed
    }

    /// Says that memory behind the callback has changed in `size` bytes from `address`.
    ///
    /// `invalid` if the range would end beyond 2^64. A size of 0 changes nothing.
    pub fn invalidate(&mut self, address: u64, size: u64, asid: &Asid) -> Result<(), PtError> {
        if let Some(last) = end_of(address, size)? {
            self.is_new();
            let touch = Touch { version: self.version, asid: *asid, first: address, last };
            changes::push_touch(Arc::make_mut(&mut self.touches), touch);
        }
        Ok(())
    }

    /// Sets, replaces or removes the callback and gives the previous one.
    ///
    /// The caller should drop that outside of any lock: dropping it may run foreign code.
    pub fn set_callback(&mut self, callback: Option<Arc<dyn ReadMemory>>) -> Option<Arc<dyn ReadMemory>> {
        self.is_new();
        std::mem::replace(&mut self.callback, callback)
    }

    /// The callback.
    pub fn callback(&self) -> Option<&Arc<dyn ReadMemory>> {
        self.callback.as_ref()
    }

    /// The ranges (address space, first address, last address included) in which reading may give
    /// other bytes or another section in `other` than in `self`.
    ///
    /// May name more than has changed, never less. Another callback may change everything.
    pub fn changed_ranges(&self, other: &Image) -> Vec<(Asid, u64, u64)> {
        if self.version == other.version {
            return Vec::new();
        }
        let same_callback = match (&self.callback, &other.callback) {
            (None, None) => true,
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            _ => false,
        };
        if !same_callback {
            return vec![(Asid::default(), 0, u64::MAX)];
        }
        let mut ranges: Vec<(Asid, u64, u64)> = changes::touched(&self.touches, &other.touches)
            .iter()
            .map(|touch| (touch.asid, touch.first, touch.last))
            .collect();
        if Arc::ptr_eq(&self.spaces, &other.spaces) {
            return ranges;
        }
        let nothing = Arc::default();
        let mut compare = |key: &AsidKey, one: &Arc<SectionMap>, two: &Arc<SectionMap>| {
            if Arc::ptr_eq(one, two) {
                return;
            }
            let (one, two) = one.unshared(two);
            let asid = asid_of(key);
            ranges
                .extend(changes::differing(&one, &two).into_iter().map(|(first, last)| (asid, first, last)));
        };
        for (key, space) in self.spaces.iter() {
            compare(key, space, other.spaces.get(key).unwrap_or(&nothing));
        }
        for (key, space) in other.spaces.iter().filter(|(key, _)| !self.spaces.contains_key(key)) {
            compare(key, &nothing, space);
        }
        ranges
    }
}

fn section_of(key: &AsidKey, part: &Part) -> Section {
    Section {
        name: part.source.name().map(OsStr::to_owned),
        offset: part.offset,
        size: (part.last - part.first).saturating_add(1),
        vaddr: part.first,
        asid: asid_of(key),
        isid: part.isid,
        section: part.section,
    }
}

/// A section of a file that was looked at but not yet added to an image.
#[derive(Clone, Debug)]
pub struct FileSection {
    file: Arc<SectionFile>,
    offset: u64,
    size: u64,
    vaddr: u64,
    last: Option<u64>,
}

impl FileSection {
    /// Looks at the file; errors as for [`Image::add_file`], and `bad_file` if who named it may not name it.
    pub fn open(
        name: &OsStr,
        named: Named,
        offset: u64,
        size: u64,
        vaddr: u64,
    ) -> Result<FileSection, PtError> {
        let file = SectionFile::open_uncached(name, named)?;
        let size = file.cut(offset, size)?;
        let last = end_of(vaddr, size)?;
        Ok(FileSection { file, offset, size, vaddr, last })
    }

    /// Size of the section after it was cut at the end of the file.
    pub fn size(&self) -> u64 {
        self.size
    }
}
