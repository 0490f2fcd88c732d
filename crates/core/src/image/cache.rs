//! The section cache: file sections with identifiers, shared by images and threads.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use odograph_files::Named;

use super::file::{FileKey, SectionFile};
use super::pages::PieceStore;
use super::{end_of, zeroed};
use crate::error::PtError;

/// The largest section identifier, as in libipt; one more section is `nomem`.
pub const MAX_ISID: i32 = 65528;

/// A section in a cache.
#[derive(Clone, Debug)]
pub(super) struct CachedSection {
    pub file: Arc<SectionFile>,
    pub offset: u64,
    pub size: u64,
    pub vaddr: u64,
}

/// File sections under positive identifiers (isid). Any number of images and threads may use one
/// cache at the same time; sections of one file share what was read of it.
#[derive(Debug)]
pub struct SectionCache {
    name: Option<String>,
    pieces: Arc<PieceStore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sections: Vec<CachedSection>,
    files: BTreeMap<FileKey, Arc<SectionFile>>,
    isids: HashMap<(u64, u64, u64, u64), i32>,
}

impl SectionCache {
    /// An empty cache that keeps at most `limit` bytes of file content; `None` is no limit, 0 keeps
    /// nothing. The limit changes only how often files are read.
    pub fn new(name: Option<String>, limit: Option<u64>) -> SectionCache {
        let pieces = Arc::new(PieceStore::new(limit));
        SectionCache { name, pieces, state: Mutex::default() }
    }

    // Nothing under the lock can panic halfway through a change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name given to the cache.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The most bytes that are kept.
    pub fn limit(&self) -> Option<u64> {
        self.pieces.limit()
    }

    /// Changes the limit; what is beyond it is forgotten at once. Identifiers stay valid.
    pub fn set_limit(&self, limit: Option<u64>) {
        self.pieces.set_limit(limit);
    }

    /// The bytes kept now.
    pub fn kept(&self) -> u64 {
        self.pieces.kept()
    }

    /// The number of sections; their identifiers are 1 to this number.
    pub fn len(&self) -> usize {
        self.state().sections.len()
    }

    /// True if there is no section.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a section of a file and gives its identifier.
    ///
    /// The same section (name as given, content of the file, offset, size after it was cut, vaddr)
    /// again gives the same identifier; at another `vaddr` it gets a new one and shares the file.
    /// A file that has changed since it was added is another file.
    /// Errors are those of [`super::Image::add_file`], and `nomem` beyond [`MAX_ISID`].
    pub fn add_file(&self, name: &OsStr, offset: u64, size: u64, vaddr: u64) -> Result<i32, PtError> {
        self.add_named(name, Named::ByUser, offset, size, vaddr)
    }

    /// The same for a name that may not be the user's choice: `bad_file` if they may not name it.
    pub fn add_named(
        &self,
        name: &OsStr,
        named: Named,
        offset: u64,
        size: u64,
        vaddr: u64,
    ) -> Result<i32, PtError> {
        let file = SectionFile::open(name, named, self.pieces.clone())?;
        let size = file.cut(offset, size)?;
        end_of(vaddr, size)?;
        let mut state = self.state();
        let file = state.files.entry(file.key()).or_insert_with(|| Arc::new(file)).clone();
        let key = (file.id(), offset, size, vaddr);
        if let Some(isid) = state.isids.get(&key) {
            return Ok(*isid);
        }
        let isid = i32::try_from(state.sections.len() + 1).map_err(|_| PtError::Nomem)?;
        if isid > MAX_ISID {
            return Err(PtError::Nomem);
        }
        state.sections.push(CachedSection { file, offset, size, vaddr });
        state.isids.insert(key, isid);
        Ok(isid)
    }

    /// The section `isid`; `bad_image` if there is none.
    pub(super) fn section(&self, isid: i32) -> Result<CachedSection, PtError> {
        let index = isid.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        let state = self.state();
        index.and_then(|index| state.sections.get(index)).cloned().ok_or(PtError::BadImage)
    }

    /// Fills `buffer` from section `isid` at `address` and gives the number of bytes: fewer than
    /// asked for at the end of the section.
    ///
    /// `bad_image`: no such section, or its file is no longer what it was; `nomap`: `address` is
    /// not in it; `invalid`: `buffer` is empty.
    pub fn read(&self, isid: i32, address: u64, buffer: &mut [u8]) -> Result<usize, PtError> {
        if buffer.is_empty() {
            return Err(PtError::Invalid);
        }
        let section = self.section(isid)?;
        let into =
            address.checked_sub(section.vaddr).filter(|into| *into < section.size).ok_or(PtError::Nomap)?;
        let rest = usize::try_from(section.size - into).unwrap_or(usize::MAX);
        let count = rest.min(buffer.len());
        let offset = section.offset.checked_add(into).ok_or(PtError::Internal)?;
        section.file.read(offset, buffer.get_mut(..count).unwrap_or_default())?;
        Ok(count)
    }

    /// The bytes of section `isid` at `address`, at most `size` of them; as [`SectionCache::read`],
    /// and `nomem` if there is no room for the answer.
    pub fn read_to_vec(&self, isid: i32, address: u64, size: u64) -> Result<Vec<u8>, PtError> {
        let section = self.section(isid)?;
        // An address outside needs no room; `read` says what is wrong with it.
        let rest = section.size.saturating_sub(address.saturating_sub(section.vaddr)).max(1);
        let mut buffer = zeroed(size.min(rest))?;
        let count = self.read(isid, address, &mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    /// The file name, as given, of section `isid`, with its offset, size and vaddr.
    pub fn describe(&self, isid: i32) -> Result<super::Section, PtError> {
        let section = self.section(isid)?;
        Ok(super::Section {
            name: Some(section.file.name().to_owned()),
            offset: section.offset,
            size: section.size,
            vaddr: section.vaddr,
            asid: crate::asid::Asid::default(),
            isid,
            section: 0,
        })
    }
}
